"""Adaptive linear prediction as a code: what it must reach on sounds whose information is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from speechgen.audio.quantize import QUANTIZERS
from speechgen.core.types import Waveform
from speechgen.evaluation.prediction import UNIFORM, _edges, _shares, prediction_bits


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_probabilities_of_all_levels_sum_to_one(quantizer):
    edges = _edges(quantizer)
    shares = _shares(np.full(256, 0.1), np.full(256, 0.03), edges, np.arange(256))
    np.testing.assert_allclose(shares.sum(0), 1)
    assert shares.min() >= UNIFORM / 256 and edges[129] > 0 > edges[128]


def test_silence_costs_next_to_nothing_and_noise_what_its_distribution_says():
    rng = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 4000, generator=rng)
    assert prediction_bits(Waveform.single(torch.zeros(2000), 8000), 8000, "linear")[0] < 0.1
    entropy = math.log2(0.1 * math.sqrt(2 * math.pi * math.e) * 128)  # of a normal distribution in steps of 1 / 128
    assert prediction_bits(Waveform(noise, torch.tensor([4000]), 8000), 8000, "linear")[0] == pytest.approx(entropy, abs=0.2)


def test_a_predictable_sound_costs_less_than_noise_of_its_level():
    time = torch.arange(3000) / 8000
    tone = 0.3 * torch.sin(2 * math.pi * 440 * time)
    shuffled = tone[torch.randperm(3000, generator=torch.Generator().manual_seed(0))]
    both = prediction_bits(Waveform(torch.stack((tone, shuffled)), torch.tensor([3000, 3000]), 8000), 8000, "linear")
    assert both[0] < 2.5 < 4.5 < both[1]


def test_tones_that_come_again_stay_predictable():
    """Two partials leave most of 16 dimensions empty; the inverse of their correlation must stay symmetric for all that."""
    time = torch.arange(24000) / 16000
    since = time % 0.5
    tones = (
        0.2 * (110 * 2 * math.pi * time).sin() * (-3 * since).exp()
        + 0.1 * (165 * 2 * math.pi * time).sin() * (-4 * since).exp()
    )
    assert prediction_bits(Waveform.single(tones, 16000), 16000, "mu-law")[0] < 1.2


def test_rows_do_not_see_each_other_nor_what_pads_them():
    rows = 0.1 * torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    together = prediction_bits(Waveform(rows, torch.tensor([500, 300]), 8000), 8000, "mu-law")
    alone = prediction_bits(Waveform.single(rows[1, :300], 8000), 8000, "mu-law")
    assert together[1] == pytest.approx(alone[0])
