"""Sizes of the network, with the published models as presets, and of its training."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel


class EncodecConfig(StrictModel):
    """The defaults are the published 24 kHz model (14.9 M parameters and 32 codebooks)."""

    sample_rate: int = Field(24000, description="samples per second")
    channels: Literal[1, 2] = Field(1, description="of the audio inside; with 2, both are the one that is given")
    width: int = Field(32, description="channels at the finest rate; each level below has twice as many")
    ratios: tuple[int, ...] = Field((8, 5, 4, 2), min_length=1, description="upsampling of the decoder, level by level")
    # Differs from paper: on a CPU few wide steps cost less than many narrow ones.
    patch: int = Field(1, ge=1, description="samples of a step of the finest level; 1: every sample, as in the paper")
    latent_width: int = Field(128, description="channels of a code vector")
    residual_layers: int = Field(1, description="residual blocks of a level")
    dilation_growth: int = Field(2, description="each residual block of a level has a dilation so many times larger")
    compress: int = Field(2, description="a residual block has so many times fewer channels inside")
    kernel: int = Field(7, description="width of the first and last convolutions, in steps")
    residual_kernel: int = Field(3, description="width of a residual block's convolution, in steps")
    conv_shortcut: bool = Field(True, description="a residual block goes around by a convolution of width 1; off: as it is")
    lstm_layers: int = Field(2, ge=0, description="LSTM layers at the slowest rate")
    causal: bool = Field(True, description="see no future; only then can audio be streamed")
    pad_mode: Literal["constant", "reflect"] = Field("reflect", description="what is before the beginning and behind the end")
    group_norm: bool = Field(False, description="normalise every convolution over time; not causal")
    num_codebooks: int = Field(32, ge=1, description="codebooks Q")
    codebook_size: int = Field(1024, ge=2, description="codes of a codebook")
    normalize: bool = Field(False, description="code segments at one level, and their level beside; needs segment_seconds")
    segment_seconds: float | None = Field(None, gt=0, description="audio is coded in segments of this length; null: whole")
    segment_overlap: float = Field(0.01, ge=0, lt=1, description="share of a segment that it has in common with the next")

    @model_validator(mode="after")
    def _fits(self) -> EncodecConfig:
        if self.normalize and self.segment_seconds is None:
            raise ValueError("normalize needs segment_seconds: a level belongs to a segment")
        return self

    @property
    def hop_samples(self) -> int:
        """Samples of a frame of codes."""
        return self.patch * math.prod(self.ratios)

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_samples

    @property
    def kilobits(self) -> float:
        """Per second, of all codebooks."""
        return self.num_codebooks * math.log2(self.codebook_size) * self.rate / 1000

    @classmethod
    def tiny(cls) -> EncodecConfig:
        """Smallest network that exercises every path."""
        return cls(
            width=8, ratios=(4, 4), patch=32, latent_width=8, lstm_layers=1, pad_mode="constant", num_codebooks=3,
            codebook_size=16,
        )  # fmt: skip

    @classmethod
    def published_48khz(cls) -> EncodecConfig:
        """Stereo music: segments of a second at one level, not causal."""
        return cls(
            sample_rate=48000, channels=2, causal=False, group_norm=True, num_codebooks=16, normalize=True, segment_seconds=1.0
        )

    @classmethod
    def published_32khz(cls) -> EncodecConfig:
        """The tokenizer of MusicGen: 50 Hz, not causal."""
        return cls(
            sample_rate=32000, width=64, ratios=(8, 5, 4, 4), conv_shortcut=False, causal=False, num_codebooks=4,
            codebook_size=2048,
        )  # fmt: skip


class EncodecObjectiveConfig(StrictModel):
    """Weights that the balancer gives to each loss (paper, section 3.4), and sizes of the discriminator."""

    wave_weight: float = Field(0.1, ge=0, description="weight of the L1 distance of waveforms")
    mel_weight: float = Field(1.0, ge=0, description="weight of the multi-scale mel distance")
    # Differs from paper: short trainings need the sharper gradient of linear-frequency spectra.
    stft_weight: float = Field(0.0, ge=0, description="weight of the multi-resolution STFT distance")
    adversarial_weight: float = Field(6.0, ge=0, description="weight of what the discriminators say, feature matching included")
    matching_weight: float = Field(2.0, ge=0, description="weight of feature matching beside their scores")
    commitment_weight: float = Field(1.0, ge=0, description="weight of the commitment loss, which is not balanced")
    quantize_start: int = Field(0, ge=0, description="steps without quantiser, before its codebooks are made from a batch")
    adversarial_start: int = Field(0, ge=0, description="steps without discriminators")
    # Differs from paper: balanced, what untrained discriminators say would weigh as much as what trained ones do.
    adversarial_lead: int = Field(0, ge=0, description="steps that discriminators learn before the codec hears of them")
    fewer_codebooks: float = Field(0.5, ge=0, le=1, description="rows that use a random number of codebooks instead of all")
    codebook_decay: float = Field(0.99, gt=0, lt=1, description="decay of the running means that codebooks are")
    gain_db: float = Field(0.0, ge=0, description="crops are made louder or softer by at most this")
    n_ffts: tuple[int, ...] = Field((2048, 1024, 512, 256, 128), description="windows of the discriminators in samples")
    channels: int = Field(32, description="their channels")

    @classmethod
    def tiny(cls) -> EncodecObjectiveConfig:
        """Smallest discriminators that exercise every path."""
        return cls(stft_weight=1.0, n_ffts=(512,), channels=4)


class EncodecOptions(StrictModel):
    """A request can change nothing but how many codebooks are used, which `encode` is told."""
