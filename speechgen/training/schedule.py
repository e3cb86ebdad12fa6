"""Learning rate schedules: a factor of the step alone, so there is no schedule state to save."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Schedule", "factor"]

Schedule = Literal["constant", "cosine", "linear"]


def factor(schedule: Schedule, step: int, *, steps: int, warmup_steps: int, final_ratio: float) -> float:
    """Return what the base learning rate is multiplied by at `step` (the first step is 0).

    Linear warm-up `(step + 1) / warmup_steps`, then from 1 to `final_ratio`, which the last step reaches.

    Args:
        schedule: shape of the decay after the warm-up.
        step: steps done so far.
        steps: length of the whole run.
        warmup_steps: length of the warm-up.
        final_ratio: factor of the last step; unused by "constant".
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps))
    remaining = 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1 - done
    return final_ratio + (1 - final_ratio) * remaining
