"""Recordings read and written as they are: channels, rate and every bit."""

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.io import read_audio, read_recording, write_audio

WHOLE = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


def stored(path, subtype, channels=2, size=5000):
    """Write a file of extreme and random samples."""
    bits = WHOLE[subtype]
    drawn = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (size, channels), dtype=np.int64)
    drawn[0], drawn[1], drawn[2] = 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 1
    soundfile.write(path, (drawn << (32 - bits)).astype(np.int32), 44100, subtype)
    return soundfile.read(path, dtype="int32")[0]


@pytest.mark.parametrize("subtype", WHOLE)
def test_whole_numbers_come_back_bit_for_bit(tmp_path, subtype):
    before = stored(tmp_path / "a.wav", subtype)
    recording = read_recording(tmp_path / "a.wav")
    assert recording.samples.shape == (2, 5000) and recording.rate == 44100 and recording.subtype == subtype
    write_audio(tmp_path / "b.wav", recording.samples, recording.rate, like=recording.subtype)
    assert soundfile.info(tmp_path / "b.wav").subtype == subtype
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="int32")[0], before)


@pytest.mark.parametrize(("subtype", "kept"), [("PCM_16", "PCM_16"), ("PCM_24", "PCM_24"), ("PCM_U8", "PCM_16")])
def test_flac_keeps_them_too(tmp_path, subtype, kept):
    before = stored(tmp_path / "a.wav", subtype)
    recording = read_recording(tmp_path / "a.wav")
    write_audio(tmp_path / "b.flac", recording.samples, recording.rate, like=recording.subtype)
    assert soundfile.info(tmp_path / "b.flac").subtype == kept
    assert np.array_equal(soundfile.read(tmp_path / "b.flac", dtype="int32")[0], before)


def test_floats_beyond_full_scale_are_kept_in_wav(tmp_path):
    samples = (np.random.default_rng(0).standard_normal((4000, 1)) * 2).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    recording = read_recording(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav", recording.samples, recording.rate, like=recording.subtype)
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="float32", always_2d=True)[0], samples)


def test_what_was_compressed_is_written_with_16_bits(tmp_path):
    soundfile.write(tmp_path / "a.ogg", np.sin(np.arange(9000) / 20) / 2, 16000)
    recording = read_recording(tmp_path / "a.ogg")
    write_audio(tmp_path / "b.wav", recording.samples, recording.rate, like=recording.subtype)
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_16"
    back = read_recording(tmp_path / "b.wav").samples
    assert float((back - recording.samples).abs().max()) <= 0.5 / 32768 + 1e-7


def test_the_mean_of_the_channels_is_what_models_hear(tmp_path):
    stored(tmp_path / "a.wav", "PCM_16")
    assert torch.equal(read_recording(tmp_path / "a.wav").mono.samples, read_audio(tmp_path / "a.wav").samples)
