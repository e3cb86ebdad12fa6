"""Long texts: the same bytes as in one go, however often the run ends, and nothing of it kept in memory or left behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.service import journal, longtext
from speechgen.service.engine import Engine
from speechgen.service.longtext import partial_folder, synthesize_to_file
from speechgen.service.requests import SynthesisRequest
from speechgen.text.phonemes import Phonemizer

TEXT = " ".join(
    f"This is sentence number {word}, and it goes on for a while." for word in ["one", "two", "three", "four", "five", "six"]
)


def ask(**content):
    return SynthesisRequest.checked({"text": TEXT, "pipeline": "tiny", "seed": 5, **content})


@pytest.fixture
def out(home, tmp_path):
    return tmp_path / "book.wav"


@pytest.fixture
def whole(out):
    """The bytes that synthesize and save give."""
    path = out.with_name("whole.wav")
    Engine("cpu").synthesize(ask()).save(path)
    return path.read_bytes()


class Stop(Exception):
    pass


@contextmanager
def stopped_after(pieces):
    """Within it a run ends suddenly, while the line of a piece is being noted."""
    append, noted = journal.append, []

    def end(path, entry):
        if len(noted) == pieces:
            raise Stop
        noted.append(entry)
        append(path, entry)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(journal, "append", end)
        yield


def test_a_long_text_gives_the_bytes_of_a_short_one_and_leaves_nothing(out, whole):
    result = synthesize_to_file(Engine("cpu"), ask(), out)
    assert out.read_bytes() == whole and not partial_folder(out).exists()
    plain = Engine("cpu").synthesize(ask())
    assert torch.equal(result.samples, plain.samples)
    assert (result.pieces, result.provenance, result.voice) == (plain.pieces, plain.provenance, plain.voice)
    assert result.report().keys() == plain.report().keys() and len(result.pieces) == 6


@pytest.mark.parametrize("pieces", [0, 1, 3, 5])
def test_a_run_that_ended_anywhere_is_continued_to_the_same_bytes(out, whole, pieces, monkeypatch):
    with stopped_after(pieces):
        synthesize_to_file(Engine("cpu"), ask(), out)
    assert not out.exists() and len(journal.read(partial_folder(out) / "pieces.jsonl")) == pieces
    spoken = []
    encode = Phonemizer.__call__
    monkeypatch.setattr(Phonemizer, "__call__", lambda self, text: spoken.append(text) or encode(self, text))
    result = synthesize_to_file(Engine("cpu"), ask(), out, resume=True)
    assert out.read_bytes() == whole and not partial_folder(out).exists()
    assert len(spoken) == 6 - pieces and len(result.pieces) == 6


def test_a_run_that_ended_before_the_file_was_renamed_only_encodes(out, whole, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longtext._Partial, "remove", lambda partial: None)
        synthesize_to_file(Engine("cpu"), ask(), out)
    out.unlink()
    monkeypatch.setattr(Engine, "stream", lambda *a, **options: pytest.fail("spoken again"))
    synthesize_to_file(Engine("cpu"), ask(), out, resume=True)
    assert out.read_bytes() == whole and not partial_folder(out).exists()


def told(alignment):
    return [{**vars(each), "durations": each.durations.tolist(), "tokens": each.tokens.tolist()} for each in alignment]


@pytest.mark.parametrize("seconds", [20.0, 3.0])
def test_a_picture_shows_the_phones_of_a_long_text_continued_too(out, seconds, monkeypatch):
    monkeypatch.setattr(longtext, "LONGEST_SECONDS", seconds)
    plain = Engine("cpu").synthesize(ask())
    shown = told([each for each in plain.alignment if each.start < seconds])
    assert len(shown) > 1
    assert told(synthesize_to_file(Engine("cpu"), ask(), out).alignment) == shown
    with stopped_after(1):
        synthesize_to_file(Engine("cpu"), ask(), out)
    assert told(synthesize_to_file(Engine("cpu"), ask(), out, resume=True).alignment) == shown


@pytest.fixture
def begun(out):
    """A run of two pieces that ended."""
    with stopped_after(2):
        synthesize_to_file(Engine("cpu"), ask(seed=None), out)
    return partial_folder(out)


def test_a_seed_that_was_drawn_is_kept(begun, out):
    seed = json.loads((begun / "header.json").read_text())["seed"]
    result = synthesize_to_file(Engine("cpu"), ask(seed=None), out, resume=True)
    assert result.seed == seed
    Engine("cpu").synthesize(ask(seed=seed)).save(out.with_name("whole.wav"))
    assert out.read_bytes() == out.with_name("whole.wav").read_bytes()


def test_samples_that_were_lost_are_spoken_again(begun, out):
    os.truncate(begun / "samples.f32", 1000)
    (begun / "pieces.jsonl").write_bytes((begun / "pieces.jsonl").read_bytes() + b'{"piece": 2, "sto')
    seed = json.loads((begun / "header.json").read_text())["seed"]
    synthesize_to_file(Engine("cpu"), ask(seed=None), out, resume=True)
    Engine("cpu").synthesize(ask(seed=seed)).save(out.with_name("whole.wav"))
    assert out.read_bytes() == out.with_name("whole.wav").read_bytes()


def test_what_was_left_is_neither_thrown_away_nor_mixed_with_another_request(begun, out, home):
    engine = Engine("cpu")
    with pytest.raises(UserError, match="holds 2 of 6 pieces: continue by --resume"):
        synthesize_to_file(engine, ask(seed=None), out)
    for other in ({"text": TEXT + " More."}, {"seed": 1}, {"speed": 1.1}):
        with pytest.raises(UserError, match="of another request"):
            synthesize_to_file(engine, ask(**{"seed": None, **other}), out, resume=True)
    pipeline = home / "pipelines" / "tiny.yaml"
    pipeline.write_text(pipeline.read_text().replace("steps: 2", "steps: 3"))
    with pytest.raises(UserError, match="of another request"):
        synthesize_to_file(engine, ask(seed=None), out, resume=True)
    (begun / "header.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        synthesize_to_file(engine, ask(seed=None), out, resume=True)
    assert len(journal.read(begun / "pieces.jsonl")) == 2


def test_pieces_that_cannot_be_spoken_at_the_end_do_not_stop_a_continued_run(out):
    request = ask(text=f"{TEXT} Привет, мир, как дела сегодня. Ещё одно предложение на другом языке, довольно длинное.")
    whole = Engine("cpu").synthesize(request)
    assert whole.warnings
    with stopped_after(6):
        synthesize_to_file(Engine("cpu"), request, out)
    result = synthesize_to_file(Engine("cpu"), request, out, resume=True)
    assert torch.equal(result.samples, whole.samples) and result.warnings == whole.warnings


def test_a_text_of_nothing_to_speak_and_a_bad_voice_leave_no_folder(out, tmp_path):
    write_audio(tmp_path / "silent.wav", torch.zeros(48000), 24000)
    for content in ({"ref": tmp_path / "none.wav"}, {"ref": tmp_path / "silent.wav"}, {"text": "..."}, {"language": "klingon"}):
        with pytest.raises(UserError):
            synthesize_to_file(Engine("cpu"), ask(**content), out)
        assert not partial_folder(out).exists()


def test_synth_takes_this_way_for_long_texts_and_says_how_to_continue(out, monkeypatch, capsys):
    monkeypatch.chdir(out.parent)
    (out.parent / "book.txt").write_text(TEXT)
    command = ["synth", "--file", "book.txt", "--pipeline", "tiny", "--seed", "5", "-o", "book.wav"]
    assert run([*command, "-q"]) == 0
    short = out.read_bytes()
    out.unlink()
    monkeypatch.setattr(longtext, "LONG_CHARACTERS", 100)
    append = journal.append

    def interrupt(path, entry):
        append(path, entry)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "append", interrupt)
        assert run(command) == 130
    assert "book.wav.partial keeps what is finished: continue by --resume" in capsys.readouterr().err
    assert run(command) == 2
    assert "holds 1 of 6 pieces" in capsys.readouterr().err
    assert run([*command, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pieces"] == 6 and out.read_bytes() == short
    assert run([*command, "--resume", "--stream"]) == 2


def test_synth_of_a_book_killed_at_any_moment_is_continued(out, whole, monkeypatch):
    monkeypatch.chdir(out.parent)
    text = " ".join([TEXT] * 4)
    (out.parent / "book.txt").write_text(text)
    command = [sys.executable, "-m", "speechgen", "synth", "--file", "book.txt", "--pipeline", "tiny", "--seed", "5"]
    command += ["-o", "book.wav", "-q", "--resume"]
    environment, noted = {**os.environ, "OMP_NUM_THREADS": "1"}, partial_folder(out) / "pieces.jsonl"
    wanted = random.randint(1, 22)
    running = subprocess.Popen(command, env=environment)
    while running.poll() is None and not (noted.is_file() and noted.read_bytes().count(b"\n") >= wanted):
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = noted.read_bytes()
    assert not out.exists() and kept.count(b"\n") >= wanted
    assert subprocess.run(command, env=environment).returncode == 0
    assert not partial_folder(out).exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        Engine("cpu").synthesize(ask(text=text)).save(out.with_name("whole.wav"))
    finally:
        torch.set_num_threads(threads)
    assert out.read_bytes() == out.with_name("whole.wav").read_bytes()
