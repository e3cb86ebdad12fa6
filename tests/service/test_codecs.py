"""Codecs by name, copies through them, and the table over a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechgen.audio.io import read_audio, write_audio
from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.data.features import FeatureStore, find
from speechgen.service import catalog
from speechgen.service.codecs import load_codec
from tests.tiny import RATE, save_checkpoint, voice_like


@pytest.fixture
def codec(home) -> Path:
    return save_checkpoint(home / "checkpoints" / "tiny-codec", "encodec")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two recordings, one with words."""
    place = tmp_path / "recordings"
    place.mkdir()
    for index, name in enumerate("ab"):
        write_audio(place / f"{name}.wav", voice_like(1.2, seed=index), RATE)
    (place / "metadata.csv").write_text("file|speaker|text\na.wav|s|Open the door.\nb.wav|s|\n")
    return place


def test_a_name_may_ask_for_the_first_codebooks(codec):
    assert "tiny-codec" in catalog.of_role("codecs")
    assert load_codec("tiny-codec")[1] == 3 and load_codec("tiny-codec:codebooks=2")[1] == 2
    for wrong in ("codebooks=0", "codebooks=4", "codebooks=x", "steps=2"):
        with pytest.raises(UserError, match="codebooks=N, with N of 1 to 3"):
            load_codec(f"tiny-codec:{wrong}")
    with pytest.raises(UserError, match="of vocoders: choose a codec; installed: .*tiny-codec"):
        load_codec("tiny-vocoder")


def test_a_copy_is_as_long_as_the_recording(codec, folder, tmp_path, capsys):
    assert run(["vocode", str(folder / "a.wav"), "--codec", "tiny-codec", "-o", str(tmp_path / "out.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] == pytest.approx(1.2)
    assert read_audio(tmp_path / "out.wav").samples.shape == read_audio(folder / "a.wav").samples.shape


def test_the_table_has_bits_words_and_use_of_codebooks(codec, folder, tmp_path, capsys):
    assert (
        run(["eval", "codec", "--codec", "tiny-codec:codebooks=2", "--audio", str(folder), "--no-opinions", "-q", "--json"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    figures = report["codecs"]["tiny-codec:codebooks=2"]
    assert figures["kilobits"] == pytest.approx(2 * 4 * 46.875 / 1000) and len(figures["perplexity"]) == 2
    assert report["texts"] == 1 and report["wer"] is not None and report["copies"]["n"] == 2
    assert 0 < figures["decode_rtf"] and -60 < figures["si_sdr"] < 60


def test_prepare_stores_what_the_codec_makes(codec, folder, tmp_path):
    arguments = ["prepare", "folder", "--source", str(folder), "--out", str(tmp_path / "out"), "--features", "codes"]
    assert run([*arguments, "--codec", str(codec)]) == 0
    (place,) = find(tmp_path / "out", "codes").values()
    store = FeatureStore(place)
    assert store.producer["codec"] == load_codec("tiny-codec")[0].identity and store.producer["rate"] == 46.875
    assert store.width == 3 and store.length("a") == 57 and 0 <= store.largest() < 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "codec"], "belong together"),
        (["eval", "--codec", "tiny-codec", "--audio", ".", "--set", "steps=2"], "behind its name"),
        (["vocode", "a.wav", "--codec", "tiny-codec", "--set", "steps=2"], "behind its name"),
        (["vocode", "a.wav", "--codec", "tiny-codek"], "did you mean 'tiny-codec'"),
        (["prepare", "folder", "--source", ".", "--out", "o", "--features", "codes"], "codes feature needs a codec"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(codec, folder, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(folder)
    assert run(arguments) == 2
    assert said in capsys.readouterr().err


def test_prepare_takes_nothing_but_a_codec_for_codes(home, folder, tmp_path, capsys):
    arguments = ["prepare", "folder", "--source", str(folder), "--out", str(tmp_path / "out"), "--features", "codes"]
    assert run([*arguments, "--codec", str(home / "checkpoints" / "tiny-vocoder")]) == 2
    assert "give the folder of a codec" in capsys.readouterr().err
