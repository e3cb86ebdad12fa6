"""What commands share: text in, output paths checked early, one place that writes to the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from speechgen.core.errors import UserError

__all__ = [
    "check_folder",
    "note",
    "output_path",
    "print_table",
    "progress_bar",
    "read_text",
    "read_transcript",
    "use_offline",
    "warn",
]

FORMATS = ("wav", "flac", "ogg", "mp3")
"""The keys of audio.io.FORMATS, repeated because importing that file loads torch; a test compares them."""


def note(line: str) -> None:
    """Tell something that is not the command's result."""
    typer.echo(line, err=True)


def warn(line: str) -> None:
    """Tell what the user should know."""
    typer.echo(f"speechgen: warning: {line}", err=True)


def read_text(text: str | None, file: Path | None) -> str:
    """Return the text of --text, --file or standard input.

    Raises:
        UserError: both or neither is given, or the file is missing or not UTF-8.
    """
    if text is not None and file is not None:
        raise UserError("both --text and --file are given: choose one")
    if text is not None:
        return text
    if file is None and sys.stdin.isatty():
        raise UserError("there is no text: give --text, --file, or pipe it into standard input")
    source = "standard input" if file is None else str(file)
    try:
        return (sys.stdin.buffer.read() if file is None else file.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror}") from error


def read_transcript(given: str | None) -> str | None:
    """Return --ref-text, or the contents of the file that `@FILE` names.

    Raises:
        UserError: the file is missing or not UTF-8.
    """
    return read_text(None, Path(given[1:])).strip() if given and given.startswith("@") else given


def output_path(path: Path, format: str | None) -> Path:
    """Return where to write, its suffix agreeing with the format; refuse what cannot be written, before any work.

    Raises:
        UserError: unknown format, a suffix that says otherwise, or a folder that is missing or not writable.
    """
    if format is not None and format.lower() not in FORMATS:
        raise UserError(f"unknown format {format!r}: allowed: {', '.join(FORMATS)}")
    suffix = path.suffix.lstrip(".").lower()
    if not suffix:
        path = path.with_name(f"{path.name}.{(format or 'wav').lower()}")
    elif format is not None and suffix != format.lower():
        raise UserError(f"--format {format} contradicts {path}: use the suffix .{format.lower()}, or leave --format out")
    elif suffix not in FORMATS:
        raise UserError(f"cannot write {path} as {suffix!r}: formats are {', '.join(FORMATS)}")
    check_folder(path)
    return path


def check_folder(path: Path) -> None:
    """Refuse a file whose folder is missing or not writable.

    Raises:
        UserError: saying which.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give a file name")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".speechgen."):
            pass
    except OSError as error:
        raise UserError(f"cannot write into {path.parent}: {error.strerror}") from error


def use_offline() -> None:
    """Forbid the Hugging Face libraries any connection; to be called before they are imported."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"


@contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr if it is a terminal; yields the callback (done, total)."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print labels at the left and figures at the right, dressed on a terminal."""
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        table = Table(*heads, box=SIMPLE_HEAD)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[index]) for row in (heads, *rows)) for index in range(len(heads))]
    for row in (heads, *rows):
        label, *cells = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        typer.echo("  ".join((label, *cells)).rstrip())
