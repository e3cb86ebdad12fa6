"""Compiled parts of sampling against what they compute."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechgen.nn import fused, fused_draw
from speechgen.nn.fused_vector import LANES, WIDTH, compiled, load, panels, product, store

ROWS = pytest.mark.parametrize("rows", [1, LANES], ids=["one-row", "group"])


def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "expected", "bound"),
    [
        (fused.gelu, F.gelu, 1e-6),
        (fused.tanh, torch.tanh, 1e-6),
        (fused.sigmoid, torch.sigmoid, 1e-6),
        (fused_draw.exponential, torch.exp, 1e-6),
    ],
    ids=["gelu", "tanh", "sigmoid", "exp"],
)
def test_functions_of_vectors_are_exact_to_a_millionth(ours, expected, bound):
    @compiled
    def apply(x, y):
        for place in range(0, x.size, WIDTH):
            store(y, place, ours(load(x, place)))

    x = np.linspace(-90, 0 if ours is fused_draw.exponential else 90, 4096 * WIDTH, dtype=np.float32)
    x[: len(x) // 2] /= 20
    y = np.empty_like(x)
    apply(x, y)
    exact = expected(torch.from_numpy(x).double()).numpy()
    assert (np.abs(y - exact) / np.maximum(1, np.abs(exact))).max() < bound


@ROWS
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (48, 80), (16, 144)])
def test_products_are_those_of_numpy(rows, inputs, outputs):
    x, weight, bias, y = numbers(inputs, rows), numbers(inputs, outputs), numbers(outputs), numbers(outputs, rows)

    @compiled
    def multiply(x, weight, bias, y):
        product(x, weight, bias, y)

    multiply(x, panels(weight), bias, y)
    np.testing.assert_allclose(y, weight.T.astype(np.float64) @ x + bias[:, None], atol=2e-5)


@ROWS
def test_norms_leave_out_what_channels_are_filled_up_with(rows):
    x, y = numbers(32, rows, scale=3.0) + 2, np.empty((32, rows), np.float32)
    gain, bias = numbers(32), numbers(32)
    x[19:], gain[19:], bias[19:] = 0, 0, 0

    @compiled
    def norm(x, gain, bias, y):
        fused.normalize(x, gain, bias, 19, y)

    norm(x, gain, bias, y)
    given = [torch.from_numpy(each[:19]) for each in (x, gain, bias)]
    expected = F.layer_norm(given[0].T, (19,), given[1], given[2]).T
    torch.testing.assert_close(torch.from_numpy(y[:19]), expected, rtol=1e-5, atol=1e-5)
    assert not y[19:].any()


def test_each_part_of_a_dimension_is_filled_up():
    filled = fused.padded(torch.arange(1.0, 13).view(2, 6), 1, 2)
    assert filled.shape == (16, 32)
    assert filled[0].nonzero()[0].tolist() == [0, 1, 2, 16, 17, 18] and filled[1, 16] == 10 and not filled[2:].any()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.6), (1.3, 0.8), (0.0, 1.0)])
def test_a_group_draws_what_single_rows_draw(temperature, top_p):
    logits = numbers(LANES, 256, scale=2.0)
    uniform = np.random.default_rng(1).random(LANES).astype(np.float32)
    uniform[:2] = 0, 1 - 2**-24
    logits[1, 200:] = -200  # the largest number is no reason to draw what cannot be
    settings = np.float32(temperature), np.float32(top_p)
    single, together = (np.full(LANES, -1) for _ in range(2))
    single[5] = together[5] = 77  # known
    bits, more = np.zeros(LANES), np.zeros(LANES)
    fused_draw.draw(logits, uniform, *settings, np.zeros(256, np.float32), single, bits)

    @compiled
    def draw_group(logits, uniform, temperature, top_p, p, levels, bits):
        fused_draw.draw_next(logits, uniform, temperature, top_p, p, levels, bits)

    across = np.ascontiguousarray(logits.T)
    draw_group(across, uniform, *settings, np.zeros_like(across), together, more)
    assert single.tolist() == together.tolist() and single[5] == 77 and single[1] < 200
    logs = torch.from_numpy(logits).double().log_softmax(-1).gather(1, torch.from_numpy(single)[:, None])[:, 0] / math.log(2)
    np.testing.assert_allclose(bits, -logs, atol=1e-4)
    np.testing.assert_allclose(more, -logs, atol=1e-4)


def test_rows_are_computed_in_groups_where_that_is_worth_it():
    seen = []

    def advance(lanes, levels, uniform, settings, bits):
        seen.append((lanes, levels.shape))
        levels[levels < 0] = 9
        bits += levels[-1]

    cases = {1: [1], 3: [1, 1, 1], LANES: [LANES], LANES + 2: [LANES, 1, 1], 2 * LANES - 1: [LANES, LANES]}
    for rows, expected in cases.items():
        seen.clear()
        sampler = fused.FusedSampler(rows, lambda lanes: lanes, advance)
        known = np.full((4, rows), -1)
        known[-1] = np.arange(rows)
        sampler.run(known, np.zeros((4, rows), np.float32), 1.0, 1.0)
        assert sorted(seen) == [(lanes, (4, lanes)) for lanes in sorted(expected)]
        assert (known[:3] == 9).all() and sampler.bits.tolist() == list(range(rows))
