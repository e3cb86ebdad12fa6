"""Mel-cepstral distortion (Kubichek, 1993), with dynamic time warping.

The mel-cepstrum is the customary one of WORLD: CheapTrick's envelope (24 kHz, frames every 256 samples, F0 by Praat) as a
cepstrum, its frequency axis warped by the all-pass of ALPHA, which follows the mel scale at 24 kHz, cut to c_1 .. c_13. The
level c_0 does not count.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.audio.pitch import estimate_pitch
from speechgen.audio.resample import resample
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings, Waveform
from speechgen.evaluation.envelope import envelope_cepstra
from speechgen.evaluation.optional import require
from speechgen.evaluation.signals import row

__all__ = ["ALPHA", "ORDER", "align", "mel_cepstra", "mel_cepstral_distortion", "warping_matrix"]

SETTINGS = MelSettings()
"""Rate, FFT length and hop are the mel's."""
ALPHA = 0.466
"""All-pass constant that follows the mel scale at 24 kHz."""
ORDER = 13
LONGEST_SECONDS = 60.0
"""The alignment takes memory with the square of the length."""


@lru_cache(maxsize=4)
def warping_matrix(order: int, alpha: float, size: int) -> NDArray[np.float64]:
    """Return the matrix [order + 1, size] that takes a cepstrum c_0 .. c_(size - 1) to c_0 .. c_order on the warped axis.

    Column n holds the series of (z^-1)^n in powers of the warped u = z~^-1, where z^-1 = (u + alpha) / (1 + alpha u)
    (Oppenheim and Johnson, 1972).
    """
    delay = np.array([alpha, *((1 - alpha**2) * (-alpha) ** power for power in range(order))])
    columns = [np.eye(order + 1)[0]]
    for _ in range(1, size):
        columns.append(np.convolve(columns[-1], delay)[: order + 1])
    return np.stack(columns, axis=1)


def mel_cepstra(audio: Waveform) -> NDArray[np.float64]:
    """Return the mel-cepstra c_1 .. c_ORDER [T, ORDER] of one row of audio of any rate.

    Raises:
        UserError: there is not exactly one row, it is silent or empty, or praat-parselmouth is missing.
    """
    samples = row(resample(audio, SETTINGS.sample_rate))
    if not samples.any():
        raise UserError("the signal is silent, so it has no mel-cepstrum: give one with speech in it")
    hertz = estimate_pitch(torch.from_numpy(samples), SETTINGS)
    cepstra = envelope_cepstra(
        samples.astype(np.float64),
        hertz.double().numpy(),
        SETTINGS.sample_rate,
        n_fft=SETTINGS.n_fft,
        hop=SETTINGS.hop_samples,
    )
    warped: NDArray[np.float64] = cepstra @ warping_matrix(ORDER, ALPHA, cepstra.shape[1]).T
    return warped[:, 1:]


def align(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the pairs of frames [P, 2] of the cheapest monotonic path (dynamic time warping, Euclidean, no band)."""
    path = require("librosa.sequence").dtw(first.T, second.T, metric="euclidean")[1]
    pairs: NDArray[np.int64] = path[::-1]
    return pairs


def mel_cepstral_distortion(reference: Waveform, degraded: Waveform) -> float:
    """Return the distortion in dB, 0 for identical signals; they may differ in length and level.

    10 sqrt(2) / ln 10 times the Euclidean distance of c_1 .. c_ORDER, averaged over the path of the alignment.

    Raises:
        UserError: either is silent or longer than LONGEST_SECONDS, or an optional package is missing.
    """
    longest = max(reference.seconds, degraded.seconds)
    if longest > LONGEST_SECONDS:
        raise UserError(f"{longest:.0f} s are too long to align, at most {LONGEST_SECONDS:.0f} s are allowed: cut it")
    first, second = mel_cepstra(reference), mel_cepstra(degraded)
    pairs = align(first, second)
    distances = np.linalg.norm(first[pairs[:, 0]] - second[pairs[:, 1]], axis=1)
    return float(10 * math.sqrt(2) / math.log(10) * distances.mean())
