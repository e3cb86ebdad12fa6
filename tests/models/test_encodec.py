"""EnCodec: streaming, identity, what it refuses, and how it learns. What every model promises is in test_contract.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import CodecTokens, Waveform
from speechgen.models.codecs.encodec.config import EncodecConfig, EncodecObjectiveConfig
from speechgen.models.codecs.encodec.generate import EncodecGenerator
from speechgen.models.codecs.encodec.model import Encodec
from speechgen.models.codecs.encodec.objective import EncodecObjective
from tests.models.systems import batch, speech
from tests.tiny import RATE, voice_like

HOP = EncodecConfig.tiny().hop_samples


def made(**changes: object) -> EncodecGenerator:
    """The tiny codec with codebooks that fit its latents, so that codes vary."""
    torch.manual_seed(0)
    config = EncodecConfig.tiny().model_copy(update=changes)
    network = Encodec(config).eval()
    with torch.no_grad():
        network.quantizer.learn(network.encoder(speech(2.0).samples[:, None].expand(-1, config.channels, -1)), rng=generator(0))
    return EncodecGenerator(network, config)


@pytest.fixture(scope="module")
def codec() -> EncodecGenerator:
    return made()


def cut(audio: Waveform, *sizes: int) -> list[Waveform]:
    """One row of audio in chunks of these sizes, then the rest."""
    sizes = (*sizes, audio.samples.shape[1] - sum(sizes))
    return [Waveform.single(piece, audio.rate) for piece in audio.samples[0].split(sizes)]


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("sizes", [(1, 511, 700, 5000), (100,), (512,) * 20], ids=["uneven", "short first", "frames"])
def test_codes_in_chunks_are_the_codes_of_the_whole(sizes, mode):
    codec = made(pad_mode=mode)
    audio = speech(0.61)
    whole = codec.encode(audio)
    parts = list(codec.encode_stream(cut(audio, *sizes)))
    assert torch.equal(torch.cat([part.ids for part in parts], dim=-1), whole.ids)
    assert len(parts) > 1 and whole.ids.shape[-1] == -(-audio.samples.shape[1] // HOP) and len(whole.ids.unique()) > 8


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_audio_in_chunks_is_the_audio_of_the_whole(mode):
    codec = made(pad_mode=mode)
    tokens = codec.encode(speech(0.61))
    pieces = [
        replace(tokens, ids=ids, lengths=torch.tensor([ids.shape[-1]])) for ids in tokens.ids.split((1, 5, 1, 22), dim=-1)
    ]
    parts = list(codec.decode_stream(pieces))
    whole = codec.decode(tokens)
    torch.testing.assert_close(torch.cat([part.samples for part in parts], dim=-1), whole.samples, rtol=1e-4, atol=1e-6)


def test_long_audio_is_read_in_pieces_with_the_same_result(codec, monkeypatch):
    whole = codec.encode(speech(2.0))
    decoded = codec.decode(whole)
    monkeypatch.setattr("speechgen.models.codecs.encodec.generate.CHUNK_SECONDS", 0.3)
    assert torch.equal(codec.encode(speech(2.0)).ids, whole.ids)
    torch.testing.assert_close(codec.decode(whole).samples, decoded.samples, rtol=1e-4, atol=1e-6)


def test_rows_do_not_see_each_other_and_empty_ones_have_no_codes(codec):
    audio = speech(0.9, 0.31)
    audio = Waveform(torch.cat((audio.samples, torch.ones(1, audio.samples.shape[1]))), torch.tensor([*audio.lengths, 0]), RATE)
    together = codec.encode(audio)
    decoded = codec.decode(together)
    assert decoded.lengths.tolist() == [length * HOP for length in together.lengths.tolist()]
    assert together.lengths.tolist() == [-(-length // HOP) for length in audio.lengths.tolist()]
    for row, length in enumerate(together.lengths.tolist()):
        alone = codec.encode(Waveform.single(audio.samples[row, : audio.lengths[row]], RATE))
        assert torch.equal(alone.ids[0], together.ids[row, :, :length])
        heard = codec.decode(alone).samples[0]
        torch.testing.assert_close(decoded.samples[row, : len(heard)], heard)


def test_audio_of_another_rate_is_resampled(codec):
    assert codec.encode(Waveform.single(voice_like(0.5, 16000), 16000)).ids.shape[-1] == -(-RATE // 2 // HOP)


def test_fewer_codebooks_are_the_first_ones(codec):
    audio = speech(0.5)
    assert torch.equal(codec.encode(audio, 2).ids, codec.encode(audio).ids[:, :2])
    assert codec.decode(codec.encode(audio, 1)).samples.isfinite().all()
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f"3 codebooks, {wrong} were asked for"):
            codec.encode(audio, wrong)


def test_an_identity_is_of_the_weights(codec):
    assert made().identity == codec.identity
    other = made()
    with torch.no_grad():
        other.network.decoder.layers[0].conv.bias += 1e-3
    assert EncodecGenerator(other.network, other.config).identity != codec.identity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codec": "encodec-0123abcd"}, "these codes are of encodec-0123abcd, which encodec-.* cannot decode"),
        ({"ids": torch.full((1, 3, 4), 16)}, "code 16 of codebook 0, frame 0, row 0 is not in 0 to 15"),
        ({"ids": torch.full((1, 3, 4), -1)}, "code -1 of codebook 0"),
        ({"ids": torch.zeros(1, 4, 4, dtype=torch.int64)}, "has 3 codebooks, the codes given are of 4"),
    ],
    ids=["another codec", "too large", "negative", "too many codebooks"],
)
def test_codes_that_cannot_be_decoded_are_refused(codec, change, said):
    tokens = CodecTokens(torch.zeros(1, 3, 4, dtype=torch.int64), torch.tensor([4]), codec.rate, codec.size, codec.identity)
    for decode in (codec.decode, lambda tokens: list(codec.decode_stream([tokens]))):
        with pytest.raises(ValueError, match=said):
            decode(replace(tokens, **change))


def test_what_pads_codes_may_be_anything(codec):
    tokens = codec.encode(speech(0.5))
    padded = replace(tokens, ids=torch.nn.functional.pad(tokens.ids, (0, 5), value=-1))
    assert torch.equal(codec.decode(padded).samples, codec.decode(tokens).samples)


def test_audio_that_is_not_finite_is_refused(codec):
    with pytest.raises(ValueError, match="NaN or infinite"):
        codec.encode(Waveform.single(torch.full((4000,), torch.nan), RATE))


def test_segments_are_coded_at_one_level():
    """As the 48 kHz model does: a louder recording has the same codes."""
    codec = made(causal=False, group_norm=True, channels=2, normalize=True, segment_seconds=0.2)
    audio = speech(0.5)
    louder = replace(audio, samples=0.25 * audio.samples)
    tokens, others = codec.encode(audio), codec.encode(louder)
    assert torch.equal(tokens.ids, others.ids) and tokens.scales.shape == (1, 3)
    torch.testing.assert_close(codec.decode(others).samples, 0.25 * codec.decode(tokens).samples, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cannot stream"):
        list(codec.encode_stream([audio]))


def test_levels_need_segments():
    with pytest.raises(ValidationError, match="normalize needs segment_seconds"):
        EncodecConfig(normalize=True)


def trained(**changes: object) -> tuple[EncodecObjective, Batch]:
    torch.manual_seed(0)
    config = EncodecConfig.tiny()
    objective = EncodecObjective(Encodec(config), config, EncodecObjectiveConfig.tiny().model_copy(update=changes))
    return objective, batch(("audio",))


def test_quantiser_and_discriminators_join_when_it_is_their_time():
    objective, rows = trained(quantize_start=2, adversarial_start=3, adversarial_lead=1)
    seen = []
    for step in range(5):
        *judges, codec = objective.updates(rows, step, generator(step))
        seen.append((len(judges), "adversarial" in codec.metrics, int(objective.quantizer.updates)))
    assert seen == [(0, False, 0), (0, False, 0), (0, False, 2), (1, False, 3), (1, True, 4)]


def test_codebooks_move_after_the_optimiser_has_stepped():
    """What an update was computed with is what its gradient is of."""
    objective, rows = trained()
    updates = objective.updates(rows, 0, generator(0))
    next(updates)
    before = objective.quantizer.vectors.clone()
    next(updates)
    assert torch.equal(objective.quantizer.vectors, before)
    assert next(updates, None) is None
    assert not torch.equal(objective.quantizer.vectors, before)


def test_the_gradient_of_the_waveform_is_shared_out_by_weight():
    """Without discriminators or commitment: of norm 1 or less for a row, as the shares add up to one."""
    objective, rows = trained(adversarial_start=9, commitment_weight=0.0)
    found: list[torch.Tensor] = []
    network = objective.parts["network"]
    network.decoder.layers[-1].register_full_backward_hook(lambda module, inside, outside: found.append(outside[0]))
    (update,) = objective.updates(rows, 0, generator(0))
    update.loss.backward()
    norms = torch.linalg.vector_norm(found[0].flatten(1), dim=-1)
    assert 0.2 < norms.mean() <= 1 + 1e-4
