"""How fast the published architectures are here and in the published code: per evaluation of the network, in one run.

The published code runs in an environment of its own as a child, which draws the weights; ours imports them, so that the
outputs can be compared. Both take turns, with the same threads, on the same inputs, with both branches of guidance.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.evaluation.speed import Percentiles, percentiles
from speechgen.models.text_to_mel.f5_tts.config import F5Config
from speechgen.models.text_to_mel.f5_tts.model import F5TTS
from speechgen.nn.packed import Precision, hasten, precisions
from speechgen.published import f5
from speechgen.service import published_e2
from speechgen.service.answering import Ask, answering
from speechgen.service.machine import describe, using_threads

__all__ = ["FAMILIES", "INSTALL", "E2Bench", "Evaluation", "bench_e2"]

FAMILIES = tuple(published_e2.SIZES)
INSTALL = (
    "python -m venv published && published/bin/pip install --no-deps f5-tts==1.1.22 && published/bin/pip install torch "
    "torchaudio x-transformers ema-pytorch torchdiffeq einops librosa rjieba pypinyin safetensors"
)
"""How to get the published code into an environment of its own."""
OURS = precisions()
PUBLISHED: tuple[Precision, ...] = tuple(precision for precision in OURS if precision != "int8")


@dataclass(frozen=True)
class Evaluation:
    """One side at one precision.

    Attributes:
        seconds: of one evaluation, both branches of guidance.
        difference: largest, from the published output in float32; None without the published code.
        relative: norm of the difference over that of the output.
    """

    seconds: Percentiles
    difference: float | None
    relative: float | None


@dataclass(frozen=True)
class E2Bench:
    """All figures of one run; `evaluations` by side and precision, such as "ours float32"."""

    family: str
    frames: int
    runs: int
    evaluations: dict[str, Evaluation]
    parameters: int
    threads: int
    published: str | None
    torch: str
    machine: str

    def speedup(self, precision: str, against: str = "float32") -> float | None:
        """How many times faster ours is at a precision than the published code at another; None if that was not measured."""
        theirs = self.evaluations.get(f"published {against}")
        return None if theirs is None else theirs.seconds.p50 / self.evaluations[f"ours {precision}"].seconds.p50

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)


def bench_e2(
    family: str = "e2tts-base",
    *,
    python: Path | None = None,
    frames: int = 300,
    runs: int = 5,
    threads: int | None = None,
    progress: Progress | None = None,
) -> E2Bench:
    """Measure one evaluation of the network on the CPU, ours and the published one in turns.

    Args:
        family: one of FAMILIES.
        python: interpreter of an environment that has the published code; None: ours alone, with weights of its own.
        frames: of the mel, prompt and all; the published code takes them whole as well.
        runs: how often each is evaluated, behind one evaluation that warms up.
        threads: CPU threads of both.
        progress: called after each evaluation.

    Raises:
        UserError: there is no such family, or the published code does not run in that environment.
    """
    if family not in FAMILIES:
        raise UserError(f"there is no {family!r}: give one of {', '.join(FAMILIES)}")
    with tempfile.TemporaryDirectory(prefix="speechgen-bench-") as folder, using_threads(threads):
        place = Path(folder)
        if python is None:
            return _measure(family, place, None, frames, runs, progress)
        arguments = (family, str(frames), str(place))
        with answering(python, published_e2.__file__, arguments, INSTALL) as ask:
            return _measure(family, place, ask, frames, runs, progress)


def _measure(family: str, place: Path, ask: Ask | None, frames: int, runs: int, progress: Progress | None) -> E2Bench:
    about = None if ask is None else ask("")
    network = _ours(family, place, published=about is not None)
    parameters = sum(value.numel() for value in network.parameters())
    evaluate = _evaluation(place, frames, published=about is not None)
    contenders: dict[str, Callable[[], float]] = {}
    outputs: dict[str, Tensor] = {}
    for precision in PUBLISHED if ask is not None else ():
        contenders[f"published {precision}"] = lambda precision=precision: float(ask(precision)["seconds"])  # type: ignore[misc]
    for precision in OURS:
        packed = copy.deepcopy(network)
        hasten(packed, precision, torch.device("cpu"))
        contenders[f"ours {precision}"] = lambda packed=packed, name=f"ours {precision}": evaluate(packed, outputs, name)  # type: ignore[misc]
    del network
    total, done = (runs + 1) * len(contenders), 0
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs + 1):
        for name, run in contenders.items():
            spent[name].append(run())
            done += 1
            if progress is not None:
                progress(done, total)
    if ask is not None:
        outputs |= {f"published {precision}": load_file(place / f"{precision}.safetensors")["made"] for precision in PUBLISHED}
    wanted = outputs["published float32" if ask is not None else "ours float32"]
    evaluations = {
        name: Evaluation(
            percentiles(seconds[1:]),
            float((outputs[name] - wanted).abs().max()),
            float((outputs[name] - wanted).norm() / wanted.norm()),
        )
        for name, seconds in spent.items()
    }
    version = None if about is None else f"f5-tts {about['version']}, torch {about['torch']}"
    return E2Bench(
        family, frames, runs, evaluations, parameters, torch.get_num_threads(), version, torch.__version__, describe()
    )


def _ours(family: str, place: Path, *, published: bool) -> F5TTS:
    """Our network, with the weights that the published code drew or, without it, its own."""
    vocabulary = tuple(chr(0x4E00 + index) for index in range(published_e2.SYMBOLS))
    config: F5Config = getattr(F5Config, family.replace("-", "_"))(vocabulary)
    with torch.device("meta"):
        network = F5TTS(config)
    network = network.to_empty(device="cpu").eval()
    if published:
        state = load_file(place / "model.safetensors")
        network.load_state_dict(f5.convert({key.removeprefix("ema_model.transformer."): state[key] for key in state}))
    else:
        rng = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            parameter.data.normal_(std=0.03, generator=rng)
    return network


def _evaluation(place: Path, frames: int, *, published: bool) -> Callable[[F5TTS, dict[str, Tensor], str], float]:
    """Return what evaluates a network once, keeps its output under a name and returns the seconds that took."""
    if published:
        given = load_file(place / "inputs.safetensors")
    else:
        rng = torch.Generator().manual_seed(0)
        mels = {name: torch.randn(1, frames, published_e2.BINS, generator=rng) for name in ("x", "cond")}
        given = {**mels, "text": torch.randint(0, published_e2.SYMBOLS, (1, max(1, frames // 6)), generator=rng)}
        given["time"] = torch.tensor([0.3])
    visible = torch.cat((given["cond"], torch.zeros_like(given["cond"])))
    text, lengths = given["text"].repeat(2, 1), torch.tensor([frames, frames])
    text_lengths, hidden = torch.tensor([text.shape[1]] * 2), torch.tensor([False, True])

    @torch.inference_mode()
    def evaluate(network: F5TTS, outputs: dict[str, Tensor], name: str) -> float:
        # The text is embedded once for all evaluations of an utterance, here and there.
        read = network.read(text, text_lengths, lengths, hidden)
        started = time.perf_counter()
        noisy = given["x"].repeat(2, 1, 1)
        outputs[name] = network(noisy, visible, text, text_lengths, hidden, given["time"], lengths, read).velocity
        return time.perf_counter() - started

    return evaluate
