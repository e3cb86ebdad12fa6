"""The list of a batch of music: a csv, tsv or jsonl file of prompts to checked rows.

Columns are those of MusicRequest, and besides:

    count  how many different ones to make of the row's prompt (1 if not given); they are numbered
    out    file to write, inside the output folder; otherwise numbered

An empty cell is one that is not given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechgen.core.errors import UserError
from speechgen.core.random import mix
from speechgen.service.lists import Columns, OutPaths, Row, read_list
from speechgen.service.requests import MusicRequest

__all__ = ["MOST", "prompt_rows", "read_music_rows"]

COLUMNS = Columns(
    (*(name for name in MusicRequest.model_fields if name != "options"), "count", "out"),
    ("prompt",),
    "prompt,duration,seed,count",
)
MOST = 1000
"""Of one prompt."""


@dataclass
class _Reader:
    outs: OutPaths
    defaults: dict[str, Any]
    count: int = 1
    made: int = 0

    def rows(self, place: int, line: int, cells: dict[str, Any]) -> list[Row]:
        """Check a row, which makes as many items as it counts."""
        count = _whole(cells.pop("count", self.count))
        out = Path(str(cells.pop("out", f"{place:04d}")))
        request = MusicRequest.checked({**self.defaults, **cells})
        rows = []
        for copy in range(count):
            name = out if count == 1 else out.with_name(f"{out.stem}-{copy + 1}{out.suffix}")
            seed = request.seed if copy == 0 or request.seed is None else mix(request.seed, "copy", copy)
            asked = request.model_copy(update={"seed": seed})
            path = self.outs.claim(str(name), line)
            digest = hashlib.sha256(f"{path}\n{asked.model_dump_json()}".encode()).hexdigest()
            self.made += 1
            rows.append(Row(number=self.made, line=line, path=path, request=asked, digest=digest))
        return rows


def read_music_rows(path: Path, out_dir: Path, defaults: dict[str, Any], *, count: int = 1, format: str = "wav") -> list[Row]:
    """Read and check a list; nothing is loaded.

    Args:
        path: .csv or .tsv with a line of column names, or .jsonl with an object a line.
        out_dir: where the sound will go; it need not exist.
        defaults: fields of MusicRequest for rows that do not say.
        count: for rows that do not say.
        format: of files whose name has no suffix.

    Raises:
        RowsError: rows that cannot be used, all of them.
        UserError: the list itself cannot be read.
    """
    return read_list(path, COLUMNS, _Reader(OutPaths(out_dir, format), defaults, count).rows)


def prompt_rows(content: dict[str, Any], count: int, out_dir: Path, *, format: str = "wav") -> list[Row]:
    """Return the rows of one prompt, `count` of them.

    Raises:
        UserError: a value is out of range.
    """
    return _Reader(OutPaths(out_dir, format), {}).rows(1, 1, {**content, "count": count})


def _whole(count: Any) -> int:
    try:
        number = int(str(count))
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise UserError(f"count {count!r} is not usable: give a whole number from 1 to {MOST}")
    return number
