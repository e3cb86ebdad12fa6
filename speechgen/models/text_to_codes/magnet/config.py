"""Sizes of the network, what is learnt, request options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel


class MAGNeTConfig(StrictModel):
    """The published small model is width 1024, depth 24, 16 heads; the default here is sized for two CPU cores."""

    num_codebooks: int = Field(8, ge=1, description="codebooks K of the codec")
    codebook_size: int = Field(1024, description="codes in a codebook")
    code_rate: float = Field(46.875, gt=0, description="frames of codes per second")
    max_frames: int = Field(470, ge=1, description="frames of the longest sound")
    fixed_length: bool = Field(False, description="always make max_frames, and cut: for models that saw no other length")
    width: int = Field(256, multiple_of=2, description="width D")
    depth: int = Field(6, description="decoder blocks")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(4, description="feed-forward width over D")
    dropout: float = Field(0.1, description="dropout in training")
    reach: int = Field(5, ge=1, description="frames on either side that codebooks behind the first see (section 3.3)")
    span: int = Field(3, ge=1, description="frames that are masked together (section 3.1)")
    # Differs from paper: a small encoder that is trained along, for captions of few words, instead of T5.
    text: Literal["words", "t5"] = Field("words", description="what reads the description: hashed words and blocks, or T5")
    word_buckets: int = Field(4096, description="rows of the table of words")
    text_depth: int = Field(2, description="transformer blocks over the words")
    t5: str = Field("t5-base", description="the T5 that reads, if it does: a folder, or a name in the local cache")
    t5_width: int = Field(768, description="width of what it gives")
    temperature: float = Field(3.0, ge=0, le=10, description="of sampling, where a request does not say")
    guidance: float = Field(9.0, ge=0, le=30, description="strength of guidance, where a request does not say")
    least_guidance: float = Field(0.0, ge=0, le=30, description="strength when nothing is masked any more, likewise")
    top_p: float = Field(0.9, gt=0, le=1, description="the likeliest codes are kept up to this probability, likewise")
    mode: Literal["masked", "causal", "hybrid"] | None = Field(
        None, description="what it has learnt, as the objective says; training and import note it; null: not noted"
    )
    # Differs from paper's code on purpose where False: there, padding is attended as vectors of zeros.
    attend_padding: bool = Field(False, description="whether padded words take part in attention, as in the published models")

    def learning(self, objective: MAGNeTObjectiveConfig) -> MAGNeTConfig:
        """Return the same with what an objective teaches, which is stored with the weights."""
        return self.model_copy(update={"mode": objective.mode})

    @classmethod
    def tiny(cls) -> MAGNeTConfig:
        """Smallest network that exercises every path."""
        return cls(
            num_codebooks=3,
            codebook_size=16,
            max_frames=40,
            width=16,
            depth=2,
            num_heads=2,
            ff_multiple=2,
            dropout=0.0,
            reach=2,
            word_buckets=64,
            text_depth=1,
        )


class MAGNeTObjectiveConfig(StrictModel):
    """What is masked, and what else is learnt (sections 3.1, 3.5)."""

    mode: Literal["masked", "causal", "hybrid"] = Field(
        "masked", description="masked spans; or one code after another; or that before a random frame and spans behind it"
    )
    prompt: float = Field(
        0.1, ge=0, le=1, description="probability that a beginning is visible, so that sounds can be continued"
    )
    drop_text: float = Field(0.2, ge=0, le=1, description="probability of hiding the description, for guidance")
    drop_words: float = Field(0.1, ge=0, lt=1, description="share of words that are left out")

    @classmethod
    def tiny(cls) -> MAGNeTObjectiveConfig:
        """Every path of the objective."""
        return cls(mode="hybrid", drop_text=0.1)


class MAGNeTOptions(StrictModel):
    """What a request may change."""

    steps: int = Field(20, ge=1, le=256, description="passes for the first codebook")
    fine_steps: int = Field(10, ge=1, le=128, description="passes for each other codebook")
    temperature: float | None = Field(
        None, ge=0, le=10, description="of sampling; it falls to 0 in the passes of a codebook; otherwise the model's"
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="the likeliest codes are kept up to this probability together; otherwise the model's"
    )
    top_k: int = Field(0, ge=0, description="codes kept when sampling; 0 = all")
    guidance: float | None = Field(
        None, ge=0, le=30, description="strength of guidance while all is masked (a coefficient less 1); otherwise the model's"
    )
    least_guidance: float | None = Field(
        None, ge=0, le=30, description="strength when nothing is masked any more; otherwise the model's"
    )
    scoring: Literal["max", "prod"] = Field("max", description="a span is as sure as its surest frame, or as all together")
    overlapping: bool = Field(False, description="spans may begin at every frame")
    rescoring: float = Field(0.0, ge=0, le=1, description="weight of the causal model in what is kept; 0: none")
    rescorer: str | None = Field(
        None, description="checkpoint of that causal model, whose codes are of the same codec; otherwise this one, a hybrid"
    )
    prefix_seconds: float = Field(0.0, ge=0, le=30, description="so much is made one code after another first (hybrid)")
    causal: bool = Field(False, description="make everything one code after another, for comparison")
    causal_temperature: float = Field(1.0, ge=0, le=10, description="of that")
    causal_top_k: int = Field(250, ge=0, description="codes kept in that; 0 = all")
    causal_guidance: float = Field(2.0, ge=0, le=30, description="strength of guidance in that")

    @model_validator(mode="after")
    def _weighs(self) -> MAGNeTOptions:
        if self.rescorer is not None and not self.rescoring:
            raise ValueError("a rescorer has no say while rescoring is 0: give its weight, such as rescoring=0.7")
        return self
