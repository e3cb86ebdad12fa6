"""The bench of published architectures, with the golden network in place of the published code at its size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.models.text_to_mel.f5_tts.config import F5Config
from speechgen.service import bench_e2, published_e2
from tests.conftest import REPOSITORY


@pytest.fixture
def small(monkeypatch) -> None:
    """The sizes of the golden file."""
    sizes = {"backbone": "unet", "width": 32, "num_heads": 2, "depth": 2, "ff_multiple": 4, "text_width": 20, "text_layers": 0}
    monkeypatch.setattr(published_e2, "SYMBOLS", 11)
    monkeypatch.setattr(published_e2, "BINS", 20)
    config = {"mel": MelSettings(num_bins=20), "mask_filler": False, "rotary_heads": 1, **sizes}
    monkeypatch.setattr(F5Config, "e2tts_base", lambda vocabulary: F5Config(vocabulary=tuple("abcdefghijk"), **config))


def test_the_outputs_of_both_sides_are_compared_on_the_same_weights(small, tmp_path):
    golden = load_file(REPOSITORY / "tests" / "golden" / "f5.safetensors")
    prefix = "e2.state.transformer."
    state = {f"ema_model.transformer.{key.removeprefix(prefix)}": golden[key] for key in golden if key.startswith(prefix)}
    save_file(state, tmp_path / "model.safetensors")
    given = {"x": golden["noisy"], "cond": golden["visible"], "text": golden["text"], "time": golden["t"]}
    save_file(given, tmp_path / "inputs.safetensors")
    asked, both = [], torch.cat((golden["e2.conditional"], golden["e2.unconditional"]))

    def ask(line: str) -> dict[str, object]:
        asked.append(line)
        if line:
            save_file({"made": both}, tmp_path / f"{line}.safetensors")
        return {"seconds": 3.0} if line else {"version": "1", "torch": "2"}

    report = bench_e2._measure("e2tts-base", tmp_path, ask, 23, 2, None)
    assert asked == ["", *[*bench_e2.PUBLISHED] * 3] and report.published == "f5-tts 1, torch 2"
    assert report.evaluations["ours float32"].difference < 1e-5
    assert all(found.difference > 1e-5 for name, found in report.evaluations.items() if name == "ours bfloat16")
    assert report.evaluations["ours int8"].relative < 0.1
    assert report.speedup("float32") == pytest.approx(3.0 / report.evaluations["ours float32"].seconds.p50)


def test_without_the_published_code_ours_is_measured_and_how_to_get_it_is_said(small, capsys):
    assert run(["bench", "e2", "--frames", "20", "--runs", "1", "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["evaluations"]) == {f"ours {precision}" for precision in bench_e2.OURS} and told["published"] is None
    assert run(["bench", "e2", "--frames", "20", "--runs", "1", "-q"]) == 0
    assert "pip install --no-deps f5-tts" in capsys.readouterr().err


def test_an_environment_that_lacks_it_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"does not run with .*No module named 'f5_tts'.*pip install --no-deps f5-tts"):
        bench_e2.bench_e2(python=Path(sys.executable), frames=16, runs=1)
    with pytest.raises(UserError, match="cannot run .*nowhere"):
        bench_e2.bench_e2(python=tmp_path / "nowhere", frames=16, runs=1)
    with pytest.raises(UserError, match="give one of e2tts-base, f5tts-base, f5tts-v1-base"):
        bench_e2.bench_e2("e3")
