"""The codec of the mel: lengths, rows, causality, and what training leaves alone."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.random import generator
from speechgen.core.types import CodecTokens, Waveform
from speechgen.models.codecs.mel_codec.config import MelCodecConfig
from speechgen.models.codecs.mel_codec.generate import CHUNK_FRAMES, MelCodecGenerator
from speechgen.models.codecs.mel_codec.model import MelCodec
from tests.models.systems import batch, build

HOP = MelCodecConfig.tiny().hop_samples


@pytest.fixture
def codec() -> MelCodecGenerator:
    return MelCodecGenerator(build("mel_codec").network, MelCodecConfig.tiny())


def noise(seconds: float, seed: int = 0) -> Waveform:
    return Waveform.single(0.1 * torch.randn(round(24000 * seconds), generator=generator(seed)), 24000)


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 7 * HOP, 7 * HOP + 300])
def test_as_many_frames_as_begin_in_the_audio(codec, samples):
    coded = codec.encode(Waveform.single(noise(1.0).samples[0, :samples], 24000))
    assert coded.ids.shape == (1, 3, -(-samples // HOP)) and coded.ids.max() < 16
    assert codec.decode(coded).samples.shape == (1, coded.ids.shape[2] * HOP)


def test_rows_of_unequal_lengths_are_as_alone(codec):
    long, short = noise(1.0), noise(0.4, seed=1)
    samples = torch.stack((long.samples[0], torch.nn.functional.pad(short.samples[0], (0, 14400), value=0.5)))
    both = codec.encode(Waveform(samples, torch.tensor([24000, 9600]), 24000))
    alone = codec.encode(short)
    assert torch.equal(both.ids[1, :, : alone.ids.shape[2]], alone.ids[0])
    torch.testing.assert_close(codec.decode(both).samples[1, : alone.ids.shape[2] * HOP], codec.decode(alone).samples[0])


def test_long_codes_are_rendered_in_windows_that_join_without_a_seam(codec, monkeypatch):
    codes = codec.encode(noise(3.0))
    whole = codec.decode(codes).samples
    monkeypatch.setattr("speechgen.models.codecs.mel_codec.generate.CHUNK_FRAMES", 64)
    assert CHUNK_FRAMES > 64
    torch.testing.assert_close(codec.decode(codes).samples, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "sizes", [(1, 511, 700, 5000), (100,), (HOP,) * 20, (30000,)], ids=["uneven", "short first", "frames", "long"]
)
def test_codes_of_a_stream_are_the_codes_of_the_whole(codec, sizes):
    audio = noise(1.5)
    pieces = audio.samples[0].split((*sizes, audio.samples.shape[1] - sum(sizes)))
    parts = list(codec.encode_stream(Waveform.single(piece, 24000) for piece in pieces))
    assert len(parts) > 1
    assert torch.equal(torch.cat([part.ids for part in parts], dim=2), codec.encode(audio).ids)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_audio_of_streamed_codes_is_the_audio_of_the_whole(codec, size, monkeypatch):
    """Cut at full scale too."""
    monkeypatch.setattr("speechgen.models.codecs.mel_codec.generate.corrected", lambda samples, *rest: 90 * samples)
    codes = codec.encode(noise(3.0))
    pieces = [
        CodecTokens(ids, torch.tensor([ids.shape[2]]), codec.rate, 16, codec.identity) for ids in codes.ids.split(size, dim=2)
    ]
    parts = [part.samples for part in codec.decode_stream(pieces)]
    assert len(parts) > 1
    whole = codec.decode(codes).samples
    assert whole.abs().max() == 1
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_a_stream_comes_before_its_end_is_known_and_holds_no_more_than_it_needs(codec):
    """The first code comes with the second frame of audio; ten minutes hold as little as ten seconds."""
    asked = []

    def chunks():
        for seed in range(600):
            asked.append(seed)
            yield noise(HOP / 24000, seed)

    stream = codec.encode_stream(chunks())
    next(stream)
    assert len(asked) == 2
    longest = []
    whole = codec._encode_row
    codec._encode_row = lambda held, codebooks: longest.append(len(held)) or whole(held, codebooks)
    assert sum(part.ids.shape[2] for part in codec.encode_stream(chunks())) == 600
    assert max(longest) <= (codec.network.encoder.reach + 4) * HOP


def test_what_cannot_be_streamed_is_told(codec):
    with pytest.raises(ValueError, match="one row at 24000 Hz, got 1 at 16000 Hz"):
        list(codec.encode_stream([Waveform.single(torch.zeros(100), 16000)]))
    with pytest.raises(ValueError, match="NaN"):
        list(codec.encode_stream([Waveform.single(torch.full((100,), torch.nan), 24000)]))
    two = CodecTokens(torch.zeros(2, 3, 4, dtype=torch.int64), torch.tensor([4, 4]), codec.rate, 16, codec.identity)
    with pytest.raises(ValueError, match="one row of codes, got 2"):
        list(codec.decode_stream([two]))


def test_codes_depend_on_no_later_frame():
    network = build("mel_codec").network
    mel = torch.randn(1, 40, 100, generator=generator(0)) - 2
    other = mel.clone()
    other[:, 20:] += 1
    latent, changed = network.encode(mel), network.encode(other)
    torch.testing.assert_close(latent[..., :10], changed[..., :10])
    assert not torch.allclose(latent[..., 10:], changed[..., 10:])
    decoded = network.decode(latent)
    cut = network.decode(latent[..., :10])
    torch.testing.assert_close(decoded[:, :20], cut)


def test_the_vocoder_stays_as_it_is_and_is_no_part_of_the_identity():
    system = build("mel_codec")
    before = {key: value.clone() for key, value in system.network.state_dict().items()}
    objective = system.objective()
    optimizer = torch.optim.AdamW(system.network.parameters(), 1e-2)
    for update in objective.updates(batch(objective.fields), 0, generator(0)):
        update.loss.backward()
        optimizer.step()
    moved = {key.split(".")[0] for key, value in system.network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"encoder", "quantizer", "decoder"}
    named = MelCodecGenerator(system.network, MelCodecConfig.tiny()).identity
    with torch.no_grad():
        system.network.head.out.bias += 1
    assert MelCodecGenerator(system.network, MelCodecConfig.tiny()).identity == named
    with torch.no_grad():
        system.network.decoder.out.bias += 1
    assert MelCodecGenerator(system.network, MelCodecConfig.tiny()).identity != named


def test_weights_of_a_vocos_fit(codec):
    wanted = build("vocos").network.state_dict()
    found = MelCodec(MelCodecConfig.tiny()).state_dict()
    assert all(found[key].shape == value.shape for key, value in wanted.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [({"codec": "other"}, "cannot decode"), ({"ids": torch.full((1, 3, 2), 16)}, "is not in 0 to 15")],
)
def test_foreign_codes_are_refused(codec, change, told):
    good = {"ids": torch.zeros(1, 3, 2, dtype=torch.int64), "codec": codec.identity} | change
    with pytest.raises(ValueError, match=told):
        codec.decode(CodecTokens(good["ids"], torch.tensor([2]), codec.rate, 16, good["codec"]))


def test_what_cannot_be_coded_is_told(codec):
    with pytest.raises(ValueError, match="3 codebooks, 4"):
        codec.encode(noise(0.1), codebooks=4)
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(Waveform.single(torch.full((100,), torch.nan), 24000))
