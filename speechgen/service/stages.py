"""Where a pipeline loses the voice: recordings taken through more and more of its stages, each compared with the speaker.

natural   another recording of the speaker, as it is
vocoder   its mel, through the vocoder
acoustic  its own semantic tokens, spoken in the voice of the prompt, through the vocoder
pipeline  its text, through everything
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from speechgen.audio.io import read_audio
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import Mel, Waveform
from speechgen.evaluation.naturalness import predict_opinion
from speechgen.evaluation.speaker import SHORTEST_SECONDS, SpeakerSimilarity
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.pipeline.token_stages import TokenStages
from speechgen.service.engine import Engine

__all__ = ["StageFigures", "StageReport", "measure_stages"]

CONTENT_SECONDS = 8.0
"""How much of a recording is taken through the stages."""


@dataclass(frozen=True)
class StageFigures:
    """Means over `n` recordings: similarity to the prompt's speaker, predicted opinion (overall) if asked for."""

    sim: float
    opinion: float | None
    n: int


@dataclass(frozen=True)
class StageReport:
    """Figures by stage; what a stage has less than the one before it is what it loses."""

    stages: Mapping[str, StageFigures]
    settings: str

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        rows = [
            f"| {name} | {found.n} | {found.sim:.4f} | {'-' if found.opinion is None else f'{found.opinion:.3f}'} |"
            for name, found in self.stages.items()
        ]
        return "\n".join(["| up to stage | n | SIM | DNSMOS ovrl |", "| --- | --- | --- | --- |", *rows, "", self.settings])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1)


def measure_stages(
    engine: Engine,
    pipeline: str,
    folder: Path,
    *,
    limit: int = 0,
    seed: int = 0,
    opinions: bool = True,
    progress: Progress | None = None,
) -> StageReport:
    """Take recordings of a folder through the stages, prompted by another recording of their speaker.

    Args:
        engine: holds the pipeline.
        pipeline: name, or path of its YAML.
        folder: with metadata that names speakers (and texts, for the last stage); see `speechgen prepare folder`.
        limit: recordings at most, one of each speaker before a second; 0: all.
        seed: of all that is drawn.
        opinions: predict opinion scores too.
        progress: told after each recording.

    Raises:
        UserError: no speaker has two recordings, or an optional package is missing.
    """
    pairs = _pairs(folder)[: limit or None]
    loaded, similarity = engine.load(pipeline), SpeakerSimilarity()
    if not isinstance(loaded.stages, TokenStages):
        raise UserError(
            f"pipeline {Path(pipeline).stem} has no stages of tokens to look between: choose one with an acoustic stage"
        )
    sims: dict[str, list[float]] = defaultdict(list)
    scores: dict[str, list[float]] = defaultdict(list)
    for done, (prompt, content, text) in enumerate(pairs, 1):
        speaker = read_audio(prompt)
        voice = similarity.embed(speaker)
        for name, audio in _through(loaded, loaded.stages, speaker, read_audio(content), text, seed).items():
            if audio.seconds > SHORTEST_SECONDS:
                sims[name].append(float(similarity.embed(audio) @ voice))
                scores[name] += [predict_opinion(audio).ovrl] if opinions else []
        if progress:
            progress(done, len(pairs))
    figures = {
        name: StageFigures(float(np.mean(found)), float(np.mean(scores[name])) if opinions else None, len(found))
        for name, found in sims.items()
    }
    return StageReport(figures, f"pipeline {Path(pipeline).stem}, {len(pairs)} recordings and prompts, seed {seed}")


def _pairs(folder: Path) -> list[tuple[Path, Path, str]]:
    """(prompt, recording, its text): consecutive recordings of a speaker, one of each speaker before a second."""
    # Imported here: reading corpora needs the train extra.
    from speechgen.data.corpora import read_folder

    spoken = defaultdict(list)
    for utterance in read_folder(folder, "en-us"):
        if utterance.speaker:
            spoken[utterance.speaker].append(utterance)
    ranked = [
        (turn, (one.path, other.path, other.text))
        for utterances in spoken.values()
        for turn, (one, other) in enumerate(zip(utterances[::2], utterances[1::2], strict=False))
    ]
    if not ranked:
        raise UserError(f"no speaker of {folder} has two recordings: give a folder whose metadata names speakers")
    return [pair for _, pair in sorted(ranked, key=lambda entry: entry[0])]


@torch.inference_mode()
def _through(
    pipeline: Pipeline, stages: TokenStages, prompt: Waveform, content: Waveform, text: str, seed: int
) -> dict[str, Waveform]:
    """The recording after each stage."""
    rate = stages.mel.sample_rate
    reference, options = pipeline.reference(prompt), pipeline.options()
    natural = prepare_prompt(content, rate=rate, prompt_seconds=CONTENT_SECONDS, name="the recording").audio.to(stages.device)

    def render(mel: Mel) -> Waveform:
        return stages.vocoder.generate(mel, options=options.models["vocoder"], rng=_rng(pipeline, seed, "vocoder"))

    copied = render(mel_spectrogram(natural, stages.mel))
    mel = stages.acoustic.generate(
        stages.tokenizer.encode(natural),
        reference.mel,
        reference.needed_tokens,
        options=options.models["acoustic"],
        rng=_rng(pipeline, seed, "acoustic"),
    )
    voiced = render(mel)
    made = {"natural": natural, "vocoder": copied, "acoustic": voiced}
    if text:
        speech = pipeline.speak(text, reference, language="en-us", seed=seed, options=options)
        made["pipeline"] = Waveform.single(speech.samples, rate)
    return {name: audio.to("cpu") for name, audio in made.items()}


def _rng(pipeline: Pipeline, seed: int, stage: str) -> torch.Generator:
    return generator(seed, stage, 0, device=pipeline.stages.device)
