"""Waveform carriers as the plain arrays that metric packages take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.optional import require

__all__ = ["SPEECH_RATE", "Signal", "aligned_pair", "row", "signal"]

Signal = NDArray[np.float32]
"""[L] float32 in [-1, 1]."""

SPEECH_RATE = 16000
"""Samples per second that every model of speech perception here is defined for."""

_SILENCE = 1e-4
"""A peak below this (-80 dBFS) is silence."""


def row(audio: Waveform) -> Signal:
    """Return the samples [L] of a waveform of one row, clipped to [-1, 1].

    Raises:
        UserError: there is not exactly one row.
    """
    if audio.samples.shape[0] != 1:
        raise UserError(f"a metric takes one signal at a time, got {audio.samples.shape[0]}: pass the rows one by one")
    samples: Signal = audio.samples[0, : int(audio.lengths[0])].detach().float().clamp(-1, 1).cpu().numpy()
    return samples


def signal(audio: Waveform) -> Signal:
    """Return the samples [L] of a waveform of one row at SPEECH_RATE.

    The judges' scales were made with librosa's resampling (soxr). The package's own cuts off earlier, which moves predicted
    opinion scores by 0.03; hence librosa here.

    Raises:
        UserError: there is not exactly one row.
    """
    samples = row(audio)
    if audio.rate == SPEECH_RATE or samples.size == 0:
        return samples
    resampled: Signal = require("librosa").resample(samples, orig_sr=audio.rate, target_sr=SPEECH_RATE)
    return resampled


def aligned_pair(reference: Waveform, degraded: Waveform, take: Callable[[Waveform], Signal] = signal) -> tuple[Signal, Signal]:
    """Return both signals at one rate, cropped at the end to the shorter of the two.

    Args:
        reference: what it should sound like.
        degraded: what it sounds like.
        take: carrier to samples at the common rate.

    Raises:
        UserError: either is empty, or the reference is silent.
    """
    samples = row(reference)
    if samples.size == 0 or row(degraded).size == 0:
        raise UserError("cannot compare an empty signal: both need at least one sample")
    if np.abs(samples).max() < _SILENCE:
        raise UserError("the reference is silent, so there is nothing to compare with: choose one with speech in it")
    first, second = take(reference), take(degraded)
    length = min(len(first), len(second))
    return first[:length], second[:length]
