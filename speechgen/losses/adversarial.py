"""Hinge losses and feature matching, averaged over sub-discriminators (Vocos, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.nn.discriminators import Judgement

__all__ = ["discriminator_loss", "feature_matching_loss", "generator_loss", "judged_fake", "judged_pairs"]


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


def judged_pairs(family: Sequence[Judgement]) -> Tensor:
    """Loss of discriminators of one kind that have judged a batch of real rows and then as many fake ones."""
    real, fake = zip(*(judgement.scores.chunk(2) for judgement in family), strict=True)
    return discriminator_loss(real, fake)


def judged_fake(family: Sequence[Judgement]) -> tuple[Tensor, Tensor]:
    """Loss of the generator by its scores, and feature matching, where real rows and then as many fake ones were judged."""
    fooled = generator_loss([judgement.scores.chunk(2)[1] for judgement in family])
    pairs = [[feature.chunk(2) for feature in judgement.features] for judgement in family]
    real, fake = ([[pair[half] for pair in part] for part in pairs] for half in (0, 1))
    return fooled, feature_matching_loss(real, fake)
