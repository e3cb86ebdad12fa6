"""`speechgen sample`: what it draws, and what it refuses."""

from __future__ import annotations

import json

import pytest
import soundfile
import torch

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.service import waveforms
from tests.tiny import save_checkpoint, voice_like


@pytest.fixture
def model(home):
    save_checkpoint(home / "checkpoints" / "tiny-waveform", "samplernn")
    return "tiny-waveform"


def test_clips_are_drawn_into_a_folder_and_repeat(model, tmp_path, capfd):
    for folder in ("one", "two"):
        assert run(["sample", model, "--count", "2", "--seconds", "0.01", "--seed", "3", "-o", str(tmp_path / folder)]) == 0
    assert "2 of 0.01 s at 16000 Hz from tiny-waveform, seed 3" in capfd.readouterr().out
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in one] == ["tiny-waveform-3-001.wav", "tiny-waveform-3-002.wav"]
    assert all(first.read_bytes() == second.read_bytes() for first, second in zip(one, two, strict=True))
    assert soundfile.info(one[0]).frames == 160


def test_a_recording_of_another_rate_is_continued_and_that_is_said(model, tmp_path, capfd):
    write_audio(tmp_path / "in.wav", voice_like(0.05), 24000)
    asked = ["sample", model, "--seconds", "0.01", "--prime", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out"), "--json"]
    assert run(asked) == 0
    told = capfd.readouterr()
    assert "in.wav has 24000 samples a second, the model 16000: it is resampled" in told.err
    assert json.loads(told.out)["seconds"] == 0.01


@pytest.mark.parametrize("name", ["samplernn", "sashimi", "diffwave"])
@pytest.mark.parametrize("samples", [1, 7])
def test_a_recording_shorter_than_what_the_model_looks_back_on_is_continued(home, tmp_path, name, samples):
    save_checkpoint(home / "checkpoints" / "tiny", name)
    write_audio(tmp_path / "in.wav", voice_like(0.01, 16000)[:samples], 16000)
    asked = ["sample", "tiny", "--seconds", "0.02", "--seed", "1", "-q"]
    assert run([*asked, "--prime", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out")]) == 0
    assert run([*asked, "-o", str(tmp_path / "plain")]) == 0
    made, plain = (soundfile.read(next((tmp_path / folder).iterdir()))[0] for folder in ("out", "plain"))
    assert len(made) == 320 and (made != plain).any()


def test_long_clips_go_straight_into_their_files(model, tmp_path, monkeypatch):
    """The same way for an hour: second by second."""
    monkeypatch.setattr(waveforms, "TOGETHER_SECONDS", 0.5)
    sizes = []
    written = waveforms.write_audio

    def counted(path, pieces, rate, comment):
        assert not isinstance(pieces, torch.Tensor)
        written(path, (sizes.append(len(piece)) or piece for piece in pieces), rate, comment=comment)

    monkeypatch.setattr(waveforms, "write_audio", counted)
    clips = waveforms.draw_clips(waveforms.SampleRequest(model, 2, 1.2, seed=1), tmp_path / "out")
    assert sizes == [16000, 3200] * 2
    assert [soundfile.info(path).frames for path in clips.paths] == [19200] * 2
    assert clips.paths[0].read_bytes() != clips.paths[1].read_bytes()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["tiny-waveform", "--seconds", "0"], "nothing to draw"),
        (["tiny-waveform", "--seconds", "nan"], "nothing to draw"),
        (["tiny-waveform", "--seconds", "inf"], "too long for a wav file: ask for 36000 s at most"),
        (["tiny-wavefrom"], "did you mean 'tiny-waveform'"),
        (["tiny-vocoder"], "give a waveform model's checkpoint"),
        (["tiny-waveform", "--temperature", "9"], "temperature: Input should be less than or equal to 2"),
        (["tiny-waveform", "--prime", "nowhere.wav"], "no such audio file"),
        (["tiny-waveform", "--seconds", "40", "--oversample", "2"], "set oversample to 1"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(model, tmp_path, capfd, asked, said):
    assert run(["sample", *asked, "-o", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err
    assert said in told and told.count("\n") == 1
