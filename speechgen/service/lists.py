"""Lists that batches are made of: a csv, tsv or jsonl file to rows, each with its line. All faults are found, not the first.

What the columns mean is told by batch_rows (speech) and music_rows (music and sounds).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from speechgen.audio.io import FORMATS
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.service.requests import MusicRequest, SynthesisRequest

__all__ = ["Columns", "OutPaths", "Row", "RowsError", "file_named", "read_list"]

DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Row(StrictModel):
    """One item to speak or to compose."""

    number: int = Field(ge=1, description="place in the batch, from 1")
    line: int = Field(ge=1, description="where it begins in the list")
    path: str = Field(description="file to write, from the output folder")
    request: SynthesisRequest | MusicRequest
    digest: str = Field(description="of all that the row asks for and who makes it, contents of text, voice and checkpoints")


class RowsError(UserError):
    """Rows that cannot be used, each with its line."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        super().__init__(f"{path} has {len(faults)} faults, nothing was made; the first: {faults[0]}")
        self.faults = faults


@dataclass(frozen=True)
class Columns:
    """What a list may hold.

    Attributes:
        names: of its columns.
        needed: of which it must have one.
        example: a line of column names, for messages.
    """

    names: tuple[str, ...]
    needed: tuple[str, ...]
    example: str

    def check(self, names: Collection[str]) -> None:
        """Refuse a name that is not one.

        Raises:
            UserError: names the nearest match.
        """
        for name in names:
            if name not in self.names:
                raise unknown("column", name, self.names)


@dataclass
class OutPaths:
    """Where the rows of a list are written; remembers what is taken.

    Attributes:
        folder: for all of them.
        format: of names without a suffix.
    """

    folder: Path
    format: str
    _taken: dict[str, int] = field(default_factory=dict)

    def claim(self, name: Any, line: int, copy: int = 0) -> str:
        """Return the path, from the folder, that the row of this line writes.

        Args:
            name: the row's cell.
            line: of the row.
            copy: number of one of several that the row asks for, which becomes part of the name.

        Raises:
            UserError: it names no file, leaves the folder, has an unknown suffix, or belongs to another row.
        """
        path = file_named("out", name)
        if copy:
            path = path.with_name(f"{path.stem}-{copy}{path.suffix}")
        if not path.suffix:
            path = path.with_name(f"{path.name}.{self.format}")
        if path.suffix[1:].lower() not in FORMATS:
            raise UserError(f"cannot write {path}: formats are {', '.join(FORMATS)}")
        whole = (self.folder / path).resolve()
        if path.is_absolute() or ".." in path.parts or not whole.is_relative_to(self.folder.resolve()):
            raise UserError(f"out {str(path)!r} leaves the output folder: give a path inside it")
        first = self._taken.setdefault(path.as_posix(), line)
        if first != line:
            raise UserError(f"out {str(path)!r} is written by line {first} already: choose another name")
        return path.as_posix()


def file_named(column: str, cell: Any) -> Path:
    """Return the path in a cell.

    Raises:
        UserError: no file can have that name.
    """
    path = Path(str(cell))
    if path.name in ("", "..") or "\0" in str(path):
        raise UserError(f"{column} {str(cell)!r} is no name of a file: give one")
    return path


def read_list(path: Path, columns: Columns, check: Callable[[int, int, dict[str, Any]], list[Row]]) -> list[Row]:
    """Read and check a list.

    Args:
        path: .csv or .tsv with a line of column names, or .jsonl with an object a line.
        columns: that it may have.
        check: given the row's place (from 1), its line and its cells that are not empty, returns what is to be made of it, or
            raises UserError.

    Raises:
        RowsError: rows that cannot be used, all of them.
        UserError: the list itself cannot be read.
    """
    rows: list[Row] = []
    faults: list[str] = []
    place = 0
    try:
        for line, cells in _cells(path, columns):
            place += 1
            try:
                if isinstance(cells, str):
                    raise UserError(cells)
                columns.check(cells)
                rows += check(place, line, {k: v for k, v in cells.items() if v not in (None, "")})
            except UserError as error:
                faults.append(f"line {line}: {error}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if faults:
        raise RowsError(path, faults)
    if not rows:
        raise UserError(f"{path} holds no rows")
    return rows


def _cells(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the line and the cells of each row, or what is wrong with it.

    Raises:
        UserError: unknown kind of file, or no usable line of column names.
    """
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        yield from _objects(path)
        return
    if suffix not in DELIMITERS:
        raise UserError(f"cannot read {path} as a list: give .csv, .tsv or .jsonl")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[suffix], skipinitialspace=True)
        names = [name.strip() for name in next(reader, [])]
        wrong = [name for name in names if name not in columns.names]
        if wrong:
            raise RowsError(path, [f"line 1: {unknown('column', name, columns.names)}" for name in wrong])
        if not set(columns.needed) & set(names) or len(set(names)) < len(names):
            needed = " or ".join(columns.needed)
            raise UserError(f"{path}, line 1: name each column once, {needed} among them, such as {columns.example}")
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(names):
                yield line, f"it has {len(cells)} cells for {len(names)} columns: quote text that holds the separator"
            elif any(cells):
                yield line, dict(zip(names, cells, strict=False))
            line = reader.line_num + 1


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, content in enumerate(file, 1):
            if not content.strip():
                continue
            try:
                cells = json.loads(content)
                json.dumps(cells, ensure_ascii=False).encode()  # half a character is no text
            except ValueError as error:
                yield line, f"it is not JSON ({error})"
                continue
            yield line, cells if isinstance(cells, dict) else "it is not a JSON object"
