"""Whether what is made from left to right wears off: Fréchet distance to what is real, over time.

As in continuous autoregressive models with noise augmentation (Pasini et al., 2024, arXiv:2411.18447), which hear their own
errors: many long utterances are made, and those of each stretch of time are compared with the same recordings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from speechgen.core.errors import UserError
from speechgen.evaluation.frechet import Features, frechet_distance

__all__ = ["PARTS", "DriftReport", "drift_over_time"]

PARTS = 4


@dataclass(frozen=True)
class DriftReport:
    """Distances of what was made in each part of the time to recordings.

    Attributes:
        parts: one for each part, in order; None where what was made is not finite.
        floor: of one half of the recordings to the other.
        seconds: of each utterance.
        utterances: how many there are.
        settings: how they were made, and the recordings.
    """

    parts: tuple[float | None, ...]
    floor: float
    seconds: float
    utterances: int
    settings: str

    @property
    def growth(self) -> float | None:
        """The last part over the first: 1 for one that does not wear off."""
        first, last = self.parts[0], self.parts[-1]
        return last / first if first and last is not None else None

    def row(self) -> dict[str, str]:
        """Return the figures by the heads of their columns."""
        edges = [f"{self.seconds * part / len(self.parts):.0f}" for part in range(len(self.parts) + 1)]
        heads = [f"{start} to {stop} s" for start, stop in zip(edges, edges[1:], strict=False)]
        cells = dict(zip(heads, map(_number, self.parts), strict=True))
        return {"utterances": str(self.utterances), **cells, "last / first": _number(self.growth), "floor": _number(self.floor)}

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        row = self.row()
        lines = ["| " + " | ".join(cells) + " |" for cells in [row, ["---"] * len(row), row.values()]]
        return "\n".join([*lines, "", self.settings])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps({**asdict(self), "growth": self.growth}, indent=1)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"


def drift_over_time(
    made: Sequence[Features], real: Sequence[Features], *, seconds: float, settings: str, parts: int = PARTS
) -> DriftReport:
    """Compare utterances, part by part of their time, with all recordings.

    Args:
        made: [T, D] each, all as long.
        real: [N, D] each.
        seconds: that T rows last.
        settings: how they were made, for the report.
        parts: of the time.

    Raises:
        UserError: the utterances are not as long as one another, or there are too few rows to compare.
    """
    if len({len(one) for one in made}) != 1 or len(made[0]) < parts or len(real) < 2:
        raise UserError(
            f"got {len(made)} utterances of {sorted({len(one) for one in made})} latents and {len(real)} recordings: "
            f"drift needs utterances of one length, {parts} latents or more, and two recordings or more"
        )
    size, everything = len(made[0]), np.concatenate(real)
    distances: list[float | None] = []
    for part in range(parts):
        rows = np.concatenate([one[part * size // parts : (part + 1) * size // parts] for one in made])
        distances.append(frechet_distance(rows, everything) if np.isfinite(rows).all() else None)
    floor = frechet_distance(np.concatenate(real[::2]), np.concatenate(real[1::2]))
    return DriftReport(tuple(distances), floor, seconds, len(made), settings)
