"""Sizes of the generator and of its discriminators."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings
from speechgen.nn.linguistic import num_linguistic_features
from speechgen.text.vocabulary import ENGLISH


class GanTtsConfig(StrictModel):
    """The defaults are the paper's generator with the factors that the project's mel needs; `paper()` is the paper's."""

    mel: MelSettings = Field(MelSettings(), description="the mel it renders; of another conditioning, what it is compared by")
    conditioning: Literal["mel", "linguistic"] = Field("mel", description="what it renders: mels, or phones and pitch")
    hop_samples: int = Field(256, description="samples of a conditioning frame, the product of the factors")
    vocabulary_size: int = Field(ENGLISH.size, description="phones that linguistic features tell apart")
    num_features: int = Field(100, description="channels of the conditioning; linguistic features leave those too many silent")
    factors: tuple[int, ...] = Field((1, 1, 4, 4, 4, 2, 2), description="upsampling of each block")
    widths: tuple[int, ...] = Field((768, 768, 384, 384, 384, 192, 96), description="channels of each block")
    noise_size: int = Field(128, description="size of the noise z, one for an utterance")
    upsampling: Literal["nearest", "subpixel"] = Field(
        "nearest", description="nearest: samples are repeated; subpixel: each new sample has weights of its own"
    )
    normalisation: Literal["batch", "none"] = Field("batch", description="what comes before the conditional scale and shift")
    spectral_norm: bool = Field(True, description="divide the weights of convolutions by their largest singular value")
    mu_law: bool = Field(False, description="the network speaks mu-law companded samples")
    shaped: bool = Field(False, description="the network speaks a sound of flat spectrum, which the mel's envelope then shapes")
    # Differs from paper: what the network leaves undone is seen where the truth is known, in the mel.
    corrections: int = Field(
        0, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel, if that is given; 0: none"
    )

    @model_validator(mode="after")
    def _fits(self) -> GanTtsConfig:
        product = 1
        for factor in self.factors:
            product *= factor
        if len(self.factors) != len(self.widths):
            raise ValueError(f"{len(self.factors)} factors and {len(self.widths)} widths: give one of each for a block")
        if product != self.hop_samples or product % 2:
            raise ValueError(f"the factors {self.factors} make {product} samples a frame, not hop_samples {self.hop_samples}")
        least = self.mel.num_bins if self.conditioning == "mel" else num_linguistic_features(self.vocabulary_size)
        if self.num_features < least or (self.conditioning == "mel" and self.num_features != least):
            raise ValueError(f"num_features is {self.num_features}, but {self.conditioning} conditioning has {least}")
        if self.conditioning == "mel" and self.hop_samples != self.mel.hop_samples:
            raise ValueError(f"hop_samples is {self.hop_samples}, but the mel has {self.mel.hop_samples}")
        if self.shaped and (self.conditioning != "mel" or self.mu_law):
            raise ValueError("shaped needs a mel as conditioning, and samples without mu_law")
        return self

    @property
    def accepts(self) -> tuple[str, ...]:
        """Carriers that this configuration renders."""
        return ("Mel",) if self.conditioning == "mel" else ("LinguisticFeatures",)

    @classmethod
    def paper(cls) -> GanTtsConfig:
        """The paper's own: 567 linguistic features and pitch at 200 Hz, 24 kHz."""
        return cls(conditioning="linguistic", hop_samples=120, num_features=567, factors=(1, 1, 2, 2, 2, 3, 5), mu_law=True)

    @classmethod
    def tiny(cls) -> GanTtsConfig:
        """Smallest network that exercises every path."""
        return cls(factors=(1, 1, 2, 2, 4, 4, 4), widths=(8, 8, 8, 8, 8, 8, 4), noise_size=4, corrections=1)


class WindowConfig(StrictModel):
    """One size of window, seen by a conditional and an unconditional discriminator."""

    frames: int = Field(description="conditioning frames that it covers")
    stride: int = Field(description="successive samples that become channels")
    conditional: tuple[int, ...] = Field(description="downsampling until the conditioning joins")
    unconditional: tuple[int, ...] = Field(description="downsampling of the unconditional discriminator")


def _windows(*rows: tuple[int, int, tuple[int, ...], tuple[int, ...]]) -> tuple[WindowConfig, ...]:
    return tuple(WindowConfig(frames=f, stride=s, conditional=c, unconditional=u) for f, s, c, u in rows)


PAPER_WINDOWS = _windows(
    (2, 1, (5, 3, 2, 2, 2), (5, 3)),
    (4, 2, (5, 3, 2, 2), (5, 3)),
    (8, 4, (5, 3, 2), (5, 3)),
    (16, 8, (5, 3), (5, 3)),
    (30, 15, (2, 2, 2), (2, 2)),
)
"""240, 480, 960, 1920 and 3600 samples: 10, 20, 40, 80 and 150 ms of frames of 120 samples."""

MEL_WINDOWS = _windows(
    (2, 1, (8, 4, 2, 2, 2), (8, 4)),
    (4, 2, (8, 4, 2, 2), (8, 4)),
    (8, 4, (8, 4, 2), (8, 4)),
    (16, 8, (8, 4), (8, 4)),
    (32, 16, (4, 2, 2), (4, 2)),
)
"""512 to 8192 samples: the same for frames of 256 samples."""


class GanTtsObjectiveConfig(StrictModel):
    """Loss weights and discriminators. The defaults are the paper's, with windows for the project's mel."""

    adversarial_weight: float = Field(10.0, description="weight of the mean over discriminators; 10 for ten is the paper's sum")
    # Differs from paper: batches of a few seconds, instead of 1024 clips, need spectral distances beside the discriminators.
    stft_weight: float = Field(0.0, description="weight of the multi-resolution STFT distance")
    mel_weight: float = Field(0.0, description="weight of the log-mel L1 distance")
    adversarial_start: int = Field(0, description="steps of purely spectral training before the discriminators join")
    discriminator_updates: int = Field(2, ge=1, description="updates of the discriminators for each of the generator")
    width: int = Field(64, description="channels of the first block of a discriminator")
    windows: tuple[WindowConfig, ...] = Field(MEL_WINDOWS, description="windows; each has two discriminators")

    @classmethod
    def paper(cls) -> GanTtsObjectiveConfig:
        """The paper's own, for frames of 120 samples."""
        return cls(windows=PAPER_WINDOWS)

    @classmethod
    def tiny(cls) -> GanTtsObjectiveConfig:
        """Smallest discriminators that exercise every path."""
        return cls(
            adversarial_weight=0.1,
            stft_weight=1.0,
            mel_weight=1.0,
            discriminator_updates=1,
            width=4,
            windows=_windows((2, 1, (8, 8, 4), (8, 8)), (8, 4, (8, 8), (8,))),
        )


class GanTtsOptions(StrictModel):
    """What a request can change."""

    temperature: float = Field(
        0.0, ge=0, le=2, description="spread of the noise z: 0 is the mean voice and always the same, 1 is as in training"
    )
