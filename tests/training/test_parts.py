"""Schedules, averaged weights and the log, each against a closed form or a second reader."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from speechgen.core.protocols import Sample
from speechgen.training.ema import ExponentialMovingAverage
from speechgen.training.logging import RunLog
from speechgen.training.optim import OptimConfig, build_optimizer
from speechgen.training.schedule import factor
from speechgen.training.state import pack_optimizer, unpack_optimizer


def test_warmup_rises_in_equal_steps_then_stays():
    """Closed form: (step + 1) / warmup, then 1."""
    found = [factor("constant", step, steps=10, warmup_steps=4, final_ratio=0.1) for step in range(6)]
    assert found == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_linear_schedule_is_a_straight_line_to_the_final_ratio():
    """Closed form: five equal steps from 1 to 0.5."""
    found = [factor("linear", step, steps=8, warmup_steps=2, final_ratio=0.5) for step in range(2, 8)]
    assert found == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])


def test_cosine_schedule_follows_the_cosine():
    """Closed form: half a cosine, its middle halfway, its last step the final ratio."""
    found = [factor("cosine", step, steps=101, warmup_steps=0, final_ratio=0.2) for step in range(101)]
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.6)
    assert found[25] == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    assert found[100] == pytest.approx(0.2)
    assert all(later < earlier for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_run_shorter_than_its_warmup_never_leaves_it(schedule):
    """A smoke run with the recipe's warm-up must not divide by zero."""
    assert [factor(schedule, s, steps=2, warmup_steps=10, final_ratio=0.1) for s in range(2)] == [0.1, 0.2]
    assert factor(schedule, 10, steps=2, warmup_steps=10, final_ratio=0.1) == 1.0


def test_average_is_the_closed_form_with_warm_up():
    """Reference: the recursion in float64 with decay min(0.9, (1 + n) / (10 + n)), past the point where 0.9 takes over."""
    module = nn.Linear(1, 1, bias=False)
    average = ExponentialMovingAverage(module, 0.9)
    expected = module.weight.item()
    for n in range(120):
        value = math.sin(n)
        with torch.no_grad():
            module.weight.fill_(value)
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert average.shadow["weight"].item() == pytest.approx(expected, abs=1e-5)
    assert (1 + 119) / (10 + 119) > 0.9


def test_average_without_decay_is_the_last_weights():
    """`ema_decay: 0` exports what was trained last."""
    module = nn.Linear(2, 2)
    average = ExponentialMovingAverage(module, 0.0)
    nn.init.ones_(module.weight)
    average.update()
    assert torch.equal(average.shadow["weight"], torch.ones(2, 2))


def test_average_is_lent_to_the_network_and_taken_back_even_after_an_error():
    """Validation sees the mean; training goes on from the live weights; integer buffers follow too."""
    module = nn.BatchNorm1d(2)
    average = ExponentialMovingAverage(module, 0.5)
    nn.init.constant_(module.weight, 7.0)
    module.num_batches_tracked.fill_(3)
    with pytest.raises(KeyError), average.applied():
        assert torch.equal(module.weight, torch.ones(2))
        assert module.num_batches_tracked == 0
        raise KeyError
    assert torch.equal(module.weight, torch.full((2,), 7.0))
    assert module.num_batches_tracked == 3


def test_weight_decay_spares_vectors_and_frozen_parameters_are_left_out():
    """Biases and norms have no decay; what is frozen has no optimiser state."""
    module = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1).requires_grad_(False))
    groups = build_optimizer(module, OptimConfig(learning_rate=1e-3, weight_decay=0.1)).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.1, 1), (0.0, 3)]


def test_log_holds_figures_audio_and_mel(tmp_path: Path):
    """JSONL and TensorBoard both, as their own readers see them; not-a-number is null in JSON."""
    with RunLog(tmp_path, step=0, steps=2, style="none") as log:
        log.figures(1, "train", {"network/loss": 2.5, "bad": math.nan})
        log.figures(2, "validation", {"loss": 1.5})
        log.sample(2, Sample(audio=torch.linspace(-2, 2, 2400), mel=torch.randn(20, 100)))
    first, second = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert (first["step"], first["kind"], first["network/loss"], first["bad"]) == (1, "train", 2.5, None)
    assert (second["kind"], second["loss"]) == ("validation", 1.5)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in board.Scalars("validation/loss")] == [1.5]
    (audio,), (image,) = board.Audio("sample/audio"), board.Images("sample/mel")
    assert (audio.sample_rate, audio.length_frames) == (24000, 2400)
    assert (image.width, image.height) == (20, 100)


def test_reopened_log_forgets_what_a_resume_repeats(tmp_path: Path):
    """Entries after the resumed step and a line that was cut off are dropped, the others kept."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste', encoding="utf-8")
    with RunLog(tmp_path, step=2, steps=4, style="none") as log:
        log.figures(3, "train", {"loss": 0.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_plain_lines_tell_loss_rate_and_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Without a terminal there is one line where one is due, on stderr."""
    with RunLog(tmp_path, step=0, steps=4, style="auto") as log:
        log.progress(1, 0.5, line=False)
        log.progress(2, 0.25, line=True)
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = [line for line in told.err.splitlines() if line.strip()]
    assert line.startswith("step 2/4  loss 0.2500") and "steps/s" in line and line.endswith("0:00:00 left")


def test_other_ranks_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Only the first of several processes logs."""
    with RunLog(tmp_path / "run", step=0, steps=1, active=False) as log:
        log.figures(1, "train", {"loss": 0.0})
        log.sample(1, Sample(audio=torch.zeros(10)))
        log.progress(1, 0.0, line=True)
        log.message("hello")
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().err == ""


def test_a_resumed_optimiser_keeps_its_moments_and_the_settings_of_the_recipe():
    """Learning rate and clipping follow a recipe that was changed before the resume; so must the others."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    before = build_optimizer(network, OptimConfig(learning_rate=0.1, betas=(0.9, 0.99)))
    network(torch.ones(1, 3)).sum().backward()
    before.step()
    groups, tensors = pack_optimizer(before, "optim")
    after = build_optimizer(network, OptimConfig(learning_rate=0.1, betas=(0.5, 0.6), weight_decay=0.2))
    unpack_optimizer(after, json.loads(json.dumps(groups)), {key.removeprefix("optim/"): t for key, t in tensors.items()})
    assert [(group["betas"], group["weight_decay"]) for group in after.param_groups] == [((0.5, 0.6), 0.2), ((0.5, 0.6), 0.0)]
    for old, new in zip(before.state.values(), after.state.values(), strict=True):
        assert all(torch.equal(new[key], value) for key, value in old.items())
