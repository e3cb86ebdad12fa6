"""Vocoders by name, and the table over a folder."""

import json

import pytest

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.service import catalog
from speechgen.service.engine import Engine
from speechgen.service.vocoders import measure_vocoders, recordings, split_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default-vocoder", ("default-vocoder", ())),
        ("runs/a/checkpoint:steps=25,temperature=0.5", ("runs/a/checkpoint", ("steps=25", "temperature=0.5"))),
        ("C:/odd", ("C:/odd", ())),
    ],
)
def test_options_stand_behind_a_colon(name, expected):
    assert split_name(name) == expected


def test_vocoders_are_found_by_their_role_and_damaged_ones_passed_over(home):
    assert "tiny-vocoder" in catalog.of_role("vocoders") and "tiny-acoustic" not in catalog.of_role("vocoders")
    (home / "checkpoints" / "tiny-vocoder" / "config.json").write_text("{")
    assert "tiny-vocoder" not in catalog.of_role("vocoders")


def test_recordings_are_sorted_and_limited(home):
    assert [path.name for path in recordings(home / "voices", 1)] == ["buzz.wav"]
    with pytest.raises(UserError, match="no such folder"):
        recordings(home / "none")
    with pytest.raises(UserError, match="holds no audio"):
        recordings(home / "pipelines")


def test_an_unknown_option_is_refused_before_anything_is_copied(home):
    with pytest.raises(UserError, match="tiny-vocoder"):
        measure_vocoders(Engine("cpu"), ["tiny-vocoder:stepz=3"], home / "voices")


def test_the_command_compares_vocoders_over_a_folder(home, tmp_path, capsys):
    for package in ("pesq", "pystoi", "librosa", "parselmouth"):
        pytest.importorskip(package)
    arguments = ["eval", "vocoders", "--audio", str(home / "voices"), "--vocoder", "tiny-vocoder", "--no-opinions", "-q"]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[3].startswith("| tiny-vocoder | 1.") and "1 clips, 3.0 s" in table
    assert (tmp_path / "out" / "report.md").read_text() == table
    assert (tmp_path / "out" / "tiny-vocoder" / "buzz.wav").is_file()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["vocoders"]["tiny-vocoder"]["pesq"] > 1
