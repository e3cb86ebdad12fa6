"""SampleRNN network: levels so far -> logits of the next (Mehri et al., 2017).

Recurrent tiers read frames of levels, the higher the longer, and each tells the one below what it has heard; the lowest
frames are read by a perceptron that predicts each level. Here `frame_sizes` counts upwards: (8, 2, 2) are frames of 8, 16
and 32 levels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from speechgen.audio.quantize import LEVELS, SILENCE
from speechgen.models.waveform.samplernn.config import SampleRnnConfig


class SampleRnnState(NamedTuple):
    """What is carried on: the last levels [B, lookback] and the hidden states [layers, B, D] of each tier, lowest first."""

    previous: Tensor
    hidden: tuple[Tensor, ...]

    def detached(self) -> SampleRnnState:
        """The same without its history: gradients end here."""
        return SampleRnnState(self.previous, tuple(each.detach() for each in self.hidden))


class Tier(nn.Module):
    """Reads frames of `frame` levels; tells each of the `parts` frames of the tier below, or levels, what to expect."""

    def __init__(self, frame: int, parts: int, width: int, layers: int) -> None:
        super().__init__()
        self.input = weight_norm(nn.Linear(frame, width))
        self.rnn = nn.GRU(width, width, layers, batch_first=True)
        self.initial = nn.Parameter(torch.zeros(layers, width))
        self.spread = weight_norm(nn.ConvTranspose1d(width, width, parts, stride=parts, bias=False))
        self.spread_bias = nn.Parameter(torch.zeros(width, parts))
        for name, value in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(value[2 * width :])  # the candidate's; gates as torch begins them
            elif name.startswith("bias"):
                nn.init.zeros_(value)

    def forward(self, frames: Tensor, above: Tensor | None, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map frames [B, T, frame] and what the tier above tells [B, T, D] to [B, T * parts, D] and the next hidden state."""
        x = self.input(frames) + (0 if above is None else above)
        start = self.initial[:, None].expand(-1, len(x), -1).contiguous()
        if hidden is not None:
            start = hidden + 0 * start  # each parameter has a gradient in each chunk, as DistributedDataParallel expects
        y, hidden = self.rnn(x, start)
        told = self.spread(y.transpose(1, 2)) + self.spread_bias.repeat(1, y.shape[1])  # [B, D, T * parts]
        return told.transpose(1, 2), hidden


class SampleRnn(nn.Module):
    """The tiers, lowest first, and the perceptron."""

    def __init__(self, config: SampleRnnConfig) -> None:
        super().__init__()
        self.lookback, self.window, width = config.lookback, config.frame_sizes[0], config.width
        self.frames: list[int] = []
        tiers, frame = [], 1
        for size in config.frame_sizes:
            frame *= size
            self.frames.append(frame)
            tiers.append(Tier(frame, size, width, config.layers))
        self.tiers = nn.ModuleList(tiers)
        self.embedding = nn.Embedding(LEVELS, config.embedding)
        self.input = weight_norm(nn.Conv1d(config.embedding, width, self.window, bias=False))
        self.inner = weight_norm(nn.Linear(width, width))
        self.head = weight_norm(nn.Linear(width, LEVELS))

    def forward(self, levels: Tensor, state: SampleRnnState | None = None) -> tuple[Tensor, SampleRnnState]:
        """Predict each level from those before it.

        Args:
            levels: [B, L] int64. L is a multiple of `lookback` unless this is the end: what comes behind them with the state
                begins with a whole frame of the highest tier.
            state: of the levels before; None: nothing was before but silence.

        Returns:
            Logits [B, L, 256] and the state behind the last level.
        """
        batch, length = levels.shape
        previous = levels.new_full((batch, self.lookback), SILENCE) if state is None else state.previous
        known = torch.cat((previous, F.pad(levels, (0, -length % self.lookback), value=SILENCE)), 1)
        total = known.shape[1] - self.lookback
        values = 2 * (known - SILENCE).to(self.embedding.weight.dtype) / SILENCE  # [B, lookback + total] in [-2, 2)
        above, hidden = None, list[Tensor]()
        for number in reversed(range(len(self.tiers))):
            frame = self.frames[number]
            start = self.lookback - frame  # the frame before the levels that it tells about
            frames = values[:, start : start + total].unflatten(1, (-1, frame))
            above, after = self.tiers[number](frames, above, None if state is None else state.hidden[number])
            hidden.insert(0, after)
        window = self.embedding(known[:, self.lookback - self.window : -1]).transpose(1, 2)
        y = F.relu(self.input(window).transpose(1, 2) + above)  # [B, total, D]
        logits = self.head(F.relu(self.inner(y)))[:, :length]
        return logits, SampleRnnState(known[:, -self.lookback :], tuple(hidden))
