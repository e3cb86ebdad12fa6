"""`speechgen bench synth`, `speechgen bench vocoders`: how fast we are on this machine, beside other systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechgen.cli.bench_e2 import bench_e2
from speechgen.cli.bench_serve import bench_serve
from speechgen.cli.bench_tokens import bench_tokens
from speechgen.cli.bench_waveform import bench_waveform
from speechgen.cli.console import print_table, progress_bar, use_offline
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.service.bench import BenchReport, Speed
    from speechgen.service.bench_vocoders import VocoderBench

__all__ = ["bench"]

bench = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)


bench.command("serve")(bench_serve)
bench.command("e2")(bench_e2)
bench.command("waveform")(bench_waveform)
bench.command("tokens")(bench_tokens)


@bench.callback()
def _root() -> None:
    """Measure speed and memory on this machine."""


@bench.command("synth")
def synth(
    text: Annotated[str | None, typer.Option("--text", help="What to say; otherwise one sentence of 78 characters.")] = None,
    sentences: Annotated[Path | None, typer.Option("--sentences", help="File with one text a line, instead of --text.")] = None,
    ref: Annotated[
        Path | None,
        typer.Option("--ref", "--ref-audio", "--speaker-wav", "--prompt-wav", help="Recording of the voice, 1 to 30 seconds."),
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", help="A voice by name instead of --ref.")] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often each text is spoken, behind one warm-up.")] = 10,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; otherwise as many as torch takes.")
    ] = None,
    compare: Annotated[str | None, typer.Option("--compare", help="Measure another system beside it: vits.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure real-time factor, stages, first sound, loading and memory of speaking."""
    if text is not None and sentences is not None:
        raise UserError("both --text and --sentences are given: choose one")
    use_offline()

    from speechgen.service import bench as measures
    from speechgen.service.engine import Engine
    from speechgen.service.evaluate import read_sentences
    from speechgen.service.requests import SynthesisRequest

    texts = read_sentences(sentences) if sentences is not None else [text or measures.TEXT]
    content = {"ref": ref, "voice": voice, "pipeline": pipeline}
    requests = [SynthesisRequest.checked({"text": line, **content}) for line in texts]
    with progress_bar("measuring", quiet=quiet) as progress:
        report = measures.bench_synthesis(
            Engine(device), requests, runs=runs, threads=threads, compare=compare, progress=progress
        )
    if as_json:
        typer.echo(report.to_json())
    else:
        _print(report)


@bench.command("vocoders")
def vocoders(
    vocoder: Annotated[
        list[str] | None, typer.Option("--vocoder", help="NAME or NAME:steps=25; repeatable. Default: all installed.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Sound to render at a time.")] = 5.0,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often each renders, behind two warm-ups.")] = 10,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; otherwise as many as torch takes.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="HiFi-GAN and EnCodec's decoder beside ours.")] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure vocoders side by side: real-time factor, work, share of the machine's peak, memory."""
    use_offline()

    from speechgen.service.bench_vocoders import bench_vocoders
    from speechgen.service.engine import Engine

    with progress_bar("measuring", quiet=quiet) as progress:
        report = bench_vocoders(
            Engine(device), vocoder or (), seconds=seconds, runs=runs, threads=threads, with_peers=peers, progress=progress
        )
    if as_json:
        typer.echo(report.to_json())
    else:
        _print_vocoders(report)


def _print_vocoders(report: VocoderBench) -> None:
    """Print a row for each vocoder, and below it under which conditions it was measured."""
    rows = [
        [
            name,
            f"{speed.rtf.p50:.3f}",
            f"{speed.rtf.p95:.3f}",
            f"{speed.macs / 1e9:.2f} G",
            f"{speed.gemm_share:.0%}",
            "–" if speed.memory_mb is None else f"{speed.memory_mb:.0f} MB",
            f"{speed.parameters / 1e6:.1f} M",
        ]
        for name, speed in report.vocoders.items()
    ]
    print_table(["", "rtf p50", "rtf p95", "MAC/s of sound", "of GEMM peak", "memory", "parameters"], rows)
    threads = "" if report.threads == 1 else "s"
    typer.echo(
        f"{report.runs} runs of {report.seconds:g} s in turns; GEMM peak {report.gemm_flops / 1e9:.0f} GFLOP/s (float32); "
        f"{report.device}, {report.threads} thread{threads}, torch {report.torch}; {report.machine}"
    )
    for name, speed in report.vocoders.items():
        typer.echo(f"{name}: {speed.how}")
    for line in report.skipped:
        typer.echo(line)


def _print(report: BenchReport) -> None:
    """Print the table, and below it under which conditions it was measured."""
    other = report.comparison
    print_table(["", report.pipeline] + ([other.name] if other else []), _rows(report))
    texts, threads = ("" if count == 1 else "s" for count in (report.texts, report.threads))
    typer.echo(
        f"{report.texts} text{texts}, {report.runs} runs, voice {report.voice}; {report.device}, "
        f"{report.threads} thread{threads}, {report.dtype}, torch {report.torch}; {report.machine}"
    )
    if other:
        typer.echo(f"{other.name}: {other.how}")


def _rows(report: BenchReport) -> list[list[str]]:
    """Label and one cell for each system; what was not measured of the other one is a dash."""
    other = report.comparison

    def both(label: str, cell: str, theirs: str = "–") -> list[str]:
        return [label, cell] + ([theirs] if other else [])

    def of(label: str, tell: Callable[[Speed], str]) -> list[str]:
        return both(label, tell(report.speed), tell(other.speed) if other else "")

    return [
        of("rtf p50", lambda speed: f"{speed.rtf.p50:.3f}"),
        of("rtf p95", lambda speed: f"{speed.rtf.p95:.3f}"),
        of("work for one text", lambda speed: f"{speed.work_seconds:.3f} s"),
        *(both(f"  {name}", f"{seconds:.3f} s") for name, seconds in report.stages.items()),
        of("sound of one text", lambda speed: f"{speed.audio_seconds:.2f} s"),
        both("first sound p50", f"{1000 * report.first_audio_seconds.p50:.0f} ms"),
        both("first sound p95", f"{1000 * report.first_audio_seconds.p95:.0f} ms"),
        both("voice, once", f"{report.reference_seconds:.3f} s"),
        both("load", f"{report.load_seconds:.2f} s"),
        both("peak memory", f"{report.peak_memory_mb:.0f} MB"),
        of("parameters", lambda speed: f"{speed.parameters / 1e6:.1f} M"),
    ]
