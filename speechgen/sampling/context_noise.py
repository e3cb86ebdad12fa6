"""Noise on what an autoregressive model reads of its own past (Pasini et al., 2024, arXiv:2411.18447).

In training each stretch is disturbed by a strength of its own, so that the model learns to heed a faulty past little; when it
speaks, a little noise hides its own small errors. What is generated, decoded and learnt as the target stays clean.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Mix", "disturb", "disturbed"]

Mix = Literal["preserving", "linear"]
"""preserving: sqrt(1 - k) x + sqrt(k) noise, whose variance stays 1; linear: (1 - k) x + k noise."""


def disturb(values: Tensor, level: Tensor | float, noise: Tensor, mix: Mix = "preserving") -> Tensor:
    """Return normalised `values` with noise in them; level 0 gives the values, level 1 the noise, both bit for bit."""
    level = torch.as_tensor(level, dtype=values.dtype, device=values.device)
    if mix == "linear":
        return (1 - level) * values + level * noise
    return (1 - level).sqrt() * values + level.sqrt() * noise


def disturbed(values: Tensor, largest: float, rng: torch.Generator, mix: Mix = "preserving") -> Tensor:
    """Disturb each entry of `values` [B, T, ...] by a level drawn from [0, largest]; values themselves if that is 0."""
    if largest == 0:
        return values
    level = largest * torch.rand(values.shape[:2], generator=rng, device=rng.device).to(values)
    noise = torch.randn(values.shape, generator=rng, device=rng.device).to(values)
    return disturb(values, level.view(*values.shape[:2], *[1] * (values.dim() - 2)), noise, mix)
