"""Corpora of spoken digits."""

from __future__ import annotations

import pytest

from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.data.digits import read_digits
from speechgen.data.prepare import load_cuts, prepare_splits
from tests.tiny import voice_like


@pytest.fixture
def fsdd(tmp_path):
    (tmp_path / "recordings").mkdir()
    for name in ("7_ann_0", "7_ann_4", "3_ann_5", "0_bob_7", "9_bob_8", "1_bob_49", "noise"):
        write_audio(tmp_path / "recordings" / f"{name}.wav", voice_like(0.2, 8000, seed=hash(name) % 100), 8000)
    return tmp_path


def test_free_spoken_digits_are_split_by_their_index(fsdd):
    found = {
        split: {u.id: (u.text, u.speaker) for u in read_digits("fsdd", fsdd, split)} for split in ("train", "valid", "test")
    }
    assert found["test"] == {"7_ann_0": ("seven", "ann"), "7_ann_4": ("seven", "ann")}
    assert found["valid"] == {"3_ann_5": ("three", "ann"), "0_bob_7": ("zero", "bob")}
    assert found["train"] == {"9_bob_8": ("nine", "bob"), "1_bob_49": ("one", "bob")}


def test_short_digits_are_kept(fsdd, tmp_path):
    reports = prepare_splits(fsdd, tmp_path / "out", ["audio"], corpus="fsdd")
    assert [(folder.name, report.utterances, dict(report.faults)) for folder, report in reports.items()] == [
        ("train", 2, {}), ("valid", 2, {}), ("test", 2, {})
    ]  # fmt: skip
    assert [cut.duration for cut in load_cuts(tmp_path / "out" / "test")] == pytest.approx([0.2, 0.2], abs=0.01)


def test_speech_commands_are_split_by_their_lists(tmp_path):
    for word, index in (("one", 0), ("one", 1), ("two", 2), ("cat", 3)):
        (tmp_path / word).mkdir(exist_ok=True)
        write_audio(tmp_path / word / f"ab{index}_nohash_0.wav", voice_like(0.5, 16000), 16000)
    (tmp_path / "validation_list.txt").write_text("one/ab1_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("two/ab2_nohash_0.wav\ncat/ab3_nohash_0.wav\n")
    found = {split: [(u.text, u.speaker) for u in read_digits("sc09", tmp_path, split)] for split in ("train", "valid", "test")}
    assert found == {"train": [("one", "ab0")], "valid": [("one", "ab1")], "test": [("two", "ab2")]}


def test_what_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="holds nothing of fsdd for valid"):
        read_digits("fsdd", tmp_path, "valid")
    with pytest.raises(UserError, match="has no validation_list.txt"):
        read_digits("sc09", tmp_path, "test")
    with pytest.raises(UserError, match="no such folder"):
        read_digits("fsdd", tmp_path / "nothing", "test")
    with pytest.raises(UserError, match="too small to be divided"):
        prepare_splits(tmp_path, tmp_path / "out", ["audio"], corpus="fsdd")
