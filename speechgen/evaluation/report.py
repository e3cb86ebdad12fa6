"""Figures of a whole pipeline over sentences and voices.

What is measured arrives as a function, so this file knows no pipeline: `speak` reads a sentence in a voice. Any text will do:
the word error rate leaves out those whose words the recogniser does not know, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from speechgen.audio.io import read_audio, write_audio
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.intelligibility import (
    ClosedVocabularyRecogniser,
    dictionary_words,
    recognisable,
    spoken_words,
    word_error_rate,
)
from speechgen.evaluation.naturalness import OpinionScores, predict_opinion
from speechgen.evaluation.optional import require
from speechgen.evaluation.speaker import SHORTEST_SECONDS, SpeakerSimilarity
from speechgen.evaluation.speed import Percentiles, percentiles, real_time_factor

__all__ = ["Clip", "Figures", "PipelineReport", "Sentence", "Speak", "Spoken", "evaluate_pipeline"]


class Sentence(NamedTuple):
    """What is to be read.

    Attributes:
        text: as it is written.
        said: as it is spoken, in words.
        symbols: its phoneme symbols, by their ids.
        needs: seconds that it takes at a usual pace.
    """

    text: str
    said: str
    symbols: tuple[int, ...]
    needs: float


class Spoken(NamedTuple):
    """One synthesised sentence; `repeated` is what is heard twice though it is written once, None if nobody can tell."""

    samples: Tensor  # [L], none if there is nothing to be heard
    rate: int
    synthesis_seconds: float
    warnings: tuple[str, ...] = ()
    repeated: str | None = None


ENDED = "ended properly"
"""Head of the column."""

Speak = Callable[[Sentence, Path, int], Spoken]
"""(sentence, reference path, seed) to speech; its seconds exclude loading."""


@dataclass(frozen=True)
class Clip:
    """Measurements of one sentence in one voice.

    Attributes:
        name: its file, such as linda/07: voice, and number of the sentence.
        text: what was to be read.
        said: the same as it is spoken, in words.
        understood: by the recogniser; None where it does not know the words.
        wer: word errors over words, likewise.
        seconds: of the sound; 0 if there is none.
        seconds_per_symbol: of the text's phoneme symbols.
        times_needed: seconds over those that the text needs at a usual pace.
        repeated: phones that are heard twice, though they are written once; None if nobody can tell.
        sim: speaker similarity to the reference; None for a clip that is too short to tell.
        opinion: predicted opinion scores, likewise.
        synthesis_seconds: of work.
        warnings: of the pipeline.
    """

    name: str
    text: str
    said: str
    understood: str | None
    wer: float | None
    seconds: float
    seconds_per_symbol: float
    times_needed: float
    repeated: str | None
    sim: float | None
    opinion: OpinionScores | None
    synthesis_seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Worst:
    """The highest value among clips, and the clip that has it."""

    value: float
    clip: str


@dataclass(frozen=True)
class Figures:
    """What was measured over `n` clips that last `seconds` together.

    Attributes:
        wer: word errors over words, closed vocabulary; None if the recogniser knows the words of none.
        exact: share of those sentences understood without an error.
        worst: the clip with the most word errors over words.
        longest: the clip that lasts longest for what its text needs.
        empty: clips without a sound.
        repeated: clips in which something is heard twice that is written once; None if nobody can tell.
        sim: mean speaker similarity to the reference, over clips longer than half a second; None without any.
        opinion: mean predicted opinion scores of those clips; None without any, or if not asked for.
        rtf: real-time factor.
    """

    wer: float | None
    exact: float | None
    worst: Worst | None
    longest: Worst
    empty: tuple[str, ...]
    repeated: tuple[str, ...] | None
    sim: float | None
    opinion: OpinionScores | None
    rtf: Percentiles
    n: int
    seconds: float


@dataclass(frozen=True)
class PipelineReport:
    """Figures over all clips.

    Attributes:
        overall: of all.
        voices: of each voice, by the reference's file name.
        clips: every sentence in every voice.
        settings: how they were made.
        ended: share of the texts that a model of latents ended properly at its first try; None for other pipelines.
    """

    overall: Figures
    voices: Mapping[str, Figures]
    clips: Sequence[Clip]
    settings: str
    ended: float | None = None

    def row(self) -> dict[str, str]:
        """Return the figures of all voices together, by the heads of their columns."""
        found = _cells(self.overall)
        return found if self.ended is None else {**found, ENDED: f"{self.ended:.3f}"}

    def table(self) -> str:
        """Return a Markdown table, one row per voice and one for all, with the settings below."""
        header = ["voice", *_cells(self.overall)]
        rows = [[name, *_cells(figures).values()] for name, figures in [*self.voices.items(), ("all", self.overall)]]
        lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]
        ended = [] if self.ended is None else [f"{ENDED}: {self.ended:.3f} of the sentences, in the voices by turns"]
        return "\n".join([*lines, "", *ended, self.settings])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _cells(figures: Figures) -> dict[str, str]:
    opinion, worst, longest = figures.opinion, figures.worst, figures.longest
    return {
        "n": str(figures.n),
        "seconds": f"{figures.seconds:.1f}",
        "WER": "-" if figures.wer is None else f"{figures.wer:.4f}",
        "exact": "-" if figures.exact is None else f"{figures.exact:.3f}",
        "worst WER": "-" if worst is None else f"{worst.value:.3f} {worst.clip}",
        "longest / needed": f"{longest.value:.2f} {longest.clip}",
        "empty": _listed(figures.empty),
        "repeated": "-" if figures.repeated is None else _listed(figures.repeated),
        "SIM": "-" if figures.sim is None else f"{figures.sim:.4f}",
        "DNSMOS ovrl / sig / p808": "-" if opinion is None else f"{opinion.ovrl:.3f} / {opinion.sig:.3f} / {opinion.p808:.3f}",
        "RTF p50": f"{figures.rtf.p50:.3f}",
        "RTF p95": f"{figures.rtf.p95:.3f}",
    }


def _listed(clips: Sequence[str]) -> str:
    return " ".join([str(len(clips)), *clips])


class _Judges:
    """Those who judge one voice: a recogniser of its own, so that no voice depends on the one before it."""

    def __init__(self, similarity: SpeakerSimilarity, reference: Path, comparable: Sequence[str], opinions: bool) -> None:
        self._similarity, self._opinions = similarity, opinions
        self._prompt = similarity.embed(read_audio(reference))
        self._comparable = set(comparable)
        self._recogniser = ClosedVocabularyRecogniser(comparable) if comparable else None

    def __call__(self, name: str, sentence: Sentence, spoken: Spoken, audio: Waveform) -> Clip:
        tellable = audio.seconds > SHORTEST_SECONDS
        understood = None
        if self._recogniser is not None and sentence.said in self._comparable:
            understood = self._recogniser.transcribe(audio) if audio.seconds else ""
        return Clip(
            name=name,
            text=sentence.text,
            said=sentence.said,
            understood=understood,
            wer=None if understood is None else word_error_rate([sentence.said], [understood]),
            seconds=audio.seconds,
            seconds_per_symbol=audio.seconds / max(1, len(sentence.symbols)),
            times_needed=audio.seconds / max(sentence.needs, 1e-9),
            repeated=spoken.repeated,
            sim=float(self._similarity.embed(audio) @ self._prompt) if tellable else None,
            opinion=predict_opinion(audio) if self._opinions and tellable else None,
            synthesis_seconds=spoken.synthesis_seconds,
            warnings=spoken.warnings,
        )


def evaluate_pipeline(
    speak: Speak,
    sentences: Sequence[Sentence],
    references: Sequence[Path],
    *,
    seed: int = 0,
    opinions: bool = True,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> PipelineReport:
    """Read every sentence in every voice and measure the result. Every clip uses the same seed.

    Args:
        speak: the pipeline.
        sentences: what to read.
        references: one recording per voice.
        seed: given to `speak`.
        opinions: predict opinion scores too.
        save_to: keep the clips as `<voice>/01.wav` and so on in this folder.
        progress: told after each clip.

    Raises:
        UserError: before synthesis, an input or a missing package does not allow it; or nothing is heard in a voice.
    """
    voices = {path.stem: path for path in references}
    if not voices or len(voices) < len(references):
        raise UserError(f"voices are named by file, got {[path.stem for path in references]}: give at least one, all different")
    require("jiwer")
    if opinions:
        require("speechmos.dnsmos")
    similarity, dictionary = SpeakerSimilarity(), dictionary_words()
    comparable = [sentence.said for sentence in sentences if recognisable(sentence.said, dictionary)]
    judges = {voice: _Judges(similarity, path, comparable, opinions) for voice, path in voices.items()}
    clips: dict[str, list[Clip]] = {voice: [] for voice in voices}
    for order, (voice, path) in enumerate(voices.items()):
        for number, sentence in enumerate(sentences, 1):
            spoken = speak(sentence, path, seed)
            audio = Waveform.single(spoken.samples.detach().cpu(), spoken.rate)
            name = f"{voice}/{number:02d}"
            if save_to is not None and audio.seconds:
                (save_to / voice).mkdir(parents=True, exist_ok=True)
                write_audio(save_to / f"{name}.wav", audio.samples[0], audio.rate)
            clips[voice].append(judges[voice](name, sentence, spoken, audio))
            if progress:
                progress(order * len(sentences) + number, len(voices) * len(sentences))
        if not any(clip.seconds for clip in clips[voice]):
            said = "; ".join(dict.fromkeys(line for clip in clips[voice] for line in clip.warnings))
            raise UserError(f"the pipeline returned no audio in the voice {voice}" + (f": {said}" if said else ""))
    everything = [clip for spoken in clips.values() for clip in spoken]
    unknown = [number for number, sentence in enumerate(sentences, 1) if sentence.said not in comparable]
    return PipelineReport(
        overall=_summarise(everything),
        voices={voice: _summarise(spoken) for voice, spoken in clips.items()},
        clips=everything,
        settings=_settings(len(sentences), len(voices), unknown, seed, opinions),
    )


def _summarise(clips: Sequence[Clip]) -> Figures:
    sims = [clip.sim for clip in clips if clip.sim is not None]
    opinions = [(clip.opinion.ovrl, clip.opinion.sig, clip.opinion.p808) for clip in clips if clip.opinion is not None]
    heard = [(clip.said, clip.understood) for clip in clips if clip.understood is not None]
    errors = [Worst(clip.wer, clip.name) for clip in clips if clip.wer is not None]
    told = [clip for clip in clips if clip.repeated is not None]
    return Figures(
        wer=word_error_rate(*zip(*heard, strict=True)) if heard else None,
        exact=float(np.mean([understood.split() == spoken_words(said) for said, understood in heard])) if heard else None,
        worst=max(errors, key=lambda worst: worst.value, default=None),
        longest=max((Worst(clip.times_needed, clip.name) for clip in clips), key=lambda worst: worst.value),
        empty=tuple(clip.name for clip in clips if not clip.seconds),
        repeated=tuple(clip.name for clip in told if clip.repeated) if told else None,
        sim=float(np.mean(sims)) if sims else None,
        opinion=OpinionScores(*np.mean(opinions, axis=0).tolist()) if opinions else None,
        rtf=percentiles([real_time_factor(clip.synthesis_seconds, clip.seconds) for clip in clips if clip.seconds]),
        n=len(clips),
        seconds=sum(clip.seconds for clip in clips),
    )


def _settings(sentences: int, voices: int, unknown: Sequence[int], seed: int, opinions: bool) -> str:
    without = f" without {', '.join(map(str, unknown))}, whose words the recogniser does not know" if unknown else ""
    parts = [
        f"{sentences} sentences x {voices} voices, seed {seed}",
        f"WER: pocketsphinx {version('pocketsphinx')} en-us, trigram over the sentences{without}, jiwer {version('jiwer')}",
        f"SIM: resemblyzer {version('resemblyzer')}, clip against reference",
    ]
    return "; ".join([*parts, f"DNSMOS: speechmos {version('speechmos')}"] if opinions else parts)
