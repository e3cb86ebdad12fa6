"""Sizes of the network and of its discriminators."""

from __future__ import annotations

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class VocosConfig(StrictModel):
    """The defaults are the published mel-24kHz model (13.5 M parameters)."""

    mel: MelSettings = Field(MelSettings(), description="the mel it renders")
    width: int = Field(512, description="channels of the backbone")
    hidden_width: int = Field(1536, description="channels inside a ConvNeXt block")
    depth: int = Field(8, description="ConvNeXt blocks")
    # Differs from paper: what the network leaves undone is seen where the truth is known, in the mel.
    corrections: int = Field(
        0, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel; 0: as the network made it"
    )

    @classmethod
    def tiny(cls) -> VocosConfig:
        """Smallest network that exercises every path."""
        return cls(width=16, hidden_width=32, depth=2, corrections=1)


class VocosObjectiveConfig(StrictModel):
    """Loss weights (paper, section 3.3) and discriminator sizes."""

    mel_weight: float = Field(45.0, description="weight of the log-mel L1 distance")
    # Differs from paper: short trainings need the sharper gradient of linear-frequency spectra.
    stft_weight: float = Field(0.0, description="weight of the multi-resolution STFT distance")
    resolution_weight: float = Field(0.1, description="weight of the multi-resolution discriminator (multi-period: 1)")
    adversarial_start: int = Field(0, description="steps of purely spectral training before the discriminators join")
    periods: tuple[int, ...] = Field((2, 3, 5, 7, 11), description="periods of the multi-period discriminator in samples")
    period_channels: tuple[int, ...] = Field((32, 128, 512, 1024), description="its channels, layer by layer")
    n_ffts: tuple[int, ...] = Field((2048, 1024, 512), description="windows of the multi-resolution discriminator in samples")
    resolution_channels: int = Field(32, description="its channels")

    @classmethod
    def tiny(cls) -> VocosObjectiveConfig:
        """Smallest discriminators that exercise every path."""
        return cls(periods=(2, 3), period_channels=(4, 8), n_ffts=(512,), resolution_channels=4)


class VocosOptions(StrictModel):
    """A request can change nothing: the network is deterministic."""
