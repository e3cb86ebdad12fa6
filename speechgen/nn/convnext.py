"""ConvNeXt blocks in one dimension: Liu et al. (2022), as Vocos uses it, and Woo et al. (2023), as F5 does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CausalConvNeXt", "ConvNeXtBlock", "ConvNeXtV2Block"]


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution of width 7, LayerNorm, pointwise expansion with GELU, layer scale, residual.

    Attribute names are those of the published Vocos, so its weights load unchanged. If `causal`, no frame sees a later one.
    """

    def __init__(self, width: int, hidden_width: int, layer_scale: float, *, causal: bool = False) -> None:
        super().__init__()
        self.delay = 3 if causal else 0  # what is padded here moves the window back by half of its width
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, hidden_width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(hidden_width, width)
        self.gamma = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, D, T] to [B, D, T]."""
        y = self.dwconv(F.pad(x, (self.delay, 0)))[..., : x.shape[2]].transpose(1, 2)  # [B, T, D]
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + y.transpose(1, 2)


class CausalConvNeXt(nn.Module):
    """Linear layer, causal ConvNeXt blocks, LayerNorm, linear layer: a vector depends on `reach` before its own."""

    def __init__(self, in_width: int, width: int, out_width: int, *, depth: int, ff_multiple: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_width, width)
        blocks = (ConvNeXtBlock(width, ff_multiple * width, 1 / depth, causal=True) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, out_width)
        self.reach = 6 * depth

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, I] to [B, T, O]."""
        x = self.blocks(self.embed(x).transpose(1, 2)).transpose(1, 2)
        mapped: Tensor = self.out(self.norm(x))
        return mapped


class ConvNeXtV2Block(nn.Module):
    """As ConvNeXtBlock, with global response normalisation (Woo et al., 2023, section 3.3) in place of the layer scale.

    Each channel's norm is over time, so what pads a row must not count. Attribute names are those of the published F5.
    """

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, hidden_width)
        self.act = nn.GELU()
        self.gamma = nn.Parameter(torch.zeros(hidden_width))
        self.beta = nn.Parameter(torch.zeros(hidden_width))
        self.pwconv2 = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map [B, T, D], of which valid [B, T] count and the rest is zero, to [B, T, D]."""
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)
        y = self.act(self.pwconv1(self.norm(y)))  # [B, T, H]
        norms = (y * valid[..., None]).norm(dim=1, keepdim=True)  # [B, 1, H]
        y = y + self.gamma * (y * norms / (norms.mean(-1, keepdim=True) + 1e-6)) + self.beta
        mapped: Tensor = x + self.pwconv2(y)
        return mapped * valid[..., None]
