"""Level of speech: measured over its active part, so that pauses do not count."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["active_level", "normalize_level"]

TARGET_DBFS = -23.0
"""RMS of active speech that all training audio and references are brought to."""


def active_level(samples: Tensor, rate: int) -> float:
    """RMS of the active 20 ms frames (within 40 dB of the loudest) in dB relative to full scale; -inf for silence.

    Args:
        samples: [L] in [-1, 1].
        rate: samples per second.
    """
    size = max(1, int(0.02 * rate))
    if samples.shape[-1] < size:
        power = samples.float().square().mean()[None]
    else:
        power = samples.float().unfold(-1, size, size).square().mean(-1)
    active = power[power > power.max() * 1e-4]
    return float(10 * torch.log10(active.mean())) if active.numel() else float("-inf")


def normalize_level(samples: Tensor, rate: int, target_dbfs: float = TARGET_DBFS) -> Tensor:
    """Scale `samples [L]` so that active speech has `target_dbfs`, without exceeding a peak of 0.95. Silence stays as it is."""
    level = active_level(samples, rate)
    if level < -80:
        return samples
    gain = 10 ** ((target_dbfs - level) / 20)
    return samples * min(gain, 0.95 / float(samples.abs().max()))
