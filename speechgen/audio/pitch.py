"""Fundamental frequency of speech on the frames of the mel, by Praat's autocorrelation method (Boersma, 1993).

Praat comes as the package praat-parselmouth, which only training and evaluation need; it is imported on first use.
"""

from __future__ import annotations

import importlib
import math
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings

__all__ = ["HIGHEST_HZ", "LOWEST_HZ", "estimate_pitch", "pitch_producer"]

LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
"""What is looked for: a low man to a child."""
_PERIODS = 3
"""Periods of the lowest pitch that Praat's window holds."""
_MEDIAN_FRAMES = 5
_JUMP_OCTAVES = 0.3
"""A frame this far from the median of its neighbours was found an octave off."""


def pitch_producer() -> dict[str, Any]:
    """What identifies the numbers that `estimate_pitch` gives, for prepared features."""
    return {"extractor": "praat-ac", "lowest_hz": LOWEST_HZ, "highest_hz": HIGHEST_HZ, "median_frames": _MEDIAN_FRAMES}


def estimate_pitch(
    samples: Tensor, settings: MelSettings, *, lowest_hz: float = LOWEST_HZ, highest_hz: float = HIGHEST_HZ
) -> Tensor:
    """Measure the fundamental frequency around the centre of each mel frame.

    Args:
        samples: [L] audio of the settings' rate.
        settings: frame j is centred on sample j * hop.
        lowest_hz, highest_hz: the range that is looked in.

    Returns:
        [T] float32 Hz, T = L // hop + 1; 0 where unvoiced.

    Raises:
        UserError: praat-parselmouth is not installed.
    """
    praat = _praat()
    rate, hop, size = settings.sample_rate, settings.hop_samples, samples.shape[-1]
    frames = size // hop + 1
    if size == 0 or not bool(samples.any()):
        return torch.zeros(frames)
    # Praat sets its frames symmetrically into the sound, so the ends are padded until there is a frame at every centre.
    window = math.ceil(_PERIODS / lowest_hz * rate) + hop
    padded = np.pad(samples.double().cpu().numpy(), (window, window + hop))
    found = praat.Sound(padded, float(rate)).to_pitch_ac(
        time_step=hop / rate, pitch_floor=lowest_hz, pitch_ceiling=highest_hz, voicing_threshold=0.45
    )
    times = (window + 0.5 + np.arange(frames) * hop) / rate  # Praat's sample k lies at (k + 1/2) / rate
    return torch.from_numpy(_without_jumps(_at(found, times)).astype(np.float32))


def _at(found: Any, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies [T] at `times` [T]: along a line between two voiced frames, else that of the nearest frame."""
    hertz = np.asarray(found.selected_array["frequency"], np.float64)
    place = np.clip((times - found.x1) / found.dx, 0, len(hertz) - 1)
    before = np.minimum(place.astype(int), len(hertz) - 2)
    share = place - before
    low, high = hertz[before], hertz[before + 1]
    both = (low > 0) & (high > 0)
    values: NDArray[np.float64] = np.where(both, (1 - share) * low + share * high, np.where(share < 0.5, low, high))
    return values


def _without_jumps(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voiced frames over _JUMP_OCTAVES from the median of the voiced frames around them take that median."""
    half = _MEDIAN_FRAMES // 2
    around = np.lib.stride_tricks.sliding_window_view(np.pad(hertz, half), _MEDIAN_FRAMES)  # [T, 5]
    voiced = hertz > 0
    middle = hertz.copy()
    middle[voiced] = np.nanmedian(np.where(around[voiced] > 0, around[voiced], np.nan), axis=1)
    far = voiced & (np.abs(np.log2(np.where(voiced, hertz / np.where(voiced, middle, 1.0), 1.0))) > _JUMP_OCTAVES)
    return np.where(far, middle, hertz)


def _praat() -> ModuleType:
    try:
        return importlib.import_module("parselmouth")
    except ImportError as error:
        raise UserError(f"pitch needs the package praat-parselmouth ({error}): run pip install praat-parselmouth") from error
