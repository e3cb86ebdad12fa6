"""Denoising diffusion with a continuous noise level (Ho et al., 2020; Chen et al., WaveGrad, 2021, section 2).

A level c in (0, 1] is the square root of the remaining signal power, sqrt(alpha_bar): noisy = c data + sqrt(1 - c^2) noise.
A schedule is the betas b_1 .. b_N, in the order in which noise is added; generation goes backwards, from b_N to b_1. The
network is a function of (noisy, level), so weights trained with one schedule generate with any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress

__all__ = [
    "SCHEDULES",
    "ancestral_mean",
    "diffuse",
    "draw_levels",
    "geometric_betas",
    "named_betas",
    "noise_levels",
    "posterior_mean",
    "posterior_scale",
    "predict_data",
    "prediction_error",
    "sample",
    "spaced_betas",
    "thinned_betas",
]


def spaced_betas(first: float, last: float, count: int, *, geometric: bool = False) -> Tensor:
    """Return [N] betas from `first` to `last`, a constant difference or a constant ratio apart."""
    if geometric:
        return torch.logspace(0, 1, count, base=last / first, dtype=torch.float64) * first
    return torch.linspace(first, last, count, dtype=torch.float64)


def geometric_betas(first: float, total: float, count: int) -> Tensor:
    """Return [N] betas a constant ratio apart that begin with `first` and add up to `total`; a single one is `total` itself.

    As many as there are, the same noise is taken away, in steps that become finer where there is little left of it.

    Raises:
        ValueError: not 0 < first < total < 1.
    """
    if not 0 < first < total < 1:
        raise ValueError(f"betas from {first} on cannot add up to {total}: give 0 < first < total < 1")
    if count == 1:
        return torch.tensor([total], dtype=torch.float64)
    places = torch.arange(count, dtype=torch.float64)
    low, high = math.log(1e-3), math.log(total / first)  # of the ratio
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if float((middle * places).exp().sum()) * first < total else (low, middle)
    return first * (high * places).exp()


def _fibonacci(count: int) -> tuple[float, ...]:
    values = [1, 2]
    while len(values) < count:
        values.append(values[-1] + values[-2])
    return tuple(1e-6 * value for value in values[:count])


SCHEDULES: dict[int, tuple[float, ...]] = {
    6: (1e-6, 1.893e-5, 1.194e-4, 1.005e-3, 1.109e-2, 6e-2),
    12: (
        1e-6,
        5.34e-6,
        6.93e-6,
        3.70e-5,
        1.709e-4,
        3.948e-4,
        1.368e-3,
        2.809e-3,
        3.245e-3,
        8.658e-3,
        1.499e-2,
        6e-2,
    ),
    25: _fibonacci(25),
    50: tuple(spaced_betas(1e-4, 0.05, 50).tolist()),
    1000: tuple(spaced_betas(1e-4, 0.005, 1000).tolist()),
}
"""Betas by number of steps: 25, 50 and 1000 as in WaveGrad, appendix A; it does not print its 6, these are published tables."""


def named_betas(steps: int) -> Tensor:
    """Return the betas [N] of a ready-made schedule.

    Raises:
        ValueError: there is none of so many steps.
    """
    if steps not in SCHEDULES:
        raise ValueError(f"no ready-made schedule has {steps} steps: allowed: {', '.join(map(str, SCHEDULES))}; or give betas")
    return torch.tensor(SCHEDULES[steps], dtype=torch.float64)


def noise_levels(betas: Tensor | Sequence[float]) -> Tensor:
    """Return the levels [N + 1] at the ends of the steps: 1, sqrt(1 - b_1), sqrt((1 - b_1)(1 - b_2)), ... in float64."""
    kept = (1 - torch.as_tensor(betas, dtype=torch.float64)).cumprod(0).sqrt()
    return torch.cat((torch.ones(1, dtype=torch.float64), kept))


def thinned_betas(levels: Tensor, steps: int) -> Tensor:
    """Betas [steps] of a schedule through some of the levels [N + 1] that are learnt, as far apart as can be.

    Raises:
        UserError: there are not so many.
    """
    learnt = len(levels) - 1
    if steps > learnt:
        raise UserError(f"{steps} steps are asked for, the model has learnt {learnt}: give at most these")
    chosen = levels[torch.linspace(0, learnt, steps + 1).round().long()]
    return 1 - (chosen[1:] / chosen[:-1]).square()


def draw_levels(levels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draw `count` levels for training: a step at random, then a level between its ends (WaveGrad, algorithm 1).

    The draws are spread over the steps, one in each of `count` equal shares, which leaves the distribution of each as it is.

    Args:
        levels: [N + 1] from `noise_levels`.
        count: B.
        rng: on any device.

    Returns:
        [B] float32 on the generator's device.
    """
    steps = len(levels) - 1
    share = torch.randperm(count, generator=rng, device=rng.device)
    place = (share + torch.rand(count, generator=rng, device=rng.device)) / count * steps
    step = place.long().clamp(max=steps - 1)
    levels = levels.to(rng.device, torch.float32)
    return levels[step] + (place - step) * (levels[step + 1] - levels[step])


def diffuse(data: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Add noise: data [B, ...] and noise alike at levels [B]."""
    level = level.view(-1, *[1] * (data.dim() - 1))
    return level * data + (1 - level.square()).sqrt() * noise


def prediction_error(predict: Callable[[Tensor, Tensor], Tensor], data: Tensor, levels: Tensor, rng: torch.Generator) -> Tensor:
    """What is wrong with the predicted noise, at a level of its own for each row: the like of data [B, ...].

    Args:
        predict: maps what is noisy, and its level [B], to the noise.
        data: [B, ...].
        levels: [N + 1] that are learnt.
        rng: on any device.
    """
    level = draw_levels(levels, len(data), rng).to(data.device)
    noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data.device)
    return predict(diffuse(data, level, noise), level) - noise


def predict_data(noisy: Tensor, noise: Tensor, level: float) -> Tensor:
    """The data that `noisy` is made of, if `noise` is its noise."""
    return (noisy - (1 - level**2) ** 0.5 * noise) / level


def ancestral_mean(noisy: Tensor, noise: Tensor, level: float, before: float) -> Tensor:
    """Mean of the next state, one step nearer to the data, given the predicted noise (Ho et al., algorithm 2).

    Args:
        noisy: the state at `level`.
        noise: predicted.
        level: c of the state.
        before: c of the next state, `before` > `level`.
    """
    alpha = (level / before) ** 2
    return (noisy - (1 - alpha) / (1 - level**2) ** 0.5 * noise) / alpha**0.5


def posterior_mean(noisy: Tensor, data: Tensor, level: float, before: float) -> Tensor:
    """The same mean, given the predicted data (Ho et al., eq. 7)."""
    alpha, noise_power = (level / before) ** 2, 1 - level**2
    return before * (1 - alpha) / noise_power * data + alpha**0.5 * (1 - before**2) / noise_power * noisy


def posterior_scale(level: float, before: float) -> float:
    """Standard deviation of the next state about its mean (Ho et al., eq. 7); 0 where it is the data."""
    return float(((1 - before**2) / (1 - level**2) * (1 - (level / before) ** 2)) ** 0.5)


def sample(
    predict: Callable[[Tensor, float], Tensor],
    betas: Tensor | Sequence[float],
    draw: Callable[[int], Tensor],
    *,
    temperature: float = 1.0,
    limit: float | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Generate from noise, step by step.

    Args:
        predict: maps a state [B, ...] and its level to the noise in it.
        betas: [N], in the order in which noise is added.
        draw: n to unit Gaussian noise [B, ...]: N for the first state, n < N for what is added on the way to state n.
        temperature: scale of all noise that is drawn.
        limit: the predicted data is cut to [-limit, limit] in every step; None: never.
        progress: called after each step.
    """
    levels = noise_levels(betas).tolist()
    count = len(levels) - 1
    state = temperature * draw(count)
    for n in range(count, 0, -1):
        level, before = levels[n], levels[n - 1]
        noise = predict(state, level)
        if limit is None:
            state = ancestral_mean(state, noise, level, before)
        else:
            state = posterior_mean(state, predict_data(state, noise, level).clamp(-limit, limit), level, before)
        if n > 1:
            state = state + temperature * posterior_scale(level, before) * draw(n - 1)
        if progress is not None:
            progress(count - n + 1, count)
    return state
