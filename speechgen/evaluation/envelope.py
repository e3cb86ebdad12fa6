"""Spectral envelope of speech without the traces of its harmonics: CheapTrick (Morise, 2015), the envelope of WORLD.

A window of three periods, so that its power does not depend on where it begins; the power spectrum averaged over two thirds of
the fundamental frequency; and a lifter on the logarithm that removes what is left of the harmonics and restores their peaks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["envelope_cepstra"]

UNVOICED_HZ = 500.0
"""Stands in for the fundamental frequency where there is none."""
RECOVERY = -0.15
"""Weight of the neighbouring harmonics in the lifter (equation 10 of the paper)."""

Array = NDArray[np.float64]


def envelope_cepstra(
    samples: Array, hertz: Array, rate: int, *, n_fft: int = 1024, hop: int = 256, floor_db: float = -80.0
) -> Array:
    """Return cepstra c_0 .. c_(n_fft / 2) of the envelope's natural-log magnitude, ln|X(w)| = sum_m c_m cos(m w).

    Args:
        samples: [L] audio that is not silent.
        hertz: [T] fundamental frequency at samples 0, hop, 2 hop, and so on; 0 where unvoiced.
        rate: samples per second.
        n_fft: FFT length; holds three periods of the lowest frequency, lower ones are raised to it.
        hop: samples between frames.
        floor_db: power is lifted to this far below the loudest of the clip: what is not heard does not count.

    Returns:
        [T, n_fft / 2 + 1].
    """
    lowest = 3 * rate / (n_fft - 3)
    pitch = np.where(hertz > 0, np.maximum(hertz, lowest), UNVOICED_HZ)[:, None]  # [T, 1]
    power = _fold(np.square(np.abs(np.fft.rfft(_windowed(samples, pitch, rate, n_fft, hop), n_fft))), pitch, rate / n_fft)
    power = _average(power, pitch * 2 / 3, rate / n_fft)
    cepstra = np.fft.irfft(0.5 * np.log(np.maximum(power, power.max() * 10 ** (floor_db / 10))))[:, : n_fft // 2 + 1]
    periods = np.arange(n_fft // 2 + 1) / rate * pitch  # [T, n_fft / 2 + 1]: quefrency in periods
    cepstra *= np.sinc(periods) * (1 - 2 * RECOVERY + 2 * RECOVERY * np.cos(2 * np.pi * periods))
    cepstra[:, 1:-1] *= 2  # both sides of an even function
    return cepstra


def _windowed(samples: Array, pitch: Array, rate: int, n_fft: int, hop: int) -> Array:
    """Return [T, n_fft - 1]: three periods around each frame's centre under a Hann window of unit energy, mean removed."""
    half = n_fft // 2 - 1
    offsets = np.arange(-half, half + 1)
    places = np.arange(len(pitch))[:, None] * hop + offsets
    window = np.where(
        np.abs(offsets) <= np.round(1.5 * rate / pitch), 0.5 + 0.5 * np.cos(np.pi * offsets * pitch / 1.5 / rate), 0
    )
    window /= np.sqrt(np.square(window).sum(axis=1, keepdims=True))
    frames = samples[np.clip(places, 0, len(samples) - 1)] * window
    result: Array = frames - window * (frames.sum(axis=1, keepdims=True) / window.sum(axis=1, keepdims=True))
    return result


def _fold(power: Array, pitch: Array, step: float) -> Array:
    """Fill the gap below the first harmonic, which has no neighbour there: add the power [T, F] at pitch - f to that at f."""
    bins = np.arange(power.shape[1])
    mirrored = pitch / step - bins  # [T, F], in bins
    return power + np.where(mirrored > 0, _at(power, np.clip(mirrored, 0, None)), 0)


def _average(power: Array, width: Array, step: float) -> Array:
    """Return the mean of the power [T, F] over `width` [T, 1] Hz around each bin; beyond both ends it is mirrored."""
    margin = int(np.ceil(width.max() / step / 2)) + 1
    padded = np.pad(power, ((0, 0), (margin, margin)), mode="reflect")
    integral = np.concatenate([np.zeros((len(power), 1)), np.cumsum(padded, axis=1)], axis=1)
    centres = np.arange(power.shape[1]) + margin + 0.5
    half = width / step / 2
    result: Array = (_at(integral, centres + half) - _at(integral, centres - half)) / (2 * half)
    return result


def _at(values: Array, places: Array) -> Array:
    """Interpolate each row of [T, F] linearly at `places` [T, F'] in entries."""
    before = np.clip(places.astype(int), 0, values.shape[1] - 2)
    share = places - before
    result: Array = np.take_along_axis(values, before, 1) * (1 - share) + np.take_along_axis(values, before + 1, 1) * share
    return result
