"""`speechgen music`: a description, or a list of them, to music and other sounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from speechgen.cli.batch import fail_rows, tell_batch
from speechgen.cli.console import FORMATS, output_path, progress_bar, use_offline, warn
from speechgen.core.errors import UserError

__all__ = ["music"]


def music(
    prompt: Annotated[str | None, typer.Option("--prompt", help="What is to be heard, in a sentence.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help=".csv, .tsv or .jsonl; columns: prompt, duration, seed, count, out ...")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for one prompt.")] = None,
    out_dir: Annotated[Path | None, typer.Option("--out-dir", help="Folder for several, with their manifest.")] = None,
    duration: Annotated[float, typer.Option("--duration", help="Seconds, up to 600; long ones window by window.")] = 10.0,
    count: Annotated[int, typer.Option("--count", help="How many different ones of each prompt that does not say.")] = 1,
    overlap: Annotated[float | None, typer.Option("--overlap", help="Seconds a window takes over. Default: a third.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Checkpoint. Default: the first one that is installed.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Refinement steps of the first codebook.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="How strongly the prompt is followed.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Higher: more varied, riskier.")] = None,
    more: Annotated[list[str] | None, typer.Option("--set", help="Another option: --set rescoring=0.7; repeatable.")] = None,
    rescorer: Annotated[str | None, typer.Option("--rescorer", help="Checkpoint that has a say in what is kept.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same bytes. Otherwise one is chosen, and told.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip the rows that the manifest says are finished.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes, each with its own engine and share of the cores.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray for a Ray cluster that shares --out-dir.")] = "local",
    format: Annotated[str | None, typer.Option("--format", help="wav, flac, ogg or mp3. Default: wav, or -o's.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Forbid every network access.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Make music or sounds of a description, at -14 LUFS. Of a list: the exit code is 1 if a row failed."""
    if (prompt is None) == (prompts is None):
        raise UserError("give either --prompt TEXT or --prompts FILE")
    if offline:
        use_offline()
    from speechgen.core.config import apply_overrides

    content = {"duration": duration, "overlap": overlap, "model": model, "steps": steps, "guidance": guidance}
    content |= {"temperature": temperature, "seed": seed, "options": apply_overrides(_rescored(rescorer), more or [])}
    if prompt is not None and count == 1 and out_dir is None:
        _one({**content, "prompt": prompt}, output_path(out or Path("music"), format), device, as_json=as_json, quiet=quiet)
        return
    if out is not None or out_dir is None:
        raise UserError("several pieces need --out-dir FOLDER, and no --out")

    from speechgen.service.batch import run_batch
    from speechgen.service.lists import RowsError
    from speechgen.service.music_rows import prompt_rows, read_music_rows

    kind = (format or "wav").lower()
    if kind not in FORMATS:
        raise UserError(f"unknown format {format!r}: allowed: {', '.join(FORMATS)}")
    if prompts is None:
        rows = prompt_rows({**content, "prompt": prompt}, count, out_dir, format=kind)
    else:
        try:
            rows = read_music_rows(prompts, out_dir, content, count=count, format=kind)
        except RowsError as error:
            fail_rows(error, prompts)
    with progress_bar("composing", quiet=quiet) as progress:
        report = run_batch(rows, out_dir, device=device, jobs=jobs, engine=engine, resume=resume, progress=progress)
    tell_batch(report, prompts or Path("--prompt"), out_dir, done="made", as_json=as_json, quiet=quiet)


def _rescored(rescorer: str | None) -> dict[str, Any]:
    """Options that have another model rescore, with the paper's weight."""
    return {} if rescorer is None else {"rescorer": rescorer, "rescoring": 0.7}


def _one(content: dict[str, Any], target: Path, device: str, *, as_json: bool, quiet: bool) -> None:
    """Make one piece and write it."""
    from speechgen.service.engine import Engine
    from speechgen.service.requests import MusicRequest

    request, engine = MusicRequest.checked(content), Engine(device)
    with progress_bar("composing", quiet=quiet) as progress:
        result = engine.compose(request, progress)
    result.save(target)
    if not quiet:
        for line in result.warnings:
            warn(line)
    if as_json:
        typer.echo(json.dumps({"path": str(target), **result.report()}, ensure_ascii=False))
    elif not quiet:
        typer.echo(
            f"{target}: {result.seconds:.2f} s by {result.pipeline}, seed {result.seed}; {result.synthesis_seconds:.2f} s of "
            f"work (rtf {result.rtf:.2f}) after {result.load_seconds:.2f} s of loading, {result.device}"
        )
