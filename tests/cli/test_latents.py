"""What can be wrong with a request to a pipeline of latents: one line, no file, and nothing made in vain."""

from __future__ import annotations

import pytest
import soundfile

from speechgen.cli.main import run
from speechgen.service import engine
from tests.latents import write_latents
from tests.tiny import RATE

TEXT = "The kitchen window looks out on a quiet garden."


@pytest.fixture
def here(latent_home, tmp_path, monkeypatch):
    """An empty working folder, with the tiny pipelines installed."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def synth(here, capsys):
    """Speaks; returns the exit code and what was said on stderr."""

    def call(pipeline, *arguments, text=TEXT):
        code = run(["synth", "--pipeline", pipeline, "--text", text, "--voice", "buzz", "--seed", "1", *arguments])
        told = capsys.readouterr().err
        assert (here / "out.wav").is_file() == (code == 0) and "Traceback" not in told
        return code, told

    return call


@pytest.mark.parametrize("name", ["ditar-told", "ardit-told"])
def test_a_transcript_that_is_not_that_of_its_recording_is_told_of(name, synth):
    """The buzz says nothing at all: whatever it is said to say does not fit."""
    code, told = synth(name, "--ref-text", "A completely different sentence, which nobody ever said.")
    assert code == 0 and "does not seem to say 'A completely different sentence" in told and "check its text" in told


@pytest.mark.parametrize("name", ["ditar-told", "ardit-told"])
def test_a_transcript_without_a_word_is_refused(name, synth):
    code, told = synth(name, "--ref-text", "...")
    assert code == 2 and told.count("\n") == 1 and "no word is known of what voice buzz says: give its text" in told, told


@pytest.mark.parametrize("name", ["ditar", "ardit"])
def test_a_transcript_that_is_not_read_is_told_of(name, synth):
    code, told = synth(name, "--ref-text", "Something else.")
    assert code == 0 and f"pipeline {name} needs no transcript: it was not used" in told


def test_a_duration_is_kept_to_the_latent_or_refused_for_its_text(synth, here):
    code, told = synth("ardit", "--duration", "0.3")
    assert code == 2 and "0.30 s are too short for" in told and "give at least 3.5 times as long" in told
    long = " ".join([TEXT] * 5)
    code, told = synth("ardit", "--duration", "4", text=long)
    assert code == 2 and "give at least 1.3 times as long" in told, "of all pieces together, not of the first"
    code, told = synth("ardit", "--duration", "5.5", text=long)
    assert code == 0
    (here / "out.wav").unlink()
    code, told = synth("ditar", "--duration", "3")
    assert code == 2 and "speaks as long as its text takes: give a speed" in told
    code, told = synth("ardit", "--duration", "3")
    assert code == 0 and soundfile.info(here / "out.wav").frames == pytest.approx(3 * RATE, abs=0.2 * RATE)


@pytest.mark.parametrize("block", [7, 64])
def test_a_block_that_does_not_divide_the_length_leaves_a_shorter_last_one(block, synth, here, tmp_path):
    write_latents(tmp_path / "odd.yaml", "ardit", block=block)
    lengths = []
    for name in (str(tmp_path / "odd.yaml"), "ardit"):
        assert synth(name, "--duration", "3")[0] == 0
        lengths.append(soundfile.info(here / "out.wav").frames)
        (here / "out.wav").unlink()
    assert lengths[0] == pytest.approx(lengths[1], abs=0.3 * RATE), "edges of silence apart"


@pytest.mark.parametrize("block", [0, 65, 2.5])
def test_a_block_that_is_none_is_refused_before_weights_are_read(block, synth, here, tmp_path, monkeypatch):
    monkeypatch.setattr(engine.checkpoint, "load", lambda *a, **o: pytest.fail("weights were read"))
    write_latents(tmp_path / "odd.yaml", "ardit", block=block)
    code, told = synth(str(tmp_path / "odd.yaml"))
    assert code == 2 and "text_to_latents: block: Input should be" in told


@pytest.mark.parametrize("name", ["ditar-narrow", "ardit-narrow"])
@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_what_is_longer_than_the_model_reads_is_refused_before_anything_is_made(name, more, synth):
    code, told = synth(name, *more)
    assert code == 2 and told.count("\n") == 1 and "positions of at most 120: give a shorter text or prompt" in told


def test_editing_names_the_pipelines_that_can(latent_home, here, capsys, monkeypatch):
    monkeypatch.setattr(engine, "load_stages", lambda *a, **o: pytest.fail("models were loaded"))
    audio = str(latent_home / "voices" / "buzz.wav")
    assert run(["edit", "--pipeline", "ditar", "--audio", audio, "--span", "1:1.5", "--text", "good morning"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "pipeline ditar cannot fill a gap" in told
    able = told.rstrip().split("those that can: ")[1].split(", ")
    assert {"ardit", "ardit-told", "tiny"} <= set(able) and not {"ditar", "tiny-codes", "tiny-reader"} & set(able)
