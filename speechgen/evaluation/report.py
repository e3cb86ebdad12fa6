"""Figures of a whole pipeline over sentences and voices.

What is measured arrives as a function, so this file knows no pipeline: `speak` reads a sentence in a voice.
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
from speechgen.evaluation.intelligibility import ClosedVocabularyRecogniser, spoken_words, word_error_rate
from speechgen.evaluation.naturalness import OpinionScores, predict_opinion
from speechgen.evaluation.optional import require
from speechgen.evaluation.speaker import SHORTEST_SECONDS, SpeakerSimilarity
from speechgen.evaluation.speed import Percentiles, percentiles, real_time_factor

__all__ = ["Figures", "PipelineReport", "Speak", "Spoken", "evaluate_pipeline"]


class Spoken(NamedTuple):
    """One synthesised sentence."""

    samples: Tensor  # [L]
    rate: int
    synthesis_seconds: float


ENDED = "ended properly"
"""Head of the column."""

Speak = Callable[[str, Path, int], Spoken]
"""(text, reference path, seed) to speech; its seconds exclude loading."""


@dataclass(frozen=True)
class Figures:
    """What was measured over `n` clips that last `seconds` together.

    Attributes:
        wer: word errors over words, closed vocabulary.
        exact: share of sentences understood without an error.
        sim: mean speaker similarity to the reference, over clips longer than half a second; None without any.
        opinion: mean predicted opinion scores of those clips; None without any, or if not asked for.
        rtf: real-time factor.
    """

    wer: float
    exact: float
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
        settings: how they were made.
        ended: share of the texts that a model of latents ended properly at its first try; None for other pipelines.
    """

    overall: Figures
    voices: Mapping[str, Figures]
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
        return json.dumps(asdict(self), indent=1)


def _cells(figures: Figures) -> dict[str, str]:
    opinion = figures.opinion
    return {
        "n": str(figures.n),
        "seconds": f"{figures.seconds:.1f}",
        "WER": f"{figures.wer:.4f}",
        "exact": f"{figures.exact:.3f}",
        "SIM": "-" if figures.sim is None else f"{figures.sim:.4f}",
        "DNSMOS ovrl / sig / p808": "-" if opinion is None else f"{opinion.ovrl:.3f} / {opinion.sig:.3f} / {opinion.p808:.3f}",
        "RTF p50": f"{figures.rtf.p50:.3f}",
        "RTF p95": f"{figures.rtf.p95:.3f}",
    }


@dataclass(frozen=True)
class _Clip:
    """Measurements of one clip."""

    text: str
    understood: str
    seconds: float
    synthesis_seconds: float
    sim: float | None
    opinion: OpinionScores | None


def evaluate_pipeline(
    speak: Speak,
    sentences: Sequence[str],
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
        sentences: what to read; its words must be in the recogniser's dictionary.
        references: one recording per voice.
        seed: given to `speak`.
        opinions: predict opinion scores too.
        save_to: keep the clips as `<voice>/01.wav` and so on in this folder.
        progress: told after each clip.

    Raises:
        UserError: before synthesis, an input or a missing package does not allow it; during it, no audio comes back.
    """
    voices = {path.stem: path for path in references}
    if not voices or len(voices) < len(references):
        raise UserError(f"voices are named by file, got {[path.stem for path in references]}: give at least one, all different")
    require("jiwer")
    if opinions:
        require("speechmos.dnsmos")
    similarity = SpeakerSimilarity()
    prompts = {voice: similarity.embed(read_audio(path)) for voice, path in voices.items()}
    clips: dict[str, list[_Clip]] = {voice: [] for voice in voices}
    for order, (voice, path) in enumerate(voices.items()):
        recogniser = ClosedVocabularyRecogniser(sentences)  # a fresh one, so that no voice depends on the one before it
        for number, text in enumerate(sentences, 1):
            samples, rate, synthesis_seconds = speak(text, path, seed)
            audio = Waveform.single(samples.detach().cpu(), rate)
            if audio.seconds == 0:
                raise UserError(f"the pipeline returned no audio for {text!r} in the voice {voice}")
            if save_to is not None:
                (save_to / voice).mkdir(parents=True, exist_ok=True)
                write_audio(save_to / voice / f"{number:02d}.wav", audio.samples[0], rate)
            tellable = audio.seconds > SHORTEST_SECONDS
            clip = _Clip(
                text=text,
                understood=recogniser.transcribe(audio),
                seconds=audio.seconds,
                synthesis_seconds=synthesis_seconds,
                sim=float(similarity.embed(audio) @ prompts[voice]) if tellable else None,
                opinion=predict_opinion(audio) if opinions and tellable else None,
            )
            clips[voice].append(clip)
            if progress:
                progress(order * len(sentences) + number, len(voices) * len(sentences))
    return PipelineReport(
        overall=_summarise([clip for spoken in clips.values() for clip in spoken]),
        voices={voice: _summarise(spoken) for voice, spoken in clips.items()},
        settings=_settings(len(sentences), len(voices), seed, opinions),
    )


def _summarise(clips: Sequence[_Clip]) -> Figures:
    sims = [clip.sim for clip in clips if clip.sim is not None]
    opinions = [(clip.opinion.ovrl, clip.opinion.sig, clip.opinion.p808) for clip in clips if clip.opinion is not None]
    return Figures(
        wer=word_error_rate([clip.text for clip in clips], [clip.understood for clip in clips]),
        exact=float(np.mean([clip.understood.split() == spoken_words(clip.text) for clip in clips])),
        sim=float(np.mean(sims)) if sims else None,
        opinion=OpinionScores(*np.mean(opinions, axis=0).tolist()) if opinions else None,
        rtf=percentiles([real_time_factor(clip.synthesis_seconds, clip.seconds) for clip in clips]),
        n=len(clips),
        seconds=sum(clip.seconds for clip in clips),
    )


def _settings(sentences: int, voices: int, seed: int, opinions: bool) -> str:
    parts = [
        f"{sentences} sentences x {voices} voices, seed {seed}",
        f"WER: pocketsphinx {version('pocketsphinx')} en-us, trigram over the sentences, jiwer {version('jiwer')}",
        f"SIM: resemblyzer {version('resemblyzer')}, clip against reference",
    ]
    return "; ".join([*parts, f"DNSMOS: speechmos {version('speechmos')}"] if opinions else parts)
