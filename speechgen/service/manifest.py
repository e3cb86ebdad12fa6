"""The manifest of a batch: one JSON object a line for each item that ended, and what of it still holds.

    finished   row path row_sha256 seed seconds rtf sha256 warnings
    failed     row path row_sha256 error

Those of music have their prompt besides.

A line is written at once and only after its file is whole; a line that a sudden end cut off is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechgen.core.errors import UserError
from speechgen.service import journal
from speechgen.service.lists import Row

__all__ = ["Manifest"]

NAME = "manifest.jsonl"


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
            journal.rewrite(self.path, kept.values())
            if resume:
                self._sweep({self.folder / row.path for row in rows if row.number not in kept})
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error
        return [row for row in rows if row.number not in kept]

    def entries(self) -> list[dict[str, Any]]:
        """Every whole line, in order."""
        return [entry for entry in journal.read(self.path) if isinstance(entry.get("row_sha256"), str)]

    def append(self, entry: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            UserError: the disk refuses.
        """
        journal.append(self.path, entry)

    def _sweep(self, files: set[Path]) -> None:
        """Remove what a sudden end left half written beside `files`."""
        for path in self.folder.rglob(".*"):
            match = re.fullmatch(r"\.(.+)\.\d+", path.name)
            if match and path.with_name(match[1]) in files:
                path.unlink(missing_ok=True)

    def _holds(self, row: Row, known: dict[str, dict[str, Any]]) -> bool:
        entry, path = known.get(row.digest), self.folder / row.path
        return entry is not None and path.is_file() and journal.file_digest(path) == entry["sha256"]
