"""Codes of several codebooks at the two ends of a network: a table and a head for each codebook, kept one after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CodeEmbedding", "CodeHeads"]


class CodeEmbedding(nn.Module):
    """Sums the embeddings of a frame's codes. The last row of each table stands for a code that is masked."""

    def __init__(self, codebooks: int, size: int, width: int) -> None:
        super().__init__()
        self.rows = size + 1
        self.weight = nn.Parameter(torch.empty(codebooks * self.rows, width))
        nn.init.normal_(self.weight, std=codebooks**-0.5)

    def forward(self, codes: Tensor, levels: Sequence[int]) -> Tensor:
        """Map codes [B, len(levels), T] of some codebooks, ids in [0, size], to [B, T, D]."""
        starts = torch.tensor(levels, device=codes.device) * self.rows
        return F.embedding(codes + starts[:, None], self.weight).sum(1)


class CodeHeads(nn.Module):
    """Logits of one codebook at a time."""

    def __init__(self, codebooks: int, size: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.empty(codebooks * size, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(codebooks * size)) if bias else None

    def forward(self, hidden: Tensor, level: int) -> Tensor:
        """Map [..., D] to logits [..., size] of codebook `level`."""
        rows = slice(level * self.size, (level + 1) * self.size)
        return F.linear(hidden, self.weight[rows], None if self.bias is None else self.bias[rows])
