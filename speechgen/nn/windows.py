"""Long signals in windows that overlap, or as they come: memory stays bounded, and what is joined equals the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

__all__ = ["as_it_comes", "in_windows", "num_windows"]


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


def as_it_comes(
    made: Callable[[Tensor], Tensor], pieces: Iterable[Tensor], *, unit: int, hop: int, behind: int, ahead: int
) -> Iterator[Tensor]:
    """Yield what is made of a signal that comes in pieces, as soon as what follows cannot change it.

    What is held of the signal is made again for each piece: pieces of less than `behind` cost more than the whole would.

    Args:
        made: maps L steps, the last frame of which may lack some, to [..., ceil(L / unit) * hop].
        pieces: [..., L], of any lengths.
        unit: steps of a frame that is read.
        hop: steps of a frame that is made.
        behind, ahead: frames before and after its own that a step which is made depends on.
    """
    held, first, done = None, 0, 0  # frame at which `held` begins, frame up to which all is made
    for piece in pieces:
        held = piece if held is None else torch.cat((held, piece), dim=-1)
        ready = first + held.shape[-1] // unit - ahead
        if ready > done:
            yield made(held)[..., (done - first) * hop : (ready - first) * hop]
            done = ready
            dropped = max(0, done - behind - first)
            held, first = held[..., dropped * unit :], first + dropped
    if held is not None and first + -(-held.shape[-1] // unit) > done:
        yield made(held)[..., (done - first) * hop :]
