"""Sequences folded into patches of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fold", "widened"]


def fold(values: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Fold values [B, T, C], of which lengths [B] are real, into patches [B, M, size, C] and how many of them are, [B].

    A last patch that is not whole repeats the last real value, whatever pads the row.
    """
    counts = -(-lengths // size)
    index = torch.arange(int(counts.max()) * size, device=values.device)
    index = torch.minimum(index[None], (lengths - 1).clamp(min=0)[:, None].to(values.device))
    folded = values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
    return folded.unflatten(1, (-1, size)), counts


def widened(values: Tensor, width: int) -> Tensor:
    """Repeat the channels of values [T, C] to be looked at, so that there are `width` of them."""
    return values.repeat_interleave(-(-width // values.shape[1]), dim=1)[:, :width]
