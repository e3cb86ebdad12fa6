"""Where a position is: by rotation, by a table of cosines and sines, or by what lies around it.

Rotation is that of Su et al. (2021); features (0, 1), (2, 3), ... are rotated together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvolutionalPosition", "angles_at", "cosine_table", "rotary_angles", "rotate", "sinusoid_table"]


def rotary_angles(size: int, head_width: int, device: torch.device, base: float = 10000.0) -> Tensor:
    """Return [T, head_width / 2] angles in radians, float32."""
    return angles_at(torch.arange(size, device=device), head_width, base)


def angles_at(positions: Tensor, head_width: int, base: float = 10000.0) -> Tensor:
    """Return the angles of `positions` [...], which need not be whole, as [..., head_width / 2] float32."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    return positions.float()[..., None] * base**-exponents


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate each feature pair of `x [B, H, T, head_width]` by `angles` [T, head_width / 2] or [B, 1, T, ...]; keeps dtype."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    turned = pairs * torch.polar(torch.ones_like(angles), angles)  # a third of the time of four products of halves
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


def cosine_table(size: int, width: int, device: torch.device) -> Tensor:
    """Return [T, width] float32: the cosines of `rotary_angles`, then their sines."""
    angles = rotary_angles(size, width, device)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def sinusoid_table(size: int, width: int, device: torch.device, *, start: int = 0) -> Tensor:
    """Return [T, width] float32 of positions from `start` on: cosines, then sines, frequencies from 1 to 1/10000 inclusive."""
    steps = torch.arange(width // 2, device=device, dtype=torch.float32) / (width // 2 - 1)
    angles = torch.arange(start, start + size, device=device, dtype=torch.float32)[:, None] / 10000.0**steps
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class ConvolutionalPosition(nn.Module):
    """Two grouped convolutions of width 31 with Mish: local context before the first attention."""

    def __init__(self, width: int, kernel: int = 31, groups: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        self.second = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]; padding counts as zeros."""
        mask = valid[:, None]
        y = F.mish(self.first(x.transpose(1, 2) * mask))
        return F.mish(self.second(y * mask)).transpose(1, 2)
