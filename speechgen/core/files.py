"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["written_beside"]


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
