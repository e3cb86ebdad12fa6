"""`speechgen sample`: sound from a waveform model, out of nothing or continuing a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from speechgen.cli.console import note, progress_bar

__all__ = ["sample"]


def sample(
    model: Annotated[str, typer.Argument(help="A waveform model's checkpoint, or its folder.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many clips.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each clip; any length, memory does not grow with it.")] = 1.0,
    prime: Annotated[Path | None, typer.Option("--prime", help="Recording to continue; clips begin behind it.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="0 to 2; below 1: likelier samples.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Share of the probability that is drawn from.")] = None,
    oversample: Annotated[
        float | None, typer.Option("--oversample", help="Draw so many times the clips, leave out the least likely.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--set", help="Change another option of the model: --set engine=eager; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the clips.")] = Path("samples"),
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Same seed, same bytes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Draw sound from a waveform model, sample by sample."""
    from speechgen.service.waveforms import SampleRequest, draw_clips

    options = {"temperature": temperature, "top_p": top_p, "oversample": oversample}
    changes = [f"{name}={value}" for name, value in options.items() if value is not None] + (more or [])
    with progress_bar("drawing", quiet=quiet) as progress:
        clips = draw_clips(SampleRequest(model, count, seconds, prime, changes, seed), out, progress)
    for line in () if quiet else clips.notes:
        note(line)
    if as_json:
        content = {"paths": [str(path) for path in clips.paths], "sample_rate": clips.rate, "seconds": clips.seconds}
        content |= {"work_seconds": round(clips.work_seconds, 3), "rtf": round(clips.rtf, 4), "seed": clips.seed}
        typer.echo(json.dumps(content, ensure_ascii=False))
    elif not quiet:
        typer.echo(
            f"{out}: {count} of {clips.seconds / count:g} s at {clips.rate} Hz from {model}, seed {clips.seed}, "
            f"rtf {clips.rtf:.3f} for all together"
        )
