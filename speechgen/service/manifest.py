"""The manifest of a batch: one JSON object a line for each item that ended, and what of it still holds.

    finished   row path row_sha256 seed seconds rtf sha256 warnings
    failed     row path row_sha256 error

A line is written at once and only after its file is whole; a line that a sudden end cut off is ignored.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechgen.core.checkpoint import write_text_atomically
from speechgen.core.errors import UserError
from speechgen.service.batch_rows import Row

__all__ = ["Manifest", "file_digest"]

NAME = "manifest.jsonl"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Manifest:
    """The file `manifest.jsonl` of an output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def begin(self, rows: Iterable[Row], *, resume: bool) -> list[Row]:
        """Make the manifest hold exactly the rows that are finished, and return those that are not.

        A row is finished if it asks for what it asked for then and its file is, byte for byte, what was written.

        Raises:
            UserError: there is a manifest and `resume` was not asked for, or the disk refuses.
        """
        rows = list(rows)
        if not resume and self.path.exists() and self.path.stat().st_size:
            raise UserError(f"{self.path} exists: continue it by --resume, or choose another folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = {entry["row_sha256"]: entry for entry in self.entries() if "sha256" in entry}
            kept = {row.number: {**known[row.digest], "row": row.number} for row in rows if self._holds(row, known)}
            write_text_atomically(self.path, "".join(_line(entry) for entry in kept.values()))
            if resume:
                self._sweep({self.folder / row.path for row in rows if row.number not in kept})
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error
        return [row for row in rows if row.number not in kept]

    def entries(self) -> list[dict[str, Any]]:
        """Every whole line, in order."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("row_sha256"), str):
                found.append(entry)
        return found

    def append(self, entry: dict[str, Any]) -> None:
        """Add a line: all of it or, if the disk refuses, nothing that would be read.

        Raises:
            UserError: the disk refuses.
        """
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                line = _line(entry).encode()
                if os.write(file, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    def _sweep(self, files: set[Path]) -> None:
        """Remove what a sudden end left half written beside `files`."""
        for path in self.folder.rglob(".*"):
            match = re.fullmatch(r"\.(.+)\.\d+", path.name)
            if match and path.with_name(match[1]) in files:
                path.unlink(missing_ok=True)

    def _holds(self, row: Row, known: dict[str, dict[str, Any]]) -> bool:
        entry, path = known.get(row.digest), self.folder / row.path
        return entry is not None and path.is_file() and file_digest(path) == entry["sha256"]


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
