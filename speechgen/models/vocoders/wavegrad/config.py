"""Sizes of the network, its presets and its options."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings
from speechgen.sampling.diffusion import SCHEDULES

PAPER_MEL = MelSettings(n_fft=2048, window_samples=1200, hop_samples=300, num_bins=128, low_hz=20.0)
"""50 ms windows every 12.5 ms (paper, section 4.1)."""


class WaveGradConfig(StrictModel):
    """The defaults are the paper's Base model (section 3.1, appendix A)."""

    mel: MelSettings = Field(PAPER_MEL, description="the mel it renders")
    mel_range: tuple[float, float] = Field((-11.5, 2.5), description="log-mel values that the network sees as 0 and 1")
    mel_clamped: bool = Field(False, description="cut what lies outside of mel_range")
    mel_channels: int = Field(768, description="channels of the mel before it is upsampled")
    up_factors: tuple[int, ...] = Field((5, 5, 3, 2, 2), description="upsampling of each UBlock; their product is the hop")
    up_channels: tuple[int, ...] = Field((512, 512, 256, 128, 128), description="channels of each UBlock")
    up_dilations: tuple[tuple[int, int, int, int], ...] = Field(
        ((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 1, 2), (1, 2, 1, 2)), description="dilations of its convolutions"
    )
    audio_channels: int = Field(32, description="channels of the noisy audio before it is downsampled")
    down_channels: tuple[int, ...] = Field((128, 128, 256, 512), description="channels of each DBlock, one less than UBlocks")
    down_dilations: tuple[int, ...] = Field((1, 2, 4), description="dilations of a DBlock's convolutions")
    upsampling: Literal["nearest", "linear"] = Field("nearest", description="how UBlocks interpolate")
    downsampling: Literal["strided", "nearest", "linear"] = Field(
        "strided", description="how DBlocks go to a lower rate: a strided convolution, or interpolation before it"
    )
    level_scale: float = Field(5000.0, description="what the noise level is multiplied with before it is encoded")
    prior: Literal["white", "spectral"] = Field(
        "white", description="colour of the noise: white, or that of the mel's spectral envelope (SpecGrad)"
    )
    signal_scale: float | None = Field(
        None, description="standard deviation of the signal, if input and output are to be scaled to 1 at every level (EDM)"
    )
    fitted_betas: tuple[float, ...] | None = Field(
        None, description="betas found by fit-schedule for these weights, used when as many steps are asked for"
    )
    # Differs from paper: what the network leaves undone is seen where the truth is known, in the mel.
    corrections: int = Field(
        0, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel; 0: as the network made it"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> WaveGradConfig:
        blocks, hop = len(self.up_factors), self.mel.hop_samples
        if math.prod(self.up_factors) != hop:
            raise ValueError(f"up_factors {self.up_factors} multiply to {math.prod(self.up_factors)}, the mel's hop is {hop}")
        if not len(self.up_channels) == len(self.up_dilations) == blocks == len(self.down_channels) + 1:
            raise ValueError(
                f"{blocks} up_factors need as many up_channels and up_dilations and {blocks - 1} down_channels, got "
                f"{len(self.up_channels)}, {len(self.up_dilations)} and {len(self.down_channels)}"
            )
        return self

    @classmethod
    def base(cls) -> WaveGradConfig:
        """The paper's Base."""
        return cls()

    @classmethod
    def large(cls) -> WaveGradConfig:
        """The paper's Large: each block is followed by one that keeps the rate."""
        return cls(
            up_factors=(5, 1, 5, 1, 3, 1, 2, 1, 2, 1),
            up_channels=(512, 512, 512, 512, 256, 256, 128, 128, 128, 128),
            up_dilations=((1, 2, 4, 8),) * 10,
            down_channels=(32, 128, 128, 128, 128, 256, 256, 512, 512),
        )

    @classmethod
    def small(cls) -> WaveGradConfig:
        """For the project's mel on a CPU: the work is done at low rates."""
        return cls(
            mel=MelSettings(),
            mel_channels=128,
            up_factors=(4, 4, 4, 4),
            up_channels=(128, 96, 64, 16),
            up_dilations=((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8)),
            audio_channels=16,
            down_channels=(32, 64, 96),
            prior="spectral",
            signal_scale=0.08,
            fitted_betas=(0.001, 0.00347, 0.012, 0.0416, 0.144, 0.5),
        )

    @classmethod
    def tiny(cls) -> WaveGradConfig:
        """Smallest network that exercises every path."""
        return cls(
            mel=MelSettings(),
            mel_channels=8,
            up_factors=(8, 8, 4),
            up_channels=(8, 8, 4),
            up_dilations=((1, 2, 1, 2),) * 3,
            audio_channels=4,
            down_channels=(4, 8),
            prior="spectral",
            signal_scale=0.08,
            corrections=1,
        )


class WaveGradObjectiveConfig(StrictModel):
    """The noise that the network learns to recognise (paper, section 2.2)."""

    steps: int = Field(1000, ge=1, description="steps of the training schedule")
    first_beta: float = Field(1e-6, gt=0, lt=1, description="its first beta")
    last_beta: float = Field(0.01, gt=0, lt=1, description="its last beta")
    geometric: bool = Field(
        False, description="betas a constant ratio apart: more low noise levels; false: a constant difference"
    )
    crop_frames: int | None = Field(None, ge=1, description="frames that are learnt from at once; null: what the data gives")

    @classmethod
    def tiny(cls) -> WaveGradObjectiveConfig:
        """The smallest crop."""
        return cls(crop_frames=16)


class WaveGradOptions(StrictModel):
    """What a request can change."""

    steps: int = Field(
        6,
        ge=1,
        le=1000,
        description=f"steps: any number with a spectral prior, or {', '.join(map(str, SCHEDULES))}, or as many as are fitted",
    )
    betas: tuple[float, ...] | None = Field(None, description="a schedule of one's own instead, small values first")
    temperature: float = Field(1.0, ge=0, le=2, description="scale of the noise that is drawn")
    clamp: bool = Field(True, description="keep the predicted signal within full scale at every step")

    @model_validator(mode="after")
    def _betas_are_shares(self) -> WaveGradOptions:
        if self.betas is not None and not (self.betas and all(0 < beta < 1 for beta in self.betas)):
            raise ValueError(f"betas must be numbers between 0 and 1, got {self.betas}")
        return self
