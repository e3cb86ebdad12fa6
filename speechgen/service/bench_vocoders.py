"""How fast vocoders render here, side by side: in turns, in one run, beside the peak of the machine and other systems.

Every vocoder renders the same mel; a mel's values do not change the work, so noise serves. The first rendering of each warms
up and its operations are counted; the second one's memory is measured; then all take turns, so that a disturbance meets all.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings
from speechgen.evaluation.speed import Percentiles, percentiles, real_time_factor
from speechgen.service import catalog, peers
from speechgen.service.engine import Engine
from speechgen.service.machine import describe, gemm_peak, memory_added, now, using_threads
from speechgen.service.vocoders import split_name

__all__ = ["VocoderBench", "VocoderSpeed", "bench_vocoders"]


@dataclass(frozen=True)
class VocoderSpeed:
    """What rendering takes.

    Attributes:
        rtf: seconds of work for a second of sound.
        macs: multiplications with addition for a second of sound, in matrix products and convolutions.
        gemm_share: of the machine's peak that the median rendering reached.
        memory_mb: that rendering takes at its peak beyond the loaded network; None if the system does not tell.
        parameters: of the network.
        how: what it is.
    """

    rtf: Percentiles
    macs: float
    gemm_share: float
    memory_mb: float | None
    parameters: int
    how: str


@dataclass(frozen=True)
class VocoderBench:
    """All figures of one run.

    Attributes:
        vocoders: by name; peers come last.
        skipped: why some were not measured.
        seconds: of sound at a time.
        runs: that each figure of time is taken from.
        gemm_flops: the most operations a second that a product of large float32 matrices reached, before or after the runs.
        threads: CPU threads of torch.
        device: where the networks ran.
        torch: its version.
        machine: processor as the system names it, and how many cores it has.
    """

    vocoders: dict[str, VocoderSpeed]
    skipped: tuple[str, ...]
    seconds: float
    runs: int
    gemm_flops: float
    threads: int
    device: str
    torch: str
    machine: str

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)


def bench_vocoders(
    engine: Engine,
    names: Sequence[str] = (),
    *,
    seconds: float = 5.0,
    runs: int = 10,
    threads: int | None = None,
    with_peers: bool = True,
    progress: Progress | None = None,
) -> VocoderBench:
    """Measure vocoders and, beside them, HiFi-GAN and the decoder of EnCodec.

    Args:
        engine: loads the vocoders.
        names: checkpoints, with options behind a colon (`service.vocoders.split_name`); without any, all that are installed.
        seconds: of sound to render at a time.
        runs: how often each renders, behind two renderings that warm up.
        threads: CPU threads to use, by default as many as torch does.
        with_peers: measure the other systems, too; they are skipped if their package is missing.
        progress: called after each rendering.

    Raises:
        UserError: there is no vocoder, or one of the names cannot be used.
    """
    if seconds < 0.1:
        raise UserError(f"{seconds:g} s of sound are too little to measure: give at least 0.1")
    chosen = list(dict.fromkeys(names)) or catalog.of_role("vocoders")
    if not chosen:
        raise UserError("no vocoder is installed: name a checkpoint's folder by --vocoder")
    contenders = [_vocoder(engine, name, seconds) for name in chosen]
    skipped: list[str] = []
    if with_peers:
        try:
            package = peers.load_transformers()
            contenders += [peers.hifigan(package, engine.device, MelSettings()), peers.encodec(package, engine.device)]
        except UserError as error:
            skipped.append(f"not measured, hifigan and encodec: {error}")
    total, done = len(contenders) * (runs + 2), 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with using_threads(threads):
        return _measure(engine.device, contenders, seconds, runs, step, tuple(skipped))


def _vocoder(engine: Engine, name: str, seconds: float) -> peers.Decoder:
    """Load a vocoder of ours."""
    base, changes = split_name(name)
    model, options = engine.load_vocoder(base, changes)
    networks = [value for value in vars(model).values() if isinstance(value, nn.Module)]
    settings, device = model.mel, engine.device
    frames = round(seconds * settings.frame_rate) + 1
    values = -4 + 2 * torch.randn(1, frames, settings.num_bins, generator=generator(0, "bench"))
    mel = Mel(values.to(device), torch.tensor([frames], device=device), settings)

    def render(seconds: float) -> float:
        return model.generate(mel, options=options, rng=generator(0, "vocoder", device=device)).seconds

    return peers.Decoder(name, f"{Path(base).name}: {type(networks[0]).__name__}", nn.ModuleList(networks), render)


def _measure(
    device: torch.device,
    contenders: Sequence[peers.Decoder],
    seconds: float,
    runs: int,
    step: Callable[[], None],
    skipped: tuple[str, ...],
) -> VocoderBench:
    macs, memory, factors = [], [], [list[float]() for _ in contenders]
    peak = gemm_peak(device)
    for contender in contenders:
        macs.append(_count(contender, seconds))
        step()
        memory.append(memory_added(lambda contender=contender: contender.render(seconds), device))  # type: ignore[misc]
        step()
    for _ in range(runs):
        for contender, values in zip(contenders, factors, strict=True):
            started = now(device)
            sound = contender.render(seconds)
            values.append(real_time_factor(now(device) - started, sound))
            step()
    peak = max(peak, gemm_peak(device))
    rows = {}
    for contender, count, added, values in zip(contenders, macs, memory, factors, strict=True):
        rtf = percentiles(values)
        rows[contender.name] = VocoderSpeed(
            rtf=rtf,
            macs=count,
            gemm_share=2 * count / rtf.p50 / peak,
            memory_mb=None if added is None else added / 1e6,
            parameters=sum(p.numel() for p in contender.network.parameters()),
            how=contender.how,
        )
    return VocoderBench(
        vocoders=rows,
        skipped=skipped,
        seconds=seconds,
        runs=runs,
        gemm_flops=peak,
        threads=torch.get_num_threads(),
        device=str(device),
        torch=torch.__version__,
        machine=describe(),
    )


def _count(contender: peers.Decoder, seconds: float) -> float:
    """Multiplications with addition for a second of sound."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")  # told when the flags are set back
        # Without these libraries, recurrent layers fall into the matrix products that they consist of.
        without = torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False)
        with without[0], without[1], FlopCounterMode(display=False) as counter:
            sound = contender.render(seconds)
    return float(counter.get_total_flops()) / 2 / sound
