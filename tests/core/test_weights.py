"""Reading what others published: plain weights are read, a pickle that would run code is refused in one line."""

from __future__ import annotations

import pathlib

import pytest
import torch
from safetensors.torch import save_file

from speechgen.core.errors import UserError
from speechgen.core.weights import find_file, read_weights


class Hostile:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


def test_both_formats_are_read(tmp_path):
    tensors = {"a": torch.arange(3.0)}
    save_file(tensors, tmp_path / "x.safetensors")
    torch.save({"model": tensors, "step": 1, "params": {"rate": 24000}}, tmp_path / "x.pt")  # noqa: TID251
    assert torch.equal(read_weights(tmp_path / "x.safetensors")["a"], tensors["a"])
    assert torch.equal(read_weights(tmp_path / "x.pt")["model"]["a"], tensors["a"])


def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path):
    torch.save({"model": Hostile(str(tmp_path / "ran"))}, tmp_path / "bad.pt")  # noqa: TID251
    with pytest.raises(UserError, match="is refused: .* would run code"):
        read_weights(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_one_clear_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_weights(tmp_path / name)


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "x.pt")  # noqa: TID251
    with pytest.raises(UserError, match="holds a list"):
        read_weights(tmp_path / "x.pt")


def test_a_folder_is_searched_by_patterns_in_their_order(tmp_path):
    for name in ("b.pt", "weights.pt"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, ("weights.pt", "*.pt")).name == "weights.pt"
    assert find_file(tmp_path / "b.pt", ()).name == "b.pt"
    with pytest.raises(UserError, match="b.pt, weights.pt: give the path of one"):
        find_file(tmp_path, ("*.pt",))
    with pytest.raises(UserError, match="expected a file, or a folder with model.safetensors"):
        find_file(tmp_path, ("model.safetensors",))
