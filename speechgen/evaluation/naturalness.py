"""Predicted opinion scores: DNSMOS P.835 and P.808 (Reddy et al., 2021 and 2022), 16 kHz, windows of 9.01 s.

Made for noise suppression: it hears noise and distortion, saturates on clean synthesis, and knows nothing of prosody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.optional import require
from speechgen.evaluation.signals import SPEECH_RATE, signal

__all__ = ["OpinionScores", "predict_opinion"]


@dataclass(frozen=True)
class OpinionScores:
    """Predicted mean opinion scores from 1 to 5: overall and speech quality (P.835), overall quality (P.808)."""

    ovrl: float
    sig: float
    p808: float


def predict_opinion(audio: Waveform) -> OpinionScores:
    """Return DNSMOS of a clip; one shorter than a window is repeated to fill it.

    Raises:
        UserError: the clip is empty.
    """
    samples = signal(audio)
    if samples.size == 0:
        raise UserError("cannot rate an empty signal: give at least one sample")
    peak = float(np.abs(samples).max()) + 1e-6  # the package refuses a sample that rounds to more than 1
    scores = require("speechmos.dnsmos").run(samples / max(1.0, peak), SPEECH_RATE)
    return OpinionScores(*(float(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "p808")))
