"""Where speech is, and which references are accepted."""

import pytest
import torch

from speechgen.audio.loudness import active_level
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.pipeline.silence import latest_pause, speech_span
from tests.tiny import RATE, voice_like


def prepare(samples: torch.Tensor, rate: int = RATE, prompt_seconds: float = 6.0):
    return prepare_prompt(Waveform.single(samples, rate), rate=RATE, prompt_seconds=prompt_seconds, name="ref.wav")


def test_speech_span_is_the_tone_between_two_silences():
    tone = 0.1 * torch.sin(torch.arange(RATE) * 0.1)
    samples = torch.cat([torch.zeros(RATE // 2), tone, torch.zeros(RATE)])
    span = speech_span(samples, RATE)
    assert abs(span.start - RATE // 2) <= RATE // 100
    assert abs(span.stop - RATE * 3 // 2) <= RATE // 100


@pytest.mark.parametrize("below_db", [30, 45, 80])
def test_speech_span_is_the_speech_between_noises(below_db):
    tone = 0.1 * torch.sin(torch.arange(RATE) * 0.1)
    noise = 0.07 * 10 ** (-below_db / 20) * torch.randn(5 * RATE // 2, generator=torch.Generator().manual_seed(0))
    span = speech_span(noise + torch.cat([torch.zeros(RATE // 2), tone, torch.zeros(RATE)]), RATE)
    assert abs(span.start - RATE // 2) <= RATE // 100
    assert abs(span.stop - RATE * 3 // 2) <= RATE // 100


def test_rumble_is_not_speech():
    time = torch.arange(5 * RATE // 2) / RATE
    rumble = 0.02 * torch.sin(2 * torch.pi * 25 * time)
    tone = 0.1 * torch.sin(2 * torch.pi * 400 * time) * ((time >= 0.5) & (time < 1.5))
    span = speech_span(rumble + tone, RATE)
    assert abs(span.start - RATE // 2) <= RATE // 50
    assert abs(span.stop - RATE * 3 // 2) <= RATE // 50


def test_quiet_sounds_at_the_edges_of_a_recording_without_pauses_are_speech():
    loud, soft = (level * torch.sin(torch.arange(RATE // 10) * 0.1) for level in (0.1, 0.1 * 10 ** (-26 / 20)))
    span = speech_span(torch.cat([soft, *[loud] * 8, soft]), RATE)
    assert (span.start, span.stop) == (0, RATE)


def test_speech_span_ignores_a_click_and_is_empty_for_silence():
    samples = torch.zeros(RATE)
    samples[100] = 0.9
    assert speech_span(samples, RATE).stop == 0
    assert speech_span(torch.zeros(RATE), RATE).stop == 0
    assert speech_span(torch.zeros(3), RATE).stop == 0


@pytest.mark.parametrize(
    ("below_db", "frames", "apart", "speech"),
    [(20, 3, 30, False), (20, 3, 10, True), (20, 6, 30, True), (6, 3, 30, True)],
    ids=["a noise", "close by", "long", "loud"],
)
def test_a_weak_burst_far_from_the_rest_is_not_speech(below_db, frames, apart, speech):
    size = RATE // 100
    samples = torch.zeros(RATE + (frames + 2 * apart) * size)
    tone, start = 0.1 * torch.sin(torch.arange(RATE) * 0.1), (frames + apart) * size
    samples[start : start + RATE // 2] = tone[: RATE // 2]
    samples[: frames * size] = tone[: frames * size] * 10 ** (-below_db / 20)
    assert (speech_span(samples, RATE).start == 0) == speech
    span = speech_span(samples.flip(0), RATE)
    assert (abs(span.stop - len(samples)) <= size) == speech


def test_latest_pause_takes_the_later_of_two_pauses():
    samples = 0.1 * torch.ones(RATE)
    samples[4000:7000] = 0
    samples[14000:17000] = 0
    assert 14000 <= latest_pause(samples, RATE, 0, RATE) <= 17000
    assert latest_pause(samples, RATE, 100, 200) == 200


def test_a_prompt_is_resampled_levelled_and_shortened_inside_a_pause():
    prompt = prepare(voice_like(10.0, 48000), 48000)
    assert prompt.audio.rate == RATE
    assert 3.5 <= prompt.audio.seconds <= 6.0
    assert active_level(prompt.audio.samples[0], RATE) == pytest.approx(-23, abs=1.0)
    assert prompt.audio.samples[0, -RATE // 50 :].abs().max() < 0.01, "the cut must lie in a pause"
    assert not prompt.warnings


def test_silence_around_a_prompt_is_trimmed():
    quiet = 1e-5 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    prompt = prepare(torch.cat([quiet, voice_like(2.0), quiet]))
    assert prompt.audio.seconds < 2.3


def test_a_reference_of_8_khz_or_40_seconds_is_used_with_a_warning():
    assert "8000 samples per second" in prepare(voice_like(3.0, 8000), 8000).warnings[0]
    assert "first 30 s" in prepare(voice_like(40.0)).warnings[0]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (voice_like(0.2), "lasts 0.20 s"),
        (torch.zeros(3 * RATE), "is silent"),
        (torch.cat([torch.zeros(2 * RATE), voice_like(0.5), torch.zeros(RATE)]), "of sound"),
    ],
    ids=["short", "silent", "mostly_silent"],
)
def test_a_reference_without_a_second_of_voice_is_refused(samples, message):
    with pytest.raises(UserError, match=message) as caught:
        prepare(samples)
    assert "1 to 30 s" in str(caught.value)
