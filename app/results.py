"""A result on the page: files to play and to download, figures, the picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service.results import SynthesisResult

from .components import Outcome, figures, said

__all__ = ["delivered", "drawing", "figures_of", "saved"]

drawing = threading.Lock()
"""One picture at a time: matplotlib shares its fonts between threads."""


def saved(result: SynthesisResult, folder: Path, name: str, format: str = "wav") -> str:
    """Write the sound into a folder that lives as long as the answer takes; the page keeps its own copy.

    Raises:
        UserError: the disk refuses.
    """
    return str(result.save(folder / f"{name}.{format}"))


def drawn(result: SynthesisResult, folder: Path) -> str:
    """Draw the picture.

    Raises:
        UserError: the disk refuses.
    """
    with drawing:
        return str(result.plot(folder / "speech.png"))


def figures_of(result: SynthesisResult, first_seconds: float = 0.0) -> dict[str, str]:
    """What the page tells of a result."""
    told = {
        "Seed": str(result.seed),
        "Sound": f"{result.seconds:.2f} s",
        "Work": f"{result.synthesis_seconds:.2f} s",
        "Real-time factor": f"{result.rtf:.2f}",
    }
    if first_seconds:
        told["First sound after"] = f"{first_seconds:.2f} s"
    threads = f" × {result.threads}" if result.device == "cpu" else ""
    return told | ({"Runs on": f"{result.device}{threads}"} if result.device else {})


def delivered(
    result: SynthesisResult,
    outcome: Outcome,
    folder: Path,
    format: str,
    told: str,
    *,
    halt: str = "",
    first_seconds: float = 0.0,
    name: str = "speech",
) -> Iterator[dict[Any, Any]]:
    """Yield the updates that show a result: what is heard first, then the picture.

    Args:
        result: what came out.
        outcome: where it is shown.
        folder: for files, until the updates are made.
        format: of the file to download.
        told: the sentence that says so.
        halt: token of sound whose player is to end.
        first_seconds: how long the first sound took, if the sound was streamed.
        name: what the file's begins with.
    """
    wave = saved(result, folder, f"{name}-{result.seed}")
    other = wave if format == "wav" else saved(result, folder, f"{name}-{result.seed}", format)
    yield {
        outcome.status: said(told, kind="good", halt=halt, warnings=result.warnings),
        outcome.sound: gr.Audio(value=wave, visible=True),
        outcome.file: gr.DownloadButton(f"Download {Path(other).name}", value=other, visible=True),
        outcome.figures: gr.HTML(figures(figures_of(result, first_seconds)), visible=True),
    }
    yield {outcome.picture: gr.Image(value=drawn(result, folder), visible=True)}
