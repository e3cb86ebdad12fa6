"""Sizes of the network, its presets and its options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings
from speechgen.nn.multiscale import Sizes


class DiffWaveMelConfig(StrictModel):
    """The defaults are SaShiMi's small backbone (Goel et al., section 5.3) with DiffWave's schedule of 50 steps."""

    mel: MelSettings = Field(MelSettings(), description="the mel it renders")
    width: int = Field(64, ge=1, description="channels at the full rate")
    depth: int = Field(6, ge=1, description="pairs of a state-space and a feed-forward block in each stack")
    pools: tuple[int, ...] = Field((4, 4), description="how many samples become one, from the full rate downwards")
    expand: int = Field(2, ge=1, description="factor of the channels at each pool")
    hidden: int = Field(2, ge=1, description="factor of the feed-forward blocks' inner channels")
    state_size: int = Field(64, ge=2, multiple_of=2, description="size of each channel's state, half of it in conjugate pairs")
    kernel: Literal["s4", "lin", "inv", "legs", "real"] = Field("s4", description="S4, or S4D from these eigenvalues")
    shared: bool = Field(True, description="the channels of a layer have their system in common")
    # Differs from paper: its kernels are as long as the sound; these end, so that parts of a mel give parts of the sound.
    taps: int = Field(64, ge=1, description="steps of its rate that a kernel looks to either side")
    level_width: int = Field(512, ge=1, description="channels of the embedding of the noise level")
    training_steps: int = Field(50, ge=1, description="steps of the schedule whose noise levels are learnt")
    first_beta: float = Field(1e-4, gt=0, lt=1, description="its first beta")
    last_beta: float = Field(0.05, gt=0, lt=1, description="its last beta")
    # Differs from paper: what the network leaves undone is seen where the truth is known, in the mel.
    corrections: int = Field(
        0, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel; 0: as the network made it"
    )

    @model_validator(mode="after")
    def _frames_are_whole_steps(self) -> DiffWaveMelConfig:
        if self.mel.hop_samples % self.sizes.strides[-1]:
            raise ValueError(f"pools {self.pools} must multiply to a divisor of the mel's hop, {self.mel.hop_samples}")
        return self

    @property
    def sizes(self) -> Sizes:
        """Of the backbone: it sees both sides, and has stacks on the way down."""
        return Sizes(
            width=self.width,
            depth=self.depth,
            pools=self.pools,
            expand=self.expand,
            hidden=self.hidden,
            state_size=self.state_size,
            kernel=self.kernel,
            shared=self.shared,
            glu=True,
            unet=True,
            bidirectional=True,
            taps=self.taps,
        )

    @classmethod
    def small(cls) -> DiffWaveMelConfig:
        """For a CPU: S4D, few channels at the full rate."""
        return cls(
            width=24,
            depth=1,
            pools=(4, 4, 4),
            state_size=32,
            kernel="lin",
            shared=False,
            taps=32,
            level_width=128,
            corrections=2,
        )

    @classmethod
    def tiny(cls) -> DiffWaveMelConfig:
        """Smallest network that exercises every path."""
        return cls(
            width=8,
            depth=1,
            pools=(4, 4),
            state_size=8,
            kernel="lin",
            shared=False,
            taps=4,
            level_width=16,
            corrections=1,
        )


class DiffWaveMelObjectiveConfig(StrictModel):
    """Nothing can be chosen: the noise levels belong to the model."""

    @classmethod
    def tiny(cls) -> DiffWaveMelObjectiveConfig:
        """The same."""
        return cls()


class DiffWaveMelOptions(StrictModel):
    """What a request can change."""

    steps: int = Field(
        8, ge=1, le=1000, description="denoising steps through the levels that are learnt: more is slower and cleaner"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="scale of the noise that is drawn")
