"""What `speechgen eval` measures without a pipeline, of models alone and of recordings, and how every report is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer

from speechgen.cli.console import progress_bar
from speechgen.core.errors import UserError

__all__ = ["MODELS", "Given", "Report", "deliver", "evaluate_models", "make_folder"]

MODELS = ("waveform", "sounds", "soundstorm", "magnet", "long")
USAGE = {
    "waveform": "waveform models are measured on a corpus: give a prepared folder with train/ and test/ by --data",
    "sounds": "sounds, --audio and --real belong together: speechgen eval sounds --audio CLIPS --real RECORDINGS",
    "soundstorm": "soundstorm speaks the tokens of a prepared folder again: speechgen eval soundstorm --data PREPARED "
    "[--model NAME] [--codec NAME] [--ref VOICE], one codec and one voice at most",
    "magnet": "magnet makes what a prepared folder describes: speechgen eval magnet --data PREPARED --real RECORDINGS "
    "[--model NAME] [--codec NAME], one codec at most",
    "long": "long compares a long recording with one voice: speechgen eval long --audio book.flac --ref VOICE.wav",
}


class Report(Protocol):
    """What all measures return."""

    def table(self) -> str:
        """For people, in Markdown."""
        ...

    def to_json(self) -> str:
        """For programs."""
        ...


@dataclass(frozen=True)
class Given:
    """The options that these measures take, as the command has them."""

    models: list[str]
    data: Path | None
    codecs: list[str]
    refs: list[Path]
    real: list[Path]
    audio: Path | None
    count: int
    limit: int
    seed: int


def evaluate_models(what: str | None, given: Given, out: Path | None, quiet: bool) -> Report:
    """Measure models of one kind.

    Raises:
        UserError: options are missing, or do not belong together.
    """
    complete = {
        "waveform": given.data is not None,
        "sounds": given.audio is not None and bool(given.real),
        "soundstorm": given.data is not None and max(len(given.codecs), len(given.refs)) <= 1,
        "magnet": given.data is not None and bool(given.real) and len(given.codecs) <= 1,
        "long": given.audio is not None and len(given.refs) == 1,
    }
    kind = what if what in MODELS else "sounds"
    if what != kind or not complete[kind]:
        raise UserError(USAGE[kind])
    make_folder(out)
    with progress_bar("measuring", quiet=quiet) as progress:
        codec, limit, seed = next(iter(given.codecs), None), given.limit, given.seed
        if kind == "sounds" and given.audio is not None:
            from speechgen.service.evaluate_sounds import measure_sounds

            return measure_sounds(given.audio, given.real, progress)
        if kind == "long" and given.audio is not None:
            from speechgen.service.evaluate_long import measure_long

            return measure_long(given.audio, *given.refs)
        assert given.data is not None
        if kind == "waveform":
            from speechgen.service.evaluate_waveform import measure_waveforms

            return measure_waveforms(
                given.models, given.data, count=given.count, limit=limit, seed=seed, save_to=out, progress=progress
            )
        if kind == "magnet":
            from speechgen.service.evaluate_magnet import measure_magnet

            return measure_magnet(
                given.models, given.data, given.real, codec=codec, limit=limit, seed=seed, save_to=out, progress=progress
            )
        from speechgen.service.evaluate_soundstorm import measure_soundstorm

        reference = next(iter(given.refs), None)
        return measure_soundstorm(
            given.models, given.data, codec=codec, reference=reference, limit=limit, seed=seed, save_to=out, progress=progress
        )


def make_folder(out: Path | None) -> None:
    """Make the folder of a report.

    Raises:
        UserError: there is none that it could be in.
    """
    if out is not None:
        if not out.parent.is_dir():
            raise UserError(f"cannot write {out}: there is no folder {out.parent}; create it first")
        out.mkdir(exist_ok=True)


def deliver(report: Report, out: Path | None, as_json: bool) -> None:
    """Write both forms of a report into a folder, and print one."""
    from speechgen.core.checkpoint import write_text_atomically

    if out is not None:
        write_text_atomically(out / "report.json", report.to_json() + "\n")
        write_text_atomically(out / "report.md", report.table() + "\n")
    typer.echo(" ".join(report.to_json().split()) if as_json else report.table())
