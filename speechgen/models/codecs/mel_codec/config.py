"""Sizes of the codec, weights of its losses."""

from __future__ import annotations

import math

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class MelCodecConfig(StrictModel):
    """The defaults make 46.9 frames of 8 codes a second: 3.75 kbit/s."""

    mel: MelSettings = Field(MelSettings(), description="the mel that it codes")
    frames: int = Field(2, ge=1, le=16, description="mel frames of a frame of codes")
    latent_width: int = Field(32, ge=1, description="channels of a code vector")
    width: int = Field(192, description="width of encoder and decoder")
    depth: int = Field(4, ge=1, description="ConvNeXt blocks of each")
    ff_multiple: int = Field(3, description="inner width of a block over its width")
    num_codebooks: int = Field(8, ge=1, description="codebooks Q")
    codebook_size: int = Field(1024, ge=2, description="codes of a codebook")
    mel_mean: float = Field(-1.7, description="mean of log-mel values in the training data")
    mel_scale: float = Field(2.15, gt=0, description="standard deviation of log-mel values in the training data")
    vocoder_width: int = Field(256, description="channels of the Vocos")
    vocoder_hidden_width: int = Field(768, description="channels inside one of its blocks")
    vocoder_depth: int = Field(8, description="its ConvNeXt blocks")
    corrections: int = Field(2, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel")

    @property
    def hop_samples(self) -> int:
        """Samples of a frame of codes."""
        return self.frames * self.mel.hop_samples

    @property
    def rate(self) -> float:
        """Frames of codes per second."""
        return self.mel.frame_rate / self.frames

    @property
    def kilobits(self) -> float:
        """Per second, of all codebooks."""
        return self.num_codebooks * math.log2(self.codebook_size) * self.rate / 1000

    @classmethod
    def tiny(cls) -> MelCodecConfig:
        """Smallest network that exercises every path."""
        return cls(
            latent_width=4,
            width=8,
            depth=1,
            ff_multiple=2,
            num_codebooks=3,
            codebook_size=16,
            vocoder_width=16,
            vocoder_hidden_width=32,
            vocoder_depth=2,
            corrections=1,
        )


class MelCodecObjectiveConfig(StrictModel):
    """What the codes are to be, beside decodable. The Vocos does not learn here: it comes from a checkpoint (--init)."""

    commitment_weight: float = Field(0.25, ge=0, description="of the distance of latents from their code vectors")
    fewer_codebooks: float = Field(0.5, ge=0, le=1, description="rows that use a random number of codebooks instead of all")
    codebook_decay: float = Field(0.99, gt=0, lt=1, description="decay of the running means that codebooks are")
    gain_db: float = Field(6.0, ge=0, description="crops are made louder or softer by at most this")

    @classmethod
    def tiny(cls) -> MelCodecObjectiveConfig:
        """Every path of the objective."""
        return cls()


class MelCodecOptions(StrictModel):
    """A request can change nothing but how many codebooks are used, which `encode` is told."""
