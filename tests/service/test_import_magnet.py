"""A published MAGNeT makes music: it knows its codec, and reads descriptions with a T5 that lies in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.models.codecs.encodec.config import EncodecConfig
from speechgen.models.codecs.encodec.model import Encodec
from speechgen.service.engine import Engine
from speechgen.service.imports import import_published
from speechgen.service.requests import MusicRequest
from speechgen.text.t5 import T5Reader
from tests.published.test_magnet import SETTINGS, published, write

pytest.importorskip("transformers")
from tests.t5 import save_t5  # noqa: E402

HUB = {"compression_model_checkpoint": "//pretrained/facebook/encodec_32khz"}


def save_codec(home: Path, name: str, codebook_size: int = 12) -> str:
    """A codec at the golden model's rate; return its identity."""
    config = EncodecConfig.tiny().model_copy(update={"codebook_size": codebook_size, "ratios": (3, 5)})
    torch.manual_seed(0)
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model="encodec",
        config=config.model_dump(mode="json"),
        accepts=("Waveform",),
        produces="CodecTokens",
        mel=MelSettings(),
    )
    checkpoint.save(home / "checkpoints" / name, info, Encodec(config).state_dict())
    return str(checkpoint.load(home / "checkpoints" / name).generator().identity)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    return write(folder, published(), SETTINGS | HUB)


def compose(prompt: str, seed: int = 1) -> torch.Tensor:
    asked = {"prompt": prompt, "duration": 0.4, "seed": seed, "steps": 3, "model": "theirs"}
    return Engine("cpu").compose(MusicRequest.checked(asked)).samples


def test_imported_with_a_codec_and_a_t5_it_makes_music_of_descriptions(home, source, tmp_path, capsys):
    identity = save_codec(home, "codec")
    t5 = save_t5(tmp_path / "t5")
    command = ["models", "import", "magnet", str(source), "--name", "theirs", "--codec", "codec", "--set", f"t5={t5}"]
    assert run(command) == 0
    assert f"decoded by codec ({identity})" in capsys.readouterr().err
    assert checkpoint.read_info(home / "checkpoints" / "theirs").uses == {"codes": identity}
    waltz, again, dog = compose("a slow waltz"), compose("a slow waltz"), compose("dog barking")
    assert len(waltz) == round(0.4 * 24000) and waltz.isfinite().all()
    assert torch.equal(waltz, again) and not torch.equal(waltz, dog)


def test_the_codec_that_it_was_published_with_is_found_by_name(home, source):
    identity = save_codec(home, "encodec-32khz")
    made = import_published("magnet", str(source), "theirs")
    assert checkpoint.read_info(made.folder).uses == {"codes": identity}


def test_without_a_codec_it_says_what_to_do_before_it_makes_music(home, source):
    told = import_published("magnet", str(source), "theirs").notes[-1]
    assert "first speechgen models pull encodec-32khz" in told and "--codec encodec-32khz" in told
    with pytest.raises(UserError, match="codec that it does not name"):
        compose("a bell")
    (source / "state_dict.bin").unlink()
    told = import_published("magnet", str(write(source, published())), "another").notes[-1]
    assert "first import its codec" in told and "--codec NAME" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "large"], "it makes 3 codebooks of 12 at 50 Hz, large decodes 3 codebooks of 16 at 50 Hz"),
        (["--codec", "none"], "unknown checkpoint 'none'"),
        (["--set", "t6=x"], "did you mean 't5'"),
        (["--set", "width=64"], "does not fit magnet"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(options, message, home, source, capsys):
    save_codec(home, "large", 16)
    assert run(["models", "import", "magnet", str(source), "--name", "theirs", *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
    assert not (home / "checkpoints" / "theirs").exists()


def test_a_t5_reads_as_the_published_encoder_does(tmp_path, capfd):
    from transformers import AutoTokenizer, T5Model

    folder = save_t5(tmp_path / "t5")
    capfd.readouterr()
    read = T5Reader(str(folder))(["a slow waltz", "dog", ""])
    assert capfd.readouterr().err == ""
    assert read.valid.tolist() == [[True] * 4, [True, True, False, False], [False] * 4]  # each text has an end of its own
    inputs = AutoTokenizer.from_pretrained(folder)(["dog"], return_tensors="pt")
    with torch.no_grad():
        alone = T5Model.from_pretrained(folder).eval().encoder(**inputs).last_hidden_state
    torch.testing.assert_close(read.hidden[1, :2], alone[0], rtol=1e-4, atol=1e-5)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(UserError, match="which is not here"):
        T5Reader(str(folder))(["dog"])


def test_an_audio_magnet_sounds_with_the_codec_that_lies_beside_it(home, tmp_path):
    """Both of one folder, as audiocraft publishes it; it has learnt masked spans alone."""
    from tests.published.test_encodec import SETTINGS_16KHZ, golden, publish_16khz

    sizes = {"sample_rate": 400, "rvq": {"n_q": 3, "bins": 12}}  # 50 Hz, as the tiny model's codes
    books = ("embed", "cluster_size")
    state = {key: value[:12] if any(book in key for book in books) else value for key, value in golden("16khz")[0].items()}
    folder = publish_16khz(
        write(tmp_path, published(), SETTINGS | {"sample_rate": 16000}), SETTINGS_16KHZ | sizes, best_state=state
    )
    import_published("encodec", str(folder), "encodec-16khz")
    made = import_published("magnet", str(folder), "theirs", changes=[f"t5={save_t5(tmp_path / 't5')}"])
    assert "decoded by encodec-16khz" in made.notes[-1]
    assert checkpoint.read_info(made.folder).config["temperature"] == 3.5
    barking = compose("dog barking")
    assert len(barking) == round(0.4 * 400) and barking.isfinite().all()
    asked = {"prompt": "a bell", "duration": 0.4, "model": "theirs", "options": {"causal": True}}
    with pytest.raises(UserError, match="causal ask"):
        Engine("cpu").compose(MusicRequest.checked(asked))
