"""Sizes of the network and its presets."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from speechgen.audio.quantize import Quantizer
from speechgen.core.config import StrictModel


class SampleRnnConfig(StrictModel):
    """The defaults are the replication with three tiers that SaShiMi was compared with, 35 M parameters."""

    sample_rate: int = Field(16000, gt=0, description="samples per second of the audio")
    quantizer: Quantizer = Field("mu-law", description="how samples become one of 256 levels: mu-law or linear")
    frame_sizes: tuple[int, ...] = Field(
        (8, 2, 2), description="samples of the lowest tier's frame, then frames of a tier in one of the tier above"
    )
    width: int = Field(1024, ge=1, description="channels of all tiers")
    embedding: int = Field(256, ge=1, description="channels of a level's embedding")
    layers: int = Field(1, ge=1, description="recurrent layers of each tier")

    @model_validator(mode="after")
    def _has_tiers(self) -> SampleRnnConfig:
        if not self.frame_sizes or any(size < 2 for size in self.frame_sizes):
            raise ValueError(f"frame_sizes must be one or more numbers above 1, got {self.frame_sizes}")
        return self

    @property
    def lookback(self) -> int:
        """Samples of the highest tier's frame."""
        return math.prod(self.frame_sizes)

    @classmethod
    def three_tiers(cls) -> SampleRnnConfig:
        """35,026,176 parameters without the gains of weight normalisation."""
        return cls()

    @classmethod
    def two_tiers(cls) -> SampleRnnConfig:
        """51,842,304 parameters without the gains of weight normalisation."""
        return cls(frame_sizes=(16, 4), layers=2)

    @classmethod
    def small(cls) -> SampleRnnConfig:
        """For one core."""
        return cls(frame_sizes=(8, 4), width=256, embedding=32)

    @classmethod
    def tiny(cls) -> SampleRnnConfig:
        """Smallest network that exercises every path."""
        return cls(frame_sizes=(16, 2), width=12, embedding=6, layers=2)


class SampleRnnObjectiveConfig(StrictModel):
    """Truncated backpropagation through time."""

    chunk_samples: int = Field(
        1024, ge=1, description="samples between optimiser steps, rounded up to whole frames; the state is carried on"
    )
    tail_seconds: float = Field(0.0, ge=0, description="silence behind each recording that is learnt too")

    @classmethod
    def tiny(cls) -> SampleRnnObjectiveConfig:
        """Several chunks in a short crop."""
        return cls(chunk_samples=4096)
