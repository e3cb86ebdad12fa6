"""Sizes of the network, its presets and its options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.nn.multiscale import Sizes


class DiffWaveConfig(StrictModel):
    """The defaults are the paper's small model; its large one is `width: 128` (section 5.3, appendix C.2.2)."""

    sample_rate: int = Field(16000, gt=0, description="samples per second of the audio")
    width: int = Field(64, ge=1, description="channels at the full rate")
    depth: int = Field(6, ge=1, description="pairs of a state-space and a feed-forward block in each stack")
    pools: tuple[int, ...] = Field((4, 4), description="how many samples become one, from the full rate downwards")
    expand: int = Field(2, ge=1, description="factor of the channels at each pool")
    hidden: int = Field(2, ge=1, description="factor of the feed-forward blocks' inner channels")
    state_size: int = Field(64, ge=2, multiple_of=2, description="size of each channel's state, half of it in conjugate pairs")
    kernel: Literal["s4", "lin", "inv", "legs", "real"] = Field("s4", description="S4, or S4D from these eigenvalues")
    shared: bool = Field(True, description="the channels of a layer have their system in common")
    level_width: int = Field(512, ge=1, description="channels of the embedding of the noise level")
    training_steps: int = Field(200, ge=1, description="steps of the schedule whose noise levels are learnt")
    first_beta: float = Field(1e-4, gt=0, lt=1, description="its first beta")
    last_beta: float = Field(0.02, gt=0, lt=1, description="its last beta")
    scale: float = Field(0.1, gt=0, description="standard deviation of the audio, which is diffused as 1")

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
        )

    @classmethod
    def tiny(cls) -> DiffWaveConfig:
        """Smallest network that exercises every path."""
        return cls(width=8, depth=1, pools=(4, 2), state_size=8, kernel="lin", shared=False, level_width=16)


class DiffWaveObjectiveConfig(StrictModel):
    """Nothing can be chosen: the noise levels belong to the model."""

    @classmethod
    def tiny(cls) -> DiffWaveObjectiveConfig:
        """The same."""
        return cls()


class DiffWaveOptions(StrictModel):
    """What a request can change."""

    steps: int = Field(
        50, ge=1, le=1000, description="denoising steps, betas a constant ratio apart: more is slower and cleaner"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="scale of the noise that is drawn")
