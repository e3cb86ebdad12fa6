"""Evaluation of speech editing, joined to what is installed: recordings of a folder with their transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.evaluation.editing import EditReport, Said, Stretch, evaluate_editing, propose
from speechgen.service.edit import EditRequest
from speechgen.service.engine import Engine

__all__ = ["EditReport", "measure_editing"]


def measure_editing(
    engine: Engine,
    pipeline: str,
    folder: Path,
    *,
    limit: int = 0,
    seed: int = 0,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> EditReport:
    """Edit recordings of a folder and judge them beside what they were.

    Args:
        engine: edits.
        pipeline: name, or path of its YAML.
        folder: with metadata that names texts and speakers; see `speechgen prepare folder`.
        limit: recordings at most, one of each speaker before a second; 0: all.
        seed: of what is changed, and of every edit.
        save_to: keep the edited recordings in this folder.
        progress: told after each edit.

    Raises:
        UserError: there are no transcripts, nothing can be edited, or an optional package is missing.
    """

    def edit(path: Path, old: str, new: str, target: Path) -> tuple[Sequence[Stretch], float]:
        content = {"audio": path, "old_text": old, "new_text": new, "pipeline": pipeline, "seed": seed}
        result = engine.edit(EditRequest.checked(content))
        result.save(target)
        stretches = [Stretch(place.start, place.stop, place.new_start, place.new_stop) for place in result.regions]
        return stretches, result.work_seconds

    proposals = propose(_said(folder), seed)[: limit or None]
    engine.load(pipeline)
    settings = f"pipeline {Path(pipeline).stem}, {len(proposals)} recordings of {folder.name}, seed {seed}"
    return evaluate_editing(edit, proposals, settings=settings, save_to=save_to, progress=progress)


def _said(folder: Path) -> list[Said]:
    """Recordings with texts, one of each speaker before a second."""
    # Imported here: reading corpora needs the train extra.
    from speechgen.data.corpora import read_folder

    turns: dict[str, int] = {}
    ranked = []
    for utterance in read_folder(folder, "en-us"):
        speaker = utterance.speaker or ""
        turns[speaker] = turns.get(speaker, 0) + 1
        ranked.append((turns[speaker], Said(utterance.path, speaker, utterance.text or "")))
    if not any(said.text for _, said in ranked):
        raise UserError(f"{folder} has no texts: give a folder whose metadata says what its recordings say")
    return [said for _, said in sorted(ranked, key=lambda entry: entry[0])]
