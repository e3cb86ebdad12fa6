"""Another model has a say in what is kept: named by its checkpoint, of the same codes, and able to tell what comes next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.service.engine import Engine
from speechgen.service.evaluate_magnet import _ways
from speechgen.service.requests import MusicRequest
from tests.tiny import make_music


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny-music`, and `judge` of other sizes that learnt left to right."""
    made = make_music(tmp_path / "home")
    monkeypatch.setenv("SPEECHGEN_HOME", str(made))
    save(made, "judge", mode="causal", width=24, num_heads=3)
    return made


def save(home: Path, name: str, **changes: object) -> None:
    """Write another model of tiny-music's codec."""
    config = MAGNeTConfig.tiny().model_copy(update=changes)
    torch.manual_seed(len(name))
    network = MAGNeT(config)
    for value in network.parameters():
        value.data.add_(0.3 * torch.randn_like(value))
    info = checkpoint.read_info(home / "checkpoints" / "tiny-music").model_copy(
        update={"config": config.model_dump(mode="json")}
    )
    checkpoint.save(home / "checkpoints" / name, info, network.state_dict())


def compose(**options: object) -> torch.Tensor:
    content = {"prompt": "a bell", "model": "tiny-music", "duration": 0.5, "seed": 3, "steps": 4, "options": options}
    return Engine("cpu").compose(MusicRequest.checked(content)).samples


def test_what_another_model_says_changes_what_is_made(home):
    alone, own, judged = compose(), compose(rescoring=0.7), compose(rescoring=0.7, rescorer="judge")
    assert not torch.equal(judged, own) and not torch.equal(judged, alone)
    assert torch.equal(judged, compose(rescoring=0.7, rescorer="judge"))


def test_the_command_names_it(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["music", "--prompt", "a bell", "--model", "tiny-music", "--duration", "0.5", "--steps", "4", "--seed", "3"]
    assert run([*asked, "--rescorer", "judge", "-o", "a.wav"]) == 0
    assert run([*asked, "--set", "rescorer=judge", "--set", "rescoring=0.7", "-o", "b.wav"]) == 0
    assert run([*asked, "--rescorer", "judge", "--set", "rescoring=0.2", "-o", "c.wav"]) == 0
    a, b, c = (Path(name).read_bytes() for name in ("a.wav", "b.wav", "c.wav"))
    assert a == b != c
    assert run([*asked, "--rescorer", "nobody", "-o", "d.wav"]) == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "masked"}, "other cannot rescore: it has learnt masked spans alone"),
        ({"num_codebooks": 2}, "other cannot rescore tiny-music: it knows 2 codebooks of encodec-.*makes 3 codebooks"),
        ({"max_frames": 20}, "it knows 3 codebooks of encodec-.*, up to 0.43 s"),
    ],
)
def test_who_cannot_is_refused_by_name(home, changes, said):
    save(home, "other", **changes)
    with pytest.raises(UserError, match=said):
        compose(rescoring=0.7, rescorer="other")


def test_codes_of_another_codec_are_refused_though_their_sizes_are_the_same(home):
    codecs = home / "checkpoints"
    shutil.copytree(codecs / "tiny-codec", codecs / "other-codec")
    codec = checkpoint.load(codecs / "other-codec")
    state = codec.network.state_dict()
    state["quantizer.vectors"] += 1
    checkpoint.save(codecs / "other-codec", codec.info, state)
    identity = checkpoint.load(codecs / "other-codec").generator().identity
    config = codecs / "judge" / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"uses": {"codes": identity}}))
    with pytest.raises(UserError, match=f"judge cannot rescore tiny-music: it knows 3 codebooks of {identity}"):
        compose(rescoring=0.7, rescorer="judge")


def test_a_model_is_measured_in_the_ways_that_it_has_learnt(home):
    save(home, "masked", mode="masked")
    save(home, "hybrid", mode="hybrid")
    found = _ways(["masked", "hybrid", "judge", "masked:rescoring=0.5,rescorer=judge"], None)
    assert list(found) == [
        "masked, parallel",
        *(f"hybrid, {way}" for way in ("parallel", "causal", "hybrid", "rescoring")),
        "judge, causal",
        "masked:rescoring=0.5,rescorer=judge",
    ]
