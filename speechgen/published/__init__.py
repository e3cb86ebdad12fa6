"""Published weights: one file per family, from its names and files to ours.

A family's file is found by its name and has
    ABOUT                        which model it becomes, where it comes from, its licence, and what its files are called
    read(source) -> Imported     a file or folder as it was published, to a configuration and weights of that model
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from speechgen.core.config import StrictModel

__all__ = ["About", "Imported", "families"]


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
