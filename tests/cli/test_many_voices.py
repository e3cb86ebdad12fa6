"""`voices`, `batch` and `dialogue`: what they print, their exit codes, and what they refuse in one line."""

import json

import pytest
import soundfile

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from tests.tiny import RATE, voice_like


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """A working folder with one recording, and the tiny pipeline installed."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_audio(folder / "anna.wav", voice_like(3.0, pitch=200.0), RATE)
    return folder


@pytest.fixture
def refused(here, capsys):
    """Runs a command that must fail with one line and leave nothing behind; returns the line."""

    def check(*arguments):
        before = sorted(here.rglob("*"))
        assert run(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("speechgen: ") and captured.err.count("\n") == 1
        assert sorted(here.rglob("*")) == before
        return captured.err

    return check


def test_a_voice_is_added_listed_shown_used_and_removed(here, capsys):
    assert run(["voices", "add", "anna", "--speaker_wav", "anna.wav", "--pipeline", "tiny"]) == 0
    assert "of anna.wav, encoded for pipeline tiny" in capsys.readouterr().out
    assert run(["voices", "list"]) == 0
    out = capsys.readouterr().out
    assert "stored" in out and "anna.safetensors" in out and "buzz" in out
    assert run(["voices", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["anna"]["kind"] == "stored"
    assert run(["voices", "show", "anna"]) == 0
    assert "anna.wav" in capsys.readouterr().out
    assert run(["voices", "show", "buzz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "recording"
    assert run(["synth", "--pipeline", "tiny", "--text", "Hi.", "--voice", "anna", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "anna"
    assert run(["voices", "remove", "anna"]) == 0
    assert run(["voices", "show", "anna"]) == 2


def test_voices_that_cannot_be_added_or_removed_are_refused(refused, home):
    assert "cannot be a voice's name" in refused("voices", "add", "../anna", "--ref", "anna.wav", "--pipeline", "tiny")
    assert "choose another name" in refused("voices", "add", "buzz", "--ref", "anna.wav", "--pipeline", "tiny")
    assert "no such audio file" in refused("voices", "add", "anna", "--ref", "none.wav", "--pipeline", "tiny")
    assert "did you mean 'tiny'" in refused("voices", "add", "anna", "--ref", "anna.wav", "--pipeline", "tyni")
    assert "unknown stored voice" in refused("voices", "remove", "anna")
    assert "did you mean 'buzz'" in refused("voices", "show", "buz")
    assert "Missing option" in refused("voices", "add", "anna")


def test_a_batch_is_spoken_and_failures_are_listed_at_the_end(here, capsys):
    write_audio(here / "silent.wav", 0 * voice_like(2.0), RATE)
    (here / "items.csv").write_text("text,ref\nOne.,anna.wav\nTwo.,silent.wav\nThree.,\n")
    command = ["batch", "--list", "items.csv", "--out-dir", "out", "--pipeline", "tiny", "--voice", "buzz", "--format", "flac"]
    assert run(command) == 1
    captured = capsys.readouterr()
    assert captured.out == "out: 2 spoken, 0 skipped, 1 failed\n"
    assert "items.csv, row 2 (0002.flac): " in captured.err and "is silent" in captured.err
    assert soundfile.info(here / "out" / "0003.flac").format == "FLAC"
    (here / "items.csv").write_text("text,ref\nOne.,anna.wav\nTwo.,anna.wav\nThree.,\n")
    assert run([*command, "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["spoken"], found["skipped"], found["failed"]) == (1, 2, [])


def test_every_row_that_cannot_be_used_is_a_line_on_stderr(here, capsys):
    (here / "items.csv").write_text("text,ref\n,anna.wav\nHi.,none.wav\n")
    assert run(["batch", "--list", "items.csv", "--out-dir", "out", "--pipeline", "tiny"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and not (here / "out").exists()
    assert [line.split(": ")[1] for line in captured.err.splitlines()] == ["items.csv, line 2", "items.csv, line 3"]


def test_batches_that_cannot_begin_are_refused(refused, here):
    assert "cannot read none.csv" in refused("batch", "--list", "none.csv", "--out-dir", "out")
    assert "unknown format" in refused("batch", "--list", "none.csv", "--out-dir", "out", "--format", "aiff")
    (here / "items.csv").write_text("text\nHi.\n")
    (here / "file").write_text("")
    command = ["batch", "--list", "items.csv", "--pipeline", "tiny", "--out-dir"]
    assert "cannot write file" in refused(*command, "file")
    assert "allowed: local, ray" in refused(*command, "out", "--engine", "dask")


def test_a_dialogue_is_one_file_and_json_tells_every_turn(here, capsys):
    (here / "talk.txt").write_text("# Two.\nA: Hello there,\n  how are you?\nB: Fine.\n")
    command = ["dialogue", "--script", "talk.txt", "--voice", "A=anna.wav", "--voice", "B=buzz", "--pipeline", "tiny"]
    assert run([*command, "--seed", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(turn["speaker"], turn["line"]) for turn in found["turns"]] == [("A", 2), ("B", 4)]
    assert found["turns"][1]["start"] - found["turns"][0]["end"] == pytest.approx(0.35, abs=1e-3)
    assert found["turns"][1]["end"] < found["seconds"] == pytest.approx(soundfile.info(here / "out.wav").duration, abs=1e-3)
    assert run([*command, "--seed", "2", "-o", "again.wav", "--gap", "0.35"]) == 0
    assert "2 turns, voices A=anna.wav, B=buzz, seed 2" in capsys.readouterr().out
    assert (here / "out.wav").read_bytes() == (here / "again.wav").read_bytes()


def test_dialogues_that_cannot_be_spoken_are_refused(refused, here):
    (here / "talk.txt").write_text("A: Hi.\nC: Hm.\n")
    command = ["dialogue", "--script", "talk.txt", "--pipeline", "tiny"]
    assert "line 2: unknown speaker 'C': known: A, B" in refused(*command, "--voice", "A=anna.wav", "--voice", "B=buzz")
    assert "write SPEAKER=recording" in refused(*command, "--voice", "anna.wav")
    assert "gives speaker A twice" in refused(*command, "--voice", "A=anna.wav", "--voice", "A=buzz")
    assert "no such audio file" in refused(*command, "--voice", "A=none.wav", "--voice", "C=buzz")
    assert "out of range" in refused(*command, "--voice", "A=buzz", "--voice", "C=buzz", "--gap", "99")
    assert "cannot read none.txt" in refused("dialogue", "--script", "none.txt", "--voice", "A=buzz")
    assert "there is no folder" in refused(*command, "--voice", "A=buzz", "--voice", "C=buzz", "-o", "no/out.wav")
    assert "Missing option" in refused(*command)


@pytest.mark.parametrize("verb", ["voices", "batch", "dialogue"])
def test_every_command_has_help(verb, capsys):
    assert run([verb, "--help"]) == 0
    assert f"speechgen {verb}" in capsys.readouterr().out
