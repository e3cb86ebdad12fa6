"""Metrics against a reference: exact on identical signals, falling with noise, clear about silence and length."""

import math

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.spectral import mel_distance, pesq_wideband, stoi

RATE = 16000


def speechlike(seconds: float = 2.0, rate: int = RATE) -> torch.Tensor:
    """A buzz at 120 Hz with syllables of 5 Hz: harmonics and pauses enough for PESQ and STOI."""
    time = torch.arange(int(seconds * rate)) / rate
    buzz = sum(torch.sin(2 * math.pi * 120 * harmonic * time) / harmonic for harmonic in range(1, 30))
    return 0.1 * buzz * torch.sin(math.pi * 5 * time).square()


def with_noise(samples: torch.Tensor, decibels: float) -> torch.Tensor:
    noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(0))
    return samples + noise * samples.std() * 10 ** (-decibels / 20)


@pytest.mark.parametrize(("metric", "best", "package"), [(pesq_wideband, 4.644, "pesq"), (stoi, 1.0, "pystoi")])
def test_identical_signals_score_best_and_noise_lowers_the_score(metric, best, package):
    pytest.importorskip(package)
    clean = speechlike()
    scores = [metric(Waveform.single(clean, RATE), Waveform.single(with_noise(clean, snr), RATE)) for snr in (math.inf, 20, 0)]
    assert scores[0] == pytest.approx(best, abs=1e-3)
    assert scores[0] > scores[1] + 0.01 and scores[1] > scores[2] + 0.01


def test_a_longer_signal_at_another_rate_is_resampled_and_cropped():
    pytest.importorskip("pystoi")
    longer = torch.cat([speechlike(rate=24000), torch.zeros(6000)])
    assert stoi(Waveform.single(speechlike(), RATE), Waveform.single(longer, 24000)) > 0.99


def test_mel_distance_of_a_scaled_signal_is_the_logarithm_of_the_scale():
    """Closed form: all magnitudes halve, so every natural logarithm falls by ln 2 (white noise stays above the floor)."""
    noise = 0.1 * torch.randn(24000, generator=torch.Generator().manual_seed(0))
    loud, soft = Waveform.single(noise, 24000), Waveform.single(noise / 2, 24000)
    assert mel_distance(loud, loud) == 0
    assert mel_distance(loud, soft) == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize("metric", [pesq_wideband, stoi, mel_distance])
def test_a_silent_or_empty_reference_is_an_error(metric):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    speech = Waveform.single(speechlike(), RATE)
    with pytest.raises(UserError, match="reference is silent"):
        metric(Waveform.single(torch.zeros(RATE), RATE), speech)
    with pytest.raises(UserError, match="empty"):
        metric(Waveform.single(torch.zeros(0), RATE), speech)


@pytest.mark.parametrize(("metric", "package"), [(pesq_wideband, "pesq"), (stoi, "pystoi"), (mel_distance, "torch")])
def test_too_short_a_signal_is_an_error(metric, package):
    pytest.importorskip(package)
    short = Waveform.single(speechlike(0.02), RATE)
    with pytest.raises(UserError):
        metric(short, short)


def test_a_batch_of_two_is_refused():
    pair = Waveform(torch.ones(2, RATE), torch.tensor([RATE, RATE]), RATE)
    with pytest.raises(UserError, match="one signal at a time"):
        mel_distance(pair, pair)
