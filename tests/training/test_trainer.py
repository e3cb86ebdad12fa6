"""The loop: exact resume, parts that keep to themselves, interruption, faults."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Update
from speechgen.training import state
from speechgen.training.optim import OptimConfig
from speechgen.training.recipe import TrainerConfig
from speechgen.training.trainer import MAX_SKIPPED, Trainer
from tests.training.toys import OPTIM, Adversarial, Regression, batch, batches, settings


def trainer(objective: Regression | Adversarial, out: Path, config: TrainerConfig, optim: OptimConfig = OPTIM) -> Trainer:
    return Trainer(objective, dict.fromkeys(objective.parts, optim), config, out, progress="none")


def figures(out: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if "seconds" not in key} for entry in entries]


def everything(run: Trainer) -> dict[str, Tensor]:
    run.save()
    return state.read(run.out / "state").tensors


@pytest.mark.parametrize("objective", [Regression, Adversarial])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(objective, accumulate, tmp_path: Path):
    """Bit for bit: losses, weights, optimiser moments, averaged weights and batch statistics, with dropout and noise."""
    whole = trainer(objective(), tmp_path / "whole", settings(6, accumulate))
    whole.fit(batches(), [batch(1000)])

    class Cut(Exception):
        pass

    def cut_off() -> Iterator[Batch]:
        yield from (batch(index) for index in range(5 * accumulate))
        raise Cut

    first = trainer(objective(), tmp_path / "cut", settings(6, accumulate).model_copy(update={"save_every": 3}))
    with pytest.raises(Cut):
        first.fit(cut_off(), [batch(1000)])
    torch.manual_seed(99)  # a new process has other random numbers
    second = trainer(objective(), tmp_path / "cut", settings(6, accumulate))
    second.resume()
    assert second.step == 3
    second.fit(batches(3 * accumulate), [batch(1000)])

    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    expected, found = everything(whole), everything(second)
    assert expected.keys() == found.keys()
    assert {key.split("/")[0] for key in expected} == {"weights", "optim", "ema"}
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert second.best == whole.best is not None


def test_each_update_steps_only_its_own_part(tmp_path: Path):
    """Between the discriminator's update and the generator's only the discriminator has moved, and the other way round."""
    objective = Adversarial()
    trainer(objective, tmp_path, settings(2)).fit(batches())
    assert len(objective.seen) == 6
    for before, between, after in (objective.seen[:3], objective.seen[3:]):
        assert torch.equal(before["network"], between["network"])
        assert not torch.equal(before["discriminator"], between["discriminator"])
        assert torch.equal(between["discriminator"], after["discriminator"])
        assert not torch.equal(between["network"], after["network"])


def test_two_parts_train_as_a_loop_written_by_hand(tmp_path: Path):
    """Reference: plain PyTorch with both gradients cleared before each update; nothing leaks from part to part."""
    plain = OptimConfig(learning_rate=1e-2, clip_norm=None)
    objective = Adversarial()
    trainer(objective, tmp_path, settings(4), plain).fit(batches())

    reference = Adversarial()
    optimizers = {name: torch.optim.AdamW(part.parameters(), 1e-2, weight_decay=0) for name, part in reference.parts.items()}
    for index in range(4):
        for update in reference.updates(batch(index), index, torch.Generator()):
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            update.loss.backward()
            optimizers[update.part].step()
    for name, part in reference.raw.items():
        torch.testing.assert_close(objective.raw[name].weight, part.weight)


@pytest.mark.parametrize("objective", [Adversarial, lambda: Regression(noise=0)])
def test_accumulated_batches_equal_one_large_batch(objective, tmp_path: Path):
    """Mean of gradients = gradient of the mean, for one part and for two."""

    def pairs() -> Iterator[Batch]:
        for i in range(0, 100, 2):
            both = torch.cat((batch(i)["audio"], batch(i + 1)["audio"]))
            yield Batch({"audio": both}, {"audio": torch.full((8,), 3)})

    parts, large = trainer(objective(), tmp_path / "a", settings(3, 2)), trainer(objective(), tmp_path / "b", settings(3))
    parts.fit(batches())
    large.fit(pairs())
    for name, network in large.networks.items():
        for found, expected in zip(parts.networks[name].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(found, expected)


def test_gradients_are_clipped_and_the_learning_rate_follows_the_schedule(tmp_path: Path):
    """The logged norm is from before clipping; the rate is the warm-up's."""
    run = trainer(Regression(), tmp_path, settings(3), OptimConfig(learning_rate=0.3, warmup_steps=3, clip_norm=1e-9))
    before = {key: value.clone() for key, value in run.networks["network"].named_parameters()}
    run.fit(batches())
    assert [entry["network/learning_rate"] for entry in figures(tmp_path)[:3]] == pytest.approx([0.1, 0.2, 0.3])
    assert all(entry["network/gradient_norm"] > 1e-3 for entry in figures(tmp_path)[:3])
    # Adam divides by the gradient's size plus 1e-8: only gradients that were clipped to 1e-9 make steps this small.
    moved = max((value - before[key]).abs().max().item() for key, value in run.networks["network"].named_parameters())
    assert 0 < moved < 0.2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(number, tmp_path: Path):
    """Ctrl-C in step 3: three steps are done, saved, and a new run continues to the end; handlers are put back."""

    class Interrupted(Regression):
        def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
            if step == 2:
                os.kill(os.getpid(), number)
            yield from super().updates(batch, step, rng)

    usual = signal.getsignal(number)
    stopped = trainer(Interrupted(), tmp_path, settings(6)).fit(batches())
    assert (stopped.step, stopped.interrupted) == (3, True)
    assert signal.getsignal(number) is usual
    again = trainer(Regression(), tmp_path, settings(6))
    again.resume()
    ended = again.fit(batches(3))
    assert (ended.step, ended.interrupted) == (6, False)


def test_saves_come_by_the_clock_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A slow run saves every `save_minutes` although `save_every` is far away."""
    saved: list[int] = []
    monkeypatch.setattr(state, "write", lambda folder, step, content: saved.append(step))
    now = iter(range(0, 100000, 20))  # every look at the clock is 20 seconds after the last
    monkeypatch.setattr("speechgen.training.trainer.time.monotonic", lambda: float(next(now)))
    config = settings(30).model_copy(update={"save_minutes": 5.0})
    trainer(Regression(), tmp_path, config).fit(batches())
    assert saved[-1] == 30
    gaps = {later - earlier for earlier, later in itertools.pairwise(saved[:-1])}
    assert len(saved) > 4 and max(gaps) <= 6


class Faulty(Regression):
    """Its loss is not a number in the steps `bad`."""

    def __init__(self, bad: range) -> None:
        super().__init__()
        self.bad = bad

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        for update in super().updates(batch, step, rng):
            yield Update(update.part, update.loss * float("nan") if step in self.bad else update.loss)


def test_a_step_that_is_not_finite_changes_nothing(tmp_path: Path):
    """Nine bad steps are skipped and counted; the parameters stay as they were, then training goes on."""
    run = trainer(Faulty(range(1, 10)), tmp_path, settings(12))
    snapshots: list[Tensor] = []

    def watched() -> Iterator[Batch]:
        for item in batches():
            snapshots.append(run.networks["network"][0].weight.detach().clone())
            yield item

    result = run.fit(watched())
    assert result.skipped == 9
    assert all(torch.equal(snapshots[1], later) for later in snapshots[2:11])
    assert not torch.equal(snapshots[0], snapshots[1])
    assert not torch.equal(snapshots[10], snapshots[11])
    assert figures(tmp_path)[1]["network/loss"] is None


def test_ten_steps_in_a_row_that_are_not_finite_end_the_run(tmp_path: Path):
    """One clear line that says what to change."""
    with pytest.raises(UserError, match=r"not finite for 10 steps in a row, up to step 12: lower learning_rate"):
        trainer(Faulty(range(2, 2 + MAX_SKIPPED)), tmp_path, settings(40)).fit(batches())


def test_bfloat16_keeps_weights_and_figures_in_float32(tmp_path: Path):
    """Mixed precision: the network computes in bfloat16, everything kept is float32."""
    config = settings(4).model_copy(update={"precision": "bf16-mixed"})
    objective, seen = Regression(), []
    objective.parts["network"][0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    run = trainer(objective, tmp_path, config)
    run.fit(batches())
    assert set(seen) == {torch.bfloat16}
    kept = everything(run)
    assert {value.dtype for key, value in kept.items() if "tracked" not in key} == {torch.float32}


@pytest.mark.parametrize(("given", "said"), [(["network", "discriminator"], "unknown part 'discriminator'"), ([], "'network'")])
def test_optim_sections_must_be_the_objectives_parts(given, said, tmp_path: Path):
    """Neither too many nor too few."""
    with pytest.raises(UserError, match=said):
        Trainer(Regression(), dict.fromkeys(given, OPTIM), settings(1), tmp_path)


@pytest.mark.parametrize("broken", ["save_file", "write_text_atomically"])
def test_an_interrupted_save_leaves_the_old_state(broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A full disk while tensors or the JSON are written: one clear line, and the state before it loads."""
    run = trainer(Regression(), tmp_path, settings(2))
    run.fit(batches())
    good = state.read(tmp_path / "state")

    def full_disk(*arguments: object) -> None:
        for argument in arguments:
            if isinstance(argument, Path):
                argument.write_bytes(b"half") if broken == "save_file" else None
        raise OSError(28, "No space left on device")

    run.step = 5
    with monkeypatch.context() as patched:
        patched.setattr(state, broken, full_disk)
        with pytest.raises(UserError, match="No space left on device.*free space and resume"):
            run.save()
    after = state.read(tmp_path / "state")
    assert after.values == good.values
    assert all(torch.equal(after.tensors[key], value) for key, value in good.tensors.items())
    run.save()
    assert state.read(tmp_path / "state").values["step"] == 5
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["state.json", "step-5.safetensors"]


def test_a_damaged_state_or_one_of_another_model_is_named(tmp_path: Path):
    """Both are the user's to put right."""
    trainer(Regression(), tmp_path, settings(1)).fit(batches())
    with pytest.raises(UserError, match="of another model"):
        trainer(Adversarial(), tmp_path, settings(1)).resume()
    tensors = tmp_path / "state" / "step-1.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        trainer(Regression(), tmp_path, settings(1)).resume()
