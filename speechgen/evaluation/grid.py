"""One measurement repeated over combinations of settings, in one table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Cell", "GridReport", "Measured"]


class Measured(Protocol):
    """A report whose sum fits into a row."""

    settings: str

    def row(self) -> Mapping[str, str]:
        """Return the figures of all that was measured, by the heads of their columns."""
        ...

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        ...


@dataclass(frozen=True)
class Cell:
    """What was measured with one combination: the values by key, and the report."""

    values: Mapping[str, Any]
    report: Measured


@dataclass(frozen=True)
class GridReport:
    """All combinations that are measured so far, in the order of their values."""

    cells: Sequence[Cell]

    def table(self) -> str:
        """Return a Markdown table, one row for each combination, with the settings of the measurement below."""
        names = _short(self.cells[0].values) if self.cells else {}
        rows = [{**{names[key]: f"{value}" for key, value in one.values.items()}, **one.report.row()} for one in self.cells]
        heads = list(dict.fromkeys(head for row in rows for head in row))
        cells = [[row.get(head, "-") for head in heads] for row in rows]
        lines = ["| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *cells]]
        return "\n".join([*lines, "", *dict.fromkeys(cell.report.settings for cell in self.cells)])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        cells = [{"values": dict(cell.values), "report": json.loads(cell.report.to_json())} for cell in self.cells]
        return json.dumps({"cells": cells}, indent=1, ensure_ascii=False)


def _short(keys: Iterable[str]) -> dict[str, str]:
    """The last part of keys such as text_to_latents.steps, unless two of them end alike."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}
