"""Sampling of waveforms, with a sampler whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechgen.audio.quantize import dequantize
from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.nn.fused_draw import draw
from speechgen.sampling.levels import AutoregressiveGenerator, SamplingOptions

RATE = 100


class Steps:
    """Each level is the one before it, one more, or one less; probabilities 1/2, 1/4, 1/4."""

    def __init__(self, rows: int) -> None:
        self.rows, self.bits, self.past = rows, np.zeros(rows), np.full(rows, 128)

    def run(self, known, uniform, temperature, top_p):
        for levels, numbers in zip(known, uniform, strict=True):
            logits = np.full((self.rows, 256), -80.0, np.float32)
            for row, past in enumerate(self.past):
                logits[row, [past - 1, past, past + 1]] = np.log([0.25, 0.5, 0.25])
            draw(logits, numbers, np.float32(temperature), np.float32(top_p), np.zeros(256, np.float32), levels, self.bits)
            self.past = levels.copy()


MODEL = AutoregressiveGenerator(lambda engine, rows: Steps(rows), RATE, "linear")


def generate(count: int, samples: int, prime: Waveform | None = None, seed: int = 0, **options: float) -> Waveform:
    return MODEL.generate(count, samples, prime, options=SamplingOptions(**options), rng=generator(seed))


def test_a_stream_is_the_same_waveform_second_by_second():
    whole = generate(1, 250).samples[0]
    pieces = list(MODEL.stream(250, None, options=SamplingOptions(), rng=generator(0)))
    assert [len(piece) for piece in pieces] == [100, 100, 50]
    assert torch.equal(torch.cat(pieces), whole)
    with pytest.raises(UserError, match="set oversample to 1"):
        next(MODEL.stream(250, None, options=SamplingOptions(oversample=2), rng=generator(0)))


def test_temperature_zero_and_a_small_share_take_the_likeliest():
    for options in ({"temperature": 0}, {"top_p": 0.4}):
        assert generate(2, 50, **options).samples.abs().max() == 0
    assert generate(2, 50, top_p=0.6).samples.abs().max() > 0


def test_drawn_levels_have_the_distribution():
    levels = (generate(64, 200).samples * 128).round()
    steps = levels.diff().flatten()
    assert (steps == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (steps == 1).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_what_primes_is_continued_and_not_returned():
    prime = Waveform.single(dequantize(torch.arange(128, 180), "linear"), RATE)
    made = generate(3, 20, prime)
    first = (made.samples[:, 0] * 128).round() + 128
    assert made.samples.shape == (3, 20) and ((first - 179).abs() <= 1).all()
    shorter = generate(1, 20, Waveform.single(torch.zeros(1), RATE))
    assert shorter.samples.shape == (1, 20)


def test_extreme_clips_are_left_out():
    """Ten for one and nine left out: eight of the least likely, one of the likeliest."""
    all_of_them = generate(10, 100)
    bits = MODEL.bits(all_of_them)
    kept = generate(1, 100, oversample=10)
    assert MODEL.bits(kept)[0] == pytest.approx(bits.sort().values[1].item())


def test_bits_are_those_of_the_distribution_whatever_the_lengths():
    flat, rising = torch.zeros(40), dequantize(torch.arange(128, 168), "linear")
    rows = Waveform(torch.stack((flat, rising)), torch.tensor([40, 25]), RATE)
    torch.testing.assert_close(MODEL.bits(rows), torch.tensor([1.0, (1 + 24 * 2) / 25], dtype=torch.float64))


def test_progress_goes_to_the_end():
    calls: list[tuple[int, int]] = []
    MODEL.generate(
        70, 150, None, options=SamplingOptions(), rng=generator(0), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == sorted(calls) and calls[-1] == (70 * 150, 70 * 150)
