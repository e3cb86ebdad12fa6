"""`speechgen edit`: a recording says other words in one place, or in several."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechgen.cli.console import check_folder, output_path, progress_bar, read_text, use_offline, warn
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.service.edit import EditResult

__all__ = ["edit"]


def edit(
    audio: Annotated[Path, typer.Option("--audio", help="Recording to change; it keeps its rate and its channels.")],
    span: Annotated[
        str | None, typer.Option("--span", help="START:STOP in seconds, as 1.2:2.0; 1.2:1.2 puts words in.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="What the span is to say; empty: it is cut out.")] = None,
    old: Annotated[
        str | None,
        typer.Option("--from", help="All that the recording says, or @FILE; with --span, it makes the words fit better."),
    ] = None,
    new: Annotated[
        str | None, typer.Option("--to", help="What it is to say, or @FILE: only what differs is made anew.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("out.wav"),
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    language: Annotated[str, typer.Option("--lang", "--language", help="Language of the text, espeak-ng's code.")] = "en-us",
    speed: Annotated[float, typer.Option("--speed", help="Tempo of the new words; 1 is that of the words around.")] = 1.0,
    steps: Annotated[int | None, typer.Option("--steps", help="Integration steps: more is slower and cleaner.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0: the likeliest reading; 1: as varied as people.")
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="Make each stretch so often; keep what fits best.")] = 4,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same samples; otherwise chosen and printed.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="wav, flac, ogg or mp3; otherwise the suffix of -o.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw before and after into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Forbid every network access.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Let a recording say other words: by --span and --text, or by --from and --to. All else stays, sample for sample."""
    start, stop = (None, None) if span is None else _seconds(span)
    content = {"audio": audio, "start": start, "stop": stop, "text": text, "old_text": _given(old), "new_text": _given(new)}
    content |= {"pipeline": pipeline, "language": language, "speed": speed, "steps": steps, "temperature": temperature}
    content |= {"candidates": candidates, "seed": seed}
    out = output_path(out, format)
    if plot is not None:
        check_folder(plot)
    if offline:
        use_offline()

    from speechgen.service.edit import EditRequest
    from speechgen.service.engine import Engine

    request = EditRequest.checked(content)
    with progress_bar("editing", quiet=quiet) as progress:
        result = Engine(device).edit(request, progress)
    result.save(out)
    if plot is not None:
        result.plot(plot)
    _tell(result, out, as_json=as_json, quiet=quiet)


def _seconds(span: str) -> tuple[float, float]:
    """Read START:STOP.

    Raises:
        UserError: it is not that.
    """
    match = re.fullmatch(r"\s*(\d*\.?\d+|\d+\.)\s*:\s*(\d*\.?\d+|\d+\.)\s*", span)
    if match is None:
        raise UserError(f"the span {span!r} is not START:STOP in seconds: write it like 1.2:2.0")
    return float(match[1]), float(match[2])


def _given(text: str | None) -> str | None:
    """A text, or what is in the file behind an @."""
    return read_text(None, Path(text[1:])) if text is not None and text.startswith("@") else text


def _tell(result: EditResult, out: Path, *, as_json: bool, quiet: bool) -> None:
    """Print what was changed: one JSON object, or a line for each place; warnings go to stderr."""
    if not quiet:
        for line in result.warnings:
            warn(line)
        if out.suffix in (".ogg", ".mp3"):
            warn(f"{out.suffix[1:]} encodes everything anew: for samples that stay what they were, write wav or flac")
    if as_json:
        typer.echo(json.dumps({"path": str(out), **result.report()}, ensure_ascii=False))
    elif not quiet:
        for region in result.regions:
            said = f"says {region.text!r}" if region.text else "is cut out"
            typer.echo(f"{region.start:.2f}:{region.stop:.2f} {said}, now {region.new_start:.2f}:{region.new_stop:.2f}")
        typer.echo(f"{out}: {result.seconds:.2f} s, seed {result.seed}; {result.work_seconds:.2f} s of work, {result.device}")
