"""Sound as bytes, whole and streamed: what decoders hear, and that the same sound gives the same bytes."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.encode import ENCODINGS, Encoder, encode
from speechgen.audio.io import Limits, decode_audio
from speechgen.core.errors import UserError
from tests.tiny import RATE, voice_like

SOUND = voice_like(4.0)
LOSSLESS = ("wav", "flac", "pcm")


def streamed(encoding, sizes=9000):
    with Encoder(encoding, RATE, "synthetic speech") as encoder:
        return [*(encoder.push(part) for part in SOUND.split(sizes)), encoder.close()]


def heard(content, encoding):
    """Samples, read block by block as a player does that knows no length."""
    if encoding == "pcm":
        return np.frombuffer(content, "<i2") / 32768
    blocks = []
    # Of FLAC that tells no length, libsndfile reads all but fails to say so.
    with soundfile.SoundFile(io.BytesIO(content)) as file, suppress(soundfile.LibsndfileError):
        assert file.samplerate == RATE
        while len(block := file.read(500)):
            blocks.append(block)
    return np.concatenate(blocks)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_decoders_hear_the_sound(encoding, way):
    content = encode(SOUND, RATE, encoding, "synthetic speech") if way == "whole" else b"".join(streamed(encoding))
    samples = heard(content, encoding)
    assert abs(len(samples) - len(SOUND)) < 0.1 * RATE
    if encoding in LOSSLESS:
        np.testing.assert_allclose(samples, SOUND.numpy()[: len(samples)], atol=1e-4)
    else:
        assert np.std(samples) == pytest.approx(SOUND.std().item(), rel=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_grows_while_it_is_made_and_is_the_same_again(encoding):
    parts = streamed(encoding)
    assert sum(map(len, parts[: len(parts) // 2])) > 0.3 * sum(map(len, parts))
    assert b"".join(parts) == b"".join(streamed(encoding)) == b"".join(streamed(encoding, 1234))


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "pcm"])
def test_a_whole_file_tells_where_it_is_from(encoding):
    with soundfile.SoundFile(io.BytesIO(encode(SOUND, RATE, encoding, "synthetic speech"))) as file:
        assert file.comment == "synthetic speech"


def test_channels_and_length_are_refused_from_the_header():
    content = io.BytesIO()
    soundfile.write(content, np.zeros((RATE, 3)), RATE, format="WAV")
    for limits, match in (
        (Limits(channels=2), "upload has 3 channels, at most 2"),
        (Limits(longest_seconds=0.5), r"upload lasts 1\.0 s, at most 0\.5 s"),
        (Limits(shortest_seconds=2), r"upload lasts 1\.00 s, at least 2 s"),
        (Limits(rate=16000), "24000 samples per second, at most 16000"),
    ):
        with pytest.raises(UserError, match=match):
            decode_audio(io.BytesIO(content.getvalue()), "upload", limits)
    with pytest.raises(UserError, match="lasts an unknown time"):  # a stream that does not tell its length
        decode_audio(io.BytesIO(b"".join(streamed("flac"))), "upload", Limits(longest_seconds=30))
    assert decode_audio(io.BytesIO(content.getvalue()), "upload", Limits()).samples.equal(torch.zeros(1, RATE))
