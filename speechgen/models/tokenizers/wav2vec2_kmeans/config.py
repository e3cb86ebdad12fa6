"""Sizes of the bundled encoder, or the description of a pretrained one; layer and number of clusters."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings


class TokenizerConfig(StrictModel):
    """`pretrained` empty: a conformer over pairs of mel frames (46.875 tokens per second). Else: that encoder's own rate."""

    clusters: int = Field(256, description="number of k-means centroids, the size of the token alphabet")
    layer: int = Field(4, ge=1, description="hidden layer that is clustered, 1 = after the first block")
    mel: MelSettings = Field(MelSettings(), description="the mel the conformer reads")
    vocabulary_size: int = Field(256, description="rows of the phoneme head; id 0 is blank and silence")
    width: int = Field(192, description="width D of the conformer")
    depth: int = Field(6, description="conformer blocks")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(2, description="feed-forward width over D")
    kernel: int = Field(15, description="width of the depthwise convolution in tokens")
    dropout: float = Field(0.1, description="dropout in training")
    pretrained: dict[str, Any] | None = Field(None, description="`config.json` of a transformers speech encoder")

    @model_validator(mode="after")
    def _check_layer(self) -> TokenizerConfig:
        depth = self.pretrained.get("num_hidden_layers", self.layer) if self.pretrained else self.depth
        if self.layer > depth:
            raise ValueError(f"layer {self.layer} is not there, the encoder has {depth}: choose a layer from 1 to {depth}")
        return self

    @classmethod
    def tiny(cls) -> TokenizerConfig:
        """Smallest network that exercises every path."""
        return cls(clusters=8, layer=1, width=16, depth=2, num_heads=2, kernel=3, dropout=0.0)


class TokenizerObjectiveConfig(StrictModel):
    """What the phoneme head learns from."""

    target: Literal["labels", "phonemes"] = Field("phonemes", description="labels: of frames (cross entropy); phonemes: CTC")
    mask_fraction: float = Field(0.0, ge=0, le=1, description="share of frames hidden by SpecAugment time masks")
    mask_bins: int = Field(0, ge=0, description="widest SpecAugment frequency mask in mel bins")

    @classmethod
    def tiny(cls) -> TokenizerObjectiveConfig:
        """Every path of the objective."""
        return cls(mask_fraction=0.1, mask_bins=4)


class TokenizerOptions(StrictModel):
    """A request can change nothing: tokens are the nearest centroids."""
