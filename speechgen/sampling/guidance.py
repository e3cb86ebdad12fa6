"""Classifier-free guidance (Ho and Salimans, 2022) for any function of a batch."""

from __future__ import annotations

from torch import Tensor

__all__ = ["guide"]


def guide(conditional: Tensor, unconditional: Tensor, strength: float) -> Tensor:
    """Return `conditional + strength * (conditional - unconditional)`; 0 is the conditional prediction itself."""
    return conditional + strength * (conditional - unconditional)
