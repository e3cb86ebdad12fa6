"""From recipe and folders to checkpoints, with a toy in place of a model folder and of a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from speechgen.core import checkpoint, registry
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Objective
from speechgen.core.spec import ModelSpec
from speechgen.data.batching import DataConfig
from speechgen.training import run
from speechgen.training.logging import RunLog
from speechgen.training.recipe import load_recipe
from speechgen.training.run import WarmStart, launch, train, warm_start
from tests.training.toys import Regression, batch, batches

RECIPE = """\
# A comment that must survive.
model: {name: toy, config: {width: 8}}
objective: {noise: 0.5}
data: {batch_seconds: 12}
optim:
  network: {learning_rate: 0.01}
trainer: {steps: 4, ema_decay: 0.5, validate_every: 2, save_every: 2, log_every: 1, validation_batches: 2}
"""


class ToyConfig(StrictModel):
    width: int = 4


class ToyObjectiveConfig(StrictModel):
    noise: float = 0.1


class ToyObjective(Regression):
    fields = ("audio", "labels")

    def __init__(self, network: nn.Module, config: ToyConfig, objective: ToyObjectiveConfig) -> None:
        super().__init__(objective.noise)
        self.parts = {"network": network}


class ToyData:
    """Stands for a prepared corpus; remembers where it was asked to start."""

    starts: list[int] = []
    producers = {"audio": "0123"}
    uses = {"labels": "4567"}
    latents = None
    summary = "a toy"

    def __init__(self, folders: Sequence[Path], fields: Sequence[str], config: DataConfig, seed: int) -> None:
        assert fields == ("audio", "labels")
        assert config.producers == ({} if folders == [Path("corpus")] else self.producers)  # held out: the same features

    def batches(self, start: int, rank: int, world: int) -> Iterator[Batch]:
        ToyData.starts.append(start)
        return batches(start)

    def validation(self, limit: int, rank: int, world: int) -> list[Batch]:
        return [batch(1000 + index) for index in range(limit)]


def build(config: ToyConfig) -> nn.Module:
    return nn.Sequential(nn.Linear(3, config.width), nn.Linear(config.width, 1))


def objective(network: nn.Module, config: ToyConfig, settings: ToyObjectiveConfig) -> Objective:
    return ToyObjective(network, config, settings)


SPEC = ModelSpec(
    "vocoders", ("Mel",), "Waveform", ToyConfig, build, ToyObjectiveConfig, objective, lambda n, c: n, StrictModel, "none"
)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "get", lambda name: SPEC)
    monkeypatch.setattr(run, "TrainingData", ToyData)
    monkeypatch.setattr(ToyData, "starts", [])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def start(recipe: Path, out: Path, *settings: str, init: Path | None = None, resume: bool = False) -> run.TrainResult:
    return train(
        load_recipe(recipe, settings),
        data_folders=[Path("corpus")],
        validation_folders=[Path("held-out")],
        out=out,
        device="cpu",
        init=init,
        resume="auto" if resume else None,
        progress="none",
    )


def test_a_run_leaves_a_loadable_checkpoint_of_the_best_averaged_weights(recipe: Path, tmp_path: Path):
    """Weights fp16, config complete, recipe word for word with what was overridden, metrics of the best validation."""
    result = start(recipe, tmp_path / "run", "trainer.seed=3")
    loaded = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert loaded.config == ToyConfig(width=8)
    assert loaded.info.vocabulary and loaded.info.vocabulary[0] == "<pad>"  # the toy reads labels
    assert (loaded.info.accepts, loaded.info.produces) == (("Mel",), "Waveform")
    assert loaded.info.uses == {"labels": "4567"}
    weights = load_file(tmp_path / "run" / "checkpoint" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    text = (tmp_path / "run" / "checkpoint" / "recipe.yaml").read_text()
    assert text.startswith(RECIPE) and "# --set trainer.seed=3" in text
    assert (
        result.fit.best is not None and f'"loss": {result.fit.best}' in (tmp_path / "run/checkpoint/metrics.json").read_text()
    )
    state = load_file(tmp_path / "run" / "state" / "step-4.safetensors")
    last = load_file(tmp_path / "run" / "last" / "model.safetensors")
    for key, value in last.items():
        assert torch.equal(value, state[f"ema/{key}"].half())
        assert not torch.equal(state[f"ema/{key}"], state[f"weights/network/{key}"])


def test_only_a_better_validation_replaces_the_checkpoint(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Best at step 2: step 4 goes to last/ alone."""
    losses = iter([1.0, 1.0, 2.0, 2.0])
    monkeypatch.setattr(ToyObjective, "validate", lambda self, batch, rng: {"loss": torch.tensor(next(losses))})
    assert start(recipe, tmp_path / "run").fit.best == 1.0
    assert '"step": 2' in (tmp_path / "run/checkpoint/metrics.json").read_text()
    assert '"step": 4' in (tmp_path / "run/last/metrics.json").read_text()


def test_resume_continues_where_the_data_stopped_and_overwriting_is_refused(recipe: Path, tmp_path: Path):
    """`--resume auto` starts a new run and continues an old one; without it an old run is safe."""
    start(recipe, tmp_path / "run", "trainer.steps=2", "trainer.accumulate=3", resume=True)
    with pytest.raises(UserError, match="already holds a run: continue it with --resume auto, or choose another --out"):
        start(recipe, tmp_path / "run")
    ToyData.starts.clear()
    result = start(recipe, tmp_path / "run", "trainer.accumulate=3", resume=True)
    assert result.fit.step == 4
    assert ToyData.starts[0] == 2 * 3


def test_a_run_without_held_out_data_exports_its_last_weights(recipe: Path, tmp_path: Path):
    """No validation: checkpoint/ is the last export."""
    train(
        load_recipe(recipe),
        data_folders=[Path("corpus")],
        validation_folders=[],
        out=tmp_path / "run",
        device="cpu",
        progress="none",
    )
    best, last = (load_file(tmp_path / "run" / name / "model.safetensors") for name in ("checkpoint", "last"))
    assert all(torch.equal(best[key], last[key]) for key in best)


def test_the_same_seed_gives_the_same_bytes(recipe: Path, tmp_path: Path):
    """And another seed others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        start(recipe, tmp_path / name, f"trainer.seed={seed}")
    a, b, c = ((tmp_path / name / "last" / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_warm_start_takes_what_fits_and_names_what_does_not(tmp_path: Path):
    """Same name and shape: loaded. The four other cases are reported."""
    network = build(ToyConfig(width=4))
    given = {"0.weight": torch.ones(4, 3), "0.bias": torch.ones(4), "1.weight": torch.ones(9, 9), "old": torch.ones(1)}
    save_file(given, tmp_path / "model.safetensors")
    bias = network[1].bias.detach().clone()
    report = warm_start(network, tmp_path)
    assert (report.loaded, report.other_shape) == (("0.bias", "0.weight"), ("1.weight",))
    assert (report.missing, report.unused) == (("1.bias",), ("old",))
    assert torch.equal(network[0].weight, torch.ones(4, 3)) and torch.equal(network[1].bias, bias)
    assert "other shape: 1.weight" in report.report(tmp_path)


def test_warm_start_counts_what_is_too_much_to_name(tmp_path: Path):
    many = tuple(f"blocks.{index}.weight" for index in range(12)) + ("norm.bias",)
    report = WarmStart(loaded=("a", "b"), other_shape=(), missing=many, unused=("old",)).report(tmp_path)
    assert report == f"started from {tmp_path}: 2 tensors; not in it: blocks (12), norm (1); not used: old"


def test_warm_start_reaches_the_trained_and_the_averaged_weights(recipe: Path, tmp_path: Path):
    """A learning rate of nearly nothing leaves the given weights where they were."""
    start(recipe, tmp_path / "first")
    given = load_file(tmp_path / "first" / "last" / "model.safetensors")
    result = start(recipe, tmp_path / "second", "optim.network.learning_rate=1e-12", init=tmp_path / "first" / "last")
    assert result.warm_start is not None and len(result.warm_start.loaded) == len(given)
    after = load_file(tmp_path / "second" / "last" / "model.safetensors")
    assert all(torch.equal(given[key], after[key]) for key in given)


def test_warm_start_from_nothing_is_refused(tmp_path: Path):
    """A missing file, and a checkpoint that shares no tensor."""
    with pytest.raises(UserError, match="give the folder of a checkpoint"):
        warm_start(build(ToyConfig()), tmp_path)
    save_file({"other": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="nothing in .* matches this network"):
        warm_start(build(ToyConfig()), tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.step=3", "trainer.step: unknown key 'step': did you mean 'steps'"),
        ("optim.network.learning_rat=1", "optim.network.learning_rat: .*did you mean 'learning_rate'"),
        ("model.config.widht=3", "model.config: widht: .*did you mean 'width'"),
        ("objective.nois=3", "objective: nois: .*did you mean 'noise'"),
        ("trainer.steps=-1", "trainer.steps: .*greater than 0 .given: -1"),
        ("optim.network.schedule=cosin", "'constant', 'cosine' or 'linear'"),
        ("mode.name=x", "mode: .*did you mean 'model'"),
    ],
)
def test_an_unknown_key_names_its_nearest_match(override: str, said: str, recipe: Path):
    """Every level of a recipe is strict, through the command line too."""
    with pytest.raises(UserError, match=said):
        load_recipe(recipe, [override])


@pytest.mark.parametrize(
    "message", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "CUDA out of memory"]
)
def test_running_out_of_memory_says_what_to_lower(message: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One line with the settings that cost memory and their values."""

    def full(self: object, batch: Batch, step: int, rng: torch.Generator) -> Iterator[object]:
        raise (torch.OutOfMemoryError if "CUDA" in message else RuntimeError)(message)

    monkeypatch.setattr(ToyObjective, "updates", full)
    with pytest.raises(
        UserError, match=r"out of memory at step 0: lower data.batch_seconds \(now 12\).*trainer.accumulate \(now 1\)"
    ):
        start(recipe, tmp_path / "run")


def test_other_runtime_errors_are_not_taken_for_memory(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fault of the program keeps its traceback."""

    def broken(self: object, batch: Batch, step: int, rng: torch.Generator) -> Iterator[object]:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(ToyObjective, "updates", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        start(recipe, tmp_path / "run")


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str):
    """What is allowed, or how many there are."""
    with pytest.raises(UserError, match="device"):
        launch(device, "32-true")


def test_a_processor_without_bfloat16_trains_in_float32(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the recipe asks for would take a hundred times as long; the run says so once."""
    monkeypatch.setattr(run, "has_bfloat16", lambda: False)
    said = []
    monkeypatch.setattr(RunLog, "message", lambda log, text: said.append(text))
    start(recipe, tmp_path / "exact")
    assert not any("bfloat16" in text for text in said)
    start(recipe, tmp_path / "half", "trainer.precision=bf16-mixed")
    assert sum("does not multiply bfloat16" in text for text in said) == 1
    exact, half = (tmp_path / name / "checkpoint" / "model.safetensors" for name in ("exact", "half"))
    assert half.read_bytes() == exact.read_bytes()


def test_the_command_says_how_to_continue_and_exits_130(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C through the command line: exit code 130 and the way to resume; then it resumes and ends with 0."""
    from speechgen.cli.train import train as command

    app = typer.Typer()
    app.command()(command)
    arguments = [str(recipe), "--data", "corpus", "--valid", "held-out", "--out", str(tmp_path / "run"), "--resume", "auto"]
    arguments += ["--device", "cpu", "--set", "trainer.seed=5"]

    inner = ToyObjective.updates

    def interrupted(self: ToyObjective, batch: Batch, step: int, rng: torch.Generator) -> Iterator[object]:
        if step == 1:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        yield from inner(self, batch, step, rng)

    with monkeypatch.context() as patched:
        patched.setattr(ToyObjective, "updates", interrupted)
        stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130, stopped.output
    assert "step 2  saved: continue with the same command and --resume auto" in stopped.output
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    assert "step 4  done, best validation loss" in ended.output
