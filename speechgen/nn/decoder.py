"""Decoder blocks: attention to the sequence itself, to a text, and a feed-forward; LayerNorm before each, no biases.

Attention to itself is to all positions, to a band of neighbours, or to the past (then a cache lets it go on).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.kv_cache import LayerCache
from speechgen.nn.masks import causal_mask

__all__ = ["DecoderBlock", "Sight", "band_mask", "banded_attention"]

_BLOCK = 16
"""Queries that share a window of keys in banded attention."""


@dataclass(frozen=True)
class Sight:
    """Which positions a position sees: real ones, within `reach` on either side if that is given, not later if `causal`."""

    valid: Tensor  # [B, T]
    reach: int | None = None
    causal: bool = False


def band_mask(size: int, reach: int, device: torch.device) -> Tensor:
    """Return [T, T], True where two positions are at most `reach` apart."""
    position = torch.arange(size, device=device)
    return (position[:, None] - position).abs() <= reach


def banded_attention(q: Tensor, k: Tensor, v: Tensor, valid: Tensor, reach: int) -> Tensor:
    """Attention within a band, computed in windows: what `band_mask` gives at a cost that grows with T alone.

    Args:
        q: [B, H, T, D/H], as are `k` and `v`.
        k: keys.
        v: values.
        valid: [B, T] real keys; a position always sees itself.
        reach: positions on either side.

    Returns:
        [B, H, T, D/H].
    """
    rows, heads, size, width = q.shape
    behind = -size % _BLOCK
    window = _BLOCK + 2 * reach
    queries = F.pad(q, (0, 0, 0, behind)).unflatten(2, (-1, _BLOCK)).transpose(1, 2)  # [B, N, H, 16, D/H]
    keys, values = (
        F.pad(x, (0, 0, reach, reach + behind)).unfold(2, window, _BLOCK).permute(0, 2, 1, 4, 3) for x in (k, v)
    )  # [B, N, H, W, D/H]
    real = F.pad(valid, (reach, reach + behind)).unfold(1, window, _BLOCK)  # [B, N, W]
    offset = torch.arange(window, device=q.device) - reach - torch.arange(_BLOCK, device=q.device)[:, None]  # [16, W]
    mask = ((offset.abs() <= reach) & real[:, :, None]) | (offset == 0)  # [B, N, 16, W]
    mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, :, None])
    return mixed.transpose(1, 2).reshape(rows, heads, -1, width)[:, :, :size]


class _SelfAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, sight: Sight, cache: LayerCache | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, H, T, D/H]
        if sight.reach is not None:
            mixed = banded_attention(q, k, v, sight.valid, sight.reach)
        else:
            past = 0 if cache is None else cache.length
            mask = causal_mask(sight.valid, past)[:, None] if sight.causal else sight.valid[:, None, None]
            if cache is not None:
                k, v = cache.extend(k, v)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mapped: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return mapped


class _CrossAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, text: Tensor, text_mask: Tensor | None) -> Tensor:
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(text).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if text_mask is None else text_mask[:, None, None, :]
        mapped: Tensor = self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return mapped


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), x + attention to the text, x + feed_forward(norm(x))."""

    def __init__(self, width: int, num_heads: int, ff_multiple: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} does not split into {num_heads} heads")
        self.self_norm, self.attention = nn.LayerNorm(width), _SelfAttention(width, num_heads)
        self.cross_norm, self.cross = nn.LayerNorm(width), _CrossAttention(width, num_heads)
        self.ff_norm = nn.LayerNorm(width)
        self.ff = nn.Sequential(
            nn.Linear(width, ff_multiple * width, bias=False),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(ff_multiple * width, width, bias=False),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, sight: Sight, text: Tensor, text_mask: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        """Map [B, T, D] to [B, T, D].

        Args:
            x: the sequence, or what comes behind the cache.
            sight: who sees whom; `sight.valid` is of `x`.
            text: [B, W, D].
            text_mask: [B, W], True = attended; None: all.
            cache: of the positions before, for causal sight.
        """
        x = x + self.dropout(self.attention(self.self_norm(x), sight, cache))
        x = x + self.dropout(self.cross(self.cross_norm(x), text, text_mask))
        fed: Tensor = x + self.dropout(self.ff(self.ff_norm(x)))
        return fed
