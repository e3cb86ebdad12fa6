"""The list of a batch: a csv, tsv or jsonl file to checked rows. All faults are found before anything is loaded.

Columns are those of SynthesisRequest, and besides:

    file   a text file instead of `text`
    lang   the same as `language`
    out    file to write, inside the output folder; otherwise numbered

Paths in the list are meant from the folder of the list. An empty cell is one that is not given.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from speechgen.audio.io import FORMATS
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.pipeline.prompts import MIN_SECONDS
from speechgen.service import catalog, voices
from speechgen.service.journal import file_digest, request_digest
from speechgen.service.requests import SynthesisRequest
from speechgen.text.normalize import speakable

__all__ = ["Row", "RowsError", "read_rows"]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
COLUMNS = (*SynthesisRequest.model_fields, "file", "lang", "out")
PATHS = ("ref", "tempo_ref", "file")


class Row(StrictModel):
    """One item to speak."""

    number: int = Field(ge=1, description="place in the list, from 1")
    line: int = Field(ge=1, description="where it begins in the list")
    path: str = Field(description="file to write, from the output folder")
    request: SynthesisRequest
    digest: str = Field(description="of all that the row asks for, contents of text and voice included")


class RowsError(UserError):
    """Rows that cannot be used, each with its line."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        super().__init__(f"{path} has {len(faults)} faults, nothing was spoken; the first: {faults[0]}")
        self.faults = faults


@dataclass
class _Reader:
    """Checks rows one by one; remembers what it has looked at."""

    folder: Path
    out_dir: Path
    defaults: dict[str, Any]
    format: str
    heard: set[tuple[Path | None, str | None]] = field(default_factory=set)
    digests: dict[Path, str] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def row(self, number: int, line: int, cells: dict[str, Any]) -> Row:
        """Check one row.

        Raises:
            UserError: naming its first fault.
        """
        for name in cells:
            if name not in COLUMNS:
                raise unknown("column", name, COLUMNS)
        out = cells.pop("out", None)
        request = self._request(cells)
        catalog.find_pipeline(request.pipeline)
        path = self._out(number, line, out)
        for ref, voice in ((request.ref, request.voice), *([(request.tempo_ref, None)] if request.tempo_ref else [])):
            self._hear(ref, voice)
        content = f"{path}\n{request_digest(request, self._digest)}"
        return Row(number=number, line=line, path=path, request=request, digest=hashlib.sha256(content.encode()).hexdigest())

    def _request(self, cells: dict[str, Any]) -> SynthesisRequest:
        for name in PATHS:
            if name in cells:
                cells[name] = (self.folder / str(cells[name])).resolve()
        if "file" in cells:
            if "text" in cells:
                raise UserError("both text and file are given: choose one")
            cells["text"] = _read_text(cells.pop("file"))
        if "text" not in cells:
            raise UserError("it has neither text nor file")
        if "lang" in cells:
            cells["language"] = cells.pop("lang")
        own_voice = {"ref", "voice"} & cells.keys()
        inherited = {k: v for k, v in self.defaults.items() if not (own_voice and k in ("ref", "ref_text", "voice"))}
        request = SynthesisRequest.checked({**inherited, **cells})
        if not speakable(request.text):
            raise UserError("there is nothing to speak in its text: give at least one letter or digit")
        return request

    def _hear(self, ref: Path | None, voice: str | None) -> None:
        """Read a voice, once."""
        if (ref, voice) not in self.heard:
            source = voices.read_source(ref, voice)
            if source.audio.seconds < MIN_SECONDS:
                raise UserError(f"{source.name} lasts {source.audio.seconds:.2f} s: at least {MIN_SECONDS:g} s are needed")
            self.heard.add((ref, voice))

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            self.digests[path] = file_digest(path)
        return self.digests[path]

    def _out(self, number: int, line: int, out: Any) -> str:
        path = Path(f"{number:04d}" if out is None else str(out))
        if not path.suffix:
            path = path.with_name(f"{path.name}.{self.format}")
        if path.suffix[1:].lower() not in FORMATS:
            raise UserError(f"cannot write {path}: formats are {', '.join(FORMATS)}")
        whole = (self.out_dir / path).resolve()
        if path.is_absolute() or ".." in path.parts or not whole.is_relative_to(self.out_dir.resolve()):
            raise UserError(f"out {str(path)!r} leaves the output folder: give a path inside it")
        first = self.taken.setdefault(path.as_posix(), line)
        if first != line:
            raise UserError(f"out {str(path)!r} is written by line {first} already: choose another name")
        return path.as_posix()


def read_rows(path: Path, out_dir: Path, defaults: dict[str, Any], *, format: str = "wav") -> list[Row]:
    """Read and check a list; the voices it names are read, models are not.

    Args:
        path: .csv or .tsv with a line of column names, or .jsonl with an object a line.
        out_dir: where the sound will go; it need not exist.
        defaults: fields of SynthesisRequest for rows that do not say.
        format: of files whose name has no suffix.

    Raises:
        RowsError: rows that cannot be used, all of them.
        UserError: the list itself cannot be read.
    """
    reader = _Reader(path.resolve().parent, out_dir, defaults, format)
    rows: list[Row] = []
    faults: list[str] = []
    number = 0
    try:
        for line, cells in _cells(path):
            number += 1
            try:
                if isinstance(cells, str):
                    raise UserError(cells)
                rows.append(reader.row(number, line, {k: v for k, v in cells.items() if v not in (None, "")}))
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


def _cells(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
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
        wrong = [name for name in names if name not in COLUMNS]
        if wrong:
            raise RowsError(path, [f"line 1: {unknown('column', name, COLUMNS)}" for name in wrong])
        if not {"text", "file"} & set(names) or len(set(names)) < len(names):
            raise UserError(f"{path}, line 1: name each column once, text or file among them, such as text,voice,out")
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
            except ValueError as error:
                yield line, f"it is not JSON ({error})"
                continue
            yield line, cells if isinstance(cells, dict) else "it is not a JSON object"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
