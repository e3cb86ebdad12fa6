"""Stored voices: the same sound as from the recording, without encoding; and everything that must be refused."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.pipeline.pipeline import Pipeline
from speechgen.service import catalog, voices
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.latents import tiny_latents  # noqa: F401, a fixture
from tests.tiny import RATE, voice_like, write_pipeline


def speak(engine, **content):
    return engine.synthesize(SynthesisRequest.checked({"text": "Hello.", "pipeline": "tiny", "seed": 1, **content}))


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "anna.wav"
    write_audio(path, voice_like(4.0, pitch=200.0), RATE)
    return path


@pytest.fixture
def stored(home, recording):
    voices.add(Engine("cpu"), "anna", recording, "tiny")
    return home / "voices" / "anna.safetensors"


def test_a_stored_voice_speaks_like_its_recording_and_is_not_encoded_again(stored, recording, monkeypatch):
    direct = speak(Engine("cpu"), ref=recording)
    recording.unlink()
    monkeypatch.setattr(Pipeline, "reference", lambda *arguments, **options: pytest.fail("encoded again"))
    result = speak(Engine("cpu"), voice="anna")
    assert result.voice == "anna" and torch.equal(result.samples, direct.samples)


def test_another_pipeline_encodes_the_stored_audio(home, stored):
    path = write_pipeline(home, "longer")
    path.write_text(path.read_text() + "prompt_seconds: 2.0\n")
    engine = Engine("cpu")
    source = voices.read_source(None, "anna")
    assert voices.encode(source, engine.load("longer")).seconds <= 2.0 < voices.encode(source, engine.load("tiny")).seconds
    assert speak(engine, voice="anna", pipeline="longer").seconds > 0


def test_a_voice_says_what_it_is(stored, home):
    info = voices.read_stored(stored).info
    assert (info.source, info.pipeline, info.rate) == ("anna.wav", "tiny", RATE)
    assert 3.0 < info.seconds <= info.audio_seconds < 4.1
    assert str(home) not in stored.read_bytes().decode("latin1")


def test_an_engine_encodes_a_reference_once_until_its_file_changes(home, recording, monkeypatch):
    encoded = []
    encode = Pipeline.reference
    monkeypatch.setattr(Pipeline, "reference", lambda *a, **options: encoded.append(1) or encode(*a, **options))
    engine = Engine("cpu")
    first = speak(engine, ref=recording)
    assert torch.equal(speak(engine, ref=recording).samples, first.samples) and len(encoded) == 1
    write_audio(recording, voice_like(3.5, pitch=90.0), RATE)
    speak(engine, ref=recording)
    assert len(encoded) == 2


def test_adding_a_voice_changes_no_default_and_removing_it_leaves_nothing(stored, home):
    assert catalog.default_voice().name == "buzz"
    assert catalog.find_voice("anna").stored
    assert voices.remove("anna") == stored
    assert sorted(path.name for path in (home / "voices").iterdir()) == ["buzz.wav"]
    with pytest.raises(UserError, match="unknown stored voice 'anna'"):
        voices.remove("anna")
    with pytest.raises(UserError, match="not a stored voice"):
        voices.remove("buzz")


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a.b", "ä", "a" * 65, ".", "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(home, recording, name):
    with pytest.raises(UserError, match="cannot be a voice's name"):
        voices.add(Engine("cpu"), name, recording, "tiny")


def test_a_taken_name_is_refused_unless_replaced(stored, recording):
    with pytest.raises(UserError, match="give --replace"):
        voices.add(Engine("cpu"), "anna", recording, "tiny")
    before = stored.read_bytes()
    write_audio(recording, voice_like(3.5, pitch=90.0), RATE)
    voices.add(Engine("cpu"), "anna", recording, "tiny", replace=True)
    assert stored.read_bytes() != before
    with pytest.raises(UserError, match="choose another name"):
        voices.add(Engine("cpu"), "buzz", recording, "tiny", replace=True)


def test_links_are_not_followed(stored, home, recording, tmp_path):
    outside = tmp_path / "outside.safetensors"
    os.rename(stored, outside)
    stored.symlink_to(outside)
    assert "anna" not in catalog.voices()
    with pytest.raises(UserError, match="is a link"):
        voices.add(Engine("cpu"), "anna", recording, "tiny")
    assert outside.is_file()


def test_a_recording_that_cannot_be_used_stores_nothing(home, tmp_path):
    write_audio(tmp_path / "silent.wav", torch.zeros(3 * RATE), RATE)
    for name, message in (("silent.wav", "is silent"), ("none.wav", "no such audio file")):
        with pytest.raises(UserError, match=message):
            voices.add(Engine("cpu"), "anna", tmp_path / name, "tiny")
    assert sorted(path.name for path in (home / "voices").iterdir()) == ["buzz.wav"]


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def other_shape(path):
    save_file({**load_file(path), "mel": torch.zeros(3)}, path, metadata=metadata(path))


def not_finite(path):
    tensors = load_file(path)
    save_file({**tensors, "mel": tensors["mel"] / 0}, path, metadata=metadata(path))


def wild_tokens(path):
    tensors = load_file(path)
    save_file({**tensors, "tokens": tensors["tokens"] + 10**6}, path, metadata=metadata(path))


def lacks_metadata(path):
    save_file(load_file(path), path)


def lacks_tokens(path):
    tensors = load_file(path)
    del tensors["tokens"]
    save_file(tensors, path, metadata=metadata(path))


def metadata(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    "damage", [cut, other_shape, not_finite, wild_tokens, lacks_metadata, lacks_tokens], ids=lambda f: f.__name__
)
def test_a_damaged_file_is_one_line_that_says_what_to_do(stored, damage):
    damage(stored)
    with pytest.raises(UserError, match="add the voice again"):
        speak(Engine("cpu"), voice="anna")


def test_a_stored_voice_keeps_how_its_sound_is_moved_and_for_which_checkpoint(home, recording, monkeypatch):
    path = write_pipeline(home, "moving")
    path.write_text(path.read_text() + "match: 0.5\n")
    plain, direct = speak(Engine("cpu"), ref=recording), speak(Engine("cpu"), ref=recording, pipeline="moving")
    assert not torch.equal(plain.samples, direct.samples)
    voices.add(Engine("cpu"), "anna", recording, "moving")
    info = voices.read_stored(home / "voices" / "anna.safetensors").info
    assert info.match_strength == 0.5 and set(info.made_by) == {"tokenizer", "semantic", "acoustic"}
    encode, encoded = Pipeline.reference, []
    monkeypatch.setattr(Pipeline, "reference", lambda *a, **options: encoded.append(1) or encode(*a, **options))
    assert torch.equal(speak(Engine("cpu"), voice="anna", pipeline="moving").samples, direct.samples) and not encoded
    speak(Engine("cpu"), voice="anna")  # a pipeline that moves nothing
    assert encoded


@pytest.mark.parametrize("pipeline", ["tiny-codes", "tiny-reader", "ditar", "ardit", "ardit-told"])
def test_a_voice_of_any_pipeline_is_not_encoded_again(tiny_latents, tmp_path, recording, monkeypatch, pipeline):  # noqa: F811
    """Codes, symbols, pace and match come back as they were made."""
    home = shutil.copytree(tiny_latents, tmp_path / "home")
    monkeypatch.setenv("SPEECHGEN_HOME", str(home))
    said = "hello there" if pipeline in ("tiny-reader", "ardit-told") else None
    path = home / "pipelines" / f"{pipeline}.yaml"
    if "vocoder" in path.read_text():
        path.write_text(path.read_text() + "match: 0.5\n")
    direct = speak(Engine("cpu"), ref=recording, ref_text=said, pipeline=pipeline)
    voices.add(Engine("cpu"), "anna", recording, pipeline, transcript=said)
    encode, encoded = Pipeline.reference, []
    monkeypatch.setattr(Pipeline, "reference", lambda *a, **options: encoded.append(1) or encode(*a, **options))
    assert torch.equal(speak(Engine("cpu"), voice="anna", pipeline=pipeline).samples, direct.samples) and not encoded
    if said is not None:
        speak(Engine("cpu"), voice="anna", ref_text="something else", pipeline=pipeline)
        assert encoded, "another text is another prompt"


def test_a_voice_of_the_first_format_speaks_from_its_recording(stored, monkeypatch):
    """Which models had made its tokens was told otherwise; the recording is what lasts."""
    info = voices.read_stored(stored).info.model_dump(mode="json")
    told = {key: info[key] for key in ("source", "seconds", "audio_seconds", "rate", "pipeline", "mel", "prompt_seconds")}
    told |= {"format": 1, "tokenizer": "abc", "semantic": None, "acoustic": None, "token_rate": 50.0, "token_size": 99}
    save_file(load_file(stored), stored, metadata={"voice": json.dumps(told)})
    encode, encoded = Pipeline.reference, []
    monkeypatch.setattr(Pipeline, "reference", lambda *a, **options: encoded.append(1) or encode(*a, **options))
    assert speak(Engine("cpu"), voice="anna").seconds > 0 and encoded
