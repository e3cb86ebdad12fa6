"""Filters pass what they should, move as they are told, and see only the past where they say so."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.nn.fir import design_low_pass, filter_fixed, filter_moving, windowed_sincs
from speechgen.nn.neural_filter import NeuralFilterBlock


def gain(taps: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Gain of symmetric taps [K] at frequencies in turns a sample: that of the middle tap's phase, with its sign."""
    place = torch.arange(len(taps)) - len(taps) // 2
    return torch.cos(2 * math.pi * frequencies[:, None] * place) @ taps


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_designed_filter_passes_and_stops_its_bands(rate, mirrored):
    taps = design_low_pass(1000, 3000, rate, 2 * (5 * rate // 16000) + 1, mirrored=mirrored)
    frequencies = torch.linspace(0, 0.5, 500)
    found = gain(taps, frequencies)
    band = 0.5 - frequencies if mirrored else frequencies
    assert float((found[band <= 1000 / rate] - 1).abs().max()) < 0.4
    assert float(found[band >= 3000 / rate].abs().max()) < 0.03
    torch.testing.assert_close(taps, taps.flip(0))


@pytest.mark.parametrize("cutoff", [0.1, 0.35, 0.6, 0.9])
def test_low_and_high_pass_sincs_meet_at_the_cutoff_and_make_up_the_whole(cutoff):
    low, high = (taps[0, 0] for taps in windowed_sincs(torch.full((1, 1), cutoff), 31))
    frequencies = torch.linspace(0, 0.5, 200)
    gains = gain(low, frequencies), gain(high, frequencies)
    assert float(gains[0][0]) == pytest.approx(1, abs=1e-5) and float(gains[1][-1]) == pytest.approx(1, abs=1e-5)
    assert float((gains[0] + gains[1] - 1).abs().max()) < 0.03
    assert float(gain(low, torch.tensor([cutoff / 2]))) == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(low, low.flip(0))  # no delay, and the same for both
    torch.testing.assert_close(high, high.flip(0))


@pytest.mark.parametrize("stretch", [1, 4])
def test_moving_filters_equal_the_sum_written_out(stretch):
    rng = torch.Generator().manual_seed(0)
    taps, signal = torch.randn(2, 6, 5, generator=rng), torch.randn(2, 6 * stretch, generator=rng)
    taps = taps + taps.flip(-1)
    found = filter_moving(signal, taps)
    for row in range(2):
        for at in range(6 * stretch):
            inside = [k for k in range(-2, 3) if 0 <= at + k < 6 * stretch]
            expected = sum(signal[row, at + k] * taps[row, at // stretch, k + 2] for k in inside)
            assert float(found[row, at]) == pytest.approx(float(expected), abs=1e-5)


def test_filters_that_do_not_move_equal_a_fixed_one():
    signal = torch.randn(1, 40, generator=torch.Generator().manual_seed(1))
    low, _ = windowed_sincs(torch.tensor([[0.4]]), 15)
    torch.testing.assert_close(filter_moving(signal, low.expand(1, 40, 15)), filter_fixed(signal, low[0, 0]))


@pytest.mark.parametrize(("fold", "layers"), [(1, 4), (8, 3)])
@pytest.mark.parametrize("modulated", [False, True])
def test_a_filter_block_sees_its_reach_into_the_past_and_no_future(fold, layers, modulated):
    torch.manual_seed(0)
    block = NeuralFilterBlock(fold, 8, layers, modulated)
    steps, at = 64, 40 * fold
    context = torch.randn(1, block.context_width, steps // 4)
    signal = torch.randn(1, steps * fold, requires_grad=True)
    grad = torch.autograd.grad(block(signal, context)[0, at], signal)[0][0]
    seen = grad.nonzero()[:, 0]
    assert seen[0] >= at - block.reach_samples and seen[-1] < at + fold  # neighbours in a fold see each other
    assert seen[0] <= at - block.reach_samples + 2 * fold


def test_the_harmonic_branch_of_the_paper_sees_10231_samples():
    assert 1 + 5 * (NeuralFilterBlock(1, 4, 10, False).reach_samples - 1) == 10_231


def test_samples_of_a_context_share_it():
    """A context for every step that stands still is the context for all."""
    torch.manual_seed(0)
    block, signal = NeuralFilterBlock(4, 8, 2, True), torch.randn(1, 64)
    one = torch.randn(1, block.context_width, 1)
    torch.testing.assert_close(block(signal, one), block(signal, one.expand(-1, -1, 16).contiguous()))
