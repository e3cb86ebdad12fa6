"""The bundled voice, streamed: nothing is heard where chunks meet, neither at the chunks nor at the mels behind them."""

from __future__ import annotations

import itertools

import pytest
import torch

from speechgen.pipeline.streaming import LIMITER_FRAMES
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest

TEXT = "The kitchen window looks out on a quiet garden, where the old dog sleeps under the apple trees until the evening."
HOP = 256
HEARD = 1.0
"""Of the flux that 5 % of the frames exceed by themselves. Of joins the median counts: one may fall on the onset of a sound."""


def flux(samples: torch.Tensor) -> torch.Tensor:
    """Spectral flux [T]: how much each frame rises over the one before, in nats, mean over bins."""
    spectrum = torch.stft(samples, 1024, HOP, window=torch.hann_window(1024), return_complex=True).abs()
    levels = (spectrum + 0.1).log()  # [F, T]; what is 50 dB below a voice is not heard
    return torch.cat((torch.zeros(1), (levels[:, 1:] - levels[:, :-1]).clamp(min=0).mean(0)))


@pytest.fixture(scope="module")
def streamed() -> tuple[torch.Tensor, list[int]]:
    """The sound, and the samples where chunks or mels meet."""
    engine = Engine("cpu")
    chunks = list(engine.stream(SynthesisRequest.checked({"text": TEXT, "seed": 1})))
    ends = list(itertools.accumulate(len(chunk.samples) for chunk in chunks))
    reach = (engine.load("default").stages.vocoder.reach_frames + LIMITER_FRAMES + 1) * HOP
    return torch.cat([chunk.samples for chunk in chunks]), [end + shift for end in ends[:-1] for shift in (0, reach)]


def test_a_sentence_comes_in_chunks(streamed):
    samples, joins = streamed
    assert len(joins) >= 4 and samples.abs().max() > 0.05


def at_joins(samples: torch.Tensor, joins: list[int]) -> torch.Tensor:
    """The largest flux around each join."""
    found = flux(samples)
    return torch.stack([found[max(0, join // HOP - 1) : join // HOP + 3].max() for join in joins])


def test_no_join_is_heard(streamed):
    samples, joins = streamed
    usual = flux(samples)[flux(samples) > 0].quantile(0.95)
    assert at_joins(samples, joins).median() < HEARD * usual


def test_a_click_at_every_join_would_be(streamed):
    samples, joins = streamed
    usual = flux(samples)[flux(samples) > 0].quantile(0.95)
    spoilt = samples.clone()
    for join in joins:
        spoilt[join : join + 3] += 0.3
    assert at_joins(spoilt, joins).median() > HEARD * usual
