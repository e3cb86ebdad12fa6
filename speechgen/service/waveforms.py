"""Waveform models by name, and clips drawn from them into files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from speechgen.audio.io import read_audio, write_audio
from speechgen.audio.loudness import normalize_level
from speechgen.core import checkpoint
from speechgen.core.config import StrictModel, apply_overrides, validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import AutoregressiveModel, Progress
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.service import catalog
from speechgen.service.results import provenance

__all__ = ["Clips", "SampleRequest", "draw_clips", "load", "load_autoregressive", "load_checkpoint", "read_prime"]

TOGETHER_SECONDS = 30.0
"""Longer clips are drawn one after another, straight into their files: memory does not grow with them."""
LONGEST_SECONDS = 36_000.0
"""Ten hours: a wav file ends at 4 GiB."""
LARGEST_SEED = 2**31


@dataclass(frozen=True)
class SampleRequest:
    """What to draw.

    Attributes:
        model: name of a checkpoint, or its folder.
        count: clips.
        seconds: of each.
        prime: a recording to continue; what is drawn begins behind it.
        changes: of the model's options, such as "temperature=0.9".
        seed: same seed, same bytes; None: chosen at random.
    """

    model: str
    count: int = 1
    seconds: float = 1.0
    prime: Path | None = None
    changes: Sequence[str] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Clips:
    """What was drawn: files in order, samples per second, seconds of sound and of work, the seed, and what to know."""

    paths: tuple[Path, ...]
    rate: int
    seconds: float
    work_seconds: float
    seed: int
    notes: tuple[str, ...]

    @property
    def rtf(self) -> float:
        """Seconds of work for a second of sound, all clips together."""
        return self.work_seconds / self.seconds


def load(name: str, changes: Sequence[str] = ()) -> tuple[AutoregressiveModel, StrictModel]:
    """Load a waveform model and check the changes of its options.

    Raises:
        UserError: there is no such checkpoint, it is of another role, or has no such option.
    """
    loaded = load_checkpoint(name)
    options: StrictModel = validate(loaded.spec.options, apply_overrides({}, changes), f"options of {name}")
    model: AutoregressiveModel = loaded.generator()
    return model, options


def load_autoregressive(name: str, changes: Sequence[str] = ()) -> tuple[AutoregressiveModel, StrictModel]:
    """The same for a model that draws sample by sample and knows likelihoods.

    Raises:
        UserError: as `load`, or it is of another kind.
    """
    model, options = load(name, changes)
    if not hasattr(model, "bits"):
        raise UserError(f"{name} does not draw sample by sample and knows no likelihoods: give a model that does")
    return model, options


def load_checkpoint(name: str) -> checkpoint.Loaded:
    """Load the checkpoint of a waveform model.

    Raises:
        UserError: there is no such checkpoint, or it is of another role.
    """
    loaded = checkpoint.load(catalog.find_checkpoint(name))
    if loaded.spec.role != "waveform":
        raise UserError(f"{name} holds {loaded.info.model}, of {loaded.spec.role}: give a waveform model's checkpoint")
    return loaded


def read_prime(path: Path, rate: int) -> tuple[Waveform, tuple[str, ...]]:
    """Read a recording to continue, at the level of the training data; tell if its rate is changed.

    Raises:
        UserError: it is missing or no audio.
    """
    audio = read_audio(path)
    heard = Waveform.single(normalize_level(audio.samples[0], audio.rate), audio.rate)
    same = audio.rate == rate
    return heard, () if same else (f"{path.name} has {audio.rate} samples a second, the model {rate}: it is resampled",)


def draw_clips(request: SampleRequest, out: Path, progress: Progress | None = None) -> Clips:
    """Draw clips into `out`, a folder that is made if it is missing: wav files named by model, seed and number.

    Raises:
        UserError: something that was given cannot be used, or the disk refuses.
    """
    if not request.seconds > 0 or request.count < 1:
        raise UserError(f"{request.count} clips of {request.seconds:g} s are nothing to draw: give at least one of some length")
    if request.seconds > LONGEST_SECONDS:
        raise UserError(f"a clip of {request.seconds:g} s is too long for a wav file: ask for {LONGEST_SECONDS:g} s at most")
    model, options = load(request.model, request.changes)
    samples = max(1, round(request.seconds * model.sample_rate))
    prime, notes = (None, ()) if request.prime is None else read_prime(request.prime, model.sample_rate)
    seed = secrets.randbelow(LARGEST_SEED) if request.seed is None else request.seed
    name = Path(request.model).name
    if not out.parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}; create it first")
    out.mkdir(exist_ok=True)
    paths = tuple(out / f"{name}-{seed}-{number:03}.wav" for number in range(1, request.count + 1))
    comment = provenance(f"model {name}", seed)
    started = time.perf_counter()
    if request.seconds <= TOGETHER_SECONDS:
        drawn = model.generate(request.count, samples, prime, options=options, rng=generator(seed, "sample"), progress=progress)
        for path, row in zip(paths, drawn.samples, strict=True):
            write_audio(path, row, model.sample_rate, comment=comment)
    elif not hasattr(model, "stream"):
        raise UserError(
            f"{name} makes its waveforms as a whole, {TOGETHER_SECONDS:g} s at most: ask for less than {request.seconds:g}"
        )
    else:
        for number, path in enumerate(paths):
            pieces = model.stream(samples, prime, options=options, rng=generator(seed, "sample", number))
            told = _told(pieces, number * samples, request.count * samples, progress)
            write_audio(path, told, model.sample_rate, comment=comment)
    work = time.perf_counter() - started
    return Clips(paths, model.sample_rate, request.count * samples / model.sample_rate, work, seed, notes)


def _told(pieces: Iterator[Tensor], done: int, total: int, progress: Progress | None) -> Iterator[Tensor]:
    """The pieces, with the progress told after each."""
    for piece in pieces:
        done += len(piece)
        if progress is not None:
            progress(done, total)
        yield piece
