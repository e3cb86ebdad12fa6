"""Evaluation of generated sounds: how many are recognised as what was asked for, by a classifier of real recordings.

The clips lie in a folder with metadata (`file|text`, the text being the prompt) or as `speechgen music` left them, with its
manifest. Features of the real recordings are kept in the cache of the user's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechgen.audio.io import read_audio
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.evaluation.frechet import frechet_distance
from speechgen.evaluation.sounds import FEATURES, FOLDS, SoundClassifier, fit_classifier, sound_features
from speechgen.service import catalog, journal

__all__ = ["SoundReport", "SoundsFigures", "classifier_of", "label_of", "measure_sounds"]

SPLITS = 10
"""Ways of halving the recordings that the floor of the Fréchet distance is averaged over."""


@dataclass(frozen=True)
class SoundsFigures:
    """Figures by the recordings of one folder.

    Attributes:
        real: name of the folder.
        accuracy: of the classifier on recordings it has not seen.
        accuracy_by_label: the same of each label.
        clips: that were asked to be one of its labels.
        recognised: share of them that are recognised as it; None without any.
        by_label: the same of each label that was asked for.
        heard_as: what the others were taken for, most often first: (asked, heard, how often).
        frechet: distance of the clips to the recordings; None with fewer than two clips.
        floor: of one half of the recordings to the other.
        encoder: whose features these distances are of.
    """

    real: str
    accuracy: float
    accuracy_by_label: dict[str, float]
    clips: int
    recognised: float | None
    by_label: dict[str, float]
    heard_as: tuple[tuple[str, str, int], ...]
    frechet: float | None
    floor: float
    encoder: str


@dataclass(frozen=True)
class SoundReport:
    """Figures of a folder of clips, by each folder of recordings."""

    clips: str
    figures: tuple[SoundsFigures, ...]
    passed_over: tuple[str, ...]
    """Clips whose prompt names no label, or more than one."""

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def table(self) -> str:
        """The same for people; the classifier's own accuracy first."""
        lines = []
        for one in self.figures:
            worst = ", ".join(f"{label} {share:.2f}" for label, share in sorted(one.accuracy_by_label.items()))
            lines.append(f"classifier of {one.real}: {one.accuracy:.2f} of unseen recordings right ({worst})")
            if one.recognised is None:
                lines.append("  no clip was asked to be one of these")
                continue
            lines.append(f"  {one.recognised:.2f} of {one.clips} clips recognised as what was asked for")
            lines += [f"    {label}: {share:.2f}" for label, share in sorted(one.by_label.items())]
            lines += [f"    asked {asked}, heard {heard}: {times}" for asked, heard, times in one.heard_as[:5]]
            if one.frechet is not None:
                lines.append(f"  Fréchet distance {one.frechet:.1f}; halves of the recordings {one.floor:.1f} ({one.encoder})")
        if self.passed_over:
            lines.append(f"{len(self.passed_over)} clips name no single label, such as {self.passed_over[0]}")
        return "\n".join(lines)


def measure_sounds(clips: Path, real: Sequence[Path], progress: Progress | None = None) -> SoundReport:
    """Recognise generated clips.

    Args:
        clips: folder with metadata, or a manifest of `speechgen music`.
        real: folders of labelled recordings; see `speechgen prepare sounds`.
        progress: called with (files read, files).

    Raises:
        UserError: nothing can be read, or a folder of recordings has too few of a label.
    """
    asked = _asked(clips)
    fitted = [(folder, *classifier_of(folder)) for folder in real]
    phrases = {label: folder for folder, classifier, _ in fitted for label in classifier.labels}
    names = {path: label_of(text, list(phrases)) for path, text in asked.items()}
    heard: dict[Path, NDArray[np.float64]] = {}
    for done, (path, label) in enumerate(names.items(), 1):
        if label:
            heard[path] = sound_features(read_audio(path))
        if progress:
            progress(done, len(names))
    figures = []
    for folder, classifier, recordings in fitted:
        mine = {path: label for path, label in names.items() if label and phrases[label] == folder}
        features = np.array([heard[path] for path in mine])
        figures.append(_figures(folder.resolve().name, classifier, recordings, features, list(mine.values())))
    return SoundReport(clips.name, tuple(figures), tuple(path.name for path, label in names.items() if not label))


def classifier_of(folder: Path) -> tuple[SoundClassifier, NDArray[np.float64]]:
    """Fit the classifier of a folder's labels that have FOLDS recordings or more; return it and their features [N, D].

    Raises:
        UserError: there is no metadata, or too few recordings.
    """
    from speechgen.data.corpora import read_folder, source_of  # needs the train extra

    listed = read_folder(folder, "en-us")
    counts = Counter(_plain(one.text) for one in listed)
    kept = [one for one in listed if counts[_plain(one.text)] >= FOLDS and one.path.is_file()]
    if not kept:
        raise UserError(f"{folder} has no label with {FOLDS} recordings: give a folder of labelled recordings")
    about = [[one.id, _plain(one.text), one.path.stat().st_size] for one in kept]
    key = hashlib.sha256(json.dumps([FEATURES, about]).encode()).hexdigest()[:16]
    path = catalog.home() / "cache" / f"sounds-{key}.npz"
    if path.is_file():
        with np.load(path) as stored:
            features, rows = stored["features"], stored["rows"].tolist()
    else:
        found = [(row, _features(one.path)) for row, one in enumerate(kept)]
        rows = [row for row, values in found if values is not None]
        features = np.array([values for _, values in found if values is not None])
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{os.getpid()}.{path.name}")
        np.savez_compressed(beside, features=features, rows=np.array(rows))
        beside.replace(path)
    labels, groups = [_plain(kept[row].text) for row in rows], [source_of(kept[row].id) for row in rows]
    return fit_classifier(features, labels, groups), features


def _features(path: Path) -> NDArray[np.float64] | None:
    """None of a recording that cannot be read or is silent."""
    try:
        return sound_features(read_audio(path))
    except UserError:
        return None


def _asked(folder: Path) -> dict[Path, str]:
    """Prompt of each clip of a folder.

    Raises:
        UserError: nothing tells the prompts.
    """
    entries = [entry for entry in journal.read(folder / "manifest.jsonl") if "prompt" in entry and "sha256" in entry]
    if entries:
        return {folder / str(entry["path"]): str(entry["prompt"]) for entry in entries}
    from speechgen.data.corpora import read_folder

    return {one.path: one.text for one in read_folder(folder, "en-us")}


def label_of(text: str, labels: Sequence[str]) -> str | None:
    """The one label that a prompt names, by itself or by its caption; the longest where one holds another."""
    from speechgen.data.captions import caption

    said = _plain(text)
    named = [
        label for label in labels if said in (label, caption(label)) or _names(said, label) or _names(said, caption(label))
    ]
    longest = [label for label in named if not any(label != other and label in other for other in named)]
    return longest[0] if len(longest) == 1 else None


def _names(said: str, phrase: str) -> bool:
    """Whether a prompt holds a phrase, or what a caption is about: "a violin note" is about a violin."""
    about = phrase.removesuffix(" note").removesuffix(" hit").removeprefix("an ").removeprefix("a ").removesuffix(" or fiddle")
    return f" {about} " in f" {said} "


def _plain(text: str) -> str:
    return " ".join(text.lower().replace(",", " ").replace(".", " ").replace("-", " ").split())


def _figures(
    name: str, classifier: SoundClassifier, recordings: NDArray[np.float64], clips: NDArray[np.float64], asked: list[str]
) -> SoundsFigures:
    known = classifier.embed(recordings)
    rng = np.random.default_rng(0)
    halves = [np.array_split(known[rng.permutation(len(known))], 2) for _ in range(SPLITS)]
    heard = classifier.recognise(clips) if asked else []
    right = [one == two for one, two in zip(asked, heard, strict=True)]
    taken: Counter[tuple[str, str]] = Counter(pair for pair in zip(asked, heard, strict=True) if pair[0] != pair[1])
    shares: dict[str, Any] = {
        label: float(np.mean([r for r, a in zip(right, asked, strict=True) if a == label])) for label in dict.fromkeys(asked)
    }
    return SoundsFigures(
        real=name,
        accuracy=classifier.accuracy,
        accuracy_by_label=classifier.by_label,
        clips=len(asked),
        recognised=float(np.mean(right)) if right else None,
        by_label=shares,
        heard_as=tuple((one, two, times) for (one, two), times in taken.most_common()),
        frechet=frechet_distance(known, classifier.embed(clips)) if len(asked) > 1 else None,
        floor=float(np.mean([frechet_distance(one, two) for one, two in halves])),
        encoder=classifier.encoder,
    )
