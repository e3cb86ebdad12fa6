"""The variance-preserving cosine path between noise and data, learnt by its velocity (Salimans and Ho, 2022; DiTAR, 3.4).

x_t = sin(pi t / 2) data + cos(pi t / 2) noise, so t = 0 is noise and t = 1 data, as everywhere here (DiTAR's own t runs the
other way). From a state and its velocity both data and noise follow exactly, which makes every step of the sampler that of
DDIM (Song et al., 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from speechgen.core.protocols import Progress

__all__ = ["interpolate", "sample", "separate"]

HALF_PI = math.pi / 2


def interpolate(noise: Tensor, data: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point at time `t [B]` on the path and its velocity."""
    angle = HALF_PI * t.view(-1, *[1] * (data.dim() - 1))
    return angle.sin() * data + angle.cos() * noise, HALF_PI * (angle.cos() * data - angle.sin() * noise)


def separate(x: Tensor, velocity: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """Return the data and the noise that a state at time t and its velocity are made of."""
    sin, cos = math.sin(HALF_PI * t), math.cos(HALF_PI * t)
    slope = velocity / HALF_PI
    return sin * x + cos * slope, cos * x - sin * slope


def sample(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    times: Tensor,
    temperature: float = 1.0,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """Follow the path backwards in noise, which enters where the temperature says (DiTAR, section 3.5).

    At temperature 1 the path begins with noise. At 0 it begins with zeros and no noise enters: the same for every seed.
    Between them it begins with zeros, and noise takes the place of what was predicted as noise at time 1 - temperature.

    Args:
        velocity: maps x [B, ...] and t [B] to a tensor shaped like x.
        noise: [B, ...] unit Gaussian.
        times: [N + 1] increasing from 0 to 1; noise enters at the one that is nearest.
        temperature: in [0, 1].
        progress: called after each step.
    """
    grid = times.tolist()
    entry = min(range(len(grid)), key=lambda index: abs(grid[index] - (1 - temperature)))
    x = noise if entry == 0 else torch.zeros_like(noise)
    for index, (now, after) in enumerate(zip(grid, grid[1:], strict=False), 1):
        data, residue = separate(x, velocity(x, x.new_full((len(x),), now)), now)
        if index == entry and after < 1:
            residue = noise
        x = math.sin(HALF_PI * after) * data + math.cos(HALF_PI * after) * residue if after < 1 else data
        if progress is not None:
            progress(index, len(grid) - 1)
    return x
