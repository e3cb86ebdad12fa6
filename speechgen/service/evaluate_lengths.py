"""How many texts a model of latents ends properly: neither cut short nor run on. No sound is made for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from speechgen.core.protocols import Progress
from speechgen.service.engine import Engine
from speechgen.service.latents import load_speakers

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

    def row(self) -> dict[str, str]:
        """Return the figures by the heads of their columns."""
        ordered = sorted(self.ratios)
        low, median, high = (f"{ordered[round(share * (len(ordered) - 1))]:.2f}" for share in (0.05, 0.5, 0.95))
        return {
            "texts": str(len(ordered)),
            f"ended within {PROPER[0]:g} to {PROPER[1]:g}": f"{self.proper:.3f}",
            "too short": str(sum(ratio < PROPER[0] for ratio in ordered)),
            "too long": str(sum(ratio > PROPER[1] for ratio in ordered)),
            "p5": low,
            "median": median,
            "p95": high,
        }

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        row = self.row()
        lines = ["| " + " | ".join(cells) + " |" for cells in [row, ["---"] * len(row), row.values()]]
        return "\n".join([*lines, "", self.settings])

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
    speakers, ratios = load_speakers(engine, pipeline, references), []
    stages = speakers.stages
    for index, text in enumerate(sentences):
        task = speakers.task(text, index, seed)
        ratios.append(stages.latents(task).values.shape[1] / stages.expected(task) * task.options.speed)
        if progress:
            progress(index + 1, len(sentences))
    settings = f"pipeline {Path(pipeline).stem}, {len(speakers.voices)} voices by turns, seed {seed}, one try each"
    return LengthReport(tuple(ratios), settings)
