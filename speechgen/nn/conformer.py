"""Conformer (Gulati et al., 2020): half feed-forward, attention, gated depthwise convolution, half feed-forward."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention
from speechgen.nn.positions import rotary_angles

__all__ = ["Conformer", "ConformerBlock"]


class ConvolutionModule(nn.Module):
    """Pointwise GLU, depthwise convolution, norm, SiLU, pointwise."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        # Differs from paper: LayerNorm instead of BatchNorm, so that results do not depend on the batch.
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D]; padded positions are zeroed before the convolution."""
        x = F.glu(self.expand(x), dim=-1) * valid[..., None]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)  # [B, T, D]
        mapped: Tensor = self.project(F.silu(self.norm(x)))
        return mapped


class ConformerBlock(nn.Module):
    """One block; pre-norm residual branches, final LayerNorm."""

    def __init__(self, width: int, num_heads: int, ff_multiple: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.ff_in = self._feed_forward(width, ff_multiple, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads, dropout)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = ConvolutionModule(width, kernel)
        self.ff_out = self._feed_forward(width, ff_multiple, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def _feed_forward(width: int, multiple: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, multiple * width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(multiple * width, width),
        )

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D]; see SelfAttention for `valid` and `angles`."""
        x = x + 0.5 * self.dropout(self.ff_in(x))
        x = x + self.dropout(self.attention(self.attention_norm(x), valid, angles))
        x = x + self.dropout(self.convolution(self.convolution_norm(x), valid))
        x = x + 0.5 * self.dropout(self.ff_out(x))
        normed: Tensor = self.norm(x)
        return normed


class Conformer(nn.Module):
    """A stack of blocks with rotary positions."""

    def __init__(self, width: int, depth: int, num_heads: int, ff_multiple: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.head_width = width // num_heads
        self.blocks = nn.ModuleList(ConformerBlock(width, num_heads, ff_multiple, kernel, dropout) for _ in range(depth))

    def forward(self, x: Tensor, valid: Tensor, depth: int | None = None) -> Tensor:
        """Run the first `depth` blocks (all by default): [B, T, D] to [B, T, D]."""
        angles = rotary_angles(x.shape[1], self.head_width, x.device)
        for block in self.blocks[:depth]:
            x = block(x, valid, angles)
        return x
