"""How fast codes are made in parallel: beside one code after another on the same trunk, and beside `soundstorm-pytorch`.

All take turns, with the same threads, on as many frames; weights are random, which changes no time.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import CodecTokens, SemanticTokens
from speechgen.evaluation.speed import Percentiles, percentiles
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig, SoundStormOptions
from speechgen.models.acoustic.soundstorm.generate import SoundStormGenerator
from speechgen.models.acoustic.soundstorm.model import SoundStorm
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig, MAGNeTOptions
from speechgen.models.text_to_codes.magnet.generate import MAGNeTGenerator
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.nn.packed import hasten, precisions
from speechgen.service import published_soundstorm
from speechgen.service.answering import answering
from speechgen.service.machine import describe, using_threads

__all__ = ["FAMILIES", "INSTALL", "Made", "TokensBench", "bench_tokens"]

Family = Literal["soundstorm", "magnet"]
FAMILIES: tuple[Family, ...] = ("soundstorm", "magnet")
INSTALL = (
    "python -m venv published && published/bin/pip install torch && published/bin/pip install --no-deps soundstorm-pytorch "
    "beartype jaxtyping wadler-lindig rotary-embedding-torch einops hyper-connections gateloop-transformer tqdm"
)
"""How to get the published code into an environment of its own."""
PRECISIONS = tuple(precision for precision in precisions() if precision != "int8")
SMALL_SOUNDSTORM = SoundStormConfig(num_tokens=192, width=192, depth=6, speakers=2)
SMALL_MAGNET = MAGNeTConfig(dropout=0.0)


@dataclass(frozen=True)
class Spent:
    """One generation: by the clock, and of the processor."""

    seconds: float
    cpu: float


@dataclass(frozen=True)
class Made:
    """Time to make all codes one way, and how many evaluations that took."""

    seconds: Percentiles
    cpu: Percentiles
    passes: int


@dataclass(frozen=True)
class TokensBench:
    """All figures of one run; `ways` by name, such as "parallel bfloat16"."""

    family: str
    ways: dict[str, Made]
    audio_seconds: float
    codebooks: int
    trunk_parameters: int
    runs: int
    threads: int
    published: str | None
    torch: str
    machine: str

    def speedup(self, name: str, against: str) -> float | None:
        """How many times sooner one way is done than another, by the clock; None if that was not measured."""
        other = self.ways.get(against)
        return None if other is None else other.seconds.p50 / self.ways[name].seconds.p50

    def saving(self, name: str, against: str) -> float | None:
        """How many times less the processor works; what else runs on the machine matters less to it."""
        other = self.ways.get(against)
        return None if other is None else other.cpu.p50 / self.ways[name].cpu.p50

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)


def bench_tokens(
    family: Family = "soundstorm",
    *,
    python: Path | None = None,
    seconds: float = 30.0,
    steps: int | None = None,
    orders: tuple[str, ...] = ("delay", "flat"),
    runs: int = 3,
    threads: int | None = None,
    progress: Progress | None = None,
) -> TokensBench:
    """Measure the making of codes on the CPU, each way in turn, behind one turn that warms up the parallel ones.

    Args:
        family: whose trunk.
        python: interpreter of an environment with `soundstorm-pytorch`; None: without it.
        seconds: of sound.
        steps: passes for the first codebook; None: as the family's options have it.
        orders: ways of one code after another to measure; of "delay" and "flat" (soundstorm alone).
        runs: how often each is measured.
        threads: CPU threads of all.
        progress: called after each generation.

    Raises:
        UserError: there is no such family, it is not made for so long, or the published code does not run there.
    """
    if family not in FAMILIES:
        raise UserError(f"there is no {family!r}: give one of {', '.join(FAMILIES)}")
    if family == "magnet" and (python is not None or seconds * SMALL_MAGNET.code_rate > SMALL_MAGNET.max_frames):
        longest = SMALL_MAGNET.max_frames / SMALL_MAGNET.code_rate
        raise UserError(f"magnet is measured without --published and up to {longest:.0f} s: give --seconds 10")
    with using_threads(threads), ExitStack() as opened:
        if family == "soundstorm":
            ways, passes = _soundstorm(seconds, steps, orders)
        else:
            ways, passes = _magnet(seconds, steps)
        config = SMALL_SOUNDSTORM if family == "soundstorm" else SMALL_MAGNET
        about = None
        if python is not None:
            frames = round(seconds * config.code_rate)
            sizes = {**SMALL_SOUNDSTORM.model_dump(), "frames": frames, "steps": steps or SoundStormOptions().steps}
            ask = opened.enter_context(answering(python, published_soundstorm.__file__, [json.dumps(sizes)], INSTALL))
            about = ask("")
            for precision in PRECISIONS:
                name = f"published {precision}"
                ways[name] = lambda precision=precision: _asked(ask(precision), passes, f"published {precision}")  # type: ignore[misc]
        spent = _turns(ways, runs, progress)
    return TokensBench(
        family,
        {
            name: Made(percentiles([s.seconds for s in each]), percentiles([s.cpu for s in each]), passes[name])
            for name, each in spent.items()
        },
        seconds,
        config.num_codebooks,
        _trunk_parameters(family),
        runs,
        torch.get_num_threads(),
        None if about is None else f"soundstorm-pytorch {about['version']}, torch {about['torch']}",
        torch.__version__,
        describe(),
    )


Way = Callable[[], Spent]


def _turns(ways: dict[str, Way], runs: int, progress: Progress | None) -> dict[str, list[Spent]]:
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    total, done = (runs + 1) * len(ways), 0
    for turn in range(runs + 1):
        for name, make in ways.items():
            if turn or not name.startswith("one by one"):  # hundreds of steps warm themselves up
                found = make()
                if turn:
                    spent[name].append(found)
            done += 1
            if progress is not None:
                progress(done, total)
    return spent


def _soundstorm(seconds: float, steps: int | None, orders: tuple[str, ...]) -> tuple[dict[str, Way], dict[str, int]]:
    """Ways to make codes of so many seconds, and counters of their evaluations, filled as they run."""
    rate = SMALL_SOUNDSTORM.code_rate
    frames, passes, ways = round(seconds * rate), dict[str, int](), dict[str, Way]()
    rng = torch.Generator().manual_seed(0)
    tokens = SemanticTokens(
        torch.randint(SMALL_SOUNDSTORM.num_tokens, (1, frames), generator=rng), torch.tensor([frames]), rate, 192
    )
    silent = SemanticTokens(tokens.ids[:, :0], torch.tensor([0]), rate, 192)
    books, size = SMALL_SOUNDSTORM.num_codebooks, SMALL_SOUNDSTORM.codebook_size
    nothing = CodecTokens(torch.zeros(1, books, 0, dtype=torch.long), torch.tensor([0]), rate, size, "none")
    options = SoundStormOptions() if steps is None else SoundStormOptions(steps=steps)
    for order in ("parallel", *orders):
        config = SMALL_SOUNDSTORM.model_copy(update={"order": order})
        torch.manual_seed(0)
        network = SoundStorm(config).eval()
        for precision in PRECISIONS:
            name = f"{'parallel' if order == 'parallel' else f'one by one, {order},'} {precision}"
            packed = copy.deepcopy(network)
            hasten(packed, precision, torch.device("cpu"))
            model = SoundStormGenerator(packed, config)

            def make(model: SoundStormGenerator = model, name: str = name) -> Spent:
                with _counted(model.network, "refine", passes, name), _clock() as clock:
                    model.generate(tokens, nothing, silent, options=options, rng=generator(0))
                return clock[0]

            ways[name] = make
    return ways, passes


def _magnet(seconds: float, steps: int | None) -> tuple[dict[str, Way], dict[str, int]]:
    """As `_soundstorm`."""
    frames, passes, ways = round(seconds * SMALL_MAGNET.code_rate), dict[str, int](), dict[str, Way]()
    shape = (1, SMALL_MAGNET.num_codebooks, 0)
    nothing = CodecTokens(
        torch.zeros(shape, dtype=torch.long), torch.tensor([0]), SMALL_MAGNET.code_rate, SMALL_MAGNET.codebook_size, "none"
    )
    torch.manual_seed(0)
    network = MAGNeT(SMALL_MAGNET).eval()
    for precision in PRECISIONS:
        packed = copy.deepcopy(network)
        hasten(packed, precision, torch.device("cpu"))
        model = MAGNeTGenerator(packed, SMALL_MAGNET)
        for causal in (False, True):
            name = f"{'one by one, delay,' if causal else 'parallel'} {precision}"
            options = MAGNeTOptions(causal=causal) if steps is None else MAGNeTOptions(causal=causal, steps=steps)

            def make(model: MAGNeTGenerator = model, name: str = name, options: MAGNeTOptions = options) -> Spent:
                with _counted(model.network, "refine", passes, name), _clock() as clock:
                    model.generate(["a slow waltz"], frames, nothing, options=options, rng=generator(0))
                return clock[0]

            ways[name] = make
    return ways, passes


@contextmanager
def _clock() -> Iterator[list[Spent]]:
    """Yield a list that holds what was spent when the block is left."""
    spent: list[Spent] = []
    started, worked = time.perf_counter(), time.process_time()
    yield spent
    spent.append(Spent(time.perf_counter() - started, time.process_time() - worked))


@contextmanager
def _counted(network: Any, method: str, passes: dict[str, int], name: str) -> Iterator[None]:
    """Count the calls of a method of a network while the block runs."""
    original, passes[name] = getattr(network, method), 0

    def counting(*args: Any) -> Any:
        passes[name] += 1
        return original(*args)

    setattr(network, method, counting)
    try:
        yield
    finally:
        delattr(network, method)


def _asked(answer: dict[str, Any], passes: dict[str, int], name: str) -> Spent:
    passes[name] = int(answer["passes"])
    return Spent(float(answer["seconds"]), float(answer["cpu"]))


def _trunk_parameters(family: str) -> int:
    with torch.device("meta"):
        trunk = SoundStorm(SMALL_SOUNDSTORM).trunk if family == "soundstorm" else MAGNeT(SMALL_MAGNET).blocks
    return sum(value.numel() for value in trunk.parameters())
