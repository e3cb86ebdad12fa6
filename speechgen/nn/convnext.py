"""ConvNeXt block in one dimension (Liu et al., 2022), as Vocos uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ConvNeXtBlock"]


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution of width 7, LayerNorm, pointwise expansion with GELU, layer scale, residual.

    Attribute names are those of the published Vocos, so its weights load unchanged.
    """

    def __init__(self, width: int, hidden_width: int, layer_scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, hidden_width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(hidden_width, width)
        self.gamma = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, D, T] to [B, D, T]."""
        y = self.dwconv(x).transpose(1, 2)  # [B, T, D]
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + y.transpose(1, 2)
