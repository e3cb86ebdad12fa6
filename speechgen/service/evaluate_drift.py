"""Whether a model of latents wears off when it goes on for much longer than it was trained to. No sound is made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from speechgen.audio.io import read_audio
from speechgen.audio.loudness import normalize_level
from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.drift import DriftReport, drift_over_time
from speechgen.evaluation.frechet import Features
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.speaking import Task
from speechgen.service.engine import Engine
from speechgen.service.latents import LatentSpeakers, load_speakers
from speechgen.service.vocoders import recordings

__all__ = ["DriftReport", "measure_drift"]

MOST_RECORDINGS = 400
"""Taken evenly from a folder of more."""


@torch.inference_mode()
def measure_drift(
    engine: Engine,
    pipeline: str,
    folder: Path,
    sentences: Sequence[str],
    references: Sequence[Path],
    *,
    seconds: float,
    seed: int = 0,
    progress: Progress | None = None,
) -> DriftReport:
    """Make latents of long texts, each in one piece, and compare them over time with those of recordings.

    A model that ends by itself is kept from it: all utterances are as long as one another.

    Args:
        engine: holds the pipeline.
        pipeline: name, or path of its YAML; of latents.
        folder: of recordings of speech.
        sentences: every one begins an utterance, which goes on with those behind it; the voices take turns.
        references: recordings; the example voices if there are none.
        seconds: of each utterance: four times as long as those of the training, for instance.
        seed: of every utterance.
        progress: told after each.

    Raises:
        UserError: the pipeline is of another kind, the folder holds no audio, or the model cannot read so much at once.
    """
    files = recordings(folder)
    speakers = _unending(load_speakers(engine, pipeline, references))
    stages = speakers.stages
    real = [_encode(stages, path) for path in files[:: -(-len(files) // MOST_RECORDINGS)]]
    size = round(seconds * stages.autoencoder.rate)
    made: list[Features] = []
    for index in range(len(sentences)):
        task = _long_task(speakers, sentences, index, size, seed)
        made.append(stages.latents(task).values[0, :size].double().cpu().numpy())
        if progress:
            progress(index + 1, len(sentences))
    settings = (
        f"pipeline {Path(pipeline).stem}, {len(speakers.voices)} voices by turns, seed {seed}; Fréchet distance of latents to "
        f"those of {len(real)} recordings of {folder.name}"
    )
    return drift_over_time(made, real, seconds=seconds, settings=settings)


def _unending(speakers: LatentSpeakers) -> LatentSpeakers:
    """The same, made as long as expected: not faster, and not ended by the model itself."""
    options = speakers.options.models["text_to_latents"]
    bounds: dict[str, float] = {name: 1.0 for name in ("speed", "shortest", "longest") if name in type(options).model_fields}
    models = {**speakers.options.models, "text_to_latents": options.model_copy(update=bounds)}
    return replace(speakers, options=replace(speakers.options, models=models))


def _long_task(speakers: LatentSpeakers, sentences: Sequence[str], first: int, size: int, seed: int) -> Task:
    """The task of a text of as many sentences as take `size` latents or a little more."""
    texts: list[str] = []
    while True:
        texts.append(sentences[(first + len(texts)) % len(sentences)])
        task = speakers.task(" ".join(texts), first, seed)
        if speakers.stages.expected(task) >= size:
            return task


def _encode(stages: LatentStages, path: Path) -> Features:
    """Latents of a recording, [N, D]."""
    audio = resample(read_audio(path), stages.mel.sample_rate)
    level = Waveform.single(normalize_level(audio.samples[0], audio.rate), audio.rate).to(stages.device)
    latents: Features = stages.autoencoder.encode(mel_spectrogram(level, stages.mel)).values[0].double().cpu().numpy()
    return latents
