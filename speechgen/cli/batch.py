"""`speechgen batch`: a list of texts to a folder of audio files, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from speechgen.cli.console import FORMATS, note, progress_bar, read_transcript, use_offline, warn

if TYPE_CHECKING:
    from speechgen.service.batch import BatchReport
    from speechgen.service.lists import RowsError

__all__ = ["batch", "fail_rows", "tell_batch"]


def batch(
    items: Annotated[
        Path,
        typer.Option(
            "--list", help=".csv, .tsv or .jsonl; columns: text or file, ref or voice, out, seed, speed, ... as of synth."
        ),
    ],
    out_dir: Annotated[Path, typer.Option("--out-dir", help="Folder for the files and manifest.jsonl.")],
    resume: Annotated[bool, typer.Option("--resume", help="Skip rows that are finished and unchanged.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes, each with its own engine and share of the cores.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray for a Ray cluster that shares --out-dir.")] = "local",
    ref: Annotated[
        Path | None,
        typer.Option("--ref", "--ref-audio", "--speaker-wav", "--prompt-wav", help="Voice of rows that name none."),
    ] = None,
    ref_text: Annotated[
        str | None, typer.Option("--ref-text", help="What --ref says, for pipelines that read it; @FILE.")
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", help="Voice by name of rows that name none.")] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Pipeline of rows that name none.")] = "default",
    language: Annotated[str, typer.Option("--lang", "--language", help="Language of rows that name none.")] = "en-us",
    speed: Annotated[float | None, typer.Option("--speed", help="Tempo of rows that give none.")] = None,
    pitch: Annotated[float | None, typer.Option("--pitch", help="Semitones of rows that give none.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Temperature of rows that give none.")] = None,
    tempo_ref: Annotated[Path | None, typer.Option("--tempo-ref", help="Pace of rows that name none.")] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="Candidates of rows that give none.")] = 1,
    steps: Annotated[int | None, typer.Option("--steps", help="Integration steps of rows that give none.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="Guidance of rows that give none.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of rows that give none; otherwise one each, noted.")] = None,
    format: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3, for names without a suffix.")] = "wav",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Forbid every network access.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Speak every row of a list. The exit code is 1 if a row failed; --resume speaks what is left."""
    from speechgen.core.errors import UserError

    if format.lower() not in FORMATS:
        raise UserError(f"unknown format {format!r}: allowed: {', '.join(FORMATS)}")
    if offline:
        use_offline()

    from speechgen.service.batch import run_batch
    from speechgen.service.batch_rows import read_rows
    from speechgen.service.lists import RowsError

    defaults: dict[str, Any] = {"ref": ref and ref.resolve(), "voice": voice, "pipeline": pipeline, "language": language}
    defaults |= {"ref_text": read_transcript(ref_text)}
    defaults |= {"speed": speed, "pitch": pitch, "temperature": temperature, "tempo_ref": tempo_ref and tempo_ref.resolve()}
    defaults |= {"candidates": candidates, "steps": steps, "guidance": guidance, "seed": seed}
    try:
        rows = read_rows(items, out_dir, defaults, format=format.lower())
    except RowsError as error:
        fail_rows(error, items)
    with progress_bar("speaking", quiet=quiet) as progress:
        report = run_batch(rows, out_dir, device=device, jobs=jobs, engine=engine, resume=resume, progress=progress)
    tell_batch(report, items, out_dir, done="spoken", as_json=as_json, quiet=quiet)


def fail_rows(error: RowsError, items: Path) -> NoReturn:
    """List the rows that cannot be used, and end the command."""
    for fault in error.faults:
        note(f"speechgen: {items}, {fault}")
    raise typer.Exit(2) from error


def tell_batch(report: BatchReport, items: Path, out_dir: Path, *, done: str, as_json: bool, quiet: bool) -> None:
    """Say what was done, and what was not and why; end the command if there is such.

    Args:
        report: of the batch.
        items: the list.
        out_dir: where the files are.
        done: what was done to a row, in a word.
        as_json: print one object instead of a line.
        quiet: print only what failed.
    """
    for entry in report.failed:
        note(f"speechgen: {items}, row {entry['row']} ({entry['path']}): {entry['error']}")
    if as_json:
        counts = {"out_dir": str(out_dir), done: report.spoken, "skipped": report.skipped, "failed": list(report.failed)}
        typer.echo(json.dumps(counts, ensure_ascii=False))
    elif not quiet:
        typer.echo(f"{out_dir}: {report.spoken} {done}, {report.skipped} skipped, {len(report.failed)} failed")
    if report.failed and not quiet:
        warn("try the failed rows again by --resume")
    if report.failed:
        raise typer.Exit(1)
