"""A recipe: one flat YAML that says what is trained and how.

    model:     {name: vocos, config: {...}}     checked by the model folder's own configuration class
    objective: {...}                            likewise
    data:      {...}                            crops, buckets, batch size
    optim:     {network: {...}, ...}            one section per part of the objective
    trainer:   {steps: 1000, ...}

Corpora, devices, workers and output folders are command-line matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from speechgen.core import registry
from speechgen.core.config import StrictModel, apply_overrides, read_yaml, validate
from speechgen.core.spec import ModelSpec
from speechgen.data.batching import DataConfig
from speechgen.training.optim import OptimConfig

__all__ = ["LoadedRecipe", "ModelSection", "Recipe", "TrainerConfig", "load_recipe"]


class TrainerConfig(StrictModel):
    """The loop."""

    seed: int = Field(0, description="seed of weights, batches, noise and dropout")
    steps: int = Field(gt=0, description="optimiser steps")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one step")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="arithmetic of the networks")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are exported; 0: none")
    validate_every: int = Field(500, ge=1, description="steps between validations and exports")
    validation_batches: int = Field(8, ge=1, description="batches of a validation")
    save_every: int = Field(500, ge=1, description="steps between saves of the state to resume from")
    save_minutes: float = Field(10.0, gt=0, description="minutes between such saves, whichever comes first")
    log_every: int = Field(10, ge=1, description="steps between log entries")


class ModelSection(StrictModel):
    """Which model, and its architecture."""

    name: str = Field(description="folder of the model")
    config: dict[str, Any] = Field({}, description="its configuration; what is left out has the folder's default")


class Recipe(StrictModel):
    """The whole file."""

    model: ModelSection
    objective: dict[str, Any] = {}
    data: DataConfig
    optim: dict[str, OptimConfig]
    trainer: TrainerConfig


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe whose model and objective sections were checked by the model's own classes; `text` is the file as written."""

    recipe: Recipe
    spec: ModelSpec
    config: Any
    objective_config: Any
    text: str


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        path: YAML file.
        overrides: `a.b=value` assignments.

    Raises:
        UserError: naming the key at fault, what is allowed and the nearest match.
    """
    content = apply_overrides(read_yaml(path), overrides)
    recipe = validate(Recipe, content, str(path))
    spec = registry.get(recipe.model.name)
    text = path.read_text(encoding="utf-8")
    if overrides:
        changes = "".join(f"# --set {override}\n" for override in overrides)
        text = f"{text.rstrip()}\n\n# Trained with these settings on the command line:\n{changes}"
    return LoadedRecipe(
        recipe,
        spec,
        validate(spec.config, recipe.model.config, f"{path}: model.config"),
        validate(spec.objective_config, recipe.objective, f"{path}: objective"),
        text,
    )
