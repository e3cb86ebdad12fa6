"""The measured pitch is that of the sound, on the frames of the mel."""

from __future__ import annotations

import importlib
import math

import pytest
import torch

from speechgen.audio.io import read_audio
from speechgen.audio.pitch import _without_jumps, estimate_pitch
from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from tests.conftest import REPOSITORY

MEL = MelSettings()


def buzz(hertz: torch.Tensor) -> torch.Tensor:
    """Ten harmonics of a frequency that is given for every sample [L]."""
    phase = 2 * math.pi * torch.cumsum(hertz.double() / MEL.sample_rate, -1)
    return (0.05 * sum(torch.sin(h * phase) / h for h in range(1, 11))).float()


@pytest.mark.parametrize("hertz", [80.0, 100.0, 201.5, 333.0, 450.0])
@pytest.mark.parametrize("noise_db", [None, 20.0])
def test_a_tone_has_its_frequency_and_a_frame_at_every_hop(hertz, noise_db):
    samples = buzz(torch.full((24_000 + 77,), hertz))
    if noise_db:
        noise = torch.randn(len(samples), generator=torch.Generator().manual_seed(0))
        samples = samples + noise * samples.std() * 10 ** (-noise_db / 20)
    found = estimate_pitch(samples, MEL)
    assert found.dtype == torch.float32 and found.shape == (log_mel(samples[None], MEL).shape[1],)
    assert ((found[3:-3] / hertz - 1).abs() < 0.01).all()


def test_frames_are_centred_where_those_of_the_mel_are():
    """A glide of 400 Hz a second: a frame of 10.7 ms off its place would be 4.3 Hz off."""
    seconds = torch.arange(24_000) / MEL.sample_rate
    found = estimate_pitch(buzz(120 + 200 * seconds), MEL)
    centres = torch.arange(len(found)) * MEL.hop_samples / MEL.sample_rate
    assert ((found - (120 + 200 * centres))[5:-5].abs() < 0.7).all()


def test_pauses_are_unvoiced_and_begin_and_end_where_they_are():
    samples = buzz(torch.full((24_000,), 150.0))
    samples[8_000:16_000] = 0
    voiced = estimate_pitch(samples, MEL) > 0
    assert voiced[3:30].all() and voiced[64:90].all() and not voiced[34:60].any()


@pytest.mark.parametrize("samples", [0, 1, 255, 256, 5000])
def test_silence_and_scraps_of_any_length_are_unvoiced(samples):
    assert estimate_pitch(torch.zeros(samples), MEL).tolist() == [0.0] * (samples // 256 + 1)
    rubbish = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1))
    assert estimate_pitch(rubbish, MEL).shape == (samples // 256 + 1,)


def test_octave_jumps_take_the_pitch_around_them():
    hertz = torch.tensor([0, 100, 101, 204, 103, 105, 0, 0, 52, 0]).double().numpy()
    assert _without_jumps(hertz).tolist() == [0, 100, 101, 103, 103, 105, 0, 0, 52, 0]


@pytest.mark.parametrize(("voice", "low", "high"), [("marcus", 80, 160), ("linda", 150, 260), ("kathleen", 150, 260)])
def test_speech_is_voiced_for_a_good_part_at_its_speakers_pitch_and_steady(voice, low, high):
    clip = read_audio(REPOSITORY / "app" / "examples" / f"{voice}.flac")
    samples = resample(clip, MEL.sample_rate).samples[0]
    found = estimate_pitch(samples, MEL)
    voiced = found[found > 0]
    assert 0.25 < len(voiced) / len(found) < 0.9 and low < float(voiced.median()) < high
    both = (found[1:] > 0) & (found[:-1] > 0)
    assert ((found[1:] / found[:-1])[both].log2().abs() < 0.3).float().mean() > 0.99


def test_a_missing_package_is_one_clear_line(monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match="pip install praat-parselmouth"):
        estimate_pitch(torch.ones(10), MEL)
