"""SoundStorm network (paper, section 3.2): a conformer over one vector a frame, the sum of what is known of it.

That is the embedding of its semantic token, of its codes, of which some say "masked", and of who speaks: only the number,
the voice is in the codes. Each codebook has its own table and its own head. The passes are those of sampling/masked. With
`order` delay or flat the conformer is causal and its positions are slots of sampling/autoregressive instead of frames: the
same trunk, one code after another, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from speechgen.models.acoustic.soundstorm.config import SoundStormConfig
from speechgen.nn.codes import CodeEmbedding, CodeHeads, tables_from_codec
from speechgen.nn.conformer import Conformer, ConformerCache
from speechgen.nn.masks import valid_mask


class SoundStorm(nn.Module):
    """Logits of codes."""

    def __init__(self, config: SoundStormConfig) -> None:
        super().__init__()
        self.config = config
        books, size = config.num_codebooks, config.codebook_size
        self.tokens = nn.Embedding(config.num_tokens, config.width)
        self.speakers = nn.Embedding(config.speakers, config.width)
        self.codes = CodeEmbedding(books, size, config.width)
        self.trunk = Conformer(
            config.width,
            config.depth,
            config.num_heads,
            config.ff_multiple,
            config.kernel,
            config.dropout,
            causal=config.order != "parallel",
        )
        self.heads = CodeHeads(books, size, config.width, bias=True)

    def adopt(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What training begins with if the weights of the codec are given: tensors by the names they have here."""
        return tables_from_codec(given, self.codes, self.heads)

    @property
    def mask_id(self) -> int:
        """What stands for a code that is not known."""
        return self.config.codebook_size

    def forward(self, tokens: Tensor, speakers: Tensor, codes: Tensor, lengths: Tensor, wanted: Tensor) -> Tensor:
        """Predict some codes.

        Args:
            tokens: [B, T] semantic token of each frame (or slot).
            speakers: [B, T] number of who speaks.
            codes: [B, Q, T] ids in [0, mask_id].
            lengths: [B] real frames.
            wanted: [B, Q, T], True = to be predicted.

        Returns:
            [M, C] logits, in the order of `wanted` codebook by codebook, row by row: see `chosen`.
        """
        levels = range(self.config.num_codebooks)
        x = self.said(tokens, speakers) + self.codes(codes, levels)
        hidden = self.trunk(x, valid_mask(lengths, x.shape[1]))  # [B, T, D]
        return torch.cat([self.heads(hidden[wanted[:, level]], level) for level in levels])

    def said(self, tokens: Tensor, speakers: Tensor) -> Tensor:
        """Embed what is said and by whom: [B, T, D]."""
        embedded: Tensor = self.tokens(tokens) + self.speakers(speakers)
        return embedded

    def refine(self, x: Tensor, cache: ConformerCache | None = None) -> Tensor:
        """Run the trunk over [B, T, D], all of it real."""
        refined: Tensor = self.trunk(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), cache=cache)
        return refined


def chosen(codes: Tensor, wanted: Tensor) -> Tensor:
    """Return the codes [M] that `wanted` marks, both [B, Q, T], in the order of the network's logits."""
    return codes.transpose(0, 1)[wanted.transpose(0, 1)]
