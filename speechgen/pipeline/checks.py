"""What can be wrong with the sound of a piece, by plain measures of the signal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from speechgen.pipeline.silence import speech_span

__all__ = ["faults"]

SECONDS_PER_SYMBOL = (0.02, 0.2)
"""Fewer or more seconds of speech per symbol of the text than anyone speaks; usual are 0.06 to 0.08."""
ROOM_SECONDS = 0.6
"""Added to the most, for texts of a few symbols."""
CLIPPED_SHARE = 1e-3
TAIL_SECONDS = 0.5
TAIL_BAND_HZ = (300.0, 4000.0)
NOISE_FLATNESS = 0.3
"""Spectral flatness in that band: white noise 0.56, vowels below 0.1; a final s is over before TAIL_SECONDS."""


def faults(samples: Tensor, rate: int, num_symbols: int | None, speed: float = 1.0) -> list[str]:
    """Return what is wrong with a piece, in a few words each; nothing if it is fine.

    Args:
        samples: [L] before trimming and limiting.
        rate: samples per second.
        num_symbols: phoneme symbols of the text; None where it may last as long as it does.
        speed: tempo that was asked for.
    """
    if not samples.isfinite().all():
        return ["not a number"]
    span = speech_span(samples, rate)
    seconds = speed * (span.stop - span.start) / rate
    if seconds == 0:
        return ["silent"]
    least, most = (0.0, math.inf) if num_symbols is None else (num_symbols * bound for bound in SECONDS_PER_SYMBOL)
    found = {
        "too short for its text": seconds < least,
        "too long for its text": seconds > most + ROOM_SECONDS,
        "clipped": float((samples.abs() >= 0.999).float().mean()) > CLIPPED_SHARE,
        "noise at its end": _ends_in_noise(samples[span.start : span.stop], rate),
    }
    return [name for name, wrong in found.items() if wrong]


def _ends_in_noise(speech: Tensor, rate: int) -> bool:
    """Tell whether the last TAIL_SECONDS are as flat in spectrum as noise, all through."""
    size, tail = int(0.04 * rate), int(TAIL_SECONDS * rate)
    if len(speech) < tail:
        return False
    frames = speech[-tail:].float().unfold(0, size, size)  # [F, size]
    power = torch.fft.rfft(frames * torch.hann_window(size), dim=-1).abs().square() + 1e-12
    low, high = (round(edge * size / rate) for edge in TAIL_BAND_HZ)
    band = power[:, low:high]
    flatness = band.log().mean(-1).exp() / band.mean(-1)
    return bool(flatness.quantile(0.2) > NOISE_FLATNESS)
