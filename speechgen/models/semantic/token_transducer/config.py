"""Sizes of the network, regularisation, request options."""

from __future__ import annotations

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class TransducerConfig(StrictModel):
    """The paper's sizes are not published; a reproduction uses width 384, 6 blocks and a two-layer LSTM of 512."""

    mel: MelSettings = Field(MelSettings(), description="the mel of the reference")
    vocabulary_size: int = Field(256, description="phoneme ids")
    num_tokens: int = Field(256, description="size K of the semantic token alphabet")
    token_rate: float = Field(46.875, description="semantic tokens per second")
    width: int = Field(192, description="width D of the text encoder and of the joint")
    depth: int = Field(4, description="conformer blocks of the text encoder")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(4, description="feed-forward width over D")
    kernel: int = Field(7, description="width of the depthwise convolution in symbols")
    predictor_width: int = Field(256, description="width of the predictor's LSTM")
    predictor_depth: int = Field(1, description="layers of the predictor's LSTM")
    reference_width: int = Field(96, description="width of the reference vector")
    dropout: float = Field(0.1, description="dropout in training")

    @classmethod
    def tiny(cls) -> TransducerConfig:
        """Smallest network that exercises every path."""
        return cls(
            num_tokens=8,
            width=16,
            depth=1,
            num_heads=2,
            ff_multiple=2,
            kernel=3,
            predictor_width=16,
            reference_width=8,
            dropout=0.0,
        )


class TransducerObjectiveConfig(StrictModel):
    """Regularisation of the predictor, pruning of the lattice."""

    hide_tokens: float = Field(0.1, description="share of past tokens hidden from the predictor, so that it heeds the text")
    window: int = Field(48, ge=2, description="tokens one symbol may emit in training; the lattice is pruned to that width")
    additive_weight: float = Field(0.5, ge=0, description="weight of the additive joiner that places the windows")
    warmup_steps: int = Field(1000, ge=0, description="steps over which the pruned loss gains its full weight")

    @classmethod
    def tiny(cls) -> TransducerObjectiveConfig:
        """Every path of the objective."""
        return cls(window=4, warmup_steps=10)


class TransducerOptions(StrictModel):
    """What a request may change."""

    temperature: float = Field(0.7, ge=0, le=2, description="0: likeliest tokens, median durations; high: lively, risky")
    top_k: int = Field(5, ge=0, description="tokens kept when sampling; 0 = all")
    blank_bias: float = Field(0.0, ge=-10, le=10, description="positive moves on sooner (faster speech), negative later")
    speed: float = Field(1.0, ge=0.25, le=4.0, description="exact factor of the pace")
    max_tokens_per_symbol: int = Field(64, ge=1, description="hard limit for one symbol")
