"""`speechgen dialogue`: a script of turns to one audio file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from speechgen.cli.console import output_path, progress_bar, read_text, use_offline, warn
from speechgen.core.errors import UserError

__all__ = ["dialogue"]


def dialogue(
    script: Annotated[Path, typer.Option("--script", help="Lines such as A: Hello. Indented lines continue; # comments.")],
    voice: Annotated[
        list[str], typer.Option("--voice", help="SPEAKER=recording or SPEAKER=voice name; once for each speaker.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("out.wav"),
    gap: Annotated[float, typer.Option("--gap", help="Seconds of silence between two turns, 0 to 10.")] = 0.35,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    language: Annotated[str, typer.Option("--lang", "--language", help="Language of the text, espeak-ng's code.")] = "en-us",
    speed: Annotated[float | None, typer.Option("--speed", help="Tempo, 0.5 to 2; 1 is each reference's own.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Integration steps: more is slower and cleaner.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="How strongly tokens and voice are followed.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same bytes; otherwise chosen and printed.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="wav, flac, ogg or mp3; otherwise the suffix of -o.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, each turn's start and end in it.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Forbid every network access.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Speak a script with two or more voices into one file."""
    speakers = _speakers(voice)
    content = read_text(None, script)
    out = output_path(out, format)
    if offline:
        use_offline()

    from speechgen.service.dialogue import read_script, speak_dialogue
    from speechgen.service.engine import Engine

    turns = read_script(content, list(speakers), str(script))
    options = {"pipeline": pipeline, "language": language, "speed": speed, "steps": steps, "guidance": guidance}
    with progress_bar("speaking", quiet=quiet) as progress:
        spoken = speak_dialogue(Engine(device), turns, speakers, options=options, gap=gap, seed=seed, progress=progress)
    result = spoken.result
    result.save(out)
    if not quiet:
        for line in result.warnings:
            warn(line)
    if as_json:
        heard = [asdict(turn) for turn in spoken.turns]
        typer.echo(json.dumps({"path": str(out), **result.report(), "turns": heard}, ensure_ascii=False))
    elif not quiet:
        about = f"{len(turns)} turns, voices {result.voice}, seed {result.seed}; rtf {result.rtf:.2f}"
        typer.echo(f"{out}: {result.seconds:.2f} s, {about}")


def _speakers(given: list[str]) -> dict[str, str]:
    """Voice of every speaker.

    Raises:
        UserError: an entry is not SPEAKER=voice, or a speaker is given twice.
    """
    speakers: dict[str, str] = {}
    for entry in given:
        name, equals, voice = entry.partition("=")
        if not (name and equals and voice):
            raise UserError(f"cannot read --voice {entry!r}: write SPEAKER=recording or SPEAKER=voice name, such as A=anna.wav")
        if name in speakers:
            raise UserError(f"--voice gives speaker {name} twice: {speakers[name]} and {voice}; choose one")
        speakers[name] = voice
    return speakers
