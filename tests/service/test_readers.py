"""Pipelines that speak from characters, through the engine and the commands: tiny networks, real files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from speechgen.audio.io import read_audio, write_audio
from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.pipeline import stages
from speechgen.service import bench, voices, whisper
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.tiny import RATE, save_checkpoint, voice_like, write_reader

SAID = "The seven words that were said."


@pytest.fixture(autouse=True)
def no_whisper(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def recording(tmp_path) -> Path:
    path = tmp_path / "anna.wav"
    write_audio(path, voice_like(4.0, pitch=200.0), RATE)
    return path


def ask(**content) -> SynthesisRequest:
    return SynthesisRequest.checked({"text": "Hello there.", "pipeline": "tiny-reader", "seed": 1, **content})


def test_the_text_of_the_reference_is_used(home, recording):
    engine = Engine("cpu")
    one, other, again = (engine.synthesize(ask(ref=recording, ref_text=said)) for said in (SAID, "No.", SAID))
    assert not any("heard" in line or "not used" in line for line in one.warnings)
    assert len(other.samples) > 2 * len(one.samples), "fewer words in the same recording: a slower voice"
    assert torch.equal(one.samples, again.samples)


def test_without_one_it_is_heard_by_the_tokenizer(home, recording, monkeypatch):
    monkeypatch.setattr("speechgen.pipeline.hearing.WordListener.__call__", lambda self, audio: "seven words")
    result = Engine("cpu").synthesize(ask(ref=recording))
    assert any("heard as 'seven words'" in line for line in result.warnings)


def test_a_pipeline_without_a_tokenizer_asks_for_it(home, recording):
    path = write_reader(home, "bare")
    path.write_text(path.read_text().replace("  tokenizer: tiny-tokenizer\n", ""))
    with pytest.raises(UserError, match="is not known: give it by --ref-text"):
        Engine("cpu").synthesize(ask(ref=recording, pipeline="bare"))
    assert Engine("cpu").synthesize(ask(ref=recording, ref_text=SAID, pipeline="bare")).seconds > 0.2


def test_a_given_duration_is_obeyed(home, recording):
    result = Engine("cpu").synthesize(ask(ref=recording, ref_text=SAID, duration=3.0))
    assert len(result.samples) == 3 * RATE
    with pytest.raises(UserError, match="give a speed instead of a duration"):
        Engine("cpu").synthesize(ask(pipeline="tiny", duration=3.0))


def test_the_command_streams_and_writes_and_batches_the_same_voice(home, recording, tmp_path, capsys):
    (tmp_path / "said.txt").write_text(SAID)
    common = ["--pipeline", "tiny-reader", "--ref", str(recording), "--ref-text", f"@{tmp_path / 'said.txt'}", "--seed", "1"]
    assert run(["synth", "--text", "Hello there.", *common, "-o", str(tmp_path / "whole.wav")]) == 0
    assert run(["synth", "--text", "Hello there.", *common, "--stream", "-o", str(tmp_path / "stream.wav")]) == 0
    (tmp_path / "items.jsonl").write_text(json.dumps({"text": "Hello there.", "out": "row.wav"}) + "\n")
    assert run(["batch", "--list", str(tmp_path / "items.jsonl"), "--out-dir", str(tmp_path), *common]) == 0
    assert "heard" not in capsys.readouterr().err
    whole, stream, row = (read_audio(tmp_path / name).samples for name in ("whole.wav", "stream.wav", "row.wav"))
    assert torch.equal(whole, row)
    torch.testing.assert_close(stream, whole, rtol=0, atol=1e-4)  # rounded another way


def test_a_stored_voice_remembers_what_it_says(home, recording):
    info = voices.add(Engine("cpu"), "anna", recording, "tiny-reader", transcript=SAID)
    assert info.transcript == SAID and info.read_as == SAID + " " and "tokens" not in info.holds
    direct = Engine("cpu").synthesize(ask(ref=recording, ref_text=SAID))
    stored = Engine("cpu").synthesize(ask(voice="anna"))
    assert not any("heard" in line for line in stored.warnings)
    assert abs(len(stored.samples) - len(direct.samples)) < 0.1 * RATE
    assert Engine("cpu").synthesize(ask(voice="anna", pipeline="tiny")).seconds > 0.2, "tokens are made where they are needed"


def test_an_example_voice_says_what_voices_json_tells(home):
    (home / "voices" / "voices.json").write_text(json.dumps({"buzz": {"text": SAID}}))
    assert not any("heard" in line for line in Engine("cpu").synthesize(ask(voice="buzz")).warnings)


def test_speed_is_measured_by_stage(home):
    report = bench.bench_synthesis(Engine("cpu"), [ask(voice="buzz", ref_text=SAID)], runs=1)
    assert set(report.stages) == {"text_to_mel", "vocoder", "rest"} and report.reference_seconds >= 0


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (
            {"semantic": "tiny-semantic"},
            "make no pipeline: give tokenizer, semantic, acoustic, vocoder; or tokenizer, semantic, acoustic, codec;",
        ),
        ({"text_to_mel": "tiny-acoustic"}, "tiny-acoustic cannot be the text_to_mel"),
        ({"vocoder": "eighty"}, "eighty and tiny-text_to_mel do not share one mel .*num_bins 80 instead of 100"),
    ],
)
def test_checkpoints_that_make_no_pipeline_are_refused_before_weights_are_read(home, monkeypatch, slots, said):
    save_checkpoint(home / "checkpoints" / "eighty", "vocos", mel=MelSettings(num_bins=80))
    monkeypatch.setattr(checkpoint, "load_file", lambda path: pytest.fail("weights were read"))
    path = write_reader(home, "odd", **slots)
    with pytest.raises(UserError, match=said):
        stages.load_stages(stages.read_config(path), lambda name: home / "checkpoints" / name, torch.device("cpu"))


@pytest.mark.parametrize(
    ("pipeline", "change", "said"),
    [
        ("tiny", "precision=int8", "precision set what this pipeline of tokenizer, semantic, acoustic, vocoder does not have"),
        ("tiny-codes", "match=0.5", "match set what this pipeline of tokenizer, semantic, acoustic, codec does not have"),
        ("tiny-reader", "acoustic.steps=3", "acoustic set what this pipeline of tokenizer, text_to_mel, vocoder does not have"),
        ("tiny-reader", "precision=int4", "precision: .*'float32', 'bfloat16' or 'int8'"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(home, pipeline, change, said):
    with pytest.raises(UserError, match=said):
        stages.read_config(home / "pipelines" / f"{pipeline}.yaml", [change])


def test_editing_tells_that_such_a_pipeline_does_not_fill_gaps(home, recording, tmp_path, capsys):
    asked = ["--audio", str(recording), "--span", "1:1.5", "--text", "hello", "-o", str(tmp_path / "out.wav")]
    assert run(["edit", *asked, "--pipeline", "tiny-reader"]) == 2
    assert "tiny-reader cannot fill a gap between what stays, as editing does; those that can: " in capsys.readouterr().err


def test_a_whisper_is_used_only_if_it_is_here(home, recording, monkeypatch):
    pytest.importorskip("transformers").pipeline  # noqa: B018  the module replaces itself when it is first asked
    assert whisper.find_whisper() is None and whisper.local_whisper(torch.device("cpu")) is None
    folder = home / "whisper"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert whisper.find_whisper() is None, "without weights it hears nothing"
    (folder / "model.safetensors").write_bytes(b"0")
    asked = []

    def pipeline(task, *, model, device):
        asked.append((task, model))
        return lambda audio: {"text": f" heard {len(audio['raw']) / audio['sampling_rate']:.0f} seconds "}

    monkeypatch.setattr(sys.modules["transformers"], "pipeline", pipeline)
    result = Engine("cpu").synthesize(ask(ref=recording))
    assert asked == [("automatic-speech-recognition", str(folder))]
    assert any("heard as 'heard 4 seconds'" in line for line in result.warnings)


def test_half_a_whisper_is_told_and_the_pipelines_own_recogniser_hears(home, recording, monkeypatch):
    pytest.importorskip("transformers")
    (home / "whisper").mkdir()
    (home / "whisper" / "config.json").write_text('{"model_type": "whisper"}')
    (home / "whisper" / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr("speechgen.pipeline.hearing.WordListener.__call__", lambda self, audio: "yes it is")
    result = Engine("cpu").synthesize(ask(ref=recording))
    told = "\n".join(result.warnings)
    assert (
        "the Whisper in" in told and "copy it again: the pipeline's own recogniser" in told and "heard as 'yes it is'" in told
    )
