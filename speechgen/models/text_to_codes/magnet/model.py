"""MAGNeT network (paper, section 3): a decoder over the sum of a frame's codes that attends to the words of a description.

For the first codebook every frame sees all frames, for the others only its neighbours. Causal, its positions are the slots of
a delay layout (sampling/autoregressive): the same weights can do both. The passes are those of sampling/masked.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig
from speechgen.nn.codes import CodeEmbedding, CodeHeads, tables_from_codec
from speechgen.nn.decoder import DecoderBlock, Sight
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.nn.masks import valid_mask
from speechgen.nn.positions import rotary_angles, sinusoid_table
from speechgen.nn.transformer import TransformerBlock


class WordEncoder(nn.Module):
    """Hashed words to vectors, in the light of the other words."""

    def __init__(self, config: MAGNeTConfig) -> None:
        super().__init__()
        self.head_width = config.width // config.num_heads
        self.words = nn.Embedding(config.word_buckets, config.width)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.num_heads, config.ff_multiple, config.dropout)
            for _ in range(config.text_depth)
        )
        self.norm = nn.RMSNorm(config.width)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Map ids [B, W] to [B, W, D]."""
        x = self.words(ids)
        angles = rotary_angles(x.shape[1], self.head_width, x.device)
        seen = valid | (torch.arange(x.shape[1], device=x.device) == 0)  # an empty description sees itself
        for block in self.blocks:
            x = block(x, seen, angles)
        normed: Tensor = self.norm(x)
        return normed


class MAGNeT(nn.Module):
    """Logits of codes."""

    def __init__(self, config: MAGNeTConfig) -> None:
        super().__init__()
        self.config = config
        books, size = config.num_codebooks, config.codebook_size
        self.codes = CodeEmbedding(books, size, config.width)
        self.text = WordEncoder(config) if config.text == "words" else nn.Linear(config.t5_width, config.width)
        self.blocks = nn.ModuleList(
            DecoderBlock(config.width, config.num_heads, config.ff_multiple, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = CodeHeads(books, size, config.width, bias=False)

    def adopt(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What training begins with if the weights of the codec are given: tensors by the names they have here."""
        return tables_from_codec(given, self.codes, self.heads)

    @property
    def mask_id(self) -> int:
        """What stands for a code that is not known."""
        return self.config.codebook_size

    def forward(
        self, text: Tensor, text_valid: Tensor, codes: Tensor, lengths: Tensor, wanted: Tensor, level: int | None
    ) -> Tensor:
        """Predict some codes.

        Args:
            text: [B, W] ids of words, or [B, W, E] of T5.
            text_valid: [B, W], True = a word; a description without any is none at all.
            codes: [B, K, T] ids in [0, mask_id].
            lengths: [B] real frames (or slots).
            wanted: [B, K, T], True = to be predicted.
            level: the codebook that is asked for; None: causal.

        Returns:
            [M, C] logits, in the order of `wanted` codebook by codebook, row by row.
        """
        levels = range(self.config.num_codebooks)
        x = self.refine(
            self.codes(codes, levels), self.read(text, text_valid), text_valid, valid_mask(lengths, codes.shape[2]), level
        )
        return torch.cat([self.heads(x[wanted[:, each]], each) for each in levels])

    def read(self, text: Tensor, text_valid: Tensor) -> Tensor:
        """Turn words or what T5 makes of them into [B, W, D], zeros where there is none."""
        read: Tensor = self.text(text, text_valid) if isinstance(self.text, WordEncoder) else self.text(text)
        return read * text_valid[..., None]

    def refine(
        self,
        x: Tensor,
        text: Tensor,
        text_valid: Tensor,
        valid: Tensor,
        level: int | None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Run the blocks over the embedded codes [B, T, D], behind what the cache holds, with text from `read`."""
        start = cache.length if cache else 0
        x = x + sinusoid_table(x.shape[1], x.shape[2], x.device, start=start)
        sight = Sight(valid, self.config.reach if level else None, causal=level is None)
        # Without words all rows of `text` are zeros, and so is what is attended; but something must be attended.
        first = torch.arange(text.shape[1], device=x.device) == 0
        mask = None if self.config.attend_padding else text_valid | first
        for index, block in enumerate(self.blocks):
            x = block(x, sight, text, mask, cache.layers[index] if cache else None)
        if cache:
            cache.keep(x.shape[1])
        refined: Tensor = self.norm(x)
        return refined
