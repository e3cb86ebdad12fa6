"""`speechgen bench tokens`: codes made in parallel, one after another on the same trunk, and by published code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechgen.cli.console import note, print_table, progress_bar
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.service.bench_tokens import TokensBench

__all__ = ["bench_tokens"]


def bench_tokens(
    family: Annotated[str, typer.Argument(help="soundstorm or magnet.")] = "soundstorm",
    published: Annotated[
        Path | None, typer.Option("--published", help="Python of an environment with soundstorm-pytorch; without: ours.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=120, help="Seconds of sound.")] = 30.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=256, help="Passes for the first codebook; otherwise the default.")
    ] = None,
    orders: Annotated[
        str, typer.Option("--orders", help="One code after another: delay, flat, both (delay,flat) or none.")
    ] = "delay,flat",
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often each is measured.")] = 3,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; otherwise as many as torch takes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure how long all codes of some seconds take, in parallel and one after another, in turns."""
    from speechgen.service import bench_tokens as measures

    wanted = tuple(order for order in orders.split(",") if order not in ("", "none"))
    if not set(wanted) <= {"delay", "flat"}:
        raise UserError(f"--orders {orders} is not known: give delay, flat, delay,flat or none")
    with progress_bar("measuring", quiet=quiet) as progress:
        report = measures.bench_tokens(
            family,  # type: ignore[arg-type]  checked there
            python=published,
            seconds=seconds,
            steps=steps,
            orders=wanted,
            runs=runs,
            threads=threads,
            progress=progress,
        )
    if as_json:
        typer.echo(report.to_json())
        return
    _show(report, soundstorm=family == "soundstorm", install=measures.INSTALL)


def _show(report: TokensBench, *, soundstorm: bool, install: str) -> None:
    best = next(name for name in ("parallel bfloat16", "parallel float32") if name in report.ways)
    rows = []
    for name, found in report.ways.items():
        gains = [None if name == best else gain(best, name) for gain in (report.speedup, report.saving)]
        times = [f"{found.seconds.p50:.2f} s", f"{found.cpu.p50:.2f} s"]
        rows.append([name, str(found.passes), *times, *("–" if gain is None else f"{gain:.2f} x" for gain in gains)])
    print_table(["codes", "passes", "latency p50", "processor p50", "latency, x", "processor, x"], rows)
    typer.echo(
        f"x: how many times that of {best}; {report.family}, {report.codebooks} codebooks of {report.audio_seconds:g} s, a "
        f"trunk of {report.trunk_parameters / 1e6:.1f} M parameters, random weights; {report.runs} runs in turns; "
        f"{report.threads} threads, torch {report.torch}; {report.machine}"
    )
    if report.published is not None:
        typer.echo(f"published: {report.published}")
    elif soundstorm:
        note(f"the published code was not measured: {install}; then give --published published/bin/python")
