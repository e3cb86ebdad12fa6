"""Pieces joined: lengths of pauses, untouched speech, soft edges, true peaks."""

import math

import pytest
import torch
from torchaudio.functional import resample

from speechgen.pipeline.longform import CEILING, close_piece, fade_edges, limit_peaks, open_piece, pause_after

RATE = 24000


def tone(seconds: float, lead: float = 0.0, tail: float = 0.0) -> torch.Tensor:
    sound = 0.3 * torch.sin(2 * math.pi * 200 * torch.arange(int(seconds * RATE)) / RATE)
    return torch.cat([torch.zeros(int(lead * RATE)), sound, torch.zeros(int(tail * RATE))])


@pytest.mark.parametrize("tail", [0.0, 0.1, 1.0], ids=["none", "short", "long"])
def test_the_pause_behind_a_piece_lasts_as_told_whatever_silence_it_brings(tail):
    closed = close_piece(tone(0.5, 0, tail), RATE, 0.3)
    assert len(closed) / RATE == pytest.approx(0.8, abs=0.011)
    assert closed[int(0.53 * RATE) :].abs().max() < 1e-3


@pytest.mark.parametrize("lead", [0.0, 0.02, 0.5])
def test_little_silence_is_left_before_a_piece(lead):
    opened = open_piece(tone(0.5, lead, 0), RATE)
    assert len(opened) / RATE == pytest.approx(0.5 + min(lead, 0.03), abs=0.011)


def test_the_speech_of_a_piece_is_not_touched():
    padded = tone(0.5, 0.2, 0.2)
    made = close_piece(open_piece(padded, RATE), RATE, 0.2)
    start = int(0.03 * RATE)
    torch.testing.assert_close(made[start : start + RATE // 2], tone(0.5), atol=1e-6, rtol=0)


def test_a_piece_without_samples_or_sound_does_no_harm():
    assert len(close_piece(open_piece(torch.zeros(0), RATE), RATE, 0.2)) == int(0.2 * RATE)
    assert close_piece(open_piece(torch.zeros(500), RATE), RATE, 0.2).eq(0).all()


def test_background_noise_behind_a_piece_ends_without_a_jump():
    noise = 1e-3 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    closed = close_piece(torch.cat([tone(0.5), noise]), RATE, 0.2)
    assert closed[int(0.52 * RATE) :].diff().abs().max() < 8e-3 and closed[-1] == 0


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
