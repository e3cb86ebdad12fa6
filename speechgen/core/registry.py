"""Finds model folders. Folder name = registry key = recipe `model.name`; no list is edited to add one."""

from __future__ import annotations

import importlib
from pathlib import Path

from speechgen.core.errors import unknown
from speechgen.core.spec import ModelSpec

__all__ = ["get", "names"]

_MODELS = Path(__file__).resolve().parent.parent / "models"


def names() -> dict[str, str]:
    """Return {model name: role} for every folder `models/<role>/<name>` that has an `__init__.py`, sorted by role and name."""
    return {path.parent.name: path.parent.parent.name for path in sorted(_MODELS.glob("*/*/__init__.py"))}


def get(name: str) -> ModelSpec:
    """Import a model folder and return its SPEC.

    Raises:
        UserError: there is no such model.
    """
    roles = names()
    if name not in roles:
        raise unknown("model", name, roles)
    spec: ModelSpec = importlib.import_module(f"speechgen.models.{roles[name]}.{name}").SPEC
    return spec
