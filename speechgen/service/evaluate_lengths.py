"""How many texts a model of latents ends properly: neither cut short nor run on. No sound is made for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.pieces import Piece
from speechgen.pipeline.speaking import Task, Voice
from speechgen.service import catalog
from speechgen.service.engine import Engine
from speechgen.service.voices import encode, read_source

__all__ = ["LengthReport", "measure_lengths"]

PROPER = (0.6, 1.6)
"""Multiples of the expected length between which a text counts as ended properly."""


@dataclass(frozen=True)
class LengthReport:
    """Length over expected length of every text, each spoken once."""

    ratios: tuple[float, ...]
    settings: str

    @property
    def proper(self) -> float:
        """Share of the texts that ended properly."""
        return sum(PROPER[0] <= ratio <= PROPER[1] for ratio in self.ratios) / len(self.ratios)

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        ordered = sorted(self.ratios)
        low, median, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.5, 0.95))
        head = f"| texts | ended within {PROPER[0]:g} to {PROPER[1]:g} | too short | too long | p5 | median | p95 |"
        short, long = sum(r < PROPER[0] for r in ordered), sum(r > PROPER[1] for r in ordered)
        row = f"| {len(ordered)} | {self.proper:.3f} | {short} | {long} | {low:.2f} | {median:.2f} | {high:.2f} |"
        return "\n".join([head, "| --- " * 7 + "|", row, "", self.settings])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps({**asdict(self), "proper": self.proper}, indent=1)


@torch.inference_mode()
def measure_lengths(
    engine: Engine,
    pipeline: str,
    sentences: Sequence[str],
    references: Sequence[Path],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> LengthReport:
    """Make the latents of every sentence once, in the voices by turns, and compare their lengths with what is expected.

    Args:
        engine: holds the pipeline.
        pipeline: name, or path of its YAML; of latents.
        sentences: what to speak.
        references: recordings; the example voices if there are none.
        seed: of every sentence.
        progress: told after each.

    Raises:
        UserError: the pipeline is of another kind, or something that was given cannot be used.
    """
    loaded = engine.load(pipeline)
    stages = loaded.stages
    if not isinstance(stages, LatentStages):
        raise UserError(f"pipeline {Path(pipeline).stem} makes no latents: lengths are measured where a model ends by itself")
    chosen = list(references) or [voice.path for voice in catalog.voices().values() if not voice.stored]
    if not chosen:
        raise UserError("no reference is given and no example voice is installed: give --ref")
    voices = [encode(read_source(path, None), loaded) for path in chosen]
    phonemizer, options, ratios = loaded.prepare("en-us"), loaded.options(), []
    for index, text in enumerate(sentences):
        reference = voices[index % len(voices)]
        task = Task(
            piece=Piece(text, index, 0.0),
            phonemes=torch.tensor(phonemizer.vocabulary.encode(phonemizer(text))),
            voice=Voice(reference, reference),
            seed=seed,
            options=options,
            report=lambda done, total: None,
            warn=lambda line: None,
        )
        ratios.append(stages.latents(task).values.shape[1] / stages.expected(task) * options.speed)
        if progress:
            progress(index + 1, len(sentences))
    return LengthReport(
        tuple(ratios), f"pipeline {Path(pipeline).stem}, {len(chosen)} voices by turns, seed {seed}, one try each"
    )
