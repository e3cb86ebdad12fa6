"""Sizes of the velocity network, training probabilities, request options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class E2Config(StrictModel):
    """The paper's network is width 1024, depth 24, 16 heads (section 3.1); the default here is sized for two CPU cores."""

    mel: MelSettings = Field(MelSettings(), description="the mel it generates")
    num_tokens: int = Field(256, description="size of the semantic token alphabet")
    token_rate: float = Field(46.875, description="semantic tokens per second it was trained with")
    # Differs from paper: two frames share one position, so that a semantic token is one position and attention costs a quarter.
    patch_frames: int = Field(2, description="mel frames per transformer position")
    width: int = Field(256, description="width D")
    depth: int = Field(8, multiple_of=2, description="transformer blocks; even, the second half receives skips from the first")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(4, description="feed-forward width over D")
    token_width: int = Field(128, description="width of a token's embedding")
    dropout: float = Field(0.0, description="dropout in training")
    # Differs from paper: a small network with little data does not learn the voice by attention to the prompt alone.
    modulated: bool = Field(False, description="modulate every block by the flow time and a summary of the visible mel")
    # Differs from paper: a patch is nearly as wide as a small network, whose residual stream then has no room for anything but
    # the noise that the velocity is made of (Li and He, 2025, "Back to Basics", arXiv:2511.13720, by another remedy).
    direct: bool = Field(False, description="add the noisy mel to the output, each bin weighed by the flow time")
    mel_mean: float = Field(-5.0, description="mean of log-mel values in the training data")
    mel_scale: float = Field(2.5, description="standard deviation of log-mel values in the training data")

    @model_validator(mode="after")
    def _check_rates(self) -> E2Config:
        if abs(self.token_rate * self.patch_frames - self.mel.frame_rate) > 1e-3:
            raise ValueError(
                f"{self.patch_frames} mel frames at {self.mel.frame_rate} a second are not one token at {self.token_rate}: "
                f"choose patch_frames {self.mel.frame_rate / self.token_rate:g} or token_rate "
                f"{self.mel.frame_rate / self.patch_frames:g}"
            )
        return self

    @classmethod
    def tiny(cls) -> E2Config:
        """Smallest network that exercises every path."""
        return cls(num_tokens=8, width=16, depth=2, num_heads=2, ff_multiple=2, token_width=8)


class E2ObjectiveConfig(StrictModel):
    """Masking and condition dropout (section 2.1, Appendix; probabilities of the public implementation)."""

    mask_low: float = Field(0.7, gt=0, le=1, description="smallest share of the utterance that is masked and generated")
    mask_high: float = Field(1.0, gt=0, le=1, description="largest share")
    drop_prompt: float = Field(0.2, ge=0, le=1, description="probability of hiding the visible mel")
    drop_all: float = Field(0.2, ge=0, le=1, description="probability of hiding the visible mel and the tokens, for guidance")
    # Differs from paper: guidance learnt costs nothing when speaking (Tang et al., 2025, arXiv:2502.12154).
    guidance: float = Field(
        0.0, ge=0, le=10, description="guidance that the network learns to give by itself, for the end of training"
    )
    guided_until: float = Field(1.0, ge=0, le=1, description="flow time from which on that guidance is left out")

    @classmethod
    def tiny(cls) -> E2ObjectiveConfig:
        """Every path of the objective."""
        return cls()


class E2Options(StrictModel):
    """What a request may change."""

    steps: int = Field(10, ge=1, le=256, description="integration steps")
    guidance: float = Field(1.0, ge=0, le=10, description="strength of classifier-free guidance; 0 turns it off")
    guided_until: float = Field(1.0, ge=0, le=1, description="flow time from which on guidance, and its cost, is left out")
    sway: float = Field(-1.0, ge=-1, le=1.75, description="warp of the time grid; negative: more steps near the noise")
    method: Literal["euler", "midpoint"] = Field("euler", description="integrator")
