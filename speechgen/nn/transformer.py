"""Pre-norm transformer block with RMSNorm and a GELU feed-forward."""

from __future__ import annotations

from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention

__all__ = ["TransformerBlock", "feed_forward"]


def feed_forward(width: int, multiple: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear, GELU (tanh form), dropout, Linear: D -> multiple * D -> D."""
    return nn.Sequential(
        nn.Linear(width, multiple * width), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(multiple * width, width)
    )


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, width: int, num_heads: int, ff_multiple: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = SelfAttention(width, num_heads, dropout)
        self.ff_norm = nn.RMSNorm(width)
        self.ff = feed_forward(width, ff_multiple, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor) -> Tensor:
        """Map [B, T, D] to [B, T, D]; see SelfAttention for `valid` and `angles`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), valid, angles))
        x = x + self.dropout(self.ff(self.ff_norm(x)))
        return x
