"""Masks of real entries. True always means real."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["causal_mask", "masked_mean", "valid_mask", "whole_patches"]


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """Return [B, size] bool, True where the position is below the row's length [B]."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def causal_mask(valid: Tensor, past: int = 0) -> Tensor:
    """Return [B, T, past + T] bool: a position sees the `past` before, and what is real up to itself, `valid [B, T]`."""
    earlier = torch.ones(valid.shape[1], valid.shape[1], dtype=torch.bool, device=valid.device).tril()
    return F.pad(earlier & valid[:, None], (past, 0), value=True)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values [B, T, ...]` over positions where `mask [B, T]` is True and over trailing dimensions; 0 if none is."""
    weights = mask.view(*mask.shape, *[1] * (values.dim() - mask.dim())).to(values.dtype).expand_as(values)
    return (values * weights).sum() / weights.sum().clamp(min=1)


def whole_patches(values: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut rows [B, T, ...] of real `lengths [B]` to whole patches of `size` entries: the values, and which patches are real."""
    patches = (lengths // size).clamp(min=1)
    most = int(patches.max())
    return values[:, : most * size], valid_mask(patches, most)
