"""How fast a pipeline speaks here: everything is measured in one run, warm, loading apart.

A warm-up comes first; then every text is spoken `runs` times, each time from another seed, whole for the real-time factor
and streamed up to the first sound. The comparison runs behind it in the same process, with the same threads and device.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import LatentPart, Progress
from speechgen.core.types import Latents, Text
from speechgen.evaluation.speed import Percentiles, peak_memory_bytes, percentiles, real_time_factor
from speechgen.pipeline.speaking import Stages
from speechgen.service import voices
from speechgen.service.engine import Engine
from speechgen.service.machine import describe, now, using_threads
from speechgen.service.peers import load_transformers, time_vits
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult

__all__ = ["COMPARISONS", "TEXT", "BenchReport", "Comparison", "Speed", "bench_synthesis"]

TEXT = "The kitchen window looks out on a quiet garden, and the cat watches the birds."
COMPARISONS = ("vits",)
TIMED = {"tokenizer": "encode", "codec": "decode", "autoencoder": "decode", "text_to_latents": "stream"}
"""Slot of the pipeline -> method that is timed, where it is not `generate`."""


@dataclass(frozen=True)
class Speed:
    """What speaking takes.

    Attributes:
        rtf: seconds of work for a second of sound.
        work_seconds: median for one text.
        audio_seconds: median length of the sound.
        parameters: of all networks.
    """

    rtf: Percentiles
    work_seconds: float
    audio_seconds: float
    parameters: int


@dataclass(frozen=True)
class Comparison:
    """Another system, measured beside the pipeline; `how` says under which conditions."""

    name: str
    speed: Speed
    how: str


@dataclass(frozen=True)
class BenchReport:
    """All figures of one run.

    Attributes:
        pipeline: its name.
        voice: who spoke.
        texts: how many, and how often each was spoken.
        runs: see texts.
        speed: of the pipeline, warm.
        load_seconds: reading the checkpoints and the phonemizer.
        reference_seconds: encoding the voice, which the engine does once; next to nothing for a stored voice.
        stages: median seconds of each stage for one text; "rest" is everything else.
        first_audio_seconds: from the request to the first sound of a stream, warm.
        peak_memory_mb: largest resident set of the process, before the comparison was loaded.
        threads: CPU threads of torch.
        dtype: of the weights, as computed with.
        device: where the networks ran.
        torch: its version.
        machine: processor as the system names it, and how many cores the system has.
        comparison: another system in the same run.
    """

    pipeline: str
    voice: str
    texts: int
    runs: int
    speed: Speed
    load_seconds: float
    reference_seconds: float
    stages: dict[str, float]
    first_audio_seconds: Percentiles
    peak_memory_mb: float
    threads: int
    dtype: str
    device: str
    torch: str
    machine: str
    comparison: Comparison | None

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)


def bench_synthesis(
    engine: Engine,
    requests: Sequence[SynthesisRequest],
    *,
    runs: int,
    threads: int | None = None,
    compare: str | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure how fast requests of one pipeline and voice are spoken.

    Args:
        engine: nothing needs to be loaded; what it loads is measured.
        requests: at least one; their seeds are replaced.
        runs: how often each is spoken.
        threads: CPU threads to use, by default as many as torch does.
        compare: name of another system, out of COMPARISONS.
        progress: called after each utterance.

    Raises:
        UserError: something that was given cannot be used, or transformers is missing.
    """
    if compare is not None and compare not in COMPARISONS:
        raise UserError(f"cannot compare with {compare!r}: allowed: {', '.join(COMPARISONS)}")
    transformers = None if compare is None else load_transformers()
    total = len(requests) * runs * (2 if compare is None else 3)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with using_threads(threads):
        report, spoken = _measure(engine, requests, runs, step)
        if transformers is None:
            return report
        other = time_vits(transformers, engine.device, spoken, step)
        return replace(report, comparison=Comparison("vits", _speed(other.work, other.audio, [other.network]), other.how))


def _measure(
    engine: Engine, requests: Sequence[SynthesisRequest], runs: int, step: Callable[[], None]
) -> tuple[BenchReport, list[tuple[str, float]]]:
    """Speak; returns the report and every text that was spoken, with the seconds of its sound."""
    started = time.perf_counter()
    stages = engine.load(requests[0].pipeline).stages
    warm_up = requests[0].model_copy(update={"seed": 0})
    with _timed(stages, engine.device) as spent:
        first = engine.synthesize(warm_up)
    load_seconds = time.perf_counter() - started - first.synthesis_seconds  # with the phonemizer
    source = voices.read_source(warm_up.ref, warm_up.voice)
    started = now(engine.device)
    voices.encode(source, engine.load(warm_up.pipeline), warm_up.ref_text)
    reference_seconds = now(engine.device) - started
    _first_sound(engine, warm_up)
    results: list[SynthesisResult] = []
    firsts: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in (*(name for name in spent if name != "tokenizer"), "rest")}
    for seed in range(1, runs + 1):
        for request in requests:
            asked = request.model_copy(update={"seed": seed})
            with _timed(stages, engine.device) as spent:
                results.append(engine.synthesize(asked))
            spent["rest"] = results[-1].synthesis_seconds - sum(spent.values()) + spent.get("tokenizer", 0.0)
            for name, values in parts.items():
                values.append(spent[name])
            step()
            firsts.append(_first_sound(engine, asked))
            step()
    networks = _networks(stages)
    report = BenchReport(
        pipeline=requests[0].pipeline,
        voice=first.voice,
        texts=len(requests),
        runs=runs,
        speed=_speed([result.synthesis_seconds for result in results], [result.seconds for result in results], networks),
        load_seconds=load_seconds,
        reference_seconds=reference_seconds,
        stages={name: percentiles(values).p50 for name, values in parts.items()},
        first_audio_seconds=percentiles(firsts),
        peak_memory_mb=peak_memory_bytes() / 1e6,
        threads=first.threads,
        dtype=" + ".join(sorted({str(p.dtype).removeprefix("torch.") for net in networks for p in net.parameters()})),
        device=first.device,
        torch=torch.__version__,
        machine=describe(),
        comparison=None,
    )
    texts = [request.text for _ in range(runs) for request in requests]
    return report, [(text, result.seconds) for text, result in zip(texts, results, strict=True)]


def _speed(work: Sequence[float], audio: Sequence[float], networks: Sequence[nn.Module]) -> Speed:
    factors = [real_time_factor(seconds, sound) for seconds, sound in zip(work, audio, strict=True)]
    parameters = sum(p.numel() for network in networks for p in network.parameters())
    return Speed(percentiles(factors), percentiles(work).p50, percentiles(audio).p50, parameters)


def _first_sound(engine: Engine, request: SynthesisRequest) -> float:
    """Seconds from asking for a stream to its first samples; the rest is not made."""
    started = time.perf_counter()
    for chunk in engine.stream(request):
        if len(chunk.samples):
            return time.perf_counter() - started
    raise UserError(f"nothing is heard of {request.text[:40]!r}: give another text")


@contextmanager
def _timed(stages: Stages, device: torch.device) -> Iterator[dict[str, float]]:
    """Time the stages' methods while inside; yields the seconds spent in each so far."""
    spent = dict.fromkeys(stages.models, 0.0)

    @contextmanager
    def clock(name: str) -> Iterator[None]:
        started = now(device)
        try:
            yield
        finally:
            spent[name] += now(device) - started

    def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def stream(
            text: Text, prompt: Latents, prompt_text: Text, *, count: int, options: StrictModel, rng: torch.Generator
        ) -> Iterator[LatentPart]:
            made = method(text, prompt, prompt_text, count=count, options=options, rng=rng)
            while True:
                with clock(name):
                    part = next(made, None)
                if part is None:
                    return
                yield part

        return stream if name == "text_to_latents" else clock(name)(method)

    methods = [(name, stage, TIMED.get(name, "generate")) for name, stage in stages.models.items()]
    for name, stage, method in methods:
        setattr(stage, method, timed(name, getattr(stage, method)))  # hides the method of the class
    try:
        yield spent
    finally:
        for _, stage, method in methods:
            delattr(stage, method)


def _networks(stages: Stages) -> list[nn.Module]:
    """Every network that a stage holds."""
    return [value for part in stages.models.values() for value in vars(part).values() if isinstance(value, nn.Module)]
