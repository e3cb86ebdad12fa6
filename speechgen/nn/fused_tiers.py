"""SampleRNN's tiers sample by sample, compiled: recurrent layers at several rates, and a perceptron on the last few levels.

Weights are laid out once, channels filled up with zeros to whole vectors. The embedding is folded into the first convolution:
what a level at a place contributes is a row of a table.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechgen.nn.fused import BEGINNING, FusedSampler, add, copy, padded, sigmoid, tanh
from speechgen.nn.fused_draw import draw_next
from speechgen.nn.fused_vector import WIDTH, compiled, inner, load, maximum, panels, product, splat, store

__all__ = ["fused_tiers"]

F = np.float32
Tier = namedtuple("Tier", "input input_bias ih ih_bias hh hh_bias spread spread_bias")
"""Weights [I, O] of a tier; ih and hh [layers, P, 3 P]; spread [P, parts * P]."""
Perceptron = namedtuple("Perceptron", "table inner inner_bias head head_bias")
"""table [window, 256, P]."""
State = namedtuple("State", "hidden told frames past clock x gates recurrent heard y inner logits chances")
"""hidden [layers, P, B] and told [parts * P, B] of each tier, past levels [lookback, B], and outputs of products [O, B]."""


def fused_tiers(
    tiers: Sequence[nn.Module],
    frames: Sequence[int],
    embedding: nn.Embedding,
    layers: tuple[nn.Conv1d, nn.Linear, nn.Linear],
    rows: int,
) -> FusedSampler:
    """A sampler of `rows` rows: the tiers, lowest first, and the perceptron.

    Args:
        tiers: with `input`, `rnn`, `spread` and `spread_bias`, and the hidden states they begin with in `initial`.
        frames: levels in a frame of each tier.
        embedding: of the levels.
        layers: the perceptron's: a convolution of the window, an inner one and the head.
        rows: B, generated side by side.
    """
    weights = tuple(_tier(each) for each in tiers)
    convolution, hidden, head = layers
    table = torch.einsum("vi,oik->kvo", embedding.weight, convolution.weight)
    perceptron = Perceptron(padded(table, 1), *_linear(hidden), *_linear(head))
    sizes = np.array(frames, np.int64)
    initial = [padded(each.initial, 1) for each in tiers]  # type: ignore[arg-type]

    def start(lanes: int) -> State:
        width, levels = perceptron.head.shape
        told = tuple(np.zeros((each.spread.shape[1], lanes), F) for each in weights)
        read = tuple(np.zeros((each.input.shape[0], lanes), F) for each in weights)
        shapes = [(width, lanes), *[(3 * width, lanes)] * 2, (lanes, width), *[(width, lanes)] * 2, *[(levels, lanes)] * 2]
        return State(tuple(np.repeat(each[..., None], lanes, -1) for each in initial), told, read,
                     np.full((int(sizes[-1]), lanes), BEGINNING), np.zeros(1, np.int64),
                     *(np.zeros(shape, F) for shape in shapes))  # fmt: skip

    def advance(state: State, *given: Any) -> None:
        _run(weights, perceptron, sizes, state, *given)

    counted = sum((each.input.size + each.ih.size + each.hh.size + each.spread.size) / frame
                  for each, frame in zip(weights, frames, strict=True))  # fmt: skip
    return FusedSampler(rows, start, advance, counted + perceptron.inner.size + perceptron.head.size)


def _linear(layer: nn.Linear) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [I, O] and bias [O]; weight normalisation is applied."""
    return panels(padded(layer.weight.t(), 1, 1)), padded(layer.bias, 1)


def _tier(tier: nn.Module) -> Tier:
    rnn, spread = tier.rnn, tier.spread.weight  # type: ignore[union-attr]
    assert isinstance(rnn, nn.GRU) and isinstance(spread, Tensor) and isinstance(tier.input, nn.Linear)
    layers = range(rnn.num_layers)
    gates = []
    for kind in ("ih", "hh"):
        gates.append(panels(np.stack([padded(getattr(rnn, f"weight_{kind}_l{layer}").t(), 1, 3) for layer in layers])))
        gates.append(np.stack([padded(getattr(rnn, f"bias_{kind}_l{layer}"), 3) for layer in layers]))
    parts = spread.shape[2]
    spread_bias = tier.spread_bias.t().flatten()  # type: ignore[operator, union-attr]
    told = panels(padded(spread.transpose(1, 2).flatten(1), 1, parts))
    return Tier(*_linear(tier.input), *gates, told, padded(spread_bias, parts))


@inner
def _recur(tier, layer, hidden, state):  # type: ignore[no-untyped-def]
    """One layer of gated recurrent units: state.x [P, B] to `hidden` [P, B], and to state.x for the next layer."""
    given, own, x = state.gates, state.recurrent, state.x
    product(x, tier.ih[layer], tier.ih_bias[layer], given)
    product(hidden, tier.hh[layer], tier.hh_bias[layer], own)
    for h in range(0, x.size, WIDTH):
        reset = sigmoid(load(given, h) + load(own, h))
        update = sigmoid(load(given, x.size + h) + load(own, x.size + h))
        candidate = tanh(load(given, 2 * x.size + h) + reset * load(own, 2 * x.size + h))
        after = candidate + update * (load(hidden, h) - candidate)
        store(hidden, h, after)
        store(x, h, after)


@inner
def _listen(tiers, frames, state, time):  # type: ignore[no-untyped-def]
    """Let each tier, from the highest, hear the frame that has ended just now, if one has."""
    past, x = state.past, state.x
    lookback, rows = past.shape
    for k in range(len(tiers) - 1, -1, -1):
        size, values = frames[k], state.frames[k]
        if time % size:
            continue
        for i in range(size):
            for b in range(rows):
                values[i, b] = F(past[lookback - size + i, b] - BEGINNING) * F(1 / 64)
        product(values, tiers[k].input, tiers[k].input_bias, x)
        if k + 1 < len(tiers):
            place = (time % frames[k + 1]) // size * x.shape[0]
            add(x, state.told[k + 1][place : place + x.shape[0]])
        for layer in range(tiers[k].ih.shape[0]):
            _recur(tiers[k], layer, state.hidden[k][layer], state)
        product(x, tiers[k].spread, tiers[k].spread_bias, state.told[k])


@inner
def _rectify(x):  # type: ignore[no-untyped-def]
    for h in range(0, x.size, WIDTH):
        store(x, h, maximum(load(x, h), splat(F(0))))


@inner
def _hear_levels(table, past, heard, y):  # type: ignore[no-untyped-def]
    """Add to y [P, B] what the last levels contribute."""
    window, levels, channels = table.shape
    lookback, rows = past.shape
    for b in range(rows):
        for h in range(0, channels, WIDTH):
            sum_ = splat(F(0))
            for i in range(window):
                sum_ += load(table, (i * levels + past[lookback - window + i, b]) * channels + h)
            store(heard, b * channels + h, sum_)
    for h in range(channels):
        for b in range(rows):
            y[h, b] += heard[b, h]


@inner
def _remember(past, known, t):  # type: ignore[no-untyped-def]
    """The levels of now behind those of before, [lookback, B]."""
    last = past.shape[0] - 1
    for b in range(past.shape[1]):
        for i in range(last):
            past[i, b] = past[i + 1, b]
        past[last, b] = known[t, b]


@compiled
def _run(tiers, perceptron, frames, state, known, uniform, settings, bits):  # type: ignore[no-untyped-def]
    """The loop over samples."""
    past, clock, y = state.past, state.clock, state.y
    window, width = perceptron.table.shape[0], y.shape[0]
    for t in range(known.shape[0]):
        _listen(tiers, frames, state, clock[0])
        place = (clock[0] % window) * width
        copy(state.told[0][place : place + width], y)
        _hear_levels(perceptron.table, past, state.heard, y)
        _rectify(y)
        product(y, perceptron.inner, perceptron.inner_bias, state.inner)
        _rectify(state.inner)
        product(state.inner, perceptron.head, perceptron.head_bias, state.logits)
        draw_next(state.logits, uniform[t], settings[0], settings[1], state.chances, known[t], bits)
        _remember(past, known, t)
        clock[0] += 1
