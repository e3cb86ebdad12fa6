"""Sizes of the network, how levels are drawn in training, request options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from speechgen.core.config import StrictModel


class SoundStormConfig(StrictModel):
    """The paper's network is width 1024, depth 12, 16 heads (section 3.2); the default here is sized for two CPU cores."""

    num_tokens: int = Field(256, description="size of the semantic token alphabet")
    num_codebooks: int = Field(8, ge=1, description="codebooks Q of the codec")
    codebook_size: int = Field(1024, description="codes in a codebook")
    code_rate: float = Field(46.875, gt=0, description="frames of codes per second; tokens of another rate are aligned by time")
    token_rate: float = Field(46.875, gt=0, description="semantic tokens per second in training")
    width: int = Field(256, description="width D")
    depth: int = Field(8, description="conformer blocks")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(4, description="feed-forward width over D")
    kernel: int = Field(5, description="width of the depthwise convolution in frames")
    dropout: float = Field(0.0, description="dropout in training")
    speakers: int = Field(1, ge=1, description="voices that one generation can hold apart: 2 for dialogues")
    order: Literal["parallel", "delay", "flat"] = Field(
        "parallel",
        description="parallel: the paper's; delay, flat: one code after another, for comparison (the network is causal)",
    )

    @classmethod
    def tiny(cls) -> SoundStormConfig:
        """Smallest network that exercises every path."""
        return cls(
            num_tokens=8,
            num_codebooks=3,
            codebook_size=16,
            width=16,
            depth=2,
            num_heads=2,
            ff_multiple=2,
            kernel=3,
            speakers=2,
        )


class SoundStormObjectiveConfig(StrictModel):
    """Prompts, levels and masks (section 3.3)."""

    # Differs from paper: levels are drawn evenly there. What is coarse is what is heard, and it is refined in most passes.
    coarse_first: float = Field(0.0, ge=0, description="level q is drawn in proportion to (Q - q) to this power; 0: evenly")
    drop_prompt: float = Field(0.0, ge=0, le=1, description="probability of training without a prompt, to speak without one")
    # Differs from paper: its semantic tokens know who speaks, ours do not.
    join: float = Field(0.0, ge=0, le=1, description="share of batches whose utterances are joined in pairs, as dialogues")

    @classmethod
    def tiny(cls) -> SoundStormObjectiveConfig:
        """Every path of the objective."""
        return cls(coarse_first=1.0, drop_prompt=0.2, join=0.5)


class SoundStormOptions(StrictModel):
    """What a request may change."""

    steps: int = Field(16, ge=1, le=256, description="passes for the first codebook")
    fine_steps: int = Field(1, ge=1, le=64, description="passes for each other codebook")
    temperature: float = Field(1.0, ge=0, le=2, description="of sampling in the first pass; it falls to 0 in the last")
    confidence_noise: float = Field(1.0, ge=0, le=10, description="noise on what is surest in the first pass, likewise")
    top_k: int = Field(0, ge=0, description="codes kept when sampling; 0 = all")
    codebooks: int = Field(0, ge=0, description="codebooks to make: fewer are faster and coarser; 0 = all")
