"""ARDiT's transformer over one packed sequence (paper, section 3.2): reference and text, clean latents, noisy latents.

Every latent stands in the sequence twice. The noisy one of a block sees the text, the clean latents before the block and the
noisy ones of its own block; the clean ones are there to be seen. So all blocks of an utterance are learnt in one pass, and what
is seen in speaking, where the clean ones lie in a cache, is the same. Each position is modulated by a time of its own: TEXT,
CLEAN or that of its noise. Positions of latents are fractions: they are spread evenly over those of the symbols, which tells
how long all of it lasts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.text_to_latents.ardit.config import ARDiTConfig
from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.nn.masks import valid_mask
from speechgen.nn.pooling import ReferenceEncoder
from speechgen.nn.positions import angles_at
from speechgen.nn.transformer import TransformerBlock

TEXT, CLEAN = -1.0, 1.0
"""Times of symbols and of clean latents; here 0 is noise and 1 data, where the paper has it the other way round."""
CONTEXT = -1
"""Block of latents that are known: seen by all, and seeing one another."""


class Layout(NamedTuple):
    """What is known of a batch of utterances.

    Attributes:
        text: symbols [B, S], and how many are real [B].
        hidden: [B] rows whose text is not shown.
        reference: latents [B, R, C] of a recording whose text is not told, and how many are real [B]; R may be 0.
        clean: latents [B, N, C] as they are read, and how many are real [B].
        blocks: [B, N] the block of each, in order from 0; CONTEXT where it is known.
    """

    text: Tensor
    text_lengths: Tensor
    hidden: Tensor
    reference: Tensor
    reference_lengths: Tensor
    clean: Tensor
    lengths: Tensor
    blocks: Tensor


class Field(NamedTuple):
    """Velocities [B, N, C] of noisy latents, and logits of their semantic tokens [B, N, n K] if the model has any."""

    velocity: Tensor
    tokens: Tensor | None


def block_mask(prefix: Tensor, valid: Tensor, blocks: Tensor) -> Tensor:
    """Return who (row) may attend to whom (column) in the packed sequence, [B, P + 2 N, P + 2 N] (paper, figure 2).

    Args:
        prefix: [B, P] which of reference and text are real.
        valid: [B, N] which latents are real.
        blocks: [B, N] the block of each.
    """
    before, size = prefix.shape[1], valid.shape[1]
    own, other = blocks[:, :, None], blocks[:, None, :]  # of query and key
    seen = torch.zeros(len(prefix), before + 2 * size, before + 2 * size, dtype=torch.bool, device=prefix.device)
    clean, noisy = slice(before, before + size), slice(before + size, before + 2 * size)
    seen[:, :, :before] = prefix[:, None]
    seen[:, clean, clean] = (other <= own) & valid[:, None]
    seen[:, noisy, clean] = (other < own) & valid[:, None]
    seen[:, noisy, noisy] = (other == own) & valid[:, None]
    return seen


class ARDiT(nn.Module):
    """The velocity field; `forward` is the packed sequence, the other methods are its parts for speaking."""

    def __init__(self, config: ARDiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.symbols = nn.Embedding(config.vocabulary_size, width)
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)  # in place of a symbol
        self.project = nn.Linear(config.latent_width, width)
        self.kinds = nn.Embedding(2, width)  # of the text, and of the reference
        # Differs from paper, whose model finds the voice where it attends to the prompt.
        self.voice = ReferenceEncoder(config.latent_width, width) if config.untold_prompt else None
        self.time = TimeEmbedding(config.time_width)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                config.num_heads,
                config.ff_multiple,
                config.dropout,
                modulated=True,
                condition_width=config.time_width,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(width)
        self.out = nn.Linear(width, config.latent_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.tokens = nn.Linear(width, config.tokens_per_latent * config.num_tokens) if config.num_tokens else None

    def forward(self, layout: Layout, noisy: Tensor, t: Tensor) -> Field:
        """Predict data - noise of every noisy latent.

        Args:
            layout: what is known.
            noisy: [B, N, C]; those of CONTEXT are not looked at by others.
            t: [B, N] in [0, 1], one for a block.
        """
        x, position, time, valid = self.prefix(layout)
        size = noisy.shape[1]
        latents = torch.cat((layout.clean, noisy), dim=1)
        places = self.places(layout, torch.arange(size, device=noisy.device))
        x = torch.cat((x, self.embed(latents, self.manner(layout))), dim=1)
        position = torch.cat((position, places, places), dim=1)
        time = torch.cat((time, torch.full_like(t, CLEAN), t), dim=1)
        seen = block_mask(valid, valid_mask(layout.lengths, size), layout.blocks)
        return self.field(self.read(x, position, time, seen)[:, -size:])

    def prefix(self, layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reference and text: embeddings [B, P, D], positions, times and which are real, [B, P] each."""
        shown, size = layout.reference.shape[1], layout.text.shape[1]
        symbols = torch.where(layout.hidden[:, None, None], self.hidden, self.symbols(layout.text))
        text = symbols + self.kinds.weight[0]
        reference = self.project(layout.reference.to(text.dtype)) + self.kinds.weight[1]
        x = torch.cat((reference, text), dim=1)
        index = torch.arange(max(shown, size), device=x.device).float()
        behind = index[:shown] - layout.reference_lengths[:, None]
        position = torch.cat((behind * _pace(layout), index[:size].expand(len(x), -1)), dim=1)
        time = torch.cat((torch.full_like(behind, CLEAN), torch.full_like(layout.text, TEXT, dtype=behind.dtype)), dim=1)
        valid = torch.cat((valid_mask(layout.reference_lengths, shown), valid_mask(layout.text_lengths, size)), dim=1)
        return x, position, time, valid

    def places(self, layout: Layout, numbers: Tensor) -> Tensor:
        """Positions [B, M] of latents by number [M]: spread evenly over the symbols."""
        return numbers * _pace(layout)

    def manner(self, layout: Layout) -> Tensor:
        """One vector of the voice, [B, 1, D], which all latents of the speech have; zeros without a reference."""
        if self.voice is None or layout.reference.shape[1] == 0:
            return self.kinds.weight.new_zeros(len(layout.text), 1, self.config.width)
        shown = layout.reference.to(self.kinds.weight.dtype)
        heard: Tensor = self.voice(shown, valid_mask(layout.reference_lengths, shown.shape[1]))
        return heard[:, None]

    def embed(self, latents: Tensor, manner: Tensor) -> Tensor:
        """Map latents of the speech [B, N, C] to [B, N, D]."""
        embedded: Tensor = self.project(latents.to(manner.dtype)) + manner
        return embedded

    def read(self, x: Tensor, position: Tensor, time: Tensor, seen: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Run the blocks over x [B, N, D] at positions and times [B, N]; `seen` [B, N, N'] as in SelfAttention."""
        angles = angles_at(position, self.config.width // self.config.num_heads)
        condition = F.silu(self.time(time.flatten()).unflatten(0, time.shape)).to(x.dtype)  # [B, N, T]
        for index, block in enumerate(self.blocks):
            x = block(x, seen, angles, condition, None if cache is None else cache.layers[index])
        normed: Tensor = self.norm(x)
        return normed

    def field(self, read: Tensor) -> Field:
        """What noisy latents [B, N, D] that were read tell."""
        return Field(self.out(read), None if self.tokens is None else self.tokens(read))


def _pace(layout: Layout) -> Tensor:
    """Symbols for each latent, [B, 1]."""
    return (layout.text_lengths / layout.lengths.clamp(min=1))[:, None]
