"""How fast and how large: real-time factor, percentiles, peak memory of this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Percentiles", "peak_memory_bytes", "percentiles", "real_time_factor"]


@dataclass(frozen=True)
class Percentiles:
    """Median and 95th percentile."""

    p50: float
    p95: float


def real_time_factor(synthesis_seconds: float, audio_seconds: float) -> float:
    """Return seconds of work per second of audio, below 1 = faster than speech."""
    return synthesis_seconds / audio_seconds


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the 50th and 95th percentile of at least one value, interpolated linearly."""
    middle, high = np.percentile(values, [50, 95])
    return Percentiles(float(middle), float(high))


def peak_memory_bytes() -> int:
    """Return the largest resident size that this process has had (Linux and macOS)."""
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kilobytes
