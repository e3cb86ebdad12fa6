"""Sizes of the autoencoder, weights of its losses."""

from __future__ import annotations

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class VAEConfig(StrictModel):
    """ARDiT's has 16 channels for four frames, of transformers of 12 layers and width 1024 (section 4.1)."""

    mel: MelSettings = Field(MelSettings(), description="the mel it encodes")
    frames: int = Field(4, ge=1, le=16, description="mel frames of a latent")
    latent_width: int = Field(32, ge=1, le=256, description="channels D of a latent")
    width: int = Field(192, description="width of encoder and decoder")
    depth: int = Field(4, ge=1, description="ConvNeXt blocks of each; a frame depends on six latents before it for each block")
    ff_multiple: int = Field(3, description="inner width of a block over its width")
    mel_mean: float = Field(-1.7, description="mean of log-mel values in the training data")
    mel_scale: float = Field(2.15, gt=0, description="standard deviation of log-mel values in the training data")

    @property
    def rate(self) -> float:
        """Latents per second."""
        return self.mel.frame_rate / self.frames

    @classmethod
    def tiny(cls) -> VAEConfig:
        """Smallest network that exercises every path."""
        return cls(latent_width=4, width=8, depth=1, ff_multiple=2)


class VAEObjectiveConfig(StrictModel):
    """What the latents are to be, beside decodable."""

    kl_weight: float = Field(0.003, ge=0, description="of the divergence from a unit Gaussian, in nats for each channel")
    noise: float = Field(
        0.1, ge=0, le=1, description="noise added to what is decoded in training, over each channel's deviation"
    )

    @classmethod
    def tiny(cls) -> VAEObjectiveConfig:
        """Every path of the objective."""
        return cls()


class VAEOptions(StrictModel):
    """A request may change nothing."""
