"""The list of a batch: a csv, tsv or jsonl file to checked rows. All faults are found before anything is loaded.

Columns are those of SynthesisRequest, and besides:

    file   a text file instead of `text`
    lang   the same as `language`
    out    file to write, inside the output folder; otherwise numbered

Paths in the list are meant from the folder of the list. An empty cell is one that is not given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechgen.core.errors import UserError
from speechgen.pipeline.prompts import MIN_SECONDS
from speechgen.service import voices
from speechgen.service.journal import file_digest, pipeline_digest, request_digest
from speechgen.service.lists import Columns, OutPaths, Row, file_named, read_list
from speechgen.service.requests import SynthesisRequest
from speechgen.text.normalize import speakable

__all__ = ["read_rows"]

COLUMNS = Columns((*SynthesisRequest.model_fields, "file", "lang", "out"), ("text", "file"), "text,voice,out")
PATHS = ("ref", "tempo_ref", "file")


@dataclass
class _Reader:
    """Checks rows one by one; remembers what it has looked at."""

    folder: Path
    outs: OutPaths
    defaults: dict[str, Any]
    heard: set[tuple[Path | None, str | None]] = field(default_factory=set)
    digests: dict[Path, str] = field(default_factory=dict)
    pipelines: dict[str, str] = field(default_factory=dict)

    def rows(self, number: int, line: int, cells: dict[str, Any]) -> list[Row]:
        """Check one row, which makes one item.

        Raises:
            UserError: naming its first fault.
        """
        out = cells.pop("out", f"{number:04d}")
        request = self._request(cells)
        pipeline = self._pipeline(request.pipeline)
        path = self.outs.claim(out, line)
        for ref, voice in ((request.ref, request.voice), *([(request.tempo_ref, None)] if request.tempo_ref else [])):
            self._hear(ref, voice)
        content = f"{path}\n{pipeline}\n{request_digest(request, self._digest)}"
        return [Row(number=number, line=line, path=path, request=request, digest=hashlib.sha256(content.encode()).hexdigest())]

    def _request(self, cells: dict[str, Any]) -> SynthesisRequest:
        for name in PATHS:
            if name in cells:
                cells[name] = (self.folder / file_named(name, cells[name])).resolve()
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

    def _pipeline(self, name: str) -> str:
        """The digest of a pipeline, which is read once."""
        if name not in self.pipelines:
            self.pipelines[name] = pipeline_digest(name)
        return self.pipelines[name]

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            self.digests[path] = file_digest(path)
        return self.digests[path]


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
    return read_list(path, COLUMNS, _Reader(path.resolve().parent, OutPaths(out_dir, format), defaults).rows)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
