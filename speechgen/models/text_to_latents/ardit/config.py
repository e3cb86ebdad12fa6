"""Sizes of the transformer, training and distillation, request options."""

from __future__ import annotations

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.sampling.context_noise import Mix


class ARDiTConfig(StrictModel):
    """The paper's transformer has 12 blocks of width 1024 (section 4.1); the default is sized for two CPU cores."""

    vocabulary_size: int = Field(256, description="phoneme ids")
    latent_width: int = Field(32, description="channels of a latent")
    latent_rate: float = Field(23.4375, description="latents per second")
    width: int = Field(256, description="width D")
    depth: int = Field(6, ge=1, description="transformer blocks")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(3, description="feed-forward width over D")
    # Differs from paper: narrow, for every position has a time of its own to be modulated by.
    time_width: int = Field(64, description="width of the time that modulates each position")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in training")
    untold_prompt: bool = Field(
        False, description="the prompt is another recording in front, whose text is not told: trained so, and asked so"
    )
    num_tokens: int = Field(
        0, ge=0, description="size of the semantic token alphabet that noisy latents predict beside their velocity; 0: none"
    )
    token_rate: float = Field(46.875, description="semantic tokens per second")
    max_positions: int = Field(4096, ge=16, description="symbols, prompt and latents of one piece together")

    @model_validator(mode="after")
    def _check(self) -> ARDiTConfig:
        if self.num_tokens and abs(self.token_rate / self.latent_rate % 1) > 1e-3:
            raise ValueError(f"{self.token_rate} tokens a second are not a whole number for each of {self.latent_rate} latents")
        return self

    @property
    def tokens_per_latent(self) -> int:
        """Semantic tokens that last as long as a latent."""
        return round(self.token_rate / self.latent_rate)

    @classmethod
    def tiny(cls) -> ARDiTConfig:
        """Smallest network that exercises every path."""
        sizes = {"width": 16, "depth": 2, "num_heads": 2, "ff_multiple": 2, "time_width": 8, "dropout": 0.0}
        return cls(latent_width=4, untold_prompt=True, num_tokens=8, **sizes)

    @classmethod
    def published(cls) -> ARDiTConfig:
        """The paper's: 16 channels for four frames of the mel, prompts with their text."""
        return cls(latent_width=16, width=1024, depth=12, num_heads=16, ff_multiple=4, time_width=1024)


class ARDiTObjectiveConfig(StrictModel):
    """Flow matching by blocks (section 3.2), and distillation by distribution matching (section 3.4) if `distill` is set."""

    blocks: tuple[int, ...] = Field((4,), min_length=1, description="latents of a block; one of these for each batch")
    infill: float = Field(0.5, ge=0, le=1, description="probability that both sides of what is to be made are known")
    drop_text: float = Field(0.1, ge=0, le=1, description="probability of hiding the text, for guidance")
    token_weight: float = Field(0.3, ge=0, description="of the cross-entropy of semantic tokens, if the model predicts any")
    # Differs from paper, which draws times evenly: where in the text it is, a model learns from blocks that are mostly noise.
    noisier: float = Field(1.0, ge=1, le=5, description="power of the times drawn: 1 draws them evenly, more draws more noise")
    context_noise: float = Field(0.0, ge=0, le=1, description="largest strength of noise on the past that is read")
    mix: Mix = Field("preserving", description="how that noise is mixed in")
    distill: bool = Field(False, description="teach the network, started by --init, to make in one step what it makes in many")
    regression: float = Field(1.0, ge=0, description="weight of the distance to what the teacher makes of the same noise")
    regression_every: int = Field(4, ge=1, description="steps from one such comparison to the next")
    teacher_steps: int = Field(8, ge=1, description="steps of the teacher in it (paper: 16)")
    teacher_guidance: float = Field(0.0, ge=0, le=10, description="guidance of the teacher; the student has it for nothing")
    fake_updates: int = Field(2, ge=1, description="updates of the model of what the student makes, for each of the student's")

    @classmethod
    def tiny(cls) -> ARDiTObjectiveConfig:
        """Every path of flow matching."""
        return cls(blocks=(2, 3), context_noise=0.3)


class ARDiTOptions(StrictModel):
    """What a request may change."""

    steps: int = Field(16, ge=1, le=256, description="steps for each block; a distilled model needs 1")
    block: int = Field(4, ge=1, le=64, description="latents that are made at once")
    guidance: float = Field(0.0, ge=0, le=10, description="strength of guidance by the text; 0 turns it, and its cost, off")
    temperature: float = Field(1.0, ge=0, le=2, description="scale of the noise that each block begins with")
    speed: float = Field(1.0, gt=0.2, le=4, description="how much faster than the prompt")
    context_noise: float = Field(0.0, ge=0, le=1, description="strength of noise on its own past, for models trained so")
    fillings: int = Field(
        1, ge=1, le=32, description="fillings of a gap, of which the one is kept that leads best to what follows"
    )
