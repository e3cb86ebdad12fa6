"""SampleRNN's tiers sample by sample, compiled: recurrent layers at several rates, and a perceptron on the last few levels.

The embedding is folded into the first convolution: what a level at a place contributes is a row of a table.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechgen.nn.fused import compiled, draw, inlined, inner, product, sigmoid, tanh

__all__ = ["FusedTiers"]

F = np.float32
Tier = namedtuple("Tier", "input input_bias ih ih_bias hh hh_bias spread spread_bias")
"""Weights [I, O] of a tier; ih and hh [layers, D, 3 D]; spread [D, parts * D]."""
Perceptron = namedtuple("Perceptron", "table inner inner_bias head head_bias")
"""table [window, 256, D]."""
Scratch = namedtuple("Scratch", "x gates recurrent y inner logits integers")


class FusedTiers:
    """The tiers, lowest first, and the perceptron, as a sampler of `rows` rows.

    Args:
        tiers: with `input`, `rnn`, `spread` and `spread_bias`, and the hidden states they begin with in `initial`.
        frames: levels in a frame of each tier.
        embedding: of the levels.
        layers: the perceptron's: a convolution of the window, an inner one and the head.
        rows: B, generated side by side.
    """

    def __init__(
        self,
        tiers: Sequence[nn.Module],
        frames: Sequence[int],
        embedding: nn.Embedding,
        layers: tuple[nn.Conv1d, nn.Linear, nn.Linear],
        rows: int,
    ) -> None:
        self._tiers = tuple(_tier(each) for each in tiers)
        convolution, inner, head = layers
        table = torch.einsum("vi,oik->kvo", embedding.weight, convolution.weight)
        self._perceptron = Perceptron(_array(table), *_linear(inner), *_linear(head))
        self._frames = np.array(frames, np.int64)
        self._initial = [_array(each.initial) for each in tiers]  # type: ignore[arg-type]
        self.rows = rows
        self.reset()

    def reset(self) -> None:
        """Go back to before the first sample."""
        rows, width = self.rows, self._perceptron.inner.shape[0]
        self._hidden = tuple(np.repeat(each[:, None], rows, 1) for each in self._initial)  # [layers, B, D]
        self._told = tuple(np.zeros((rows, each.spread.shape[1]), F) for each in self._tiers)
        self._frame = tuple(np.zeros((rows, int(size)), F) for size in self._frames)
        self._past = np.full((rows, int(self._frames[-1])), 128, np.int64)
        self._clock = np.zeros(1, np.int64)
        levels = self._perceptron.head.shape[1]
        shapes = (width, 3 * width, 3 * width, width, width, levels)
        self._work = Scratch(*(np.zeros((rows, size), F) for size in shapes), np.zeros(levels, np.int32))
        self.bits = np.zeros(rows, np.float64)

    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by L samples; `bits` grows by their information.

        Args:
            known: [L, B] levels, negative where one is to be drawn; filled in.
            uniform: [L, B] in [0, 1), what is drawn with.
            temperature: divides the logits.
            top_p: share of the probability that may be drawn from.
        """
        states = (self._hidden, self._told, self._frame, self._past, self._clock)
        _run(self._tiers, self._perceptron, self._frames, states, self._work, known, uniform,
             (F(temperature), F(top_p)), self.bits)  # fmt: skip


def _array(value: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(value.detach().cpu().float().numpy())


def _linear(layer: nn.Linear) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [I, O] and bias [O]; weight normalisation is applied."""
    return _array(layer.weight.t()), _array(layer.bias)


def _tier(tier: nn.Module) -> Tier:
    rnn, spread = tier.rnn, tier.spread.weight  # type: ignore[union-attr]
    assert isinstance(rnn, nn.GRU) and isinstance(spread, Tensor) and isinstance(tier.input, nn.Linear)
    layers = range(rnn.num_layers)
    gates = [
        np.stack([_array(getattr(rnn, f"{kind}_l{layer}").t()) for layer in layers])
        for kind in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    ]
    spread_bias = tier.spread_bias.t().flatten()  # type: ignore[operator, union-attr]
    return Tier(*_linear(tier.input), *gates, _array(spread.transpose(1, 2).flatten(1)), _array(spread_bias))


@inlined
def _recur(tier, layer, hidden, work):  # type: ignore[no-untyped-def]
    """One layer of gated recurrent units: work.x [B, D] to `hidden` [B, D], and to work.x for the next layer."""
    product(work.x, tier.ih[layer], tier.ih_bias[layer], work.gates)
    product(hidden, tier.hh[layer], tier.hh_bias[layer], work.recurrent)
    width = hidden.shape[1]
    for b in range(hidden.shape[0]):
        given, own, state, out = work.gates[b], work.recurrent[b], hidden[b], work.x[b]
        for h in range(width):
            reset = sigmoid(given[h] + own[h])
            update = sigmoid(given[width + h] + own[width + h])
            candidate = tanh(given[2 * width + h] + reset * own[2 * width + h])
            state[h] = candidate + update * (state[h] - candidate)
            out[h] = state[h]


@inlined
def _listen(tiers, frames, states, work, time):  # type: ignore[no-untyped-def]
    """Let each tier, from the highest, hear the frame that has ended just now, if one has."""
    hidden, told, values, past, _ = states
    for k in range(len(tiers) - 1, -1, -1):
        size, width = frames[k], work.x.shape[1]
        if time % size:
            continue
        first = past.shape[1] - size
        for b in range(past.shape[0]):
            for i in range(size):
                values[k][b, i] = F(past[b, first + i] - 128) * F(1 / 64)
        product(values[k], tiers[k].input, tiers[k].input_bias, work.x)
        if k + 1 < len(tiers):
            start = (time % frames[k + 1]) // size * width
            for b in range(past.shape[0]):
                above, x = told[k + 1][b], work.x[b]
                for h in range(width):
                    x[h] += above[start + h]
        for layer in range(tiers[k].ih.shape[0]):
            _recur(tiers[k], layer, hidden[k][layer], work)
        product(work.x, tiers[k].spread, tiers[k].spread_bias, told[k])


@inner
def _rectify(x):  # type: ignore[no-untyped-def]
    for b in range(x.shape[0]):
        row = x[b]
        for h in range(row.shape[0]):
            row[h] = max(row[h], F(0))


@compiled
def _run(tiers, perceptron, frames, states, work, known, uniform, settings, bits):  # type: ignore[no-untyped-def]
    """The loop over samples."""
    told, past, clock = states[1], states[3], states[4]
    window, width = perceptron.table.shape[0], work.y.shape[1]
    lookback = past.shape[1]
    for t in range(known.shape[0]):
        _listen(tiers, frames, states, work, clock[0])
        start = (clock[0] % window) * width
        for b in range(past.shape[0]):
            y, above = work.y[b], told[0][b]
            for h in range(width):
                y[h] = above[start + h]
            for i in range(window):
                row = perceptron.table[i, past[b, lookback - window + i]]
                for h in range(width):
                    y[h] += row[h]
        _rectify(work.y)
        product(work.y, perceptron.inner, perceptron.inner_bias, work.inner)
        _rectify(work.inner)
        product(work.inner, perceptron.head, perceptron.head_bias, work.logits)
        draw(work.logits, uniform[t], settings[0], settings[1], work.integers, known[t], bits)
        for b in range(past.shape[0]):
            for i in range(lookback - 1):
                past[b, i] = past[b, i + 1]
            past[b, lookback - 1] = known[t, b]
        clock[0] += 1
