"""What long work keeps on disk: lines that are there whole or not at all, and digests that tell whether it is still the same.

A line that a sudden end cut off is no line: readers ignore it, and `rewrite` drops it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import speechgen
from speechgen.core.checkpoint import fingerprint, write_text_atomically
from speechgen.core.errors import UserError
from speechgen.pipeline.stages import read_config
from speechgen.service import catalog
from speechgen.service.requests import SynthesisRequest

__all__ = ["append", "checkpoints_digest", "file_digest", "pipeline_digest", "read", "request_digest", "rewrite"]


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add an object as a line, and wait until it is on the disk.

    Raises:
        UserError: the disk refuses.
    """
    line = _line(entry).encode()
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """Return the object of every whole line; none if there is no file."""
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def rewrite(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Make a file hold exactly these lines; it changes at once."""
    write_text_atomically(path, "".join(map(_line, entries)))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoints_digest(folders: Sequence[Path]) -> str:
    """Return the SHA-256 of checkpoints and of this version: with others, the same request sounds otherwise.

    Raises:
        UserError: a file of one is missing.
    """
    try:
        parts = [fingerprint(folder) for folder in folders]
    except OSError as error:
        raise UserError(f"cannot read {error.filename} ({error.strerror}): restore or pull the checkpoint again") from error
    return hashlib.sha256("/".join([*parts, speechgen.__version__]).encode()).hexdigest()


def pipeline_digest(name: str) -> str:
    """Return the SHA-256 of a pipeline: its file, its checkpoints, and this version.

    Raises:
        UserError: there is no such pipeline, or a checkpoint is missing.
    """
    path = catalog.find_pipeline(name)
    folders = [catalog.find_checkpoint(slot) for slot in read_config(path).checkpoints.slots.values()]
    return hashlib.sha256(f"{file_digest(path)}/{checkpoints_digest(folders)}".encode()).hexdigest()


def request_digest(request: SynthesisRequest, digest: Callable[[Path], str] = file_digest) -> str:
    """Return the SHA-256 of all that a request asks for; recordings and voices count by their contents.

    Args:
        request: what is asked.
        digest: of a file; a caller with many requests remembers it.

    Raises:
        UserError: there is no such voice.
    """
    voice = catalog.find_voice(request.voice) if request.voice else None if request.ref else catalog.default_voice()
    files = (voice.path if voice else request.ref, request.tempo_ref)
    content = [request.model_dump(mode="json", exclude={"ref", "tempo_ref"}), [path and digest(path) for path in files]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
