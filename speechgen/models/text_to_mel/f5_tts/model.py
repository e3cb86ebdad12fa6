"""E2 TTS and F5-TTS: a transformer that predicts the velocity of a mel from the visible part of it and the whole text.

The text is a string of symbols, as long as the mel: behind its end stand fillers (E2 TTS, section 2.1). Each position sees
noisy mel, visible mel (zeros where it is to be generated) and text, concatenated. E2 TTS then is a U of plain blocks with
the flow time as a position of its own in front; F5-TTS refines the text by ConvNeXt V2 blocks and is a row of blocks that
the flow time modulates. The process that integrates the velocity is sampling/flow_matching.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.text_to_mel.f5_tts.config import F5Config
from speechgen.nn.convnext import ConvNeXtV2Block
from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.masks import valid_mask
from speechgen.nn.positions import ConvolutionalPosition, cosine_table, rotary_angles
from speechgen.nn.transformer import DiTBlock, FinalModulation, TransformerBlock, through_u


class Timing(NamedTuple):
    """What is known of when symbols that are spread over the frames are spoken.

    Attributes:
        symbols, frames: [B] how many at the beginning of each row are a prompt's: these are spread apart from the rest, for at
            another pace words of the prompt would be read, and heard, behind it.
        spoken: [B, S + 1] frames at which symbols begin, and at which the last one ends.
        share: [B] how far symbols lie towards that, from 0 to 1.
    """

    symbols: Tensor
    frames: Tensor
    spoken: Tensor | None = None
    share: Tensor | None = None


class Read(NamedTuple):
    """The text for every frame [B, T, E]; the frames [B, T + 1] at which symbols are thought to begin, if they are spread."""

    text: Tensor
    edges: Tensor | None


class Field(NamedTuple):
    """Velocities [B, T, M] of noisy mels; in training logits of their semantic tokens [B, T, K], and `Read.edges`."""

    velocity: Tensor
    tokens: Tensor | None
    edges: Tensor | None


FILLER = 0
"""Row of the embedding that stands for no symbol; symbol i is row i + 1."""


class F5TTS(nn.Module):
    """Velocity field over normalised mel frames."""

    def __init__(self, config: F5Config) -> None:
        super().__init__()
        self.config = config
        bins, width = config.mel.num_bins, config.width
        self.symbols = nn.Embedding(len(config.vocabulary) + 1, config.text_width)
        self.text_blocks = nn.ModuleList(
            ConvNeXtV2Block(config.text_width, 2 * config.text_width) for _ in range(config.text_layers)
        )
        self.project = nn.Linear(2 * bins + config.text_width, width)
        self.position = ConvolutionalPosition(width)
        self.time = TimeEmbedding(width)
        sizes = (width, config.num_heads, config.ff_multiple, config.dropout)
        self.blocks, self.merges = nn.ModuleList(), nn.ModuleList()
        self.norm: nn.Module
        if config.backbone == "unet":
            for _ in range(config.depth):
                self.blocks.append(TransformerBlock(*sizes, gelu="tanh", rotary_heads=config.rotary_heads))
            for _ in range(config.depth // 2):
                self.merges.append(nn.Linear(2 * width, width, bias=False))
            self.norm = nn.RMSNorm(width)
        else:
            for _ in range(config.depth):
                self.blocks.append(DiTBlock(*sizes, rotary_heads=config.rotary_heads))
            self.norm = FinalModulation(width)
        self.out = nn.Linear(width, bins)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.tokens = nn.Linear(width, config.num_tokens) if config.num_tokens else None
        self.pace = nn.Linear(config.text_width, 1) if config.paced else None
        if self.pace is not None:
            nn.init.zeros_(self.pace.weight)
            nn.init.zeros_(self.pace.bias)

    def read(self, text: Tensor, text_lengths: Tensor, lengths: Tensor, hidden: Tensor, timing: Timing | None = None) -> Read:
        """Embed the text for every frame; the same at every flow time.

        Args:
            text: [B, S] symbols, indices into the vocabulary; what lies behind the frames is not seen.
            text_lengths: [B] real symbols.
            lengths: [B] frames; the longest is T.
            hidden: [B], True for rows whose text is all fillers.
            timing: of text that is spread; None: all of it over all frames.
        """
        size = int(lengths.max())
        valid = valid_mask(lengths, size)
        written = valid & valid_mask(text_lengths, size)
        rows = F.pad(text[:, :size], (0, size - min(size, text.shape[1]))) + 1
        rows = rows.masked_fill(~written | hidden[:, None], FILLER)
        x = self.symbols(rows) * valid[..., None]
        kept = (written if self.config.mask_filler else valid)[..., None]
        if self.text_blocks:
            x = x + cosine_table(size, self.config.text_width, x.device).to(x.dtype) * valid[..., None]
            x = x * kept
            for block in self.text_blocks:
                x = block(x, valid) * kept
        return self._spread(x, written, lengths, timing) if self.config.upsample_text else Read(x, None)

    def _spread(self, x: Tensor, written: Tensor, lengths: Tensor, timing: Timing | None) -> Read:
        """Stretch the written symbols of x [B, T, E] over the frames."""
        none = torch.zeros_like(lengths)
        timing = timing or Timing(none, none)
        lasting = written.float() if self.pace is None else self.pace(x)[..., 0].float().exp() * written
        edges = shown = edges_of(lasting, lengths, timing.symbols, timing.frames)
        if timing.spoken is not None and timing.share is not None:
            size = min(edges.shape[1], timing.spoken.shape[1])
            spoken = F.pad(timing.spoken[:, :size].to(edges), (0, edges.shape[1] - size))
            known = torch.arange(edges.shape[1], device=x.device) <= written.sum(1)[:, None]
            shown = torch.where(known, torch.lerp(edges.detach(), spoken, timing.share[:, None]), edges)
        return Read(stretch(x, written.sum(1), lengths, shown.detach()), edges)

    def forward(
        self,
        noisy: Tensor,
        visible: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        hidden: Tensor,
        t: Tensor,
        lengths: Tensor,
        read: Read | None = None,
        timing: Timing | None = None,
    ) -> Field:
        """Predict data - noise, and in training the semantic token that sounds during each frame.

        Args:
            noisy: [B, T, M] normalised mel at flow time t; T is the largest of `lengths`.
            visible: [B, T, M] the known mel, zeros where it is to be generated.
            text, text_lengths, hidden: see `read`.
            t: [B] in [0, 1], or [1] for all rows.
            lengths: [B] real frames.
            read: what `read` returns, if it is known already.
            timing: see `read`.

        Returns:
            Values at padded positions are unspecified.
        """
        valid = valid_mask(lengths, noisy.shape[1])
        read = self.read(text, text_lengths, lengths, hidden, timing) if read is None else read
        x = torch.cat((noisy, visible, read.text), dim=-1).to(self.symbols.weight.dtype)
        x = self.project(x)  # [B, T, D]
        x = x + self.position(x, valid)
        time = self.time(t)  # [B, D]
        head_width = self.config.width // self.config.num_heads
        if self.config.backbone == "unet":
            x = torch.cat((time[:, None].expand(len(x), 1, -1), x), dim=1)
            valid = F.pad(valid, (1, 0), value=True)
            angles = rotary_angles(x.shape[1], head_width, x.device)
            x = self.norm(through_u(self.blocks, self.merges, x, valid, angles))[:, 1:]
        else:
            angles, time = rotary_angles(x.shape[1], head_width, x.device), F.silu(time)
            for block in self.blocks:
                x = block(x, valid, angles, time)
            x = self.norm(x, time)
        asked = self.tokens is not None and self.training
        return Field(self.out(x).to(noisy.dtype), self.tokens(x) if asked else None, read.edges)

    def normalized(self, mel: Tensor) -> Tensor:
        """Log-mel values as the network has them."""
        return (mel - self.config.mel_mean) / self.config.mel_scale

    def log_mel(self, values: Tensor) -> Tensor:
        """Undo `normalized`."""
        return values * self.config.mel_scale + self.config.mel_mean


def edges_of(lasting: Tensor, lengths: Tensor, symbols: Tensor, frames: Tensor) -> Tensor:
    """Frames at which symbols begin, and at which the last one ends, [B, S + 1] float32.

    Args:
        lasting: [B, S] how long symbols last, relative to one another; 0 behind the last.
        lengths: [B] frames.
        symbols, frames: [B] see `Timing`.
    """
    ends = F.pad(lasting.cumsum(1), (1, 0))  # [B, S + 1]
    symbols, frames = symbols.to(ends.device)[:, None], frames.to(ends.device)[:, None]
    first = ends.gather(1, symbols)
    before = ends * frames / first.clamp(min=1e-6)
    behind = frames + (ends - first) * (lengths[:, None] - frames) / (ends[:, -1:] - first).clamp(min=1e-6)
    return torch.where(torch.arange(ends.shape[1], device=ends.device) < symbols, before, behind)


def stretch(x: Tensor, counts: Tensor, lengths: Tensor, edges: Tensor) -> Tensor:
    """Spread the first `counts` [B] of x [B, T, E] from edge to edge; zeros before and behind them and without text."""
    position = torch.arange(x.shape[1], device=x.device, dtype=edges.dtype).expand(len(x), -1)
    source = torch.searchsorted(edges.contiguous(), position.contiguous(), right=True) - 1  # [B, T]
    told = (source >= 0) & (source < counts[:, None]) & (position < lengths[:, None])
    return x.gather(1, source.clamp(0, x.shape[1] - 1)[..., None].expand_as(x)) * told[..., None]
