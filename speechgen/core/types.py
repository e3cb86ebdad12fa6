"""Carriers: the typed values that stages hand to one another.

Shapes use one alphabet: B batch, S symbols, T frames, L samples, M mel bins, Q codebooks, D width. Every sequence carries
`lengths [B]` (int64, how many entries of each row are real) and, where it has one, its `rate` in entries per second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.config import StrictModel

__all__ = ["CodecTokens", "Latents", "Mel", "MelSettings", "Prompt", "SemanticTokens", "Text", "Waveform"]


class MelSettings(StrictModel):
    """The definition of a log-mel spectrogram. Two mels are interchangeable only if these are equal."""

    sample_rate: int = Field(24000, description="samples per second of the audio")
    n_fft: int = Field(1024, description="FFT and Hann window length in samples")
    hop_samples: int = Field(256, description="samples between frames")
    num_bins: int = Field(100, description="mel bins M")
    floor: float = Field(1e-5, description="magnitudes are clamped here before the natural logarithm")
    window_samples: int | None = Field(None, description="length of the Hann window in samples; null: n_fft")
    low_hz: float = Field(0.0, description="lower edge of the lowest bin")
    high_hz: float | None = Field(None, description="upper edge of the highest bin; null: half the sample rate")
    power: Literal[1, 2] = Field(1, description="bins are sums of magnitudes (1) or of their squares (2)")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_samples

    def differences(self, other: MelSettings) -> str:
        """What `other` has instead, field by field; empty if they are equal."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in type(self).model_fields)
        return ", ".join(f"{name} {there} instead of {here}" for name, here, there in pairs if here != there)

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields that published front ends need are written where they are used: all other mels keep their identity."""
        unused = self._unused()
        return {key: value for key, value in handler(self).items() if key not in unused}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Messages name what is written."""
        unused = self._unused()
        return [(name, value) for name, value in super().__repr_args__() if name not in unused]

    def _unused(self) -> set[str]:
        names = ("window_samples", "low_hz", "high_hz", "power")
        return {name for name in names if getattr(self, name) == type(self).model_fields[name].default}


@dataclass(frozen=True)
class Text:
    """Ids `[B, S]` int64 of what is to be said: phonemes, or the symbols of a model that reads characters."""

    ids: Tensor
    lengths: Tensor

    @classmethod
    def single(cls, ids: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> Text:
        """One row of ids [S]."""
        row = torch.as_tensor(ids, dtype=torch.int64, device=device)
        return cls(row[None], torch.tensor([len(row)], device=device))


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

    def at(self, rate: float, count: int | None = None) -> Tensor:
        """Return the ids at another rate, [B, count]: each entry is the token that is sounding at its centre.

        Args:
            rate: entries per second.
            count: how many; the last token lasts as long as that needs. None: as many as the tokens' time holds, at least one.
        """
        size = self.ids.shape[1]
        if count is None:
            count = max(1, round(size * rate / self.rate)) if size else 0
        if count == 0 or size == 0:
            return self.ids[:, :0]
        centres = (torch.arange(count, device=self.ids.device) + 0.5) * (self.rate / rate)
        return self.ids[:, centres.long().clamp(max=size - 1)]

    def to(self, device: torch.device | str) -> SemanticTokens:
        """Return the same tokens on `device`."""
        durations = None if self.durations is None else self.durations.to(device)
        return replace(self, ids=self.ids.to(device), lengths=self.lengths.to(device), durations=durations)


@dataclass(frozen=True)
class CodecTokens:
    """Audio as a codec's residual codes: `ids [B, Q, T]` int64 in [0, size), coarse to fine, `rate` frames per second.

    `codec` is the identity of the codec that can decode them. One that codes segments, each at one level, keeps the levels in
    `scales [B, N]`.
    """

    ids: Tensor
    lengths: Tensor
    rate: float
    size: int
    codec: str
    scales: Tensor | None = None

    def to(self, device: torch.device | str) -> CodecTokens:
        """Return the same codes on `device`."""
        scales = None if self.scales is None else self.scales.to(device)
        return replace(self, ids=self.ids.to(device), lengths=self.lengths.to(device), scales=scales)

    def require(self, codec: str, size: int, num_codebooks: int) -> None:
        """Check that the codec of this identity, with so many codebooks of `size` codes, can decode these.

        Raises:
            ValueError: they are another codec's, of more codebooks, or out of range; says where.
        """
        if self.codec != codec:
            raise ValueError(
                f"these codes are of {self.codec}, which {codec} cannot decode: decode them with the codec they are of"
            )
        if not 1 <= self.ids.shape[1] <= num_codebooks:
            raise ValueError(f"{codec} has {num_codebooks} codebooks, the codes given are of {self.ids.shape[1]}")
        real = torch.arange(self.ids.shape[-1], device=self.ids.device) < self.lengths[:, None]
        wrong = ((self.ids < 0) | (self.ids >= size)) & real[:, None]  # [B, Q, T]
        if wrong.any():
            row, book, frame = wrong.nonzero()[0].tolist()
            found = int(self.ids[row, book, frame])
            raise ValueError(f"code {found} of codebook {book}, frame {frame}, row {row} is not in 0 to {size - 1}")


@dataclass(frozen=True)
class Latents:
    """Continuous latents of a mel, `values [B, T, D]` float32, `rate` per second; each channel has mean 0 and variance 1."""

    values: Tensor
    lengths: Tensor
    rate: float


@dataclass(frozen=True)
class Mel:
    """Natural-log magnitude mel spectrogram `values [B, T, M]` float32."""

    values: Tensor
    lengths: Tensor
    settings: MelSettings

    def to(self, device: torch.device | str) -> Mel:
        """Return the same mel on `device`."""
        return replace(self, values=self.values.to(device), lengths=self.lengths.to(device))

    def require(self, settings: MelSettings) -> None:
        """Check that a vocoder for mels of `settings` can render this one.

        Raises:
            ValueError: it is defined differently, or a real frame is not finite; says where.
        """
        if self.settings != settings:
            given = settings.differences(self.settings)
            raise ValueError(f"this vocoder renders {settings}, the mel given has {given}: choose another vocoder")
        real = torch.arange(self.values.shape[1], device=self.values.device) < self.lengths[:, None]
        broken = ~self.values.isfinite().all(-1) & real  # [B, T]
        if broken.any():
            row, frame = broken.nonzero()[0].tolist()
            raise ValueError(f"frame {frame} of row {row} of the mel is not finite: check the audio or the model it came from")


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

    @classmethod
    def from_rows(cls, rows: Sequence[Tensor], rate: int) -> Waveform:
        """Join what was made of each row, signals [L] of unequal lengths: cut at full scale and padded with silence."""
        lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
        return cls(pad_sequence(list(rows), batch_first=True).clamp(-1, 1), lengths, rate)

    @property
    def rows(self) -> list[Tensor]:
        """The signals [L] without what pads them."""
        return [row[:length] for row, length in zip(self.samples, self.lengths.tolist(), strict=True)]

    def piece(self, rate: int) -> Tensor:
        """Samples [L] of a piece of a stream.

        Raises:
            ValueError: it is not one row at `rate`, or not finite.
        """
        if self.rate != rate or len(self.samples) != 1:
            raise ValueError(f"a chunk must be one row at {rate} Hz, got {len(self.samples)} at {self.rate} Hz")
        self.require_finite()
        return self.samples[0]

    def require_finite(self) -> None:
        """Refuse samples that are none.

        Raises:
            ValueError: some are NaN or infinite.
        """
        if not self.samples.isfinite().all():
            raise ValueError("the audio holds NaN or infinite samples: export it again")

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
