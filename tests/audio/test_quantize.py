"""The 8-bit quantisers."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.audio.quantize import QUANTIZERS, bits_per_sample, dequantize, quantize, read_levels
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform

both = pytest.mark.parametrize("quantizer", QUANTIZERS)


@both
def test_all_levels_come_back_as_they_were_and_rise(quantizer):
    levels = torch.arange(256)
    samples = dequantize(levels, quantizer)
    assert torch.equal(quantize(samples, quantizer), levels)
    assert (samples.diff() > 0).all() and samples.min() == -1 and samples.max() < 1


@both
def test_silence_is_the_middle_level_and_full_scale_the_outermost(quantizer):
    assert quantize(torch.tensor([0.0, -1.0, 1.0]), quantizer).tolist() == [128, 0, 255]
    assert dequantize(torch.tensor([128]), quantizer).item() == 0


def test_the_error_of_the_linear_quantiser_is_half_a_step():
    samples = torch.linspace(-1, 127.4 / 128, 5001)
    assert (dequantize(quantize(samples, "linear"), "linear") - samples).abs().max() <= 0.5 / 128 + 1e-6


def test_mu_law_is_fine_where_it_is_quiet():
    """Its steps are proportional to 1 + 255 |x|: near silence 255 / (128 ln 256) times as fine as linear ones are coarse."""
    samples = torch.linspace(-0.004, 0.004, 401)
    error = (dequantize(quantize(samples, "mu-law"), "mu-law") - samples).abs()
    bound = 0.5 / 128 * math.log(256) * (1 + 255 * samples.abs()) / 255
    assert (error <= 1.03 * bound).all()


def test_an_unknown_quantiser_is_named_with_those_that_there_are():
    with pytest.raises(UserError, match="unknown quantiser 'mulaw': did you mean 'mu-law'"):
        quantize(torch.zeros(1), "mulaw")  # type: ignore[arg-type]


def test_levels_are_read_at_another_rate_and_are_silent_behind_the_end():
    audio = Waveform(torch.full((2, 2400), 0.5), torch.tensor([2400, 1200]), 24000)
    levels, lengths = read_levels(audio, 8000, "linear", tail_seconds=0.01)
    assert lengths.tolist() == [880, 480] and levels.shape == (2, 880)
    assert (levels[0, 100:700] == 192).all()
    assert (levels[1, 400:] == 128).all() and (levels[0, 800:] == 128).all()


def test_a_uniform_distribution_costs_eight_bits_and_only_real_samples_count():
    logits = torch.zeros(2, 5, 256)
    logits[1, 3:, 7] = 30.0
    levels = torch.full((2, 5), 7)
    assert bits_per_sample(logits, levels, torch.tensor([5, 3])).item() == pytest.approx(8.0)
    assert bits_per_sample(logits, levels, torch.tensor([5, 5])).item() == pytest.approx(8.0 * 8 / 10, abs=1e-5)
