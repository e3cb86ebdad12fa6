"""Sizes of the networks, and the papers' presets: hn-NSF and hn-sinc-NSF are configurations of one system."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.types import MelSettings
from speechgen.losses.spectral import NSF_RESOLUTIONS


class NSFConfig(StrictModel):
    """The defaults are the hn-sinc-NSF network with a convolutional condition, on the project's mel.

    The pitch predictor is no part of the papers, whose condition has the pitch in it.
    """

    mel: MelSettings = Field(MelSettings(), description="the mel it renders")
    variant: Literal["hn", "hn_sinc"] = Field(
        "hn_sinc", description="how harmonics and noise meet: fixed filters (hn), or sincs of predicted cut-off (hn_sinc)"
    )
    harmonics: int = Field(8, ge=1, description="sines of the source: the fundamental and its overtones")
    sine_level: float = Field(0.1, gt=0, description="amplitude of a sine")
    noise_level: float = Field(0.003, ge=0, description="standard deviation of the noise that is added to a voiced sine")
    condition: Literal["blstm", "cnn", "convnext"] = Field(
        "cnn", description="network before the filters; blstm reads the whole utterance, which cannot be streamed"
    )
    condition_width: int = Field(64, description="its channels")
    condition_layers: int = Field(3, ge=1, description="its layers, if it has convolutions")
    width: int = Field(64, description="channels of a filter block")
    blocks: int = Field(5, ge=1, description="filter blocks of the harmonic branch; the noise branch has one")
    block_layers: int = Field(10, ge=1, description="convolutions of a harmonic block, of dilation 1, 2, 4, ...")
    noise_layers: int = Field(5, ge=1, description="convolutions of the noise block")
    # Differs from papers: at a rate of 24 kHz / fold the convolutions are fast enough for a CPU.
    fold: int = Field(1, ge=1, description="neighbouring samples that are channels of one step; divides the hop")
    # Differs from papers: narrow layers need to be told more than an addend.
    modulated: bool = Field(
        False, description="every convolution has a scale and a shift, and each branch a level, of its own from the condition"
    )
    # Differs from papers: a context for every 64 samples is a tenth of the memory traffic of one for each.
    stair: int = Field(1, ge=1, description="samples that share a context and a cut-off; whole folds, divides the hop")
    # Differs from papers, whose frames of 5 ms need no line between them.
    glide: bool = Field(False, description="condition and pitch move along lines between frames; off: steps, and averages")
    sinc_order: int = Field(31, description="taps of the moving filters, odd")
    cutoff_share: float = Field(16 / 24, gt=0, le=1, description="of a cut-off that was meant for half of 16 kHz")
    # Differs from papers: what the network leaves undone is seen where the truth is known, in the mel.
    corrections: int = Field(
        0, ge=0, le=4, description="passes that move the envelope of the sound to that of the mel; 0: as the network made it"
    )
    pitch_width: int = Field(96, description="channels of the network that predicts the pitch from the mel")
    pitch_layers: int = Field(4, ge=1, description="its hidden layers")
    pitch_bins: int = Field(160, ge=2, description="pitches it tells apart, from 55 to 660 Hz")

    @classmethod
    def tiny(cls) -> NSFConfig:
        """Smallest network that exercises every path."""
        return cls(
            harmonics=4, condition_width=16, condition_layers=2, width=12, blocks=2, block_layers=3, noise_layers=2, fold=8,
            stair=64, corrections=1, modulated=True, glide=True, pitch_width=16, pitch_layers=1, pitch_bins=24,
        )  # fmt: skip

    @classmethod
    def hn_sinc_paper(cls) -> NSFConfig:
        """hn-sinc-NSF of the paper: 16 kHz, frames of 5 ms, 80 bins, a BiLSTM."""
        return cls(mel=_PAPER_MEL, condition="blstm", cutoff_share=1.0)

    @classmethod
    def hn_paper(cls) -> NSFConfig:
        """hn-NSF of the paper: 16 kHz, frames of 5 ms, 80 bins, a BiLSTM."""
        return cls(mel=_PAPER_MEL, variant="hn", condition="blstm")


_PAPER_MEL = MelSettings(sample_rate=16000, n_fft=1024, hop_samples=80, num_bins=80)


class NSFObjectiveConfig(StrictModel):
    """Loss weights; the defaults are the paper's, which has no discriminators."""

    spectral_weight: float = Field(1.0, ge=0, description="weight of the distance of log power spectra")
    resolutions: tuple[tuple[int, int, int], ...] = Field(
        NSF_RESOLUTIONS, min_length=1, description="its FFT, window and hop in samples; those of the paper are for 16 kHz"
    )
    pitch_weight: float = Field(1.0, ge=0, description="weight of the pitch predictor's own loss")
    own_pitch_share: float = Field(0.0, ge=0, le=1, description="rows whose source follows the predicted pitch")
    gain_db: float = Field(0.0, ge=0, description="crops are made louder or softer by at most this")
    # Differs from paper: as in the hn-sinc-NSF that was trained with the losses of HiFi-GAN.
    mel_weight: float = Field(0.0, ge=0, description="weight of the log-mel L1 distance")
    # Differs from paper: short trainings need the sharper gradient of linear-frequency spectra.
    stft_weight: float = Field(0.0, ge=0, description="weight of the multi-resolution STFT distance")
    adversarial_start: int | None = Field(None, ge=0, description="step at which discriminators join; null: never")
    resolution_weight: float = Field(0.1, description="weight of the multi-resolution discriminator (multi-period: 1)")
    periods: tuple[int, ...] = Field((2, 3, 5, 7, 11), description="periods of the multi-period discriminator in samples")
    period_channels: tuple[int, ...] = Field((32, 128, 512, 1024), description="its channels, layer by layer")
    n_ffts: tuple[int, ...] = Field((2048, 1024, 512), description="windows of the multi-resolution discriminator in samples")
    resolution_channels: int = Field(32, description="its channels")

    @classmethod
    def tiny(cls) -> NSFObjectiveConfig:
        """Smallest discriminators that exercise every path."""
        return cls(
            mel_weight=1.0, stft_weight=1.0, adversarial_start=0, periods=(2, 3), period_channels=(4, 8), n_ffts=(512,),
            resolution_channels=4,
        )  # fmt: skip


class NSFOptions(StrictModel):
    """What a request can change."""

    pitch: float = Field(0.0, ge=-24, le=24, description="semitones by which the source is moved; formants stay")
    monotone_hz: float | None = Field(None, ge=40, le=1000, description="pitch of everything voiced; null: as predicted")
    breath: float = Field(1.0, ge=0, le=10, description="gain of the noise: more is breathier, 0 is buzz alone")
