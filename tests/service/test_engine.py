"""The engine with tiny checkpoints: seeds, results, files, refusals, copy synthesis."""

from pathlib import Path

import pytest
import soundfile
import torch

import speechgen
from speechgen.audio.io import read_audio, write_audio
from speechgen.audio.loudness import active_level
from speechgen.core.errors import UserError
from speechgen.pipeline.stages import read_config
from speechgen.service import devices
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.tiny import RATE, voice_like


def ask(**content):
    return SynthesisRequest.checked({"text": "Hello there.", "pipeline": "tiny", **content})


@pytest.fixture
def engine(home):
    return Engine("cpu")


def test_the_same_seed_gives_the_same_samples_in_any_engine(home):
    first = Engine("cpu").synthesize(ask(seed=5))
    second = Engine("cpu").synthesize(ask(seed=5))
    other = Engine("cpu").synthesize(ask(seed=6))
    assert torch.equal(first.samples, second.samples)
    assert first.samples.shape != other.samples.shape or not torch.equal(first.samples, other.samples)


def test_a_seed_is_chosen_reported_and_can_be_used_again(engine):
    first = engine.synthesize(ask())
    assert torch.equal(engine.synthesize(ask(seed=first.seed)).samples, first.samples)


def test_a_result_knows_its_rate_timings_and_voice(engine):
    result = engine.synthesize(ask(seed=0))
    assert (result.rate, result.voice, result.device, result.pipeline) == (RATE, "buzz", "cpu", "tiny")
    assert result.load_seconds > 0 and result.synthesis_seconds > 0
    assert result.rtf == pytest.approx(result.synthesis_seconds / result.seconds)
    assert engine.synthesize(ask(seed=0)).load_seconds < 0.05, "a loaded pipeline is kept"


def test_a_saved_file_says_that_it_is_synthetic_and_from_which_seed(engine, tmp_path):
    result = engine.synthesize(ask(seed=7))
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        path = result.save(tmp_path / name)
        with soundfile.SoundFile(path) as file:
            assert "synthetic speech" in file.comment and "pipeline tiny" in file.comment and "seed 7" in file.comment
            assert file.samplerate == RATE
        again = result.save(tmp_path / f"again-{name}")
        assert path.read_bytes() == again.read_bytes()


def test_a_long_ogg_file_is_written(tmp_path):
    write_audio(tmp_path / "long.ogg", voice_like(100.0), RATE)
    assert read_audio(tmp_path / "long.ogg").seconds == pytest.approx(100.0)


def test_a_plot_is_a_png(engine, tmp_path):
    path = engine.synthesize(ask(seed=0)).plot(tmp_path / "mel.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in tmp_path.glob(".*")] == []


def test_speed_changes_the_length_and_steps_the_sound(engine):
    normal, fast = engine.synthesize(ask(seed=0)), engine.synthesize(ask(seed=0, speed=2.0))
    assert fast.seconds < 0.7 * normal.seconds
    assert not torch.equal(engine.synthesize(ask(seed=0, steps=3)).samples, normal.samples)


def test_a_transcript_that_is_not_needed_is_said_not_to_be_used(engine):
    assert "was not used" in engine.synthesize(ask(ref_text="hello")).warnings[0]


def test_text_and_reference_are_refused_before_models_are_loaded(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "load", lambda name: pytest.fail("models were loaded"))
    with pytest.raises(UserError, match="nothing to speak"):
        engine.synthesize(ask(text="..."))
    with pytest.raises(UserError, match="no such audio file"):
        engine.synthesize(ask(ref=tmp_path / "none.wav"))
    with pytest.raises(UserError, match="did you mean 'buzz'"):
        engine.synthesize(ask(voice="buz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": " \n"}, "the text is empty"),
        ({"speed": 3.0}, "speed: Input should be less than or equal to 2"),
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"guidance": float("nan")}, "guidance"),
        ({"voice": "buzz", "ref": "a.wav"}, "choose one"),
        ({"sped": 1.0}, "did you mean 'speed'"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_a_request_out_of_range_is_refused(content, message):
    with pytest.raises(UserError, match=message):
        ask(**content)


def test_the_python_call_speaks_with_a_reference(home, tmp_path):
    write_audio(tmp_path / "ref.wav", voice_like(2.0), RATE)
    result = speechgen.load("tiny").synthesize("Hello there.", ref=tmp_path / "ref.wav", seed=1)
    assert result.voice.endswith("ref.wav") and result.seconds > 0


def test_copy_synthesis_keeps_timing_and_level(engine, home, tmp_path):
    path = tmp_path / "quiet.wav"
    write_audio(path, 0.05 * voice_like(2.0, 16000), 16000)
    result = engine.vocode(path, "tiny-vocoder")
    assert result.rate == RATE and result.seconds == pytest.approx(2.0, abs=0.02)
    louder = tmp_path / "loud.wav"
    write_audio(louder, 0.5 * voice_like(2.0, 16000), 16000)
    difference = active_level(engine.vocode(louder, "tiny-vocoder").samples, RATE) - active_level(result.samples, RATE)
    assert difference == pytest.approx(20.0, abs=0.5)


def test_copy_synthesis_refuses_what_is_no_vocoder_and_what_is_too_short(engine, tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, voice_like(0.05), RATE)
    with pytest.raises(UserError, match="at least 0.1 s"):
        engine.vocode(path, "tiny-vocoder")
    with pytest.raises(UserError, match="not a vocoder"):
        engine.vocode(path, "tiny-acoustic")


def test_a_device_that_is_not_here_is_refused_with_those_that_are():
    with pytest.raises(UserError, match="no device 'cuda:9' here: allowed: auto, cpu"):
        Engine("cuda:9")
    assert devices.resolve("cpu").type == "cpu"


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices.Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    assert "running on the CPU" in devices.overlooked_gpu()


def test_every_bundled_pipeline_is_read_strictly(repository):
    found = {path.stem: read_config(path) for path in (repository / "recipes" / "pipelines").glob("*.yaml")}
    assert len(found) >= 4 and found["default"].checkpoints.vocoder == "default-vocoder"


def test_a_hint_about_the_device_is_a_warning_of_the_result(home, monkeypatch):
    monkeypatch.setattr(devices, "overlooked_gpu", lambda: "an NVIDIA GPU is here")
    assert Engine("auto").synthesize(ask(seed=0)).warnings == ("an NVIDIA GPU is here",)
    assert Engine("cpu").synthesize(ask(seed=0)).warnings == ()


def test_streamed_pieces_are_the_samples_of_the_whole(engine):
    request = ask(text="One sentence is here. " * 10, seed=2)
    chunks = list(engine.stream(request, spans=False))
    assert len(chunks) == chunks[0].pieces > 2 and [chunk.piece for chunk in chunks] == list(range(len(chunks)))
    whole = engine.synthesize(request).samples
    assert torch.equal(torch.cat([chunk.samples for chunk in chunks]), whole)
    later = list(engine.stream(request, spans=False, first_piece=2))
    assert torch.equal(later[0].samples, chunks[2].samples)


def test_pitch_temperature_and_candidates_are_heeded(engine):
    plain = engine.synthesize(ask(seed=2)).samples
    for asked in ({"pitch": 4.0}, {"temperature": 1.5}):
        other = engine.synthesize(ask(seed=2, **asked)).samples
        assert other.shape != plain.shape or not torch.allclose(other, plain)
    with pytest.raises(UserError, match="pace.wav"):
        engine.synthesize(ask(tempo_ref=Path("pace.wav")))
    several = [engine.synthesize(ask(seed=2 + n)).samples for n in range(3)]
    chosen = engine.synthesize(ask(seed=2, candidates=3)).samples
    assert any(torch.equal(chosen, one) for one in several)
