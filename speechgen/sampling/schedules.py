"""Time grids for flow matching: uniform, empirically pruned (EPSS) and sway-warped (F5-TTS, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["flow_times"]

_EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
"""Pruned grids by number of steps, in units of 1/32 (Fast F5-TTS)."""


def flow_times(steps: int, sway: float = -1.0, *, pruned: bool = True) -> Tensor:
    """Return [steps + 1] increasing times from 0 to 1, float64.

    Args:
        steps: at least 1.
        sway: in [-1, 2 / (pi - 2)]; negative values place more steps near the noise, 0 leaves the grid alone.
        pruned: use the EPSS grid where one exists for `steps`.

    Raises:
        ValueError: `steps` or `sway` is out of range.
    """
    limit = 2 / (math.pi - 2)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not -1 <= sway <= limit:
        raise ValueError(f"sway must lie in [-1, {limit:.2f}], got {sway}: beyond it time would run backwards")
    if pruned and steps in _EPSS:
        u = torch.tensor(_EPSS[steps], dtype=torch.float64) / 32
    else:
        u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return u + sway * (torch.cos(math.pi / 2 * u) - 1 + u)
