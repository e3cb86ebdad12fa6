"""Strict configuration: frozen pydantic models, one flat YAML, no indirection.

An unknown key is an error that names its nearest match; `--set a.b=value` goes through the same check.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from speechgen.core.errors import UserError, unknown

__all__ = ["StrictModel", "apply_overrides", "read_yaml", "validate"]


class StrictModel(BaseModel):
    """Base of every configuration: immutable, no unknown keys, fields carry descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UserError: the file is missing, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping of keys to values, got {type(content).__name__}")
    return content


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `content` with `a.b=value` assignments applied; values are read as YAML.

    Raises:
        UserError: an override is not of the form key=value, is not YAML, or walks through a value that is not a mapping.
    """
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(content))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"cannot read override {override!r}: write it as key=value, such as trainer.steps=10")
        *parents, last = key.split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise UserError(f"cannot set {key!r}: {parent!r} is a value, not a section")
        try:
            target[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"cannot read the value of override {override!r}: {' '.join(str(error).split())}") from error
    return result


def validate(model: type[Model], content: Any, source: str) -> Model:
    """Check `content` against `model`; turn the first fault into one clear line.

    Args:
        model: the configuration class.
        content: parsed YAML or JSON.
        source: where it came from, for the message.

    Raises:
        UserError: naming the key, what is allowed, and the nearest match for an unknown key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            problem = unknown("key", str(fault["loc"][-1]), _keys_at(model, fault["loc"][:-1]))
            raise UserError(f"{source}: {path}: {problem}") from None
        # What lacks a key, or does not fit together, is a whole section: too much to repeat.
        given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
        raise UserError(f"{source}: {path or 'top level'}: {fault['msg']}{given}") from None


def _keys_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Field names of the nested model at `location`, which may lie inside a dict or an optional value."""
    for part in location:
        field = model.model_fields.get(str(part))
        candidates = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
