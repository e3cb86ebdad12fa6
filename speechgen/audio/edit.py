"""Cutting and joining recordings: joins that neither click nor dip, at levels that match.

The two sides of a join sound alike but need not have the same phase: a vocoder chooses its own. So the second is moved by a
few milliseconds to where the two agree best, and they are faded into each other at constant power for how alike they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["FADE_SECONDS", "cross_fade", "lag_between", "level_gain", "projection"]

FADE_SECONDS = 0.01
LAG_SECONDS = 0.004
"""How far a join may move: half the period of the lowest voices."""
MAX_LEVEL_CHANGE = 10 ** (4 / 20)


def lag_between(first: Tensor, second: Tensor, place: int, rate: int) -> int:
    """Return by how many samples to go further in `second`, so that from `place` on it agrees best with `first`.

    Args:
        first: [N] what is to be matched.
        second: [L] where it is looked for; samples beyond its edges are zeros.
        place: sample of `second` at which the search begins, in both directions.
        rate: samples per second.

    Returns:
        A lag of at most LAG_SECONDS; 0 where either is silent.
    """
    reach, size = int(LAG_SECONDS * rate), len(first)
    padded = torch.nn.functional.pad(second, (reach + size, reach + size))
    searched = padded[place + size : place + 2 * size + 2 * reach].unfold(0, size, 1)  # [2 reach + 1, N]
    likeness = (searched @ first) / (searched.square().sum(1) * first.square().sum()).sqrt().clamp(min=1e-9)
    best = int(likeness.argmax())
    return best - reach if float(likeness[best]) > 0 else 0


def cross_fade(first: Tensor, second: Tensor) -> Tensor:
    """Fade from `first` to `second`, [C, N] each, at a constant power whether they have the same phase or not."""
    size = first.shape[-1]
    rise = (torch.arange(size, dtype=first.dtype) + 0.5) / max(1, size)
    energy = (first.square().sum() * second.square().sum()).sqrt()
    likeness = float(((first * second).sum() / energy.clamp(min=1e-12)).clamp(0, 1))
    power = rise.square() + (1 - rise).square() + 2 * likeness * rise * (1 - rise)
    return ((1 - rise) * first + rise * second) / power.sqrt()


def level_gain(wanted: Tensor, made: Tensor) -> float:
    """Return what `made` is multiplied by to be as loud as `wanted`, the same sound; within 4 dB of 1."""
    powers = (float(wanted.square().sum()), float(made.square().sum()))
    gain = (powers[0] / powers[1]) ** 0.5 if min(powers) > 1e-9 else 1.0
    return min(MAX_LEVEL_CHANGE, max(1 / MAX_LEVEL_CHANGE, gain))


def projection(channels: Tensor, mono: Tensor) -> Tensor:
    """Return how much of `mono` [L] each of the `channels` [C, L] holds, [C]: where in the stereo picture a voice stands."""
    power = mono.square().sum()
    return channels @ mono / power if float(power) > 1e-9 else channels.new_ones(len(channels))
