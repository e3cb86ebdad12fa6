"""The checkpoint format: what comes back, what is refused, what is never half there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from tests.tiny import save_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "voc", "vocos")


def change(folder: Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_checkpoint_holds_json_and_safetensors_only(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "metrics.json", "model.safetensors"]


def test_loading_gives_the_model_ready_to_use(saved):
    loaded = checkpoint.load(saved)
    assert loaded.info.model == "vocos" and loaded.info.mel == MelSettings() and loaded.config.width == 16
    assert not loaded.network.training
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_weights_come_back_as_they_were_rounded_and_integers_untouched(tmp_path, saved, dtype):
    loaded = checkpoint.load(saved)
    state = dict(loaded.network.state_dict())
    checkpoint.save(tmp_path / "again", loaded.info, state, metrics={"loss": 0.5}, recipe="steps: 1\n", dtype=dtype)
    again = checkpoint.load(tmp_path / "again").network.state_dict()
    for key, value in state.items():
        torch.testing.assert_close(again[key], value.to(dtype).float(), rtol=0, atol=0)
    assert json.loads((tmp_path / "again" / "metrics.json").read_text()) == {"loss": 0.5}
    assert (tmp_path / "again" / "recipe.yaml").read_text() == "steps: 1\n"


def test_saving_again_keeps_the_card(saved):
    (saved / "card.md").write_text("hand-written")
    save_checkpoint(saved, "vocos")
    assert (saved / "card.md").read_text() == "hand-written"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_file_cut_short_is_named_with_what_to_do(saved, name, share):
    path = saved / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=f"{name} is .*damaged.*restore or pull") as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(saved, tmp_path):
    (saved / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors is missing"):
        checkpoint.load(saved)
    with pytest.raises(UserError, match="no checkpoint at"):
        checkpoint.load(tmp_path)


def test_a_newer_format_asks_for_an_upgrade(saved):
    change(saved, format=checkpoint.FORMAT + 1, something_new=True)
    with pytest.raises(UserError, match="has format 2, this version reads up to 1: upgrade"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "voco"}, "unknown model 'voco': did you mean 'vocos'"),
        ({"config": {"widht": 1}}, "unknown key 'widht': did you mean 'width'"),
        ({"config": {"width": 32, "hidden_width": 32, "depth": 2}}, "does not fit vocos"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_clear_line(saved, values, said):
    change(saved, **values)
    with pytest.raises(UserError, match=said) as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_weights_and_configuration_but_not_figures(saved, tmp_path):
    first = checkpoint.fingerprint(saved)
    (saved / "metrics.json").write_text("{}")
    (saved / "card.md").write_text("text")
    assert checkpoint.fingerprint(saved) == first and len(first) == 16
    loaded = checkpoint.load(saved)
    state = loaded.network.state_dict()
    checkpoint.save(tmp_path / "same", loaded.info, state)
    assert checkpoint.fingerprint(tmp_path / "same") == first
    state["head.out.bias"] = state["head.out.bias"] + 1
    checkpoint.save(tmp_path / "other", loaded.info, state)
    assert checkpoint.fingerprint(tmp_path / "other") != first
    change(saved, uses={"tokens": "0"})
    assert checkpoint.fingerprint(saved) != first


def test_a_disk_that_refuses_leaves_the_old_checkpoint_whole(saved, monkeypatch):
    before = checkpoint.fingerprint(saved)

    def refuse(self, content):
        self.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(saved, "vocos")
    assert checkpoint.fingerprint(saved) == before
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "metrics.json", "model.safetensors"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(saved):
    with pytest.raises(UserError, match="cannot write the checkpoint"):
        save_checkpoint(saved / "config.json" / "inside", "vocos")


def test_text_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    checkpoint.write_text_atomically(path, "old")

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write_text_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_every_model_folder_is_found_under_its_own_name():
    found = registry.names()
    assert len(found) >= 4
    assert all(registry.get(name).role == role for name, role in found.items())


def test_weights_beyond_half_precision_are_kept_in_single(tmp_path, saved):
    loaded = checkpoint.load(saved)
    state = dict(loaded.network.state_dict())
    state["head.out.bias"] = torch.full_like(state["head.out.bias"], 1e5)
    checkpoint.save(tmp_path / "large", loaded.info, state, dtype=torch.float16)
    assert checkpoint.load(tmp_path / "large").network.state_dict()["head.out.bias"].eq(1e5).all()


def test_sizes_that_do_not_fit_together_are_one_clear_line(tmp_path):
    folder = save_checkpoint(tmp_path / "acoustic", "e2_tts")
    change(folder, config={**checkpoint.read_info(folder).config, "num_heads": 3})
    with pytest.raises(UserError, match="does not fit e2_tts: width 16 does not split into 3 heads"):
        checkpoint.load(folder)
