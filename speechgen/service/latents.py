"""What measures a pipeline of latents without making sound: its stages, voices, and tasks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from speechgen.core.errors import UserError
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.pieces import Piece
from speechgen.pipeline.speaking import Task, Voice
from speechgen.service import catalog
from speechgen.service.engine import Engine
from speechgen.service.voices import encode, read_source
from speechgen.text.phonemes import Phonemizer

__all__ = ["LatentSpeakers", "load_speakers"]


@dataclass(frozen=True)
class LatentSpeakers:
    """Loaded stages, their options, and voices that take turns."""

    stages: LatentStages
    options: Options
    phonemizer: Phonemizer
    voices: Sequence[Reference]

    def task(self, text: str, index: int, seed: int) -> Task:
        """The task of speaking a text as one piece, in the voice whose turn it is."""
        reference = self.voices[index % len(self.voices)]
        return Task(
            piece=Piece(text, index, 0.0),
            phonemes=torch.tensor(self.phonemizer.ids(text)),
            voice=Voice(reference, reference),
            seed=seed,
            options=self.options,
            report=lambda done, total: None,
            warn=lambda line: None,
        )


def load_speakers(engine: Engine, pipeline: str, references: Sequence[Path]) -> LatentSpeakers:
    """Load a pipeline of latents and encode the voices.

    Args:
        engine: holds the pipeline.
        pipeline: name, or path of its YAML.
        references: recordings; the example voices if there are none.

    Raises:
        UserError: the pipeline is of another kind, or there is no voice.
    """
    loaded = engine.load(pipeline)
    if not isinstance(loaded.stages, LatentStages):
        raise UserError(f"pipeline {Path(pipeline).stem} makes no latents, which this measures: choose one like ditar or ardit")
    chosen = list(references) or [voice.path for voice in catalog.voices().values() if not voice.stored]
    if not chosen:
        raise UserError("no reference is given and no example voice is installed: give --ref")
    voices = [encode(read_source(path, None), loaded) for path in chosen]
    return LatentSpeakers(loaded.stages, loaded.options(), loaded.prepare("en-us"), voices)
