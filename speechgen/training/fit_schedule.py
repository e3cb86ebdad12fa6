"""Fits a short noise schedule to trained weights: coordinate descent over its betas, by the log-mel error of copies.

The paper searches a grid (section 2.3 leaves it open how); every candidate here hears the same clips with the same noise,
so that one beta after the other can be moved as long as the error falls. Only what is better is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core import checkpoint
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress, Vocoder
from speechgen.core.random import generator, mix
from speechgen.core.types import Waveform
from speechgen.data.decode import RATE, SCALE
from speechgen.data.features import FeatureStore, find
from speechgen.sampling.diffusion import spaced_betas

__all__ = ["ScheduleFit", "descend", "fit_schedule"]

STARTS = ((1e-6, 6e-2), (1e-4, 0.3), (1e-3, 0.5), (1e-2, 0.7))
"""First and last beta of the geometric schedules that are tried beside the ready-made one."""
FACTORS = (4.0, 2.0, 1.4)
"""What a beta is multiplied and divided with, one after the other."""
LARGEST = 0.99


@dataclass(frozen=True)
class ScheduleFit:
    """What was found: the betas, log-mel error before and after, and how many schedules were heard."""

    betas: tuple[float, ...]
    before: float
    after: float
    tried: int


def descend(
    error: Callable[[tuple[float, ...]], float], starts: Sequence[tuple[float, ...]], progress: Progress | None = None
) -> ScheduleFit:
    """Begin with the best of `starts` and move one beta at a time while it helps; the first start is what is compared with.

    Args:
        error: of a schedule; lower is better.
        starts: schedules of one length.
        progress: called with (factors done, factors).

    Returns:
        A schedule that is no worse than any start; its betas rise.
    """
    heard: dict[tuple[float, ...], float] = {}

    def measure(betas: tuple[float, ...]) -> float:
        if betas not in heard:
            found = error(betas)
            heard[betas] = found if math.isfinite(found) else math.inf
        return heard[betas]

    best = min(starts, key=measure)
    for number, factor in enumerate(FACTORS):
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(best, factor):
                if measure(candidate) < measure(best):
                    best, improved = candidate, True
        if progress is not None:
            progress(number + 1, len(FACTORS))
    return ScheduleFit(best, heard[starts[0]], heard[best], len(heard))


def _neighbours(betas: tuple[float, ...], factor: float) -> Iterator[tuple[float, ...]]:
    """Schedules that differ in one beta and still rise."""
    for index in range(len(betas)):
        for value in (betas[index] * factor, betas[index] / factor):
            moved = (*betas[:index], value, *betas[index + 1 :])
            if value <= LARGEST and all(a <= b for a, b in zip(moved, moved[1:], strict=False)):
                yield moved


def fit_schedule(
    folder: Path,
    validation_folders: Sequence[Path],
    *,
    steps: int = 6,
    clips: int = 6,
    seconds: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> ScheduleFit:
    """Fit the betas of `steps` steps and store them in the checkpoint, where generation finds them.

    Args:
        folder: checkpoint of a vocoder whose configuration has `fitted_betas`.
        validation_folders: prepared corpora with the `audio` feature, not those it was trained on.
        steps: of the schedule.
        clips: how many recordings are copied for each candidate.
        seconds: how much of each.
        seed: choice of the clips, and their noise.
        progress: see `descend`.

    Raises:
        UserError: the checkpoint has no schedule, or there is no audio.
    """
    loaded = checkpoint.load(folder)
    if "fitted_betas" not in type(loaded.config).model_fields:
        raise UserError(
            f"{folder} is a {loaded.info.model}, which has no noise schedule: give a diffusion vocoder's checkpoint"
        )
    vocoder: Vocoder = loaded.generator()
    if vocoder.mel.sample_rate != RATE:
        raise UserError(
            f"{folder} renders {vocoder.mel.sample_rate} Hz, prepared audio has {RATE}: its schedule cannot be fitted"
        )
    chosen = list(_clips(validation_folders, clips, seconds, seed))
    options = loaded.spec.options

    def error(betas: tuple[float, ...]) -> float:
        distances = []
        for number, clip in enumerate(chosen):
            mel = mel_spectrogram(clip, vocoder.mel)
            asked = validate(options, {"betas": betas}, "betas")
            copy = vocoder.generate(mel, options=asked, rng=generator(seed, "fit-schedule", number))
            distances.append((mel_spectrogram(copy, vocoder.mel).values - mel.values).abs().mean())
        return float(torch.stack(distances).mean())

    fit = descend(error, _starts(vocoder, steps), progress)
    config = {**loaded.info.config, "fitted_betas": list(fit.betas)}
    _store(folder, loaded.info.model_copy(update={"config": config}))
    return fit


def _starts(vocoder: Any, steps: int) -> list[tuple[float, ...]]:
    """What generation uses now comes first, if it has a schedule of so many steps."""
    ready = [tuple(spaced_betas(*ends, steps, geometric=True).tolist()) for ends in STARTS]
    try:
        return [vocoder.schedule(steps), *ready]
    except ValueError:
        return ready


def _clips(folders: Sequence[Path], count: int, seconds: float, seed: int) -> Iterator[Waveform]:
    """The loudest stretch of random recordings, in whole frames of most hops."""
    stores = [FeatureStore(path) for folder in folders for path in find(folder, "audio").values()]
    items = [(store, key) for store in stores for key in store.offsets]
    if not items:
        raise UserError(f"no audio feature in {', '.join(map(str, folders))}: run `speechgen prepare … --features audio`")
    size = round(seconds * RATE)
    for index in np.random.default_rng(mix(seed, "clips")).permutation(len(items))[:count]:
        store, key = items[index]
        samples = torch.from_numpy(store.get(key).astype(np.float32) / SCALE)
        yield Waveform.single(_loudest(samples, size), RATE)


def _loudest(samples: Tensor, size: int) -> Tensor:
    """The window [size] of most energy, found in steps of a tenth."""
    if len(samples) <= size:
        return samples
    windows = samples.unfold(0, size, max(1, size // 10))  # [N, size]
    return windows[int(windows.square().sum(-1).argmax())].contiguous()


def _store(folder: Path, info: Any) -> None:
    """Write `config.json` alone: weights, card, recipe and figures stay."""
    checkpoint.write_text_atomically(folder / "config.json", info.model_dump_json(indent=1) + "\n")
