"""Carriers: the typed values that stages hand to one another.

Shapes use one alphabet: B batch, S symbols, T frames, L samples, M mel bins. Every sequence carries `lengths [B]`
(int64, how many entries of each row are real) and, where it has one, its `rate` in entries per second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor

from speechgen.core.config import StrictModel

__all__ = ["Mel", "MelSettings", "Prompt", "SemanticTokens", "Text", "Waveform"]


class MelSettings(StrictModel):
    """The definition of a log-mel spectrogram. Two mels are interchangeable only if these are equal."""

    sample_rate: int = Field(24000, description="samples per second of the audio")
    n_fft: int = Field(1024, description="FFT and Hann window length in samples")
    hop_samples: int = Field(256, description="samples between frames")
    num_bins: int = Field(100, description="mel bins M")
    floor: float = Field(1e-5, description="magnitudes are clamped here before the natural logarithm")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_samples


@dataclass(frozen=True)
class Text:
    """Phoneme ids `[B, S]` int64."""

    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class SemanticTokens:
    """Discrete units of what is said, by whom as little as may be: `ids [B, T]` int64 in [0, size), `rate` tokens per second.

    A model that reads symbols in order also tells in `durations [B, S]` int64 how many tokens each of them lasts.
    """

    ids: Tensor
    lengths: Tensor
    rate: float
    size: int
    durations: Tensor | None = None

    def to(self, device: torch.device | str) -> SemanticTokens:
        """Return the same tokens on `device`."""
        durations = None if self.durations is None else self.durations.to(device)
        return replace(self, ids=self.ids.to(device), lengths=self.lengths.to(device), durations=durations)


@dataclass(frozen=True)
class Mel:
    """Natural-log magnitude mel spectrogram `values [B, T, M]` float32."""

    values: Tensor
    lengths: Tensor
    settings: MelSettings


@dataclass(frozen=True)
class Waveform:
    """Mono audio `samples [B, L]` float32 in [-1, 1], `rate` samples per second."""

    samples: Tensor
    lengths: Tensor
    rate: int

    @classmethod
    def single(cls, samples: Tensor, rate: int) -> Waveform:
        """Wrap one signal `samples [L]` as a batch of one."""
        return cls(samples[None], torch.tensor([samples.shape[-1]], device=samples.device), rate)

    @property
    def seconds(self) -> float:
        """Length of the longest row in seconds."""
        return self.samples.shape[-1] / self.rate

    def to(self, device: torch.device | str) -> Waveform:
        """Return the same waveform on `device`."""
        return replace(self, samples=self.samples.to(device), lengths=self.lengths.to(device))


@dataclass(frozen=True)
class Prompt:
    """A reference recording (one row) and, if known, what it says."""

    audio: Waveform
    transcript: str | None = None
