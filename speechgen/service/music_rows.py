"""The list of a batch of music: a csv, tsv or jsonl file of prompts to checked rows.

Columns are those of MusicRequest, and besides:

    count  how many different ones to make of the row's prompt (1 if not given); they are numbered
    out    file to write, inside the output folder; otherwise numbered

An empty cell is one that is not given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechgen.core.errors import UserError
from speechgen.core.random import mix
from speechgen.service import music
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
    models: dict[tuple[str | None, str | None], str | UserError] = field(default_factory=dict)

    def rows(self, place: int, line: int, cells: dict[str, Any]) -> list[Row]:
        """Check a row, which makes as many items as it counts.

        Raises:
            UserError: naming its first fault.
        """
        count = _whole(cells.pop("count", self.count))
        out = cells.pop("out", f"{place:04d}")
        request = MusicRequest.checked({**self.defaults, **cells})
        model = self._model(request.model, request.options.get("rescorer"))
        rows = []
        for copy in range(count):
            seed = request.seed if copy == 0 or request.seed is None else mix(request.seed, "copy", copy)
            asked = request.model_copy(update={"seed": seed})
            path = self.outs.claim(out, line, 0 if count == 1 else copy + 1)
            digest = hashlib.sha256(f"{path}\n{model}\n{asked.model_dump_json()}".encode()).hexdigest()
            self.made += 1
            rows.append(Row(number=self.made, line=line, path=path, request=asked, digest=digest))
        return rows

    def _model(self, name: str | None, rescorer: Any) -> str:
        """The digest of a model and of what rescores it; both are looked for once."""
        names = (name, None if rescorer is None else str(rescorer))
        if names not in self.models:
            try:
                self.models[names] = music.digest(*names)
            except UserError as error:
                self.models[names] = error
        found = self.models[names]
        if isinstance(found, UserError):
            raise found
        return found


def read_music_rows(path: Path, out_dir: Path, defaults: dict[str, Any], *, count: int = 1, format: str = "wav") -> list[Row]:
    """Read and check a list; models are looked up, but only their codecs are loaded.

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
        UserError: a value is out of range, or there is no such model.
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
