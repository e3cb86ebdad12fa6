"""Masks of real entries. True always means real."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["masked_mean", "valid_mask"]


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """Return [B, size] bool, True where the position is below the row's length [B]."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values [B, T, ...]` over positions where `mask [B, T]` is True and over trailing dimensions; 0 if none is."""
    weights = mask.view(*mask.shape, *[1] * (values.dim() - mask.dim())).to(values.dtype).expand_as(values)
    return (values * weights).sum() / weights.sum().clamp(min=1)
