"""`speechgen voices add|list|show|remove`: recordings under a name, encoded once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from speechgen.cli.console import read_transcript, warn

__all__ = ["voices"]

voices = typer.Typer(help="Store voices under a name; list, show and remove them.", no_args_is_help=True)


@voices.command()
def add(
    name: Annotated[str, typer.Argument(help="1 to 64 of A-Z a-z 0-9 _ -")],
    ref: Annotated[
        Path,
        typer.Option("--ref", "--ref-audio", "--speaker-wav", "--prompt-wav", help="Recording of the voice, 1 to 30 seconds."),
    ],
    ref_text: Annotated[
        str | None, typer.Option("--ref-text", help="What the recording says, for pipelines that read it; @FILE.")
    ] = None,
    pipeline: Annotated[
        str, typer.Option("--pipeline", help="Encode for this one; others encode again when they speak.")
    ] = "default",
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a stored voice of this name.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode a recording and store it: `synth --voice NAME` speaks in it from then on."""
    from speechgen.service import voices as store

    store.check_new(name, replace=replace)

    from speechgen.service.engine import Engine

    info = store.add(Engine(device), name, ref, pipeline, transcript=read_transcript(ref_text), replace=replace)
    for line in info.warnings:
        warn(line)
    if as_json:
        typer.echo(json.dumps({"name": name, **info.model_dump(mode="json")}, ensure_ascii=False))
    else:
        typer.echo(f"{name}: {info.seconds:.2f} s of {info.source}, encoded for pipeline {info.pipeline}")


@voices.command("list")
def list_all(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List every voice that --voice knows: stored ones and recordings."""
    from speechgen.service import catalog

    found = catalog.voices()
    if as_json:
        typer.echo(json.dumps({name: _about(voice.path, voice.stored) for name, voice in found.items()}, ensure_ascii=False))
        return
    for name, voice in found.items():
        typer.echo(f"{name:24} {'stored' if voice.stored else 'recording':10} {voice.path}")
    if not found:
        typer.echo("none: add one by `speechgen voices add NAME --ref voice.wav`")


@voices.command()
def show(
    name: Annotated[str, typer.Argument(help="A voice.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what is known of a voice: its source, length, and what it is encoded for."""
    from speechgen.service import catalog

    voice = catalog.find_voice(name)
    about = {"name": name, **_about(voice.path, voice.stored)}
    if voice.stored:
        from speechgen.service.voices import read_stored

        about |= read_stored(voice.path).info.model_dump(mode="json", exclude={"format"})
    else:
        from speechgen.audio.io import read_audio

        recording = read_audio(voice.path)
        about |= {"seconds": round(recording.seconds, 3), "rate": recording.rate}
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
        return
    for key, value in about.items():
        if value != []:
            typer.echo(f"{key:16} {value}")


@voices.command()
def remove(name: Annotated[str, typer.Argument(help="A stored voice.")]) -> None:
    """Delete a stored voice."""
    from speechgen.service import voices as store

    typer.echo(f"removed {store.remove(name)}")


def _about(path: Path, stored: bool) -> dict[str, Any]:
    return {"kind": "stored" if stored else "recording", "path": str(path)}
