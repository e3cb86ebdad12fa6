"""Multi-head self-attention with rotary positions over torch's fused kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.kv_cache import LayerCache
from speechgen.nn.positions import rotate

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """Self-attention, bidirectional unless masked; every head is rotated, or the first `rotary_heads` alone.

    No dropout on the weights: on a CPU the fused kernel has none, and training would take three times as long. Blocks drop
    what attention returns.
    """

    def __init__(self, width: int, num_heads: int, *, rotary_heads: int | None = None) -> None:
        super().__init__()
        if width % num_heads or (width // num_heads) % 2:
            raise ValueError(f"width {width} does not split into {num_heads} heads of even width")
        self.num_heads = num_heads
        self.rotary_heads = num_heads if rotary_heads is None else rotary_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Attend from every position to the valid ones.

        Args:
            x: [B, T, D].
            valid: [B, T], True = real; or [B, T, T'], True where a position (row) may attend to another (column).
            angles: [T, D / H / 2] or [B, T, D / H / 2] from `rotary_angles`.
            cache: what was read before; T' then counts it too.

        Returns:
            [B, T, D]; values at padded positions are unspecified.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, H, T, D/H]
        angles = angles if angles.dim() == 2 else angles[:, None]
        q, k = self._rotated(q, angles), self._rotated(k, angles)
        if cache is not None:
            k, v = cache.extend(k, v)
        mask = valid[:, None, None, :] if valid.dim() == 2 else valid[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mapped: Tensor = self.out(mixed.transpose(1, 2).flatten(2))  # [B, T, D]
        return mapped

    def _rotated(self, x: Tensor, angles: Tensor) -> Tensor:
        if self.rotary_heads == self.num_heads:
            return rotate(x, angles)
        return torch.cat((rotate(x[:, : self.rotary_heads], angles), x[:, self.rotary_heads :]), dim=1)
