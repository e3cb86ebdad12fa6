"""Diffusion of long signals: noise that belongs to a place, and networks that see a window at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.random import placed_noise
from speechgen.nn.windows import in_windows
from speechgen.sampling.diffusion import sample

__all__ = ["sample_placed"]


def sample_placed(
    predict: Callable[[Tensor, float, int, int], Tensor],
    betas: Tensor | Sequence[float],
    frames: int,
    like: Tensor,
    *,
    hop: int,
    step: int,
    reach: int,
    rng: torch.Generator,
    first: int = 0,
    temperature: float = 1.0,
    limit: float | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Generate a signal of which any part that is made apart comes out the same, `reach` frames a step from its ends.

    Args:
        predict: (noisy [1, (high - low) * hop], level, low, high) to the noise in these frames.
        betas: [N], in the order in which noise is added.
        frames: of the signal, at least 1.
        like: a tensor on the device and of the type of the signal.
        hop: samples of a frame.
        step: new frames that the network sees at a time.
        reach: frames on either side that it sees.
        rng: gives the seed, and stays as it is.
        first: the place of the first frame.
        temperature: scale of all noise that is drawn.
        limit: the predicted data is cut to [-limit, limit] in every step; None: never.
        progress: called after each step.

    Returns:
        [1, frames * hop].
    """

    def predicted(noisy: Tensor, level: float) -> Tensor:
        def window(low: int, high: int) -> Tensor:
            return predict(noisy[:, low * hop : high * hop], level, low, high)

        return in_windows(window, frames, step=step, reach=reach, hop=hop)

    def draw(n: int) -> Tensor:
        return placed_noise(rng, first * hop, frames * hop, f"step {n}").to(like)[None]

    return sample(predicted, betas, draw, temperature=temperature, limit=limit, progress=progress)
