"""Measuring a pipeline again and again, each time with other settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.evaluation.grid import Cell, GridReport, Measured
from speechgen.service.engine import Engine

__all__ = ["GridReport", "Measure", "combinations", "measure_grid"]

Measure = Callable[[Engine, Path | None, Progress], Measured]
"""(engine, folder for the clips, progress) to figures."""


def combinations(varied: Sequence[str]) -> list[dict[str, Any]]:
    """Return all combinations of values, the last key changing fastest.

    Args:
        varied: "key=value,value" each, such as "text_to_latents.steps=2,4,8"; values are read as YAML.

    Raises:
        UserError: one is not of that form, or a key is named twice.
    """
    values: dict[str, list[Any]] = {}
    for one in varied:
        key, equals, listed = one.partition("=")
        try:
            found = yaml.safe_load(f"[{listed}]") if key and equals else []
        except yaml.YAMLError:
            found = []
        if not found:
            raise UserError(f"cannot read {one!r}: write it as key=value,value, such as text_to_latents.steps=2,4,8")
        if key in values:
            raise UserError(f"{key} is varied twice: name all of its values at once")
        values[key] = found
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def measure_grid(
    measure: Measure,
    pipeline: str,
    varied: Sequence[str],
    *,
    device: str = "auto",
    changes: Sequence[str] = (),
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[GridReport]:
    """Yield the report after each combination. All of them are checked before the first is measured.

    Args:
        measure: what is measured.
        pipeline: name, or path of its YAML.
        varied: as in `combinations`.
        device: auto, cpu, cuda, cuda:N or mps.
        changes: settings of all combinations.
        save_to: keep clips in this folder, those of each combination in one of its own.
        progress: told of all together.

    Raises:
        UserError: a value cannot be used, or what `measure` refuses.
    """
    grid = combinations(varied)
    engines = [Engine(device, [*changes, *(f"{key}={json.dumps(value)}" for key, value in one.items())]) for one in grid]
    for engine in engines:
        engine.check(pipeline)
    cells: list[Cell] = []
    for number, values in enumerate(grid):

        def report(done: int, total: int, number: int = number) -> None:
            if progress:
                progress(number * total + done, len(grid) * total)

        name = ",".join(f"{key}={value}" for key, value in values.items()).replace(os.sep, "_")
        folder = None if save_to is None else save_to / name
        if folder is not None:
            folder.mkdir(exist_ok=True)
        # Each engine goes with its models as soon as it has been asked.
        cells.append(Cell(values, measure(engines.pop(0), folder, report)))
        yield GridReport(tuple(cells))
