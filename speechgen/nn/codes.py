"""Codes of several codebooks at the two ends of a network: a table and a head for each codebook, kept one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.random import generator

__all__ = ["CodeEmbedding", "CodeHeads", "tables_from_codec"]


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


def tables_from_codec(given: Mapping[str, Tensor], codes: CodeEmbedding, heads: CodeHeads) -> dict[str, Tensor]:
    """What the tables `codes` and `heads` begin with if a codec's weights are given: its vectors, turned into their width.

    Codes that sound alike then begin alike. Without, what each of thousands of codes is has to be learnt from the few times
    that it is heard.

    Args:
        given: a codec's tensors, by name; nothing is made of those of another model, or of other sizes.
        codes: the embedding, called "codes" by its network.
        heads: likewise "heads".
    """
    vectors = given.get("quantizer.vectors")  # [Q, C, D] of more codebooks than are used here, or as many
    books = len(heads.weight) // heads.size
    if vectors is None or len(vectors) < books or vectors.shape[1] != heads.size:
        return {}
    vectors = vectors[:books].float()
    vectors = (vectors - vectors.mean(1, keepdim=True)) / vectors.std((1, 2), keepdim=True)  # finer levels are smaller
    rng = generator(0, "tables of codes")
    table = codes.weight.detach().clone().unflatten(0, (books, codes.rows))
    size, width = vectors.shape[2], table.shape[2]
    table[:, :-1] = vectors @ torch.randn(books, size, width, generator=rng) / (size * books) ** 0.5
    logits = vectors @ torch.randn(books, size, width, generator=rng) / (3 * size * width) ** 0.5
    return {"codes.weight": table.flatten(0, 1), "heads.weight": logits.flatten(0, 1)}
