"""Sizes of the velocity network, training probabilities, request options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings
from speechgen.text.characters import CLOSE, IPA, OPEN

LETTERS = tuple(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?;:'\"()-/&%$")
"""What English is written with; the space is first, for every character that is not among them becomes symbol 0."""
PHONETIC = (*LETTERS, OPEN, CLOSE, *IPA)
"""The same, and [phonemes] among the words."""
_E2 = {"depth": 24, "ff_multiple": 4, "text_width": 100, "text_layers": 0}
_F5 = {"depth": 22, "ff_multiple": 2, "text_width": 512, "text_layers": 4}


class F5Config(StrictModel):
    """E2 TTS is the backbone `unet` without text layers, F5-TTS the backbone `dit` with some."""

    mel: MelSettings = Field(MelSettings(), description="the mel it generates")
    vocabulary: tuple[str, ...] = Field(
        LETTERS, min_length=1, description="symbols of the text, as in a published vocab.txt; or: letters, phonetic"
    )
    backbone: Literal["unet", "dit"] = Field("dit", description="unet: E2 TTS (section 3.1); dit: F5-TTS (section 3.2)")
    width: int = Field(256, description="width D")
    depth: int = Field(6, description="transformer blocks; even for unet, whose second half receives skips from the first")
    num_heads: int = Field(4, description="attention heads")
    ff_multiple: int = Field(2, description="feed-forward width over D")
    text_width: int = Field(128, description="width of a symbol's embedding")
    text_layers: int = Field(3, ge=0, description="ConvNeXt V2 blocks over the text; 0: the bare embedding, as in E2")
    mask_filler: bool = Field(True, description="hold what stands behind the text at zero through the text blocks (F5 v1)")
    rotary_heads: int | None = Field(None, ge=1, description="heads that know positions; null: all (E2 and F5 v0: 1)")
    # Differs from paper: symbols are spread over the frames, not lined up at the beginning: little data does not teach the
    # alignment otherwise (an option of the published F5; ZipVoice, Zhu et al., 2025, section 3.2).
    upsample_text: bool = Field(False, description="spread the text evenly over the frames, behind its blocks")
    # Differs from paper: letters last unequally, and what is nearer to its place is found sooner.
    paced: bool = Field(False, description="spread it by how long each symbol is thought to last; learnt by objective.aligned")
    untold_prompt: bool = Field(
        False, description="it speaks behind a recording without its text: trained so, and asked so (E2 TTS X1, section 2.4)"
    )
    segmented: bool = Field(
        False, description="read text as the published front end writes it, with spaces that cut it into segments"
    )
    num_tokens: int = Field(
        0, ge=0, description="size of the semantic token alphabet that frames predict beside their velocity; 0: none"
    )
    token_rate: float = Field(46.875, gt=0, description="semantic tokens per second")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in training")
    mel_mean: float = Field(0.0, description="mean of log-mel values in the training data; published weights: 0")
    mel_scale: float = Field(1.0, gt=0, description="standard deviation of log-mel values; published weights: 1")

    @field_validator("vocabulary", mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        return {"letters": LETTERS, "phonetic": PHONETIC}.get(given, given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check(self) -> F5Config:
        if self.backbone == "unet" and self.depth % 2:
            raise ValueError(f"a unet has an even number of blocks, got depth {self.depth}")
        if self.paced and not self.upsample_text:
            raise ValueError("paced is how text is spread: set upsample_text")
        if self.upsample_text and not self.mask_filler:
            raise ValueError("upsample_text needs mask_filler: what stands behind the text must not be spread")
        if self.num_tokens and abs(self.mel.frame_rate / self.token_rate % 1) > 1e-3:
            raise ValueError(f"{self.mel.frame_rate:g} frames are not a whole number for each of {self.token_rate:g} tokens")
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError("the vocabulary has a symbol twice")
        return self

    @property
    def frames_per_token(self) -> int:
        """Mel frames that last as long as a semantic token."""
        return round(self.mel.frame_rate / self.token_rate)

    @classmethod
    def tiny(cls) -> F5Config:
        """Smallest network that exercises every path."""
        return cls(vocabulary=LETTERS[:64], width=16, depth=2, num_heads=2, text_width=8, text_layers=1, num_tokens=8)

    @classmethod
    def e2tts_base(cls, vocabulary: tuple[str, ...]) -> F5Config:
        """The published E2 TTS of 333 M parameters."""
        return cls(backbone="unet", vocabulary=vocabulary, width=1024, num_heads=16, rotary_heads=1, mask_filler=False, **_E2)

    @classmethod
    def f5tts_base(cls, vocabulary: tuple[str, ...]) -> F5Config:
        """The published F5-TTS (v0) of 336 M parameters."""
        return cls(vocabulary=vocabulary, width=1024, num_heads=16, rotary_heads=1, mask_filler=False, **_F5)

    @classmethod
    def f5tts_v1_base(cls, vocabulary: tuple[str, ...]) -> F5Config:
        """The published F5-TTS v1 of the same size."""
        return cls(vocabulary=vocabulary, width=1024, num_heads=16, **_F5)


class F5ObjectiveConfig(StrictModel):
    """Masking and condition dropout of the published training; drawn for each row, not for each batch."""

    mask_low: float = Field(0.7, gt=0, le=1, description="smallest share of the utterance that is masked and generated")
    mask_high: float = Field(1.0, gt=0, le=1, description="largest share")
    drop_prompt: float = Field(0.3, ge=0, le=1, description="probability of hiding the visible mel")
    drop_all: float = Field(0.2, ge=0, le=1, description="probability of hiding the visible mel and the text, for guidance")
    # Differs from paper, which draws times evenly: where in the text it is, a model learns from frames that are mostly noise.
    noisier: float = Field(1.0, ge=1, le=5, description="power of the times drawn: 1 draws them evenly, more draws more noise")
    # Differs from paper: the alignment is shown in part, so that reading is learnt before searching.
    aligned: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of rows whose symbols lie between where they are spread without knowing and where they are spoken",
    )
    # Differs from paper: what is said where is learnt sooner when it is also asked for.
    token_weight: float = Field(0.3, ge=0, description="of the cross-entropy of semantic tokens, if the model predicts any")
    phonemes: float = Field(
        0.0, ge=0, le=1, description="probability that a word is written by its phonemes (E2 TTS X2, section 2.4: 0.15)"
    )

    @classmethod
    def tiny(cls) -> F5ObjectiveConfig:
        """Every path of the objective."""
        return cls()


class F5Options(StrictModel):
    """What a request may change."""

    steps: int = Field(16, ge=1, le=256, description="integration steps")
    guidance: float = Field(2.0, ge=0, le=10, description="strength of classifier-free guidance; 0 turns it off")
    sway: float = Field(-1.0, ge=-1, le=1.75, description="warp of the time grid; negative: more steps near the noise")
    method: Literal["euler", "midpoint"] = Field("euler", description="integrator")
    speed: float = Field(1.0, gt=0.2, le=4, description="how much faster than the prompt; only without a given duration")
