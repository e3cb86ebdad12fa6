"""Rotary position embedding (Su et al., 2021), interleaved pairs: features (0, 1), (2, 3), ... are rotated together."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rotary_angles", "rotate"]


def rotary_angles(size: int, head_width: int, device: torch.device, base: float = 10000.0) -> Tensor:
    """Return [T, head_width / 2] angles in radians, float32."""
    frequencies = base ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    return torch.arange(size, device=device, dtype=torch.float32)[:, None] * frequencies


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate each feature pair of `x [B, H, T, head_width]` by `angles [T, head_width / 2]`; keeps dtype."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
