"""Memory-mapped features: what is written is read, producers are kept apart, nothing half appears."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from speechgen.core.errors import UserError
from speechgen.data.features import FeatureStore, FeatureWriter, find, producer_hash


def write(folder: Path, kind: str, producer: dict[str, object], entries: dict[str, np.ndarray]) -> FeatureStore:
    with FeatureWriter(folder, kind, producer) as writer:
        for cut_id, values in entries.items():
            writer.add(cut_id, values)
    return FeatureStore(writer.target)


def test_entries_come_back_from_the_memory_map(tmp_path):
    rng = np.random.default_rng(0)
    entries = {"a/b": rng.normal(size=(7, 100)).astype(np.float16), "c": rng.normal(size=(2, 100)).astype(np.float16)}
    store = write(tmp_path, "mel", {"version": 1}, entries)
    for cut_id, values in entries.items():
        np.testing.assert_array_equal(store.get(cut_id), values)
        assert store.length(cut_id) == len(values)
    np.testing.assert_array_equal(store.get("a/b", 2, 5), entries["a/b"][2:5])
    np.testing.assert_array_equal(store.get("a/b", 5, 50), entries["a/b"][5:])  # does not run into the next entry
    assert isinstance(store.get("c").base, np.memmap | np.ndarray) and "x" not in store and len(store) == 2
    np.testing.assert_array_equal(copy.deepcopy(store).get("c"), entries["c"])  # as a worker process would get it


def test_the_folder_is_named_by_the_producer(tmp_path):
    assert producer_hash({"a": 1, "b": 2}) == producer_hash({"b": 2, "a": 1}) != producer_hash({"a": 1, "b": 3})
    for version in (1, 2):
        write(tmp_path, "tokens", {"version": version}, {"a": np.array([version])})
    found = find(tmp_path, "tokens")
    assert set(found) == {producer_hash({"version": version}) for version in (1, 2)}
    for path in found.values():
        store = FeatureStore(path)
        assert store.get("a").tolist() == [store.producer["version"]]


def test_nothing_appears_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), FeatureWriter(tmp_path, "tokens", {}) as writer:
        writer.add("a", np.array([1]))
        raise RuntimeError
    assert find(tmp_path, "tokens") == {}
    assert list((tmp_path / "features").iterdir()) == []


def test_wrong_shapes_and_repeated_cuts_are_refused(tmp_path):
    with FeatureWriter(tmp_path, "mel", {}) as writer:
        with pytest.raises(ValueError, match="expected"):
            writer.add("a", np.zeros((3, 80)))
        writer.add("a", np.zeros((3, 100)))
        with pytest.raises(ValueError, match="twice"):
            writer.add("a", np.zeros((3, 100)))


@pytest.mark.parametrize("damage", ["cut", "index"])
def test_damage_is_a_clear_error(tmp_path, damage):
    path = write(tmp_path, "tokens", {}, {"a": np.arange(9)}).path
    if damage == "cut":
        (path / "data.bin").write_bytes((path / "data.bin").read_bytes()[:-4])
    else:
        (path / "index.json").write_text("{")
    with pytest.raises(UserError, match="prepare"):
        FeatureStore(path)


def test_codes_are_as_wide_as_their_codec_has_codebooks(tmp_path):
    with FeatureWriter(tmp_path, "codes", {"codec": "f0", "rate": 50.0}) as writer:
        writer.add("a", np.arange(12).reshape(4, 3))
        with pytest.raises(ValueError, match="expected"):
            writer.add("b", np.zeros((4, 8), np.int16))
    store = FeatureStore(writer.target)
    np.testing.assert_array_equal(store.get("a", 1, 3), [[3, 4, 5], [6, 7, 8]])
    assert store.largest() == 11
