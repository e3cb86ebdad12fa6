"""Sizes of the three networks, training, request options."""

from __future__ import annotations

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.sampling.context_noise import Mix


class DiTARConfig(StrictModel):
    """The paper's models have 0.1 to 1 billion parameters; the default here is sized for two CPU cores."""

    vocabulary_size: int = Field(256, description="phoneme ids")
    latent_width: int = Field(32, description="channels of a latent")
    latent_rate: float = Field(23.4375, description="latents per second")
    patch: int = Field(2, ge=1, description="latents P of a patch, which the language model reads and the head makes at once")
    history: int = Field(
        2, ge=0, description="patches before it that the head sees beside what the language model says (paper: 1)"
    )
    width: int = Field(256, description="width D of the language model")
    depth: int = Field(6, ge=1, description="its blocks")
    num_heads: int = Field(4, description="its attention heads")
    ff_multiple: int = Field(3, description="feed-forward width over width, in all three networks")
    encoder_width: int = Field(128, description="width of the patch encoder")
    encoder_depth: int = Field(2, ge=1, description="its blocks")
    encoder_heads: int = Field(4, description="its attention heads")
    head_width: int = Field(192, description="width of the diffusion transformer (LocDiT)")
    head_depth: int = Field(3, ge=1, description="its blocks")
    head_heads: int = Field(4, description="its attention heads")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the language model in training")
    # Differs from paper: hours of speech do not teach a small model where in the text it is.
    paced: bool = Field(
        False, description="text and patches share rotary positions, as if each symbol took as long as the average one"
    )
    untold_prompt: bool = Field(
        False, description="the prompt is another recording in front, whose text is not told: trained so, and asked so"
    )
    num_tokens: int = Field(
        0, ge=0, description="size of the semantic token alphabet that the language model predicts beside its work; 0: none"
    )
    token_rate: float = Field(46.875, description="semantic tokens per second")
    max_positions: int = Field(4096, ge=16, description="symbols, prompt and patches of one piece together")

    @model_validator(mode="after")
    def _check(self) -> DiTARConfig:
        if self.num_tokens and abs(self.token_rate / self.latent_rate % 1) > 1e-3:
            raise ValueError(f"{self.token_rate} tokens a second are not a whole number for each of {self.latent_rate} latents")
        return self

    @property
    def tokens_per_patch(self) -> int:
        """Semantic tokens that last as long as a patch."""
        return round(self.patch * self.token_rate / self.latent_rate)

    @classmethod
    def tiny(cls) -> DiTARConfig:
        """Smallest network that exercises every path."""
        sizes = {"width": 16, "depth": 2, "encoder_width": 8, "encoder_depth": 1, "head_width": 16, "head_depth": 1}
        heads = {"num_heads": 2, "encoder_heads": 2, "head_heads": 2}
        return cls(latent_width=4, num_tokens=8, paced=True, untold_prompt=True, ff_multiple=2, dropout=0.0, **sizes, **heads)

    @classmethod
    def published(cls, size: str) -> DiTARConfig:
        """A model of the paper's sizes: 64 channels at 40 Hz, patches of four, one patch of history (section 4.1).

        Args:
            size: "0.1B", "0.4B", "0.6B" or "1B". Blocks and width are known of 0.4B alone (24 and 4 blocks of width 1024);
                those of the others are chosen to come to their totals.
        """
        width, depth, small = {"0.1B": (512, 24, 4), "0.4B": (1024, 24, 4), "0.6B": (1024, 36, 6), "1B": (1280, 36, 6)}[size]
        return cls(
            latent_width=64,
            latent_rate=40.0,
            patch=4,
            history=1,
            width=width,
            depth=depth,
            num_heads=width // 64,
            ff_multiple=4,
            encoder_width=width,
            encoder_depth=small,
            encoder_heads=width // 64,
            head_width=width,
            head_depth=small,
            head_heads=width // 64,
        )


class DiTARObjectiveConfig(StrictModel):
    """Loss weights, and what is hidden or disturbed in training."""

    draws: int = Field(2, ge=1, description="times and noises for each patch that the language model has led up to")
    drop: float = Field(0.1, ge=0, le=1, description="probability of hiding what the language model says, for guidance")
    stop_weight: float = Field(0.1, ge=0, description="of the stop head's cross-entropy")
    stop_balance: float = Field(3.0, gt=0, description="how much more the last patch counts in it than another")
    token_weight: float = Field(0.3, ge=0, description="of the cross-entropy of semantic tokens, if the model predicts any")
    pace_jitter: float = Field(0.15, ge=0, lt=1, description="how wrong the pace may be that a paced model is told")
    context_noise: float = Field(0.0, ge=0, le=1, description="largest strength of noise on the past that is read")
    mix: Mix = Field("preserving", description="how that noise is mixed in")

    @classmethod
    def tiny(cls) -> DiTARObjectiveConfig:
        """Every path of the objective."""
        return cls(context_noise=0.3)


class DiTAROptions(StrictModel):
    """What a request may change."""

    steps: int = Field(8, ge=1, le=256, description="evaluations of the diffusion head for each patch")
    guidance: float = Field(1.0, ge=0, le=10, description="strength of guidance by the language model; 0 turns it off")
    temperature: float = Field(1.0, ge=0, le=1, description="when noise enters: 1 at the beginning, 0 never (always the same)")
    speed: float = Field(1.0, gt=0.2, le=4, description="how much faster than the prompt")
    stop_at: float = Field(0.5, gt=0, lt=1, description="probability of the end at which it ends")
    shortest: float = Field(0.5, ge=0, le=1, description="it does not end before this share of the expected length")
    longest: float = Field(1.8, ge=1, le=10, description="it ends after this multiple of the expected length")
    context_noise: float = Field(0.0, ge=0, le=1, description="strength of noise on its own past, for models trained so")
