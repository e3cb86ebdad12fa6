"""`speechgen vocode`: a recording through mel and vocoder, or through a codec, to hear what that costs (copy synthesis)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from speechgen.cli.console import check_folder, output_path
from speechgen.core.errors import UserError

__all__ = ["vocode"]


def vocode(
    audio: Annotated[Path, typer.Argument(help="Recording to copy.")],
    vocoder: Annotated[str, typer.Option("--vocoder", help="A vocoder's checkpoint, or its folder.")] = "default-vocoder",
    codec: Annotated[
        str | None, typer.Option("--codec", help="A codec's checkpoint instead, or NAME:codebooks=4: through codes and back.")
    ] = None,
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
    """Turn a recording into a mel, or a codec's codes, and back: copy synthesis."""
    if codec is not None and changes:
        raise UserError("--set is for vocoders: a codec's number of codebooks is written behind its name, NAME:codebooks=4")
    out = output_path(out, None)
    if plot is not None:
        check_folder(plot)

    from speechgen.service.codecs import copy_through
    from speechgen.service.engine import Engine

    engine = Engine(device)
    result = engine.vocode(audio, vocoder, seed, changes or ()) if codec is None else copy_through(engine, audio, codec)
    result.save(out)
    if plot is not None:
        result.plot(plot)
    if as_json:
        typer.echo(json.dumps({"path": str(out), **result.report()}, ensure_ascii=False))
    elif not quiet:
        typer.echo(f"{out}: {result.seconds:.2f} s through {codec or vocoder}, rtf {result.rtf:.3f}, {result.device}")
