"""Published weights: one file per family, from its names and files to ours.

A family's file is found by its name and has
    ABOUT                        which model it becomes, where it comes from, its licence, and what its files are called
    read(source) -> Imported     a file or folder as it was published, to a configuration and weights of that model
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError

__all__ = ["About", "Imported", "audiocraft_settings", "families", "foreign", "setting"]


@dataclass(frozen=True)
class About:
    """What a family's file says of itself.

    Attributes:
        model: it becomes.
        origin: where it is published.
        licence: of the weights.
        files: patterns of file names, the weights first.
        pulls: name -> repository of the hub, perhaps with a folder behind it, that `models pull` knows.
    """

    model: str
    origin: str
    licence: str
    files: tuple[str, ...]
    pulls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """Weights under our names, the configuration they fit, what the user should know, and which codec's codes they make.

    The codec is named as `models pull` knows it; None for weights that make no codes, or of a codec that has no name there.
    """

    config: StrictModel
    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    codec: str | None = None


def families() -> list[str]:
    """Names of all families."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


@contextmanager
def foreign(path: Path, family: str) -> Iterator[None]:
    """Turn whatever comes of reading something else as a family's weights into one line that says so.

    Names can be right and shapes, kinds or settings another's: a reader need not foresee each of them.

    Raises:
        UserError: see there.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is no published {family}, or not all of one ({told}): copy it as it was published") from error


def audiocraft_settings(text: Any, path: Path) -> dict[str, Any]:
    """Return what audiocraft stores beside its weights as `xp.cfg`, settings as YAML text.

    Raises:
        UserError: it is something else.
    """
    try:
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, AttributeError) as error:
        raise UserError(f"the settings in {path} are not YAML ({' '.join(str(error).split())[:100]})") from error
    if not isinstance(settings, dict):
        raise UserError(f"the settings in {path} are no mapping: give the file as audiocraft publishes it")
    return settings


def setting(settings: Mapping[str, Any], *keys: str) -> Any:
    """Return a value some levels down, None where there is none; `${a.b}` stands for the value of a.b."""
    value: Any = settings
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and (meant := re.fullmatch(r"\$\{([\w.]+)\}", value)):
            value = setting(settings, *meant[1].split("."))
    return value
