"""`speechgen bench e2`: one evaluation of the published architectures, beside the published code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speechgen.cli.console import note, print_table, progress_bar

__all__ = ["bench_e2"]


def bench_e2(
    family: Annotated[str, typer.Argument(help="e2tts-base, f5tts-base or f5tts-v1-base.")] = "e2tts-base",
    published: Annotated[
        Path | None, typer.Option("--published", help="Python of an environment that has the published code; without: ours.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=16, help="Frames of mel, prompt and all; 93.75 make a second.")] = 300,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often each is evaluated, behind one warm-up.")] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; otherwise as many as torch takes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure one evaluation of a published network at its full size, here and in the published code, in turns."""
    from speechgen.service import bench_e2 as measures

    with progress_bar("measuring", quiet=quiet) as progress:
        report = measures.bench_e2(family, python=published, frames=frames, runs=runs, threads=threads, progress=progress)
    if as_json:
        typer.echo(report.to_json())
        return
    rows = []
    for name, found in report.evaluations.items():
        precision = name.removeprefix("ours ")
        gains = [report.speedup(precision, against) if precision != name else None for against in measures.PUBLISHED]
        told = [f"{found.seconds.p50:.3f} s", f"{found.seconds.p95:.3f} s"]
        told += ["–" if gain is None else f"{gain:.2f} x" for gain in gains]
        rows.append([name, *told, f"{found.difference:.1e}", f"{found.relative:.1e}"])
    theirs = [f"of theirs {precision}" for precision in measures.PUBLISHED]
    heads = ["one evaluation", "p50", "p95", *theirs, "max difference", "relative"]
    print_table(heads, rows)
    typer.echo(
        f"{report.family}, {report.parameters / 1e6:.0f} M parameters, random weights; {report.frames} frames, both branches "
        f"of guidance; {report.runs} runs in turns; {report.threads} threads, torch {report.torch}; {report.machine}"
    )
    if report.published is None:
        note(f"the published code was not measured: {measures.INSTALL}; then give --published published/bin/python")
    else:
        typer.echo(f"published: {report.published}; differences are from its output in float32")
