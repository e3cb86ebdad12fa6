"""Published weights become checkpoints that speak; what cannot be imported is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from speechgen import published
from speechgen.audio.io import read_audio, write_audio
from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.service.engine import Engine
from speechgen.service.imports import import_published
from tests.conftest import REPOSITORY
from tests.tiny import voice_like

GOLDEN = REPOSITORY / "tests" / "golden"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as ivanvovk/WaveGrad leaves it: a pickle and a JSON."""
    tensors, folder = load_file(GOLDEN / "wavegrad.safetensors"), tmp_path / "published"
    state = {k.removeprefix("ivanvovk.state."): v for k, v in tensors.items() if k.startswith("ivanvovk.state.")}
    folder.mkdir()
    torch.save({"model": state, "iteration": 7}, folder / "checkpoint_7.pt")  # noqa: TID251  a published file
    with safe_open(GOLDEN / "wavegrad.safetensors", "pt") as file:
        (folder / "default.json").write_text(json.dumps(json.loads(file.metadata()["ivanvovk"])))
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


def test_families_are_files():
    assert {"vocos", "wavegrad"} <= set(published.families())


def test_imported_weights_make_a_checkpoint_that_renders(source, own_home, tmp_path, capsys):
    assert run(["models", "import", "wavegrad", str(source), "--name", "theirs"]) == 0
    folder = own_home / "checkpoints" / "theirs"
    assert str(folder) in capsys.readouterr().out
    info = checkpoint.read_info(folder)
    assert info.model == "wavegrad" and info.mel.hop_samples == 30 and info.mel.sample_rate == 22050
    card = (folder / "card.md").read_text()
    assert "BSD-3-Clause" in card and "ivanvovk" in card and str(tmp_path) not in card
    write_audio(tmp_path / "in.wav", voice_like(0.5), 24000)
    made = Engine("cpu").vocode(tmp_path / "in.wav", "theirs")
    assert made.rate == 22050 and made.seconds == pytest.approx(0.5, abs=0.01) and made.samples.isfinite().all()


def test_the_vocos_family_reads_safetensors(tmp_path):
    tensors = load_file(GOLDEN / "vocos.safetensors")
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    save_file(state, tmp_path / "model.safetensors")
    made = import_published("vocos", str(tmp_path), "small-vocos")
    assert checkpoint.load(made.folder).config.width == 16 and made.parameters > 0


def test_an_encodec_makes_a_codec_that_copies_a_recording(tmp_path, own_home):
    tensors = load_file(GOLDEN / "encodec_24khz.safetensors")
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    torch.save(state, tmp_path / "encodec_24khz-d7cc33bc.th")  # noqa: TID251  a published file
    assert run(["models", "import", "encodec", str(tmp_path / "encodec_24khz-d7cc33bc.th"), "--name", "theirs"]) == 0
    assert "CC-BY-NC-4.0" in (own_home / "checkpoints" / "theirs" / "card.md").read_text()
    write_audio(tmp_path / "in.wav", voice_like(0.5), 24000)
    for name in ("theirs", "theirs:codebooks=1"):
        assert run(["vocode", str(tmp_path / "in.wav"), "--codec", name, "-o", str(tmp_path / "out.wav")]) == 0
        assert read_audio(tmp_path / "out.wav").samples.shape == (1, 12000)


def test_weights_of_unusual_sizes_ask_for_their_json(source):
    (source / "default.json").unlink()
    with pytest.raises(UserError, match="whose factors are in the JSON of its repository: .* got 3, 5 and 2"):
        import_published("wavegrad", str(source), "guess")


@pytest.mark.parametrize(
    ("family", "given", "name", "said"),
    [
        ("wavegrat", ".", "x", "did you mean 'wavegrad'"),
        ("wavegrad", "no/such/folder", "x", "no/such/folder is not a folder here, and the hub did not .*copy weights.pt"),
        ("wavegrad", "../such/folder", "x", r"no file or folder \.\./such/folder: copy weights.pt"),
        ("wavegrad", "some/such/../folder", "x", r"no file or folder some/such/\.\./folder: copy weights.pt"),
        ("wavegrad", "someone/wavegrad", "x", "hub did not give it .*copy weights.pt"),
        ("wavegrad", ".", "a/b", "cannot be a checkpoint's name"),
    ],
)
def test_what_cannot_be_imported_is_one_clear_line(family, given, name, said):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(UserError, match=said):
        import_published(family, given, name)


def test_a_taken_name_is_refused_and_nothing_is_overwritten(source):
    made = import_published("wavegrad", str(source), "theirs")
    before = (made.folder / "card.md").stat().st_mtime_ns
    with pytest.raises(UserError, match="exists: choose another --name"):
        import_published("wavegrad", str(source), "theirs")
    assert (made.folder / "card.md").stat().st_mtime_ns == before


def test_weights_of_another_family_leave_nothing_behind(tmp_path, own_home):
    save_file({"a.b": torch.zeros(1)}, tmp_path / "weights.safetensors")
    assert run(["models", "import", "wavegrad", str(tmp_path / "weights.safetensors"), "--name", "x"]) == 2
    assert not (own_home / "checkpoints" / "x").exists()
