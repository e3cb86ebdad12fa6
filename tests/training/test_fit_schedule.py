"""The search for a schedule: never worse than its start, better where there is something to find, kept with the weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.data.features import FeatureWriter
from speechgen.models.vocoders.wavegrad.config import WaveGradOptions
from speechgen.models.vocoders.wavegrad.generate import betas_of
from speechgen.sampling.diffusion import SCHEDULES
from speechgen.training.fit_schedule import LARGEST, descend, fit_schedule
from tests.tiny import save_checkpoint, voice_like

START = (1e-6, 1e-4, 1e-2)


def test_the_descent_finds_the_bottom_of_a_bowl():
    target = (3e-5, 2e-3, 0.3)
    found = descend(lambda b: sum(math.log(x / t) ** 2 for x, t in zip(b, target, strict=True)), [START])
    assert all(abs(math.log(b / t)) <= math.log(1.4) for b, t in zip(found.betas, target, strict=True))
    assert found.after < found.before and found.tried > 10


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_worse_than_any_start_and_its_betas_rise(seed):
    """With an error that is pure chance."""
    rng = np.random.default_rng(seed)
    heard: dict[tuple[float, ...], float] = {}

    def error(betas: tuple[float, ...]) -> float:
        assert all(0 < a <= b <= LARGEST for a, b in zip(betas, betas[1:], strict=False))
        return heard.setdefault(betas, float(rng.random()))

    starts = [START, (1e-4, 1e-3, 0.5)]
    found = descend(error, starts)
    assert found.after <= min(heard[start] for start in starts) and found.before == heard[START]
    assert found.after == min(heard.values()) and found.tried == len(heard)


def test_what_is_not_finite_is_never_chosen():
    found = descend(lambda b: math.nan if b != START else 1.0, [START])
    assert found.betas == START


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    with FeatureWriter(tmp_path / "prepared", "audio", {"made": "here"}) as writer:
        for index in range(2):
            writer.add(f"u{index}", (voice_like(0.6, seed=index) * 32767).numpy().astype(np.int16))
    return tmp_path / "prepared"


def test_fitted_betas_are_kept_with_the_weights_and_used(prepared, tmp_path, capsys):
    folder = save_checkpoint(tmp_path / "model", "wavegrad")
    weights = (folder / "model.safetensors").read_bytes()
    arguments = ["fit-schedule", str(folder), "--valid", str(prepared), "--steps", "2", "--clips", "1", "--seconds", "0.15"]
    assert run(arguments) == 0
    assert "log-mel error" in capsys.readouterr().out
    loaded = checkpoint.load(folder)
    assert len(loaded.config.fitted_betas) == 2 and (folder / "model.safetensors").read_bytes() == weights
    assert betas_of(WaveGradOptions(steps=2), loaded.config).tolist() == list(loaded.config.fitted_betas)
    again = fit_schedule(folder, [prepared], steps=2, clips=1, seconds=0.15)
    assert again.after <= again.before


def test_it_compares_with_what_generation_uses_now(prepared, tmp_path, monkeypatch):
    """Of a spectral prior that is its own schedule, not the published one of so many steps."""
    heard = []
    monkeypatch.setattr(
        "speechgen.training.fit_schedule.descend", lambda error, starts, progress: heard.append(starts) or exit()
    )
    folder = save_checkpoint(tmp_path / "model", "wavegrad")
    with pytest.raises(SystemExit):
        fit_schedule(folder, [prepared], steps=6, clips=1, seconds=0.15)
    config = checkpoint.load(folder).config
    assert config.prior == "spectral" and heard[0][0] == tuple(betas_of(WaveGradOptions(steps=6), config).tolist())
    assert heard[0][0] != SCHEDULES[6]


def test_what_has_no_schedule_or_no_audio_is_refused(prepared, tmp_path):
    with pytest.raises(UserError, match="vocos, which has no noise schedule"):
        fit_schedule(save_checkpoint(tmp_path / "vocos", "vocos"), [prepared])
    with pytest.raises(UserError, match="no audio feature in"):
        fit_schedule(save_checkpoint(tmp_path / "wavegrad", "wavegrad"), [tmp_path])
