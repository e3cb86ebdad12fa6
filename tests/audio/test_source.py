"""Sines follow the pitch, without drift, without overtones above half the rate."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.audio.source import harmonic_sines, pitch_of_samples, turns_of_samples

RATE, HOP = 24_000, 256


def sines(pitch: torch.Tensor, harmonics: int = 8, *, glide: bool = True) -> torch.Tensor:
    """Harmonics [B, H, L] of pitches [B, T]."""
    hertz = pitch_of_samples(pitch, HOP, glide=glide)
    return harmonic_sines(turns_of_samples(hertz, RATE)[:, 1:], hertz, RATE, torch.zeros(harmonics))


def test_a_constant_pitch_is_a_line_at_that_pitch():
    made = sines(torch.full((1, 94), 200.0))[0, 0, :23_808]
    spectrum = torch.fft.rfft(made * torch.hann_window(len(made)), 16 * RATE).abs()
    assert float(spectrum.argmax()) / 16 == pytest.approx(200, abs=0.5)


def test_ten_minutes_have_no_drift():
    """Against whole numbers: n samples of p thousandths of a hertz are n * p turns of 24 000 000."""
    milli, samples = 200_125, 600 * RATE
    turns = turns_of_samples(torch.full((1, samples), milli / 1000), RATE)[0]
    places = torch.arange(0, samples + 1, 1009)
    exact = (places * milli % (RATE * 1000)).double() / (RATE * 1000)
    away = (turns[places] - exact + 0.5).remainder(1.0) - 0.5
    assert 2 * math.pi * 8 * float(away.abs().max()) < 1e-2  # radians of the eighth harmonic


@pytest.mark.parametrize("number", [1, 3, 8])
def test_a_minute_of_a_gliding_pitch_follows_the_float64_oracle(number):
    pitch = 150 + 80 * torch.sin(torch.arange(5626) / 40)[None]
    hertz = pitch_of_samples(pitch, HOP, glide=True)
    made = harmonic_sines(turns_of_samples(hertz, RATE)[:, 1:], hertz, RATE, torch.zeros(8))[0, number - 1]
    oracle = torch.sin(2 * math.pi * number * torch.cumsum(hertz[0].double() / RATE, 0))
    assert float((made - oracle).abs().max()) < 1e-3


def test_parts_go_on_with_the_phase_of_the_whole():
    hertz = pitch_of_samples(100 + 100 * torch.rand(1, 40, generator=torch.Generator().manual_seed(0)), HOP, glide=True)
    whole = turns_of_samples(hertz, RATE)
    second = turns_of_samples(hertz[:, 5000:], RATE, whole[:, 5000])
    torch.testing.assert_close(second, whole[:, 5000:], rtol=0, atol=1e-12)


def test_overtones_stop_below_half_the_rate_and_nothing_sounds_where_unvoiced():
    made = sines(torch.tensor([[2000.0] * 10 + [0.0] * 10]))
    audible = made[0].abs().amax(-1) > 0
    assert audible.tolist() == [True] * 5 + [False] * 3  # 10 kHz sounds, 12 kHz does not
    assert not made[..., 10 * HOP :].any()


@pytest.mark.parametrize("glide", [True, False])
def test_pitch_never_passes_through_what_was_not_there(glide):
    """At the edges of voicing there is no chirp from 0 Hz."""
    spread = pitch_of_samples(torch.tensor([[0.0, 0.0, 200.0, 220.0, 0.0]]), HOP, glide=glide)
    assert spread.shape == (1, 4 * HOP)
    voiced = spread[spread > 0]
    assert voiced.min() >= 200 and voiced.max() <= 220
    assert (spread[0] > 0).nonzero()[0] == 3 * HOP // 2 and (spread[0] > 0).nonzero()[-1] == 7 * HOP // 2 - 1
    assert (len(voiced.unique()) == 2) != glide


def test_a_jump_of_the_pitch_does_not_break_the_wave():
    made = sines(torch.tensor([[120.0] * 5 + [240.0] * 5]), 1, glide=False)[0, 0]
    assert float(made.diff().abs().max()) <= 2 * math.pi * 240 / RATE + 1e-4
