"""Diffusion of long signals: noise that belongs to a place, and networks that see a window at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.random import placed_noise
from speechgen.core.types import Mel, Waveform
from speechgen.nn.windows import in_windows
from speechgen.sampling.diffusion import sample

__all__ = ["render_rows", "sample_placed"]


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


def render_rows(mel: Mel, steps: int, render: Callable[[Tensor, Progress], Tensor], progress: Progress | None) -> Waveform:
    """Render the rows of a batch one after another, by themselves: a short one does not see what pads it.

    Args:
        mel: of the batch.
        steps: that each row takes.
        render: (a row [1, T, M] of two frames or more, what to tell of its steps) to its samples [(T - 1) * hop].
        progress: called after each step with (steps done, steps of all rows).

    Returns:
        (T - 1) * hop samples for T frames, which for one frame is none.
    """
    total, rows = len(mel.values) * steps, list[Tensor]()
    for row, size in zip(mel.values, mel.lengths.tolist(), strict=True):

        def told(done: int, _: int, before: int = len(rows) * steps) -> None:
            if progress is not None:
                progress(before + done, total)

        rows.append(render(row[None, :size], told) if size > 1 else row.new_zeros(0))
    return Waveform.from_rows(rows, mel.settings.sample_rate)
