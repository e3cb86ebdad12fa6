"""Pieces joined: lengths of pauses, untouched speech, soft edges, true peaks."""

import math

import pytest
import torch
from torchaudio.functional import resample

from speechgen.pipeline.longform import CEILING, fade_edges, join, limit_peaks, pause_after
from speechgen.pipeline.silence import speech_span

RATE = 24000


def tone(seconds: float, lead: float = 0.0, tail: float = 0.0) -> torch.Tensor:
    sound = 0.3 * torch.sin(2 * math.pi * 200 * torch.arange(int(seconds * RATE)) / RATE)
    return torch.cat([torch.zeros(int(lead * RATE)), sound, torch.zeros(int(tail * RATE))])


@pytest.mark.parametrize(("lead", "tail"), [(0.0, 0.0), (0.1, 0.1), (0.5, 1.0)], ids=["none", "short", "long"])
def test_the_pause_between_pieces_lasts_as_told_whatever_silence_they_bring(lead, tail):
    joined = join([tone(0.5, 0, tail), tone(0.5, lead, 0)], [0.3], RATE)
    assert len(joined) / RATE == pytest.approx(1.3, abs=0.03)
    middle = joined[int(0.53 * RATE) : int(0.77 * RATE)]
    assert middle.abs().max() < 1e-3


def test_joining_does_not_touch_the_speech():
    first, second = tone(0.5), tone(0.4)
    joined = join([first, second], [0.2], RATE)
    torch.testing.assert_close(joined[: len(first)], first)
    torch.testing.assert_close(joined[-len(second) :], second)


def test_a_piece_without_samples_is_joined_without_harm():
    assert speech_span(join([tone(0.5), torch.zeros(0), tone(0.5)], [0.2, 0.2], RATE), RATE).stop > 0.9 * RATE


def test_a_long_noisy_gap_is_crossed_without_a_jump():
    noise = 1e-3 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    left, right = torch.cat([tone(0.5), noise]), torch.cat([noise, tone(0.5)])
    joined = join([left, right], [0.2], RATE)
    gap = joined[int(0.52 * RATE) : int(0.68 * RATE)]
    assert gap.diff().abs().max() < 8e-3


def test_edges_start_and_end_at_zero_and_the_middle_is_kept():
    faded = fade_edges(torch.ones(RATE), RATE)
    assert faded[0] == 0 and faded[-1] == 0
    assert (faded[200:-200] == 1).all()
    assert len(fade_edges(torch.ones(1), RATE)) == 1


def test_peaks_between_the_samples_are_limited_and_quiet_parts_untouched():
    # At a quarter of the rate and 45 degrees, the wave peaks 3 dB above its samples.
    samples = 1.2 * torch.sin(2 * math.pi * (RATE / 4) * torch.arange(RATE) / RATE + math.pi / 4)
    samples[: RATE // 2] *= 0.1
    limited = limit_peaks(samples, RATE)
    assert resample(limited, RATE, 8 * RATE).abs().max() < 1.01 * CEILING + 0.02
    torch.testing.assert_close(limited[: RATE // 2 - 1000], samples[: RATE // 2 - 1000])
    quiet = 0.1 * samples
    assert limit_peaks(quiet, RATE) is quiet


def test_a_pause_follows_the_punctuation():
    assert pause_after("End.") > pause_after("clause,") > pause_after("word")
    assert pause_after('He said "yes."') == pause_after("yes.")
