"""Hinge losses and feature matching, averaged over sub-discriminators (Vocos, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["discriminator_loss", "feature_matching_loss", "generator_loss"]


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Push real scores above 1 and fake ones below -1. Score tensors of any shape, one per sub-discriminator."""
    return torch.stack([F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """Push the scores of generated audio above 1."""
    return torch.stack([F.relu(1 - score).mean() for score in fake]).mean()


def feature_matching_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of intermediate features; those of the real audio are constants."""
    per_part = [
        torch.stack([(f - r.detach()).abs().mean() for r, f in zip(part_real, part_fake, strict=True)]).mean()
        for part_real, part_fake in zip(real, fake, strict=True)
    ]
    return torch.stack(per_part).mean()
