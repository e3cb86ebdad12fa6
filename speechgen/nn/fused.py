"""Compiled parts of autoregressive sampling (numba): one sample of a few rows costs microseconds, not a thousand calls.

Activations are [channels, B], float32, B being 1 or LANES, and channels a multiple of WIDTH, the surplus ones zero. Vectors go
along the channels of a single row, or along the rows. Functions are polynomials without branches.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechgen.nn.fused_vector import LANES, WIDTH, inner, load, maximum, minimum, root, splat, spread, store, total

__all__ = ["BEGINNING", "FusedSampler", "add", "copy", "gelu", "normalize", "padded", "sigmoid", "tanh"]

F = np.float32
BEGINNING = 128
"""The level that is before the first: silence."""
WORTH_A_GROUP = LANES // 4
"""So many rows are made faster as a group that is not full than one after another."""


class FusedSampler:
    """Rows that are made sample by sample by compiled code, group by group, on as many threads as torch has.

    Args:
        rows: B.
        start: makes the state of so many rows that are computed together, 1 or LANES.
        advance: state, levels [L, b] and numbers [L, b] as of `run`, temperature and top_p, and bits [b] to which is added.
        multiplications: of a sample of a row, each with an addition, in products of matrices and recurrences.
    """

    def __init__(
        self, rows: int, start: Callable[[int], Any], advance: Callable[..., None], multiplications: float = 0.0
    ) -> None:
        self.rows, self.bits, self.multiplications, self._advance = rows, np.zeros(rows), multiplications, advance
        self._groups: list[tuple[slice, int, Any]] = []
        first = 0
        while first < rows:
            lanes = LANES if rows - first >= WORTH_A_GROUP else 1
            self._groups.append((slice(first, min(first + lanes, rows)), lanes, start(lanes)))
            first += lanes

    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by L samples; `bits` grows by their information.

        Args:
            known: [L, B] levels, negative where one is to be drawn; filled in.
            uniform: [L, B] in [0, 1), what is drawn with.
            temperature: divides the logits.
            top_p: share of the probability that may be drawn from.
        """
        with ThreadPoolExecutor(min(torch.get_num_threads(), len(self._groups))) as pool:  # compiled code lets others run
            done = [pool.submit(self._run_group, group, known, uniform, (F(temperature), F(top_p))) for group in self._groups]
        for each in done:
            each.result()

    def _run_group(
        self,
        group: tuple[slice, int, Any],
        known: NDArray[np.int64],
        uniform: NDArray[np.float32],
        settings: tuple[np.float32, np.float32],
    ) -> None:
        rows, lanes, state = group
        count = rows.stop - rows.start
        levels, numbers, bits = np.zeros((len(known), lanes), np.int64), np.zeros((len(known), lanes), F), np.zeros(lanes)
        levels[:, :count], numbers[:, :count] = known[:, rows], uniform[:, rows]
        self._advance(state, levels, numbers, settings, bits)
        known[:, rows] = levels[:, :count]
        self.bits[rows] += bits[:count]


def padded(value: Tensor, *parts: int) -> NDArray[np.float32]:
    """An array whose last dimensions are filled up with zeros to multiples of WIDTH.

    Args:
        value: of any shape.
        parts: of how many parts side by side each of the last dimensions consists; each part is filled up.
    """
    for place, count in zip(range(value.dim() - len(parts), value.dim()), parts, strict=True):
        divided = value.unflatten(place, (count, -1)).transpose(place + 1, -1)
        divided = torch.nn.functional.pad(divided, (0, -divided.shape[-1] % WIDTH))
        value = divided.transpose(place + 1, -1).flatten(place, place + 1)
    return np.ascontiguousarray(value.detach().cpu().float().numpy())


@inner
def normalize(x, gain, bias, width, y):  # type: ignore[no-untyped-def]
    """Layer norm of the first `width` channels: x [P, B] to y [P, B], both may be the same; gain and bias [P], zero behind."""
    channels, rows = x.shape
    if rows == 1:
        sum_ = splat(F(0))
        for h in range(0, channels, WIDTH):
            sum_ += load(x, h)
        mean = splat(total(sum_) / F(width))
        sum_ = splat(F(0))
        for h in range(0, channels, WIDTH):
            distance = load(x, h) - mean
            sum_ += distance * distance
        surplus = F(channels - width) * total(mean * mean) / F(WIDTH)
        scale = splat(F(1) / np.sqrt(max(total(sum_) - surplus, F(0)) / F(width) + F(1e-5)))
        for h in range(0, channels, WIDTH):
            store(y, h, (load(x, h) - mean) * scale * load(gain, h) + load(bias, h))
        return
    share = splat(F(1) / F(width))
    for b in range(0, rows, WIDTH):
        sum_ = splat(F(0))
        for h in range(width):
            sum_ += load(x, h * rows + b)
        mean = sum_ * share
        sum_ = splat(F(0))
        for h in range(width):
            distance = load(x, h * rows + b) - mean
            sum_ += distance * distance
        scale = splat(F(1)) / root(sum_ * share + splat(F(1e-5)))
        for h in range(channels):
            store(y, h * rows + b, (load(x, h * rows + b) - mean) * scale * spread(gain, h) + spread(bias, h))


@inner
def add(x, y):  # type: ignore[no-untyped-def]
    """X += y, arrays of the same size."""
    for place in range(0, x.size, WIDTH):
        store(x, place, load(x, place) + load(y, place))


@inner
def copy(x, y):  # type: ignore[no-untyped-def]
    """Y = x, arrays of the same size."""
    for place in range(0, x.size, WIDTH):
        store(y, place, load(x, place))


@inner
def gelu(v):  # type: ignore[no-untyped-def]
    """V Phi(v) of a vector, with a rational approximation of erf to about 1e-7."""
    bound = splat(F(3.832506856900711))
    t = minimum(maximum(v * splat(F(0.7071067811865476)), splat(F(0)) - bound), bound)
    s = t * t
    p = splat(F(0.00022905065861350646)) * s + splat(F(0.0034082910107109506))
    p = p * s + splat(F(0.050955695062380861))
    p = p * s + splat(F(0.18520832239976145))
    p = (p * s + splat(F(1.128379143519084))) * t
    q = splat(F(-1.1791602954361697e-7)) * s + splat(F(0.000023547966471313185))
    q = q * s + splat(F(0.0010179625278914885))
    q = q * s + splat(F(0.014070470171167667))
    q = q * s + splat(F(0.11098505178285362))
    q = q * s + splat(F(0.49746925110067538))
    q = q * s + splat(F(1.0))
    return splat(F(0.5)) * v * (splat(F(1.0)) + p / q)


@inner
def tanh(v):  # type: ignore[no-untyped-def]
    """Hyperbolic tangent of a vector, a rational approximation to about 1e-7."""
    bound = splat(F(7.90531110763549805))
    t = minimum(maximum(v, splat(F(0)) - bound), bound)
    s = t * t
    p = splat(F(-2.76076847742355e-16)) * s + splat(F(2.00018790482477e-13))
    p = p * s + splat(F(-8.60467152213735e-11))
    p = p * s + splat(F(5.12229709037114e-08))
    p = p * s + splat(F(1.48572235717979e-05))
    p = p * s + splat(F(6.37261928875436e-04))
    p = (p * s + splat(F(4.89352455891786e-03))) * t
    q = splat(F(1.19825839466702e-06)) * s + splat(F(1.18534705686654e-04))
    q = q * s + splat(F(2.26843463243900e-03))
    q = q * s + splat(F(4.89352518554385e-03))
    return p / q


@inner
def sigmoid(v):  # type: ignore[no-untyped-def]
    """Logistic function of a vector."""
    half = splat(F(0.5))
    return half + half * tanh(half * v)
