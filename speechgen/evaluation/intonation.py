"""Whether the melody is kept: fundamental frequency against a reference of the same utterance, frame by frame.

F0 by Praat's autocorrelation every 10.7 ms at 24 kHz (see `audio.pitch`), 60 to 600 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechgen.audio.pitch import estimate_pitch
from speechgen.audio.resample import resample
from speechgen.core.types import MelSettings, Waveform
from speechgen.evaluation.signals import aligned_pair, row

__all__ = ["PitchAgreement", "agreement", "pitch_agreement"]

SETTINGS = MelSettings()


@dataclass(frozen=True)
class PitchAgreement:
    """How two contours agree; can be added up over clips.

    Attributes:
        squares: sum of the squared differences of ln F0, over frames that are voiced in both.
        both: frames that are voiced in both.
        differing: frames that are voiced in one only.
        frames: all of them.
    """

    squares: float
    both: int
    differing: int
    frames: int

    def __add__(self, other: PitchAgreement) -> PitchAgreement:
        """Return the agreement over the frames of both."""
        return PitchAgreement(
            self.squares + other.squares, self.both + other.both, self.differing + other.differing, self.frames + other.frames
        )

    @property
    def log_f0_rmse(self) -> float | None:
        """Root mean square difference of ln F0, 0.0578 = a semitone; None if no frame is voiced in both."""
        return float(np.sqrt(self.squares / self.both)) if self.both else None

    @property
    def voicing_error(self) -> float:
        """Share of frames that are voiced in one only."""
        return self.differing / self.frames


def agreement(reference: Tensor, degraded: Tensor) -> PitchAgreement:
    """Compare contours [T] in Hz, 0 where unvoiced."""
    voiced = (reference > 0) & (degraded > 0)
    differences = reference[voiced].double().log() - degraded[voiced].double().log()
    differing = int(((reference > 0) != (degraded > 0)).sum())
    return PitchAgreement(float(differences.square().sum()), int(voiced.sum()), differing, len(reference))


def pitch_agreement(reference: Waveform, degraded: Waveform) -> PitchAgreement:
    """Measure both contours and compare them; the longer signal is cropped at the end.

    Raises:
        UserError: the reference is silent, either is empty, or praat-parselmouth is missing.
    """
    pair = aligned_pair(reference, degraded, lambda audio: row(resample(audio, SETTINGS.sample_rate)))
    first, second = (estimate_pitch(torch.from_numpy(samples), SETTINGS) for samples in pair)
    return agreement(first, second)
