"""How well sounds are made of descriptions, one way beside another: what is recognised, how far from held-out clips, how long.

Each description of a prepared folder is made once each way, as long as the clip that it describes, and compared with these
clips, which the model must not have seen. Words are those of `eval sounds`: its classifier and its features.

    parallel    masked spans, codebook by codebook
    causal      one code after another: the baseline, on the same trunk
    hybrid      the first second one code after another, the rest in parallel
    rescoring   parallel, and the causal predictions have a say in what is kept
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.audio.io import write_audio
from speechgen.core.config import StrictModel, apply_overrides, validate
from speechgen.core.errors import UserError
from speechgen.core.files import folder_name
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.core.types import Waveform
from speechgen.evaluation.frechet import frechet_distance
from speechgen.evaluation.sounds import SoundClassifier, sound_features
from speechgen.pipeline.music import MusicStages, decode_long, generate_long
from speechgen.service.evaluate_sounds import classifier_of, label_of
from speechgen.service.music import default_model, load_maker, stages_for
from speechgen.service.prepared import Clip, read_clips
from speechgen.service.vocoders import split_name

__all__ = ["WAYS", "MadeSounds", "MagnetReport", "measure_magnet"]

WAYS = {
    "parallel": (),
    "causal": ("causal=true",),
    "hybrid": ("prefix_seconds=1",),
    "rescoring": ("rescoring=0.7",),
}
"""Options by way; a model is measured in those that it has learnt."""
COPY = "codec"


@dataclass(frozen=True)
class MadeSounds:
    """Figures of one way.

    Attributes:
        recognised: share of the clips with a label that are recognised as it; None without any.
        frechet: distance to the held-out clips; None of fewer than two.
        seconds: to make a clip, median; None where none is made.
    """

    recognised: float | None
    frechet: float | None
    seconds: float | None = None


@dataclass(frozen=True)
class MagnetReport:
    """Figures by way.

    Attributes:
        ways: copies of the held-out clips through the codec, which no model of its codes can exceed; each way of each model.
        clips: held-out ones.
        labelled: of them, whose description names one label that the classifier knows.
        clip_seconds: of a clip, median.
        accuracy: of the classifier on recordings it has not seen.
        settings: everything else.
    """

    ways: dict[str, MadeSounds]
    clips: int
    labelled: int
    clip_seconds: float
    accuracy: float
    settings: str

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        rows = [f"| way | recognised ({self.labelled} clips) | Fréchet distance | s for a clip |", "|---|--:|--:|--:|"]
        for name, one in self.ways.items():
            cells = [
                "–" if one.recognised is None else f"{one.recognised:.2f}",
                "–" if one.frechet is None else f"{one.frechet:.1f}",
                "–" if one.seconds is None else f"{one.seconds:.2f}",
            ]
            rows.append(f"| {name} | {' | '.join(cells)} |")
        right = f"the classifier is right on {self.accuracy:.2f} of unseen recordings"
        return "\n".join((*rows, "", f"{self.clips} clips of {self.clip_seconds:.1f} s (median); {right}; {self.settings}"))

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


@torch.inference_mode()
def measure_magnet(
    names: Sequence[str],
    data: Path,
    real: Sequence[Path],
    *,
    codec: str | None = None,
    limit: int = 0,
    seed: int = 0,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> MagnetReport:
    """Make what the clips of a prepared folder are described as, in all WAYS, and measure.

    Args:
        names: checkpoints; one with options behind a colon (`service.vocoders.split_name`), such as NAME:rescoring=0.5, is made
            in that way alone. Without any, the first that is installed.
        data: prepared held-out clips with descriptions, such as the test split of `prepare sounds`.
        real: folders of labelled recordings for the classifier. Its features, as principal components of the first folder's
            recordings, are those of the distance.
        codec: name of the codec, where it is not installed.
        limit: use only the first clips; 0: all.
        seed: of everything that is drawn.
        save_to: keep the clips as `<way>/<clip>.wav` in this folder.
        progress: told after each clip.

    Raises:
        UserError: something is not installed or does not fit together, or there are no descriptions.
    """
    clips = [clip for clip in read_clips(data) if clip.text][: limit or None]
    if not clips:
        raise UserError(
            f"the clips of {data} have no descriptions: give a folder that `prepare sounds` or `prepare midi` wrote"
        )
    ways = _ways(list(dict.fromkeys(names)) or [default_model()], codec)
    judge = _Judge(clips, [classifier_of(folder)[0] for folder in real])
    total, done = len(ways) * len(clips), itertools.count(1)
    stages = next(iter(ways.values())).stages
    books = stages.model.num_codebooks
    copies = [stages.codec.decode(stages.codec.encode(clip.audio, books)) for clip in clips]
    found = {COPY: judge(copies)}
    for name, way in ways.items():
        made: list[Waveform] = []
        seconds: list[float] = []
        for number, clip in enumerate(clips):
            started = time.perf_counter()
            made.append(way.make(clip, mix(seed, "clip", number)))
            seconds.append(time.perf_counter() - started)
            _save(save_to, name, clip, made[-1])
            if progress:
                progress(next(done), total)
        found[name] = replace(judge(made), seconds=statistics.median(seconds))
    return MagnetReport(
        found,
        len(clips),
        sum(label is not None for label in judge.labels),
        statistics.median(clip.audio.seconds for clip in clips),
        statistics.fmean(classifier.accuracy for classifier in judge.classifiers),
        f"{data.parent.name}/{data.name}, seed {seed}, {torch.get_num_threads()} threads; codec {stages.codec.identity}, "
        f"{books} codebooks; distance: {judge.classifiers[0].encoder}",
    )


@dataclass(frozen=True)
class _Way:
    """A model with options."""

    stages: MusicStages
    options: StrictModel

    def make(self, clip: Clip, seed: int) -> Waveform:
        """Return the sound of a clip's description, as long as the clip if the model makes so much at once."""
        stages = self.stages
        seconds = min(clip.audio.seconds, stages.window_seconds)
        frames = max(1, math.floor(seconds * stages.model.rate))
        tokens = generate_long(stages, clip.text, frames, overlap=0, options=self.options, seed=seed)
        return Waveform.single(decode_long(stages.codec, tokens), stages.codec.sample_rate)


def _ways(names: Sequence[str], codec: str | None) -> dict[str, _Way]:
    """All ways that models have learnt which are named without options, and one of the others."""
    found: dict[str, _Way] = {}
    device = torch.device("cpu")
    for name in names:
        base, changes = split_name(name)
        maker = load_maker(base, device, codec)
        chosen = {name: changes} if changes else {f"{name}, {way}": options for way, options in WAYS.items()}
        refusal = getattr(maker.stages.model, "refusal", None)
        for way, given in chosen.items():
            options = validate(maker.options, apply_overrides({}, given), f"options of {name}")
            if changes or refusal is None or not refusal(options):
                found[way] = _Way(stages_for(maker, options, lambda other: load_maker(other, device, codec)), options)
    return found


class _Judge:
    """Compares clips with the held-out ones in the same order."""

    def __init__(self, clips: Sequence[Clip], classifiers: Sequence[SoundClassifier]) -> None:
        phrases = {label: classifier for classifier in classifiers for label in classifier.labels}
        self.classifiers = classifiers
        self.labels = [label_of(clip.text, list(phrases)) for clip in clips]
        self._knows = [None if label is None else phrases[label] for label in self.labels]
        self._real = self._embedded([sound_features(clip.audio) for clip in clips])

    def __call__(self, made: Sequence[Waveform]) -> MadeSounds:
        features = [_features(audio) for audio in made]
        heard = [
            row is not None and classifier.recognise(row[None])[0] == label
            for row, label, classifier in zip(features, self.labels, self._knows, strict=True)
            if classifier is not None
        ]
        audible = [row for row in features if row is not None]
        distance = frechet_distance(self._real, self._embedded(audible)) if min(len(self._real), len(audible)) > 1 else None
        return MadeSounds(statistics.fmean(heard) if heard else None, distance)

    def _embedded(self, rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return self.classifiers[0].embed(np.array(rows))


def _features(audio: Waveform) -> NDArray[np.float64] | None:
    """None of what is silent: it is nothing that was asked for."""
    try:
        return sound_features(audio)
    except UserError:
        return None


def _save(folder: Path | None, way: str, clip: Clip, audio: Waveform) -> None:
    if folder is not None:
        place = folder / folder_name(way)
        place.mkdir(exist_ok=True)
        write_audio(place / f"{clip.id}.wav", audio.samples[0], audio.rate)
