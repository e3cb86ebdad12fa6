"""Long signals in windows that overlap: memory stays that of a window, and what is joined equals the whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_windows", "num_windows"]


def num_windows(frames: int, step: int) -> int:
    """How many windows `in_windows` makes."""
    return -(-frames // step)


def in_windows(
    render: Callable[[int, int], Tensor],
    frames: int,
    *,
    step: int,
    reach: int,
    hop: int,
    told: Callable[[], None] | None = None,
) -> Tensor:
    """Join what is rendered of `step` frames at a time, each window seeing as far as it would in the whole.

    Args:
        render: maps frames [low, high) to their samples [B, (high - low) * hop].
        frames: of the whole, at least 1.
        step: new frames in a window.
        reach: frames on either side that a sample depends on.
        hop: samples of a frame.
        told: called after each window.

    Returns:
        [B, frames * hop].
    """
    made = []
    for start in range(0, frames, step):
        stop = min(frames, start + step)
        low, high = max(0, start - reach), min(frames, stop + reach)
        made.append(render(low, high)[..., (start - low) * hop : (stop - low) * hop])
        if told is not None:
            told()
    return torch.cat(made, dim=-1)
