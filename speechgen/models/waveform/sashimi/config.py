"""Sizes of the network and its presets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from speechgen.audio.quantize import Quantizer
from speechgen.core.config import StrictModel
from speechgen.nn.multiscale import Sizes


class SashimiConfig(StrictModel):
    """The defaults are the paper's model with 8 layers, 4.07 M parameters (section 5, appendix C.2)."""

    sample_rate: int = Field(16000, gt=0, description="samples per second of the audio")
    quantizer: Quantizer = Field("mu-law", description="how samples become one of 256 levels: mu-law or linear")
    width: int = Field(64, ge=1, description="channels at the full rate")
    depth: int = Field(8, ge=1, description="pairs of a state-space and a feed-forward block in each stack")
    pools: tuple[int, ...] = Field((4, 4), description="how many samples become one, from the full rate downwards")
    expand: int = Field(2, ge=1, description="factor of the channels at each pool")
    hidden: int = Field(2, ge=1, description="factor of the feed-forward blocks' inner channels")
    state_size: int = Field(64, ge=2, description="size of each channel's state, half of it in conjugate pairs")
    kernel: Literal["s4", "lin", "inv", "legs", "real"] = Field(
        "s4", description="S4 (diagonal less a product, from HiPPO), or S4D from these eigenvalues"
    )
    shared: bool = Field(True, description="the channels of a layer have their system in common")
    glu: bool = Field(False, description="gated linear unit behind each state space")
    unet: bool = Field(False, description="stacks of blocks on the way down too")

    @model_validator(mode="after")
    def _state_is_even(self) -> SashimiConfig:
        if self.state_size % 2 or any(pool < 2 for pool in self.pools):
            raise ValueError(f"state_size must be even and pools at least 2, got {self.state_size} and {self.pools}")
        return self

    @property
    def sizes(self) -> Sizes:
        """Of the backbone."""
        return Sizes(
            width=self.width,
            depth=self.depth,
            pools=self.pools,
            expand=self.expand,
            hidden=self.hidden,
            state_size=self.state_size,
            kernel=self.kernel,
            shared=self.shared,
            glu=self.glu,
            unet=self.unet,
        )

    @classmethod
    def published(cls, depth: int = 8) -> SashimiConfig:
        """The paper's ablation of the depth: 2, 4, 6 or 8 layers have 1.29, 2.22, 3.14 and 4.07 M parameters."""
        return cls(depth=depth)

    @classmethod
    def small(cls) -> SashimiConfig:
        """For one core: 0.71 M parameters, S4D, each channel with a system of its own."""
        return cls(width=32, depth=4, state_size=32, kernel="lin", shared=False, glu=True)

    @classmethod
    def tiny(cls) -> SashimiConfig:
        """Smallest network that exercises every path."""
        return cls(width=8, depth=1, pools=(4, 2), state_size=8, kernel="lin", shared=False, glu=True, unet=True)


class SashimiObjectiveConfig(StrictModel):
    """What is learnt."""

    tail_seconds: float = Field(0.0, ge=0, description="silence behind each recording that is learnt too")

    @classmethod
    def tiny(cls) -> SashimiObjectiveConfig:
        """The same."""
        return cls()
