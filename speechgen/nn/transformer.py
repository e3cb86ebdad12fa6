"""Pre-norm transformer blocks with a GELU feed-forward, modulated by a vector if wanted, and their order in a U."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention
from speechgen.nn.kv_cache import LayerCache

__all__ = ["DiTBlock", "FinalModulation", "GELU", "TransformerBlock", "feed_forward", "through_u"]

GELU = Literal["none", "tanh"]
"""How GELU is approximated. On a CPU the tanh form is three times slower."""


def feed_forward(width: int, multiple: int, dropout: float = 0.0, gelu: GELU = "none") -> nn.Sequential:
    """Linear, GELU, dropout, Linear: D -> multiple * D -> D."""
    inner = multiple * width
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(gelu), nn.Dropout(dropout), nn.Linear(inner, width))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    If `modulated`, a vector shifts and scales what each norm gives and scales what each branch adds (DiT, Peebles and Xie,
    2022, section 3.2); at initialisation it changes nothing.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        ff_multiple: int,
        dropout: float = 0.0,
        *,
        modulated: bool = False,
        condition_width: int | None = None,
        gelu: GELU = "none",
        rotary_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = SelfAttention(width, num_heads, rotary_heads=rotary_heads)
        self.ff_norm = nn.RMSNorm(width)
        self.ff = feed_forward(width, ff_multiple, dropout, gelu)
        self.dropout = nn.Dropout(dropout)
        self.modulation = nn.Linear(condition_width or width, 6 * width) if modulated else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        valid: Tensor,
        angles: Tensor,
        condition: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map [B, T, D] to [B, T, D]; see SelfAttention for `valid`, `angles` and `cache`.

        `condition` [B, D'] modulates a row, [B, T, D'] each of its positions; D' is `condition_width`, D if that is None.
        """
        if self.modulation is None or condition is None:
            x = x + self.dropout(self.attention(self.attention_norm(x), valid, angles, cache))
            return x + self.dropout(self.ff(self.ff_norm(x)))
        condition = condition[:, None] if condition.dim() == 2 else condition
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulation(condition).chunk(6, dim=-1)
        y = self.attention_norm(x) * (1 + scale) + shift
        x = x + (1 + gate) * self.dropout(self.attention(y, valid, angles, cache))
        y = self.ff_norm(x) * (1 + ff_scale) + ff_shift
        return x + (1 + ff_gate) * self.dropout(self.ff(y))


class DiTBlock(nn.Module):
    """Transformer block whose norms have no gains of their own: a vector shifts, scales and gates (DiT, section 3.2).

    With the modulation at zero, as it begins, the block is the identity.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        ff_multiple: int,
        dropout: float = 0.0,
        *,
        gelu: GELU = "tanh",
        rotary_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = SelfAttention(width, num_heads, rotary_heads=rotary_heads)
        self.ff = feed_forward(width, ff_multiple, dropout, gelu)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor, condition: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D], modulated by `condition` [B, D], which has been activated."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + gate * self.dropout(self.attention(self.norm(x) * (1 + scale) + shift, valid, angles))
        return x + ff_gate * self.ff(self.norm(x) * (1 + ff_scale) + ff_shift)


class FinalModulation(nn.Module):
    """The norm behind the last DiT block, scaled and shifted by a vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D], modulated by `condition` [B, D], which has been activated."""
        scale, shift = self.modulation(condition)[:, None].chunk(2, dim=-1)
        modulated: Tensor = self.norm(x) * (1 + scale) + shift
        return modulated


def through_u(
    blocks: Sequence[nn.Module] | nn.ModuleList,
    merges: Sequence[nn.Module] | nn.ModuleList,
    x: Tensor,
    valid: Tensor,
    angles: Tensor,
    condition: Tensor | None = None,
) -> Tensor:
    """Run TransformerBlocks in a U: what enters the first half is joined, in reverse, to what enters the second.

    Args:
        blocks: an even number.
        merges: one for each block of the second half; maps [B, T, 2 D] to [B, T, D].
        x: [B, T, D].
        valid: [B, T], True = real.
        angles: [T, D / H / 2].
        condition: [B, D] for modulated blocks.

    Returns:
        [B, T, D].
    """
    half, skips = len(blocks) // 2, []
    for index, block in enumerate(blocks):
        if index < half:
            skips.append(x)
        else:
            x = merges[index - half](torch.cat((x, skips.pop()), dim=-1))
        x = block(x, valid, angles, condition)
    return x
