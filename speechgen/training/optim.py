"""The optimiser of one part: AdamW with warm-up and decay of the learning rate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import nn

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.training.schedule import Schedule, factor

__all__ = ["OptimConfig", "build_optimizer", "check_parts", "learning_rate"]


class OptimConfig(StrictModel):
    """How one part of an objective is optimised (AdamW; Loshchilov and Hutter, 2019)."""

    learning_rate: float = Field(gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the first and second moment")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of matrices; biases, norms and gains have none")
    warmup_steps: int = Field(0, ge=0, description="steps over which the learning rate rises from zero")
    schedule: Schedule = Field("constant", description="decay after the warm-up")
    final_ratio: float = Field(0.1, ge=0, le=1, description="last learning rate as a fraction of the peak")
    clip_norm: float | None = Field(1.0, gt=0, description="gradients longer than this are shortened to it; null: never")


def build_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of `module`."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Return the learning rate of `step` (from 0) in a run of `steps`."""
    return config.learning_rate * factor(
        config.schedule, step, steps=steps, warmup_steps=config.warmup_steps, final_ratio=config.final_ratio
    )


def check_parts(configured: Iterable[str], parts: Iterable[str]) -> None:
    """Check that `optim` of the recipe names exactly the objective's parts.

    Raises:
        UserError: naming the part that is unknown or missing.
    """
    configured, parts = set(configured), set(parts)
    for name in sorted(configured - parts):
        raise UserError(f"recipe: optim: {unknown('part', name, parts)}")
    for name in sorted(parts - configured):
        raise UserError(f"recipe: optim has no section {name!r}: this objective trains {', '.join(sorted(parts))}")
