"""`speechgen vocode`: a recording through mel and vocoder, to hear what the vocoder costs (copy synthesis)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from speechgen.cli.console import check_folder, output_path

__all__ = ["vocode"]


def vocode(
    audio: Annotated[Path, typer.Argument(help="Recording to copy.")],
    vocoder: Annotated[str, typer.Option("--vocoder", help="A vocoder's checkpoint, or its folder.")] = "default-vocoder",
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("out.wav"),
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change an option of the vocoder: --set steps=25; repeatable.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw original and copy into this PNG.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For vocoders that draw noise.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Turn a recording into a mel and back: copy synthesis."""
    out = output_path(out, None)
    if plot is not None:
        check_folder(plot)

    from speechgen.service.engine import Engine

    result = Engine(device).vocode(audio, vocoder, seed, changes or ())
    result.save(out)
    if plot is not None:
        result.plot(plot)
    if as_json:
        typer.echo(json.dumps({"path": str(out), **result.report()}, ensure_ascii=False))
    elif not quiet:
        typer.echo(f"{out}: {result.seconds:.2f} s through {vocoder}, rtf {result.rtf:.3f}, {result.device}")
