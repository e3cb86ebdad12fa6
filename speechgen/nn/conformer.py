"""Conformer (Gulati et al., 2020): half feed-forward, attention, gated depthwise convolution, half feed-forward.

It sees both sides, or (`causal`) the past alone; then caches let it go on position by position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention
from speechgen.nn.kv_cache import LayerCache
from speechgen.nn.masks import causal_mask
from speechgen.nn.positions import angles_at

__all__ = ["Conformer", "ConformerBlock", "ConformerCache"]


class _BlockCache:
    """Keys and values of one block, and the last inputs of its convolution."""

    def __init__(self, capacity: int) -> None:
        self.attention = LayerCache(capacity)
        self.tail: Tensor | None = None


class ConformerCache:
    """What a causal conformer keeps of what it has read.

    Args:
        depth: blocks.
        capacity: positions that it can hold.
    """

    def __init__(self, depth: int, capacity: int) -> None:
        self.blocks = tuple(_BlockCache(capacity) for _ in range(depth))

    @property
    def length(self) -> int:
        """Positions that are kept."""
        return self.blocks[0].attention.length

    def keep(self, count: int) -> None:
        """Keep the `count` positions that were read last."""
        for block in self.blocks:
            block.attention.length += count


class ConvolutionModule(nn.Module):
    """Pointwise GLU, depthwise convolution, norm, SiLU, pointwise."""

    def __init__(self, width: int, kernel: int, *, causal: bool = False) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.expand = nn.Linear(width, 2 * width)
        self.causal, self.reach = causal, kernel - 1
        self.depthwise = nn.Conv1d(width, width, kernel, padding=0 if causal else kernel // 2, groups=width)
        # Differs from paper: LayerNorm instead of BatchNorm, so that results do not depend on the batch.
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor, cache: _BlockCache | None = None) -> Tensor:
        """Map [B, T, D] to [B, T, D]; padded positions are zeroed before the convolution."""
        x = F.glu(self.expand(x), dim=-1) * valid[..., None]
        if self.causal:
            before = None if cache is None else cache.tail
            x = F.pad(x, (0, 0, self.reach, 0)) if before is None else torch.cat((before, x), dim=1)
            if cache is not None:
                cache.tail = x[:, x.shape[1] - self.reach :]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)  # [B, T, D]
        mapped: Tensor = self.project(F.silu(self.norm(x)))
        return mapped


class ConformerBlock(nn.Module):
    """One block; pre-norm residual branches, final LayerNorm."""

    def __init__(
        self, width: int, num_heads: int, ff_multiple: int, kernel: int, dropout: float = 0.0, *, causal: bool = False
    ) -> None:
        super().__init__()
        self.ff_in = self._feed_forward(width, ff_multiple, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = ConvolutionModule(width, kernel, causal=causal)
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

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor, cache: _BlockCache | None = None) -> Tensor:
        """Map [B, T, D] to [B, T, D], behind what the cache holds; see SelfAttention for `valid` and `angles`."""
        layer = None if cache is None else cache.attention
        seen = causal_mask(valid, 0 if layer is None else layer.length) if self.convolution.causal else valid
        x = x + 0.5 * self.dropout(self.ff_in(x))
        x = x + self.dropout(self.attention(self.attention_norm(x), seen, angles, layer))
        x = x + self.dropout(self.convolution(self.convolution_norm(x), valid, cache))
        x = x + 0.5 * self.dropout(self.ff_out(x))
        normed: Tensor = self.norm(x)
        return normed


class Conformer(nn.Module):
    """A stack of blocks with rotary positions."""

    def __init__(
        self,
        width: int,
        depth: int,
        num_heads: int,
        ff_multiple: int,
        kernel: int,
        dropout: float = 0.0,
        *,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.head_width = width // num_heads
        self.blocks = nn.ModuleList(
            ConformerBlock(width, num_heads, ff_multiple, kernel, dropout, causal=causal) for _ in range(depth)
        )

    def cache(self, capacity: int) -> ConformerCache:
        """Nothing read yet, and room for `capacity` positions; for a causal one."""
        return ConformerCache(len(self.blocks), capacity)

    def forward(self, x: Tensor, valid: Tensor, depth: int | None = None, cache: ConformerCache | None = None) -> Tensor:
        """Run the first `depth` blocks (all by default): [B, T, D] to [B, T, D], behind what the cache holds."""
        start = cache.length if cache else 0
        angles = angles_at(torch.arange(start, start + x.shape[1], device=x.device), self.head_width)
        for index, block in enumerate(self.blocks[:depth]):
            x = block(x, valid, angles, cache.blocks[index] if cache else None)
        if cache:
            cache.keep(x.shape[1])
        return x
