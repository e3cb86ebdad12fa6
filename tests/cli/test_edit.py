"""`speechgen edit`: files in, files out, and what cannot be edited."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.models.tokenizers.wav2vec2_kmeans.generate import KMeansTokenizer
from speechgen.service import edit as service
from speechgen.service import engine
from tests.tiny import RATE, voice_like

TEXT = "The cat sat on the mat and looked at me."


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """A working folder with a stereo recording of 16 kHz, and a recogniser that believes every transcript."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    voice = voice_like(4.0, 16000)
    samples = torch.stack((voice, 0.5 * voice)).T.numpy()
    soundfile.write(folder / "in.wav", samples, 16000, "PCM_24")

    def even(self, audio):
        """Each frame is as likely any phone as any other."""
        return torch.full((round(audio.seconds * self.rate), 300), -1.5)

    monkeypatch.setattr(KMeansTokenizer, "phone_scores", even)
    monkeypatch.setattr(service, "POOR_FIT", -1000.0)
    monkeypatch.setattr("speechgen.pipeline.transcript.WRONG_FIT", -1000.0)
    return folder


def edit(*arguments):
    return run(["edit", "--audio", "in.wav", "--pipeline", "tiny", "--seed", "3", "--candidates", "1", *arguments])


def whole(path):
    return soundfile.read(path, dtype="int32")[0]


def test_a_span_says_other_words_and_the_rest_is_the_file_bit_for_bit(here, capsys):
    assert edit("--span", "1.2:2.0", "--text", "new words", "-o", "out.wav", "--json", "--plot", "out.png") == 0
    told = json.loads(capsys.readouterr().out)
    before, after = whole("in.wav"), whole("out.wav")
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 2, "PCM_24")
    region = told["regions"][0]
    assert region["start"] == 1.2 and region["stop"] == 2.0 and region["text"] == "new words"
    assert np.array_equal(after[: round(1.2 * 16000)], before[: round(1.2 * 16000)])
    tail = len(before) - 2 * 16000
    assert np.array_equal(after[-tail:], before[-tail:])
    assert len(after) - tail == round(region["new_stop"] * 16000)
    assert told["seed"] == 3 and told["channels"] == 2 and told["path"] == "out.wav"
    with soundfile.SoundFile("out.wav") as file:
        assert "recording edited with synthetic speech at 1.200-" in file.comment and file.comment.endswith("seed 3")
    assert (here / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_difference_of_two_texts_is_made(here, capsys):
    (here / "old.txt").write_text(TEXT)
    assert edit("--from", "@old.txt", "--to", TEXT.replace("cat", "dog").replace("and looked ", ""), "-o", "out.flac") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "says 'dog', now" in lines[0] and "is cut out, now" in lines[1]
    assert lines[2].startswith("out.flac: ") and "seed 3" in lines[2]


def test_the_same_seed_gives_the_same_file(here):
    for name in ("a.wav", "b.wav"):
        assert edit("--span", "1:2", "--text", "new words", "-q", "-o", name) == 0
    assert (here / "a.wav").read_bytes() == (here / "b.wav").read_bytes()


def test_an_empty_text_cuts_the_span_out(here):
    assert edit("--span", "1:2", "--text", "", "-q") == 0
    before, after = whole("in.wav"), whole("out.wav")
    assert len(before) - len(after) == pytest.approx(16000, abs=400)
    assert np.array_equal(after[:16000], before[:16000]) and np.array_equal(after[-32000:], before[-32000:])


def test_lossy_output_is_told(here, capsys):
    assert edit("--span", "1:2", "--text", "new words", "-o", "out.ogg") == 0
    assert "ogg encodes everything anew" in capsys.readouterr().err


REFUSED = {
    "nothing asked": ([], "either a span in seconds and its new text, or the old and the new text"),
    "both asked": (["--span", "1:2", "--text", "x", "--from", TEXT, "--to", "x"], "either a span"),
    "no text": (["--span", "1:2"], "a span needs the words"),
    "no old text": (["--to", TEXT], "the new text needs the old one"),
    "nothing left": (["--from", TEXT, "--to", " "], "the new text says nothing"),
    "no sound": (["--span", "1:2", "--text", "..."], "there is nothing to speak in '...'"),
    "outside": (["--span", "3:9", "--text", "x"], "ends outside the recording, which lasts 4.00 s"),
    "reversed": (["--span", "2:1", "--text", "x"], "is reversed"),
    "no span": (["--span", "one:two", "--text", "x"], "is not START:STOP in seconds"),
    "negative": (["--span", "-1:2", "--text", "x"], "is not START:STOP in seconds"),
    "nothing at all": (["--span", "1:1", "--text", ""], "there is nothing to change"),
    "candidates": (["--span", "1:2", "--text", "x", "--candidates", "99"], "candidates"),
    "suffix": (["--span", "1:2", "--text", "x", "-o", "out.txt"], "formats are wav"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_before_anything_is_loaded(here, capsys, monkeypatch, name):
    monkeypatch.setattr(engine, "load_stages", lambda *a, **o: pytest.fail("models were loaded"))
    arguments, message = REFUSED[name]
    refused(here, capsys, message, *arguments)


def refused(here, capsys, message, *arguments):
    files = sorted(here.iterdir())
    assert edit(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and message in told.err, told.err
    assert sorted(here.iterdir()) == files


def test_an_identical_text_writes_nothing(here, capsys):
    refused(here, capsys, "identical to the original", "--from", TEXT, "--to", TEXT.upper())


def test_a_text_that_is_too_long_for_one_edit_is_refused(here, capsys):
    refused(here, capsys, "at most 400 are allowed", "--span", "1:2", "--text", "many words " * 60)


def test_a_recording_that_says_something_else_is_refused(here, capsys, monkeypatch):
    monkeypatch.setattr("speechgen.pipeline.transcript.WRONG_FIT", 0.0)
    refused(here, capsys, "the recording does not say", "--from", TEXT, "--to", TEXT.replace("cat", "dog"))


def test_a_poor_fit_is_told(here, capsys, monkeypatch):
    monkeypatch.setattr(service, "POOR_FIT", 0.0)
    assert edit("--from", TEXT, "--to", TEXT.replace("cat", "dog")) == 0
    assert "fits its text badly" in capsys.readouterr().err


def test_silence_is_refused(here, capsys):
    write_audio(here / "in.wav", torch.zeros(4 * RATE), RATE)
    refused(here, capsys, "is silent", "--span", "1:2", "--text", "x")


def test_a_missing_file_and_one_that_is_no_audio_are_refused(here, capsys):
    (here / "in.wav").write_text("hello")
    refused(here, capsys, "not readable audio", "--span", "1:2", "--text", "x")
    (here / "in.wav").unlink()
    refused(here, capsys, "no such audio file", "--span", "1:2", "--text", "x")


def test_an_hour_is_edited_by_span_but_its_words_are_not_looked_for(here, capsys, monkeypatch):
    monkeypatch.setattr(service, "LONGEST_TRANSCRIBED_SECONDS", 3.0)
    refused(here, capsys, "at most 3 s are allowed", "--from", TEXT, "--to", TEXT.replace("cat", "dog"))
    assert edit("--span", "1:2", "--text", "new words", "-q") == 0
