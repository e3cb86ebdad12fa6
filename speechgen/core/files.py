"""Files that appear whole or not at all, and folders named after what has a slash in its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["folder_name", "written_beside"]


def folder_name(name: str) -> str:
    """Name of the folder for what is made by `name`, a checkpoint's name or path, maybe with options behind it."""
    return name.strip("/").replace("/", "_").replace(", ", "-")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it is renamed to `path` when all went well, and removed if not.

    Raises:
        OSError: the disk refuses.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()
