"""Pre-norm transformer block with RMSNorm and a GELU feed-forward, modulated by a vector if wanted."""

from __future__ import annotations

from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention

__all__ = ["TransformerBlock", "feed_forward"]


def feed_forward(width: int, multiple: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear, GELU, dropout, Linear: D -> multiple * D -> D. On a CPU the tanh form of GELU is three times slower."""
    return nn.Sequential(nn.Linear(width, multiple * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(multiple * width, width))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    If `modulated`, a vector shifts and scales what each norm gives and scales what each branch adds (DiT, Peebles and Xie,
    2022, section 3.2); at initialisation it changes nothing.
    """

    def __init__(self, width: int, num_heads: int, ff_multiple: int, dropout: float = 0.0, *, modulated: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = SelfAttention(width, num_heads, dropout)
        self.ff_norm = nn.RMSNorm(width)
        self.ff = feed_forward(width, ff_multiple, dropout)
        self.dropout = nn.Dropout(dropout)
        self.modulation = nn.Linear(width, 6 * width) if modulated else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map [B, T, D] to [B, T, D], modulated by `condition` [B, D]; see SelfAttention for `valid` and `angles`."""
        if self.modulation is None or condition is None:
            x = x + self.dropout(self.attention(self.attention_norm(x), valid, angles))
            return x + self.dropout(self.ff(self.ff_norm(x)))
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulation(condition)[:, None].chunk(6, dim=-1)
        y = self.attention_norm(x) * (1 + scale) + shift
        x = x + (1 + gate) * self.dropout(self.attention(y, valid, angles))
        y = self.ff_norm(x) * (1 + ff_scale) + ff_shift
        return x + (1 + ff_gate) * self.dropout(self.ff(y))
