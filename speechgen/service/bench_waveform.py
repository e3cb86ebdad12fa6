"""How fast waveform models draw: layer by layer, by compiled steps, many rows at once; beside vocoders, which are parallel.

Figures are processor seconds of one thread for a second of sound, in turns, medians: other work on the machine counts little.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from speechgen.core import registry
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.sampling.levels import AutoregressiveGenerator
from speechgen.service import catalog, waveforms
from speechgen.service.engine import Engine
from speechgen.service.machine import describe, using_threads

__all__ = ["WaveformBench", "WaveformSpeed", "bench_waveforms"]

ROWS = 64
EAGER_SAMPLES, BATCHED_SAMPLES = 160, 800


@dataclass(frozen=True)
class WaveformSpeed:
    """Processor seconds for a second of sound: eager, by compiled steps, and for each of 64 rows; and what was measured.

    `operations` are the floating-point operations of a second of sound, in products of matrices and recurrences.
    """

    eager: float
    stepped: float
    batched: float
    operations: float
    rate: int
    parameters: int
    how: str


@dataclass(frozen=True)
class WaveformBench:
    """All figures of one run; `vocoders` have one: processor seconds for a second of sound.

    `peak` is how many floating-point operations a second a compiled product of matrices in the nearest memory reaches.
    """

    models: dict[str, WaveformSpeed]
    vocoders: dict[str, float]
    peak: float
    seconds: float
    runs: int
    torch: str
    machine: str

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)


def bench_waveforms(
    names: Sequence[str] = (),
    *,
    seconds: float = 1.0,
    runs: int = 5,
    with_vocoders: bool = True,
    progress: Progress | None = None,
) -> WaveformBench:
    """Measure waveform models and, beside them, the installed vocoders, on one thread.

    Args:
        names: checkpoints besides the `small` preset of every model, whose random weights take as long.
        seconds: of sound, drawn by compiled steps or rendered.
        runs: each figure is the median of so many.
        with_vocoders: measure these, too.
        progress: called after each figure of each run.

    Raises:
        UserError: there is no such checkpoint, or it is no waveform model.
    """
    contenders = {**_presets(), **{name: _named(name) for name in dict.fromkeys(names)}}
    jobs: dict[tuple[str, str], Callable[[], float]] = {}
    for name, each in contenders.items():
        jobs |= {(name, kind): job for kind, job in _jobs(each.model, seconds).items()}
    if with_vocoders:
        engine = Engine("cpu")
        jobs |= {(name, "vocoder"): _vocoder(engine, name, seconds) for name in catalog.of_role("vocoders")}
    found: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
    done, total = 0, len(jobs) * (runs + 1)
    with using_threads(1):
        peak = _peak()
        for run in range(runs + 1):  # the first warms up: code is compiled then
            for key, job in jobs.items():
                started = time.process_time()
                sound = job()
                if run:
                    found[key].append((time.process_time() - started) / sound)
                done += 1
                if progress is not None:
                    progress(done, total)
    median = {key: statistics.median(values) for key, values in found.items()}
    speeds = {
        name: WaveformSpeed(
            eager=median[name, "eager"],
            stepped=median[name, "stepped"],
            batched=median[name, "batched"],
            operations=2 * each.model.sample_rate * getattr(each.model.samplers("fused", 1), "multiplications", 0.0),
            rate=each.model.sample_rate,
            parameters=each.parameters,
            how=each.how,
        )
        for name, each in contenders.items()
    }
    rendered = {name: value for (name, kind), value in median.items() if kind == "vocoder"}
    return WaveformBench(speeds, rendered, peak, seconds, runs, torch.__version__, describe())


@dataclass(frozen=True)
class _Contender:
    model: AutoregressiveGenerator
    parameters: int
    how: str


def _presets() -> dict[str, _Contender]:
    """The small preset of every autoregressive waveform model, with random weights."""
    found = {}
    for name, role in registry.names().items():
        spec = registry.get(name) if role == "waveform" else None
        small = getattr(spec.config, "small", None) if spec is not None else None
        if spec is not None and small is not None:
            config = small()
            network = spec.build(config).eval()
            found[name] = _Contender(spec.generator(network, config), _size(network), f"{name}, small, random weights")
    return found


def _named(name: str) -> _Contender:
    waveforms.load_autoregressive(name)
    loaded = waveforms.load_checkpoint(name)
    return _Contender(loaded.generator(), _size(loaded.network), f"{name}: {loaded.info.model}")


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _jobs(model: AutoregressiveGenerator, seconds: float) -> dict[str, Callable[[], float]]:
    """What is measured of a model; each returns the seconds of sound it made."""

    def job(engine: str, rows: int, samples: int) -> Callable[[], float]:
        sampler = model.samplers(engine, rows)
        uniform = torch.rand(samples, rows, generator=generator(0, "bench")).numpy()

        def draw() -> float:
            sampler.run(np.full((samples, rows), -1, np.int64), uniform, 1.0, 1.0)
            return samples * rows / model.sample_rate

        return draw

    stepped = round(seconds * model.sample_rate)
    return {
        "eager": job("eager", 1, EAGER_SAMPLES),
        "stepped": job("fused", 1, stepped),
        "batched": job("fused", ROWS, BATCHED_SAMPLES),
    }


def _peak() -> float:
    """The most floating-point operations a second among a few tries."""
    from speechgen.nn.fused_vector import LANES, repeat_product

    size, times = 64, 10_000
    given = [np.ones(shape, np.float32) for shape in ((size, LANES), (size, size), (size,), (size, LANES))]
    repeat_product(*given, 1)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        repeat_product(*given, times)
        best = min(best, time.process_time() - started)
    return 2 * size * size * LANES * times / best


def _vocoder(engine: Engine, name: str, seconds: float) -> Callable[[], float]:
    model, options = engine.load_vocoder(name)
    frames = round(seconds * model.mel.frame_rate) + 1
    values = -4 + 2 * torch.randn(1, frames, model.mel.num_bins, generator=generator(0, "bench"))
    mel = Mel(values, torch.tensor([frames]), model.mel)
    return lambda: model.generate(mel, options=options, rng=generator(0, "vocoder")).seconds
