"""`synth --stream`: sound that is written while the rest is made, as WAV to standard output or into a file that grows."""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from speechgen.cli.console import check_folder, note, warn
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.service.engine import Engine
    from speechgen.service.requests import SynthesisRequest

__all__ = ["sink_path", "write_stream"]


def sink_path(out: Path | None, format: str | None) -> Path | None:
    """Return the file to write, None for standard output.

    Raises:
        UserError: another format than WAV, or a folder that is missing or not writable.
    """
    if out is not None and str(out) == "-":
        return None
    path = out or Path("out.wav")
    if (format or path.suffix.lstrip(".") or "wav").lower() != "wav":
        raise UserError(f"--stream writes WAV, not {format or path.suffix}: choose a .wav file or -o -, or leave --stream out")
    path = path.with_suffix(".wav")
    check_folder(path)
    return path


def write_stream(engine: Engine, request: SynthesisRequest, path: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Speak `request` into `path` or standard output; then tell how soon it began."""
    from speechgen.audio.encode import Encoder, wav_comment, wav_header
    from speechgen.service.results import provenance

    if request.seed is None:
        request = request.model_copy(update={"seed": secrets.randbelow(2**31)})
    engine.load(request.pipeline)
    started, first, frames, rate = time.perf_counter(), None, 0, 0
    sink: BinaryIO | None = None
    try:
        for chunk in engine.stream(request):
            if sink is None:
                sink, rate = sys.stdout.buffer if path is None else path.open("wb"), chunk.rate
                encoder = Encoder("wav", rate)
            if first is None and len(chunk.samples):
                first = time.perf_counter() - started
            sink.write(encoder.push(chunk.samples))
            sink.flush()
            frames += len(chunk.samples)
            for line in () if quiet else chunk.warnings:
                warn(line)
        if sink is not None and path is not None:
            comment = wav_comment(provenance(f"pipeline {Path(request.pipeline).stem}", request.seed))
            sink.write(comment)
            sink.seek(0)
            sink.write(wav_header(rate, frames, len(comment)))
    except BrokenPipeError:  # the player was closed
        sys.stderr.close()
        raise SystemExit(0) from None
    finally:
        if sink is not None and path is not None:
            sink.close()
    seconds, work = frames / max(rate, 1), time.perf_counter() - started
    report = {"path": str(path or "-"), "sample_rate": rate, "seconds": round(seconds, 3), "seed": request.seed}
    report |= {"first_audio_seconds": round(first or 0.0, 3), "synthesis_seconds": round(work, 3)}
    if as_json:
        typer.echo(json.dumps(report), err=path is None)
    elif not quiet:
        note(f"{path or 'standard output'}: {seconds:.2f} s, seed {request.seed}; first sound after {first or 0.0:.2f} s")
