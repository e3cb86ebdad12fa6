"""Descriptions of sound as words: numbers of hashed words, so that no vocabulary has to be kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor

__all__ = ["LONGEST_WORDS", "count_words", "word_ids", "words_of"]

LONGEST_WORDS = 64
"""Words of a description that are read; what stands behind them is left out, and who asks with more is to be told."""


def words_of(description: str) -> list[str]:
    """Return the words of a description in lower case, numbers among them, at most LONGEST_WORDS."""
    return _all_words(description)[:LONGEST_WORDS]


def count_words(description: str) -> int:
    """Return how many words a description has, beyond LONGEST_WORDS too."""
    return len(_all_words(description))


def word_ids(descriptions: Sequence[str], buckets: int) -> tuple[Tensor, Tensor]:
    """Return ids [B, W] in [0, buckets) and lengths [B]. Two words share an id once in `buckets` times."""
    rows = [[crc32(word.encode()) % buckets for word in words_of(text)] for text in descriptions]
    size = max(1, *map(len, rows)) if rows else 1
    ids = torch.tensor([row + [0] * (size - len(row)) for row in rows], dtype=torch.long).view(len(rows), size)
    return ids, torch.tensor([len(row) for row in rows], dtype=torch.long)


def _all_words(description: str) -> list[str]:
    return re.findall(r"[^\W_]+", description.lower())
