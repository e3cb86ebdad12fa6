"""`speechgen synth`: a text and a voice to an audio file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speechgen.cli.console import check_folder, note, output_path, progress_bar, read_text, read_transcript, use_offline, warn
from speechgen.cli.stream import sink_path, write_stream
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.service.engine import Engine
    from speechgen.service.requests import SynthesisRequest
    from speechgen.service.results import SynthesisResult

__all__ = ["synth"]


def synth(
    text: Annotated[str | None, typer.Option("--text", help="What to say.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Text file to read; without either: standard input.")] = None,
    ref: Annotated[
        Path | None,
        typer.Option("--ref", "--ref-audio", "--speaker-wav", "--prompt-wav", help="Recording of the voice, 1 to 30 seconds."),
    ] = None,
    ref_text: Annotated[str | None, typer.Option("--ref-text", help="What the recording says, or @FILE.")] = None,
    voice: Annotated[str | None, typer.Option("--voice", help="A voice by name instead of --ref; see voices list.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; otherwise out.wav.")] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    language: Annotated[str, typer.Option("--lang", "--language", help="Language of the text, espeak-ng's code.")] = "en-us",
    speed: Annotated[float | None, typer.Option("--speed", help="Tempo, 0.5 to 2; 1 is the reference's own.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Integration steps: more is slower and cleaner.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="How strongly tokens and voice are followed.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="0: the likeliest reading; 1: varied.")] = None,
    pitch: Annotated[float | None, typer.Option("--pitch", help="Semitones to move the voice by, -12 to 12.")] = None,
    duration: Annotated[float | None, typer.Option("--duration", help="Seconds to speak, where that can be set.")] = None,
    tempo_ref: Annotated[Path | None, typer.Option("--tempo-ref", help="Another recording, to take the pace from.")] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="Speak each piece so often; keep the clearest.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same bytes; otherwise chosen and printed.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="wav, flac, ogg or mp3; otherwise the suffix of -o.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    stream: Annotated[
        bool, typer.Option("--stream", help="Write the sound while it is made; with -o - to standard output, as WAV.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a long text that was interrupted.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw sound, mel, phones and tokens into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Forbid every network access.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print the text as it is spoken, piece by piece.")] = False,
) -> None:
    """Speak a text in the voice of a recording."""
    content = {"text": read_text(text, file), "ref": ref, "ref_text": read_transcript(ref_text), "voice": voice}
    content |= {"pipeline": pipeline, "language": language, "speed": speed, "steps": steps, "guidance": guidance, "seed": seed}
    content |= {
        "temperature": temperature,
        "pitch": pitch,
        "tempo_ref": tempo_ref,
        "candidates": candidates,
        "duration": duration,
    }
    if stream and (plot is not None or resume):
        raise UserError("--stream keeps no sound to draw or to continue: leave --plot and --resume, or --stream out")
    target = sink_path(out, format) if stream else output_path(out or Path("out"), format)
    if plot is not None:
        check_folder(plot)
    if offline:
        use_offline()

    from speechgen.service.engine import Engine
    from speechgen.service.requests import SynthesisRequest

    request, engine = SynthesisRequest.checked(content), Engine(device)
    if stream or target is None:
        return write_stream(engine, request, target, as_json=as_json, quiet=quiet)
    result = _speak(engine, request, target, resume=resume, quiet=quiet)
    if plot is not None:
        result.plot(plot)
    _tell(result, target, as_json=as_json, quiet=quiet, verbose=verbose)


def _speak(engine: Engine, request: SynthesisRequest, out: Path, *, resume: bool, quiet: bool) -> SynthesisResult:
    """Speak into the file; long texts in a way that can be continued."""
    from speechgen.service.longtext import LONG_CHARACTERS, partial_folder, synthesize_to_file

    if len(request.text) <= LONG_CHARACTERS and not resume:
        with progress_bar("speaking", quiet=quiet) as progress:
            result = engine.synthesize(request, progress)
        result.save(out)
        return result
    try:
        with progress_bar("speaking", quiet=quiet) as progress:
            return synthesize_to_file(engine, request, out, resume=resume, progress=progress)
    except KeyboardInterrupt:
        if partial_folder(out).is_dir():
            note(f"{partial_folder(out)} keeps what is finished: continue by --resume")
        raise


def _tell(result: SynthesisResult, out: Path, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print what was made: one JSON object, or a line; warnings and pieces go to stderr."""
    for piece in result.pieces if verbose else ():
        note(piece)
    if not quiet:
        for line in result.warnings:
            warn(line)
    if as_json:
        typer.echo(json.dumps({"path": str(out), **result.report()}, ensure_ascii=False))
    elif not quiet:
        typer.echo(
            f"{out}: {result.seconds:.2f} s, voice {result.voice}, seed {result.seed}; "
            f"{result.synthesis_seconds:.2f} s of work (rtf {result.rtf:.2f}) after {result.load_seconds:.2f} s of loading, "
            f"{result.device}, {result.threads} threads"
        )
