"""Figures of speech editing: recordings are made to say other words, and judged beside what they were.

The edits are drawn from the transcripts: words are replaced by words of other recordings, put in, or taken out. The recogniser
knows the words of all sentences, as they were and as they are to be, so that nothing but the sound tells it what was changed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch

from speechgen.audio.io import Recording, read_recording
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.core.types import Waveform
from speechgen.evaluation.intelligibility import ClosedVocabularyRecogniser, dictionary_words, spoken_words, word_error_rate
from speechgen.evaluation.optional import require
from speechgen.evaluation.speaker import SHORTEST_SECONDS, SpeakerSimilarity

__all__ = ["EditFigures", "EditReport", "Said", "Stretch", "evaluate_editing", "propose"]

KINDS = ("replaced", "put in", "taken out", "two places")
SHORTEST_WORDS = 5
"""Shorter sentences leave too little of the voice."""
LETTERS = (4, 9)
"""Of the words that are changed: the shortest ones are weak, and say little about what was understood."""


class Said(NamedTuple):
    """A recording and its text."""

    path: Path
    speaker: str
    text: str


class Proposal(NamedTuple):
    """A recording, what it says, what it is to say, and the words that are new."""

    said: Said
    kind: str
    old: str
    new: str
    words: tuple[str, ...]


class Stretch(NamedTuple):
    """What was changed, in seconds of the recording and of the result."""

    start: float
    stop: float
    new_start: float
    new_stop: float


Edit = Callable[[Path, str, str, Path], tuple[Sequence[Stretch], float]]
"""(recording, its text, new text, where to write) to what was changed, and seconds of work. UserError: it cannot be done."""


@dataclass(frozen=True)
class EditFigures:
    """What was measured over `n` edits.

    Attributes:
        wer: word errors over words of the edited recordings.
        wer_before: of the same recordings, untouched.
        understood: share of the new words that were understood.
        sim: mean similarity of voice between the edited recording and itself as it was.
        sim_new: of the new sound alone, where it lasts longer than half a second; None without any.
        sim_old: of the old sound in the same places, likewise.
        snr: least signal-to-noise ratio in dB outside of the stretches, in the file; None where all are equal in every bit.
        seconds: median seconds of work.
    """

    n: int
    wer: float
    wer_before: float
    understood: float | None
    sim: float
    sim_new: float | None
    sim_old: float | None
    snr: float | None
    seconds: float


@dataclass(frozen=True)
class EditReport:
    """Figures over all edits and for each kind; `skipped` tells what was not edited, and why."""

    overall: EditFigures
    kinds: Mapping[str, EditFigures]
    settings: str
    skipped: tuple[str, ...]

    def row(self) -> dict[str, str]:
        """Return the figures of all edits, by the heads of their columns."""
        return _cells(self.overall)

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        heads = ["edit", *_cells(self.overall)]
        rows = [[name, *_cells(figures).values()] for name, figures in [*self.kinds.items(), ("all", self.overall)]]
        lines = ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]
        return "\n".join([*lines, "", self.settings, *self.skipped])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _cells(figures: EditFigures) -> dict[str, str]:
    def number(value: float | None, digits: int, none: str = "–") -> str:
        return none if value is None else f"{value:.{digits}f}"

    return {
        "n": str(figures.n),
        "WER": number(figures.wer, 4),
        "WER before": number(figures.wer_before, 4),
        "new words understood": number(figures.understood, 3),
        "SIM": number(figures.sim, 4),
        "SIM of the new / old sound alone": f"{number(figures.sim_new, 3)} / {number(figures.sim_old, 3)}",
        "least SNR outside (dB)": number(figures.snr, 1, "exact"),
        "seconds of work": number(figures.seconds, 2),
    }


def propose(said: Sequence[Said], seed: int = 0) -> list[Proposal]:
    """Return an edit for each recording that can be judged; the kinds take turns.

    Args:
        said: recordings with their texts.
        seed: what is drawn depends on it and on the recordings alone.
    """
    known = dictionary_words()
    clear = [
        entry
        for entry in said
        if len(words := spoken_words(entry.text)) >= SHORTEST_WORDS
        and known.issuperset(words)
        and not any(char.isdigit() for char in entry.text)
    ]
    pool = sorted({word for entry in clear for word in spoken_words(entry.text) if _changeable(word)})
    proposals = []
    for number, entry in enumerate(clear):
        rng, words, kind = Random(mix(seed, entry.path.name)), spoken_words(entry.text), KINDS[number % len(KINDS)]
        others = [word for word in pool if word not in words]
        places = [place for place, word in enumerate(words) if _changeable(word) and 0 < place < len(words) - 1]
        if not places or len(others) < 2:
            continue
        first = rng.choice(places)
        apart = [place for place in places if abs(place - first) > 1]
        chosen = {first} if kind != "two places" or not apart else {first, rng.choice(apart)}
        new, drawn = [], []
        for place, word in enumerate(words):
            fresh = [rng.choice(others)] if place in chosen and kind != "taken out" else []
            new += [*fresh, word] if place not in chosen or kind == "put in" else fresh
            drawn += fresh
        proposals.append(Proposal(entry, kind, " ".join(words), " ".join(new), tuple(drawn)))
    return proposals


def _changeable(word: str) -> bool:
    return LETTERS[0] <= len(word) <= LETTERS[1] and word.isalpha()


@dataclass(frozen=True)
class _Judged:
    """Measurements of one edit."""

    proposal: Proposal
    before: str
    after: str
    sim: float
    sim_new: float | None
    sim_old: float | None
    snr: float
    seconds: float


def evaluate_editing(
    edit: Edit, proposals: Sequence[Proposal], *, settings: str, save_to: Path | None = None, progress: Progress | None = None
) -> EditReport:
    """Make every edit and measure it.

    Args:
        edit: makes one.
        proposals: from `propose`.
        settings: how `edit` makes them.
        save_to: keep the edited recordings in this folder.
        progress: told after each edit.

    Raises:
        UserError: there is nothing to edit, nothing could be, or an optional package is missing.
    """
    if not proposals:
        raise UserError(
            f"no recording can be judged: its text needs {SHORTEST_WORDS} words or more, all in the recogniser's dictionary, "
            "and no digits"
        )
    require("jiwer")
    similarity = SpeakerSimilarity()
    sentences = [text for proposal in proposals for text in (proposal.old, proposal.new)]
    judged: list[_Judged] = []
    skipped: list[str] = []
    ordered = sorted(proposals, key=lambda proposal: proposal.said.speaker)
    with tempfile.TemporaryDirectory() as folder:
        for _, spoken in groupby(ordered, key=lambda proposal: proposal.said.speaker):
            recogniser = ClosedVocabularyRecogniser(sentences)  # it adapts to a voice
            for proposal in spoken:
                target = (save_to or Path(folder)) / f"{proposal.said.path.stem}.wav"
                try:
                    judged.append(_judge(edit, proposal, target, recogniser, similarity))
                except UserError as error:
                    skipped.append(f"not edited, {proposal.said.path.name}: {error}")
                if progress:
                    progress(len(judged) + len(skipped), len(proposals))
    if not judged:
        raise UserError(f"nothing could be edited: {skipped[0]}")
    kinds = {kind: [one for one in judged if one.proposal.kind == kind] for kind in KINDS}
    told = [
        settings,
        f"WER: pocketsphinx {version('pocketsphinx')} en-us, trigram over all sentences, old and new, jiwer {version('jiwer')}",
        f"SIM: resemblyzer {version('resemblyzer')}, against the recording as it was",
    ]
    return EditReport(
        overall=_summarise(judged),
        kinds={kind: _summarise(found) for kind, found in kinds.items() if found},
        settings="; ".join(told),
        skipped=tuple(skipped),
    )


def _judge(
    edit: Edit, proposal: Proposal, target: Path, recogniser: ClosedVocabularyRecogniser, similarity: SpeakerSimilarity
) -> _Judged:
    before = read_recording(proposal.said.path)
    stretches, seconds = edit(proposal.said.path, proposal.old, proposal.new, target)
    after = read_recording(target)
    voice = similarity.embed(before.mono)

    def alone(recording: Recording, places: Sequence[tuple[float, float]]) -> float | None:
        parts = [recording.mono.samples[0, round(a * recording.rate) : round(b * recording.rate)] for a, b in places]
        sound = Waveform.single(torch.cat(parts), recording.rate)
        return float(similarity.embed(sound) @ voice) if sound.seconds > SHORTEST_SECONDS else None

    return _Judged(
        proposal=proposal,
        before=recogniser.transcribe(before.mono),
        after=recogniser.transcribe(after.mono),
        sim=float(similarity.embed(after.mono) @ voice),
        sim_new=alone(after, [(stretch.new_start, stretch.new_stop) for stretch in stretches]),
        sim_old=alone(before, [(stretch.start, stretch.stop) for stretch in stretches]),
        snr=snr_outside(before, after, stretches),
        seconds=seconds,
    )


def snr_outside(before: Recording, after: Recording, stretches: Sequence[Stretch]) -> float:
    """Return the signal-to-noise ratio in dB of all that lies outside of the stretches; infinite where it is equal.

    Raises:
        UserError: the two do not have the same length outside.
    """
    rate, place, new_place = before.rate, 0, 0
    signal = noise = 0.0
    ends = Stretch(before.seconds, before.seconds, after.seconds, after.seconds)
    for stretch in (*stretches, ends):
        first = before.samples[:, place : round(stretch.start * rate)].double()
        second = after.samples[:, new_place : round(stretch.new_start * rate)].double()
        if first.shape != second.shape:
            raise UserError(f"outside of its stretches the result lasts {second.shape[1] - first.shape[1]} samples longer")
        signal += float(first.square().sum())
        noise += float((first - second).square().sum())
        place, new_place = round(stretch.stop * rate), round(stretch.new_stop * rate)
    return float("inf") if noise == 0 else float(10 * np.log10(signal / noise))


def _summarise(judged: Sequence[_Judged]) -> EditFigures:
    def mean(values: Sequence[float | None]) -> float | None:
        found = [value for value in values if value is not None]
        return float(np.mean(found)) if found else None

    heard = [(word, set(one.after.split())) for one in judged for word in one.proposal.words]
    least = min(one.snr for one in judged)
    return EditFigures(
        n=len(judged),
        wer=word_error_rate([one.proposal.new for one in judged], [one.after for one in judged]),
        wer_before=word_error_rate([one.proposal.old for one in judged], [one.before for one in judged]),
        understood=mean([float(word in words) for word, words in heard]),
        sim=float(np.mean([one.sim for one in judged])),
        sim_new=mean([one.sim_new for one in judged]),
        sim_old=mean([one.sim_old for one in judged]),
        snr=None if least == float("inf") else least,
        seconds=float(np.median([one.seconds for one in judged])),
    )
