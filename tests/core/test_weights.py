"""Reading what others published: plain weights are read, a pickle that would run code is refused in one line."""

from __future__ import annotations

import pathlib
import random

import pytest
import torch
from safetensors.torch import save_file

from speechgen.core.errors import UserError
from speechgen.core.weights import find_file, read_weights, tensors


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


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_cut_short_or_changed_anywhere_a_pickle_is_one_clear_line_or_still_weights(tmp_path, zipped):
    """A damaged pickle tells the reader to do other things, which end in any kind of error."""
    path = tmp_path / "x.pt"
    content = {"model": {"a.weight": torch.arange(3.0), "b": torch.zeros(2, 2)}, "step": 1}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)  # noqa: TID251
    whole = path.read_bytes()
    rng, told = random.Random(0), 0
    flipped = [(place, 1 << rng.randrange(8)) for place in rng.sample(range(len(whole)), 300)]
    damaged = [whole[:size] for size in range(0, len(whole), 13)]
    damaged += [whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :] for place, bit in flipped]
    for each in damaged:
        path.write_bytes(each)
        try:
            assert isinstance(read_weights(path), dict)
        except UserError as error:
            told += 1
            assert "x.pt" in str(error) and len(str(error).splitlines()) == 1
    assert told > len(whole) // 13


@pytest.mark.parametrize(
    ("content", "said"),
    [([1, 2], "holds a list"), ({0: torch.zeros(1)}, "has 0 where a name should be"), ({"a": 1, None: 2}, "has None where")],
)
def test_a_file_that_is_no_mapping_of_names_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "x.pt")  # noqa: TID251
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / "x.pt")


def test_of_a_group_the_tensors_are_taken(tmp_path):
    assert set(tensors({"a": torch.zeros(1), "step": 3}, tmp_path)) == {"a"}
    for group, said in (([1], "has a list"), ({0: torch.zeros(1)}, "has numbered entries"), (None, "has a NoneType")):
        with pytest.raises(UserError, match=f"{said} where its weights should be"):
            tensors(group, tmp_path)


def test_a_folder_is_searched_by_patterns_in_their_order(tmp_path):
    for name in ("b.pt", "weights.pt"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, ("weights.pt", "*.pt")).name == "weights.pt"
    assert find_file(tmp_path / "b.pt", ()).name == "b.pt"
    with pytest.raises(UserError, match="b.pt, weights.pt: give the path of one"):
        find_file(tmp_path, ("*.pt",))
    with pytest.raises(UserError, match="expected a file, or a folder with model.safetensors"):
        find_file(tmp_path, ("model.safetensors",))
