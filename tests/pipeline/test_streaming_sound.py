"""The bundled voice, streamed: nothing is heard where chunks meet, neither at the chunks nor at the mels behind them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch

from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.pipeline.longform import limit_peaks
from speechgen.pipeline.streaming import LIMITER_FRAMES, VocoderStream
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest

TEXT = "The kitchen window looks out on a quiet garden, where the old dog sleeps under the apple trees until the evening."
SEED = 1
HOP = 256
HEARD = 0.05
"""Nats of flux by which a join may differ; a click at one is 0.15 and more."""
USUAL = 0.95
"""Share of the frames that rise less than a join of mels may: there is no mel made at once to compare it with."""


def flux(samples: torch.Tensor) -> torch.Tensor:
    """Spectral flux [T]: how much each frame rises over the one before, in nats, mean over bins."""
    spectrum = torch.stft(samples, 1024, HOP, window=torch.hann_window(1024), return_complex=True).abs()
    levels = (spectrum + 0.1).log()  # [F, T]; what is 50 dB below a voice is not heard
    return torch.cat((torch.zeros(1), (levels[:, 1:] - levels[:, :-1]).clamp(min=0).mean(0)))


@dataclass(frozen=True)
class Streamed:
    """The sound [L], what the vocoder makes of the same mel at once, and the samples where chunks and where mels meet."""

    samples: torch.Tensor
    whole: torch.Tensor
    chunks: list[int]
    mels: list[int]


@pytest.fixture(scope="module")
def streamed() -> Streamed:
    engine, frames, sizes, push = Engine("cpu"), [], [], VocoderStream.push

    def noted(self: VocoderStream, mel: torch.Tensor, *, last: bool) -> torch.Tensor:
        made = push(self, mel, last=last)
        frames.append(mel)
        sizes.append(len(made))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VocoderStream, "push", noted)
        chunks = list(engine.stream(SynthesisRequest.checked({"text": TEXT, "seed": SEED})))
    loaded = engine.load("default")
    vocoder, options = loaded.stages.vocoder, loaded.options().models["vocoder"]
    values = torch.cat(frames, dim=1)
    mel = Mel(values, torch.tensor([values.shape[1]]), vocoder.mel)
    made = vocoder.generate(mel, options=options, rng=generator(SEED, "vocoder", 0)).samples[0].float()
    samples = torch.cat([chunk.samples for chunk in chunks])
    lost = sizes[0] - len(chunks[0].samples)  # silence before the first word
    whole = limit_peaks(made, vocoder.mel.sample_rate)[lost:]
    meet = [end - lost for end in itertools.accumulate(sizes)][:-1]
    reach = (vocoder.reach_frames + LIMITER_FRAMES + 1) * HOP
    return Streamed(samples, whole, meet, [end + reach for end in meet])


def near(samples: torch.Tensor, joins: list[int]) -> torch.Tensor:
    """The flux around each join, [J, 4]."""
    found = flux(samples)
    return torch.stack([found[join // HOP - 1 : join // HOP + 3] for join in joins])


def spoilt(samples: torch.Tensor, joins: list[int]) -> torch.Tensor:
    """The sound with a click at every join."""
    clicking = samples.clone()
    for join in joins:
        clicking[join : join + 3] += 0.3
    return clicking


def differences(samples: torch.Tensor, streamed: Streamed) -> torch.Tensor:
    """The largest difference of the flux around each join of chunks, [J]."""
    return (near(samples, streamed.chunks) - near(streamed.whole, streamed.chunks)).abs().amax(1)


def test_a_sentence_comes_in_chunks(streamed):
    assert len(streamed.chunks) >= 2 and streamed.samples.abs().max() > 0.05


def test_no_chunk_is_heard_to_begin(streamed):
    """Every join sounds as the same place does where the mel was rendered at once."""
    assert (differences(streamed.samples, streamed) < HEARD).all()


def test_a_click_at_any_join_of_chunks_would_be(streamed):
    assert (differences(spoilt(streamed.samples, streamed.chunks), streamed) > HEARD).all()


def test_no_mel_is_heard_to_begin(streamed):
    usual = flux(streamed.samples)[flux(streamed.samples) > 0].quantile(USUAL)
    assert (near(streamed.samples, streamed.mels) < usual).all()
    assert (near(spoilt(streamed.samples, streamed.mels), streamed.mels).amax(1) > usual).all()
