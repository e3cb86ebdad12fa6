"""`speechgen bench waveform`: how fast waveform models draw, beside vocoders."""

from __future__ import annotations

from typing import Annotated

import typer

from speechgen.cli.console import print_table, progress_bar, use_offline

__all__ = ["bench_waveform"]


def bench_waveform(
    model: Annotated[list[str] | None, typer.Option("--model", help="Besides the small presets; repeatable.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Sound that compiled steps or a vocoder make.")] = 1.0,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Each figure is the median of so many, behind a warm-up.")] = 5,
    vocoders: Annotated[bool, typer.Option("--vocoders/--no-vocoders", help="The installed vocoders beside them.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure waveform models on one thread: layer by layer, by compiled steps, 64 rows at once; vocoders beside them."""
    use_offline()

    from speechgen.service.bench_waveform import ROWS, bench_waveforms

    with progress_bar("measuring", quiet=quiet) as progress:
        report = bench_waveforms(model or (), seconds=seconds, runs=runs, with_vocoders=vocoders, progress=progress)
    if as_json:
        typer.echo(report.to_json())
        return
    rows = [
        [
            name,
            f"{each.eager:.2f}",
            f"{each.stepped:.3f}",
            f"{each.batched:.3f}",
            f"{each.eager / each.stepped:.0f}x",
            f"{each.stepped / each.batched:.1f}x",
            f"{each.operations / each.stepped / 1e9:.0f}, {each.operations / each.batched / 1e9:.0f}",
            f"{each.rate}",
            f"{each.parameters / 1e6:.2f} M",
        ]
        for name, each in report.models.items()
    ]
    rows += [[name, "–", "–", f"{value:.3f}", "–", "–", "–", "–", "–"] for name, value in report.vocoders.items()]
    head = ["", "eager", "stepped", f"of {ROWS} rows", "eager/stepped", "stepped/row", "GFLOP/s", "rate", "parameters"]
    print_table(head, rows)
    typer.echo(
        f"processor seconds for a second of sound, one thread, medians of {report.runs}; vocoders are parallel and draw no "
        f"samples; a product of matrices reaches {report.peak / 1e9:.0f} GFLOP/s; torch {report.torch}; {report.machine}"
    )
    for name, each in report.models.items():
        typer.echo(f"{name}: {each.how}")
