"""Monotonic decoding with joints whose answer is known."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from speechgen.core.random import generator
from speechgen.sampling.transducer import decode, draw

TOKENS, DURATIONS = [4, 4, 1, 0, 2, 2, 2, 3], [2, 0, 1, 4, 0, 1]
CLASSES = 5


class Walk(NamedTuple):
    """All that the symbols emitted."""

    tokens: list[int]
    durations: list[int]
    log_probability: float


def oracle(symbol: int, emitted: tuple[int, ...]) -> Tensor:
    """Certain of the next token until the symbol has spoken; `emitted` is the whole past."""
    logits = torch.full((CLASSES + 1,), -20.0)
    done = sum(DURATIONS[: symbol + 1])
    logits[TOKENS[len(emitted)] if len(emitted) < done else CLASSES] = 20.0
    return logits


def walk(joint=oracle, symbols=6, **changes):
    options = {"max_per_symbol": 10, "temperature": 0.0, "top_k": 0, "blank_bias": 0.0, "rng": generator(0)} | changes
    emitted = list(decode(joint, lambda token, state: (*state, token), (), symbols, **options))
    return Walk(
        [token for symbol in emitted for token in symbol.tokens],
        [len(symbol.tokens) for symbol in emitted],
        sum(symbol.log_probability for symbol in emitted),
    )


@pytest.mark.parametrize("temperature", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 3])
def test_an_oracle_reproduces_tokens_and_durations(temperature, top_k):
    found = walk(temperature=temperature, top_k=top_k)
    assert (found.tokens, found.durations) == (TOKENS, DURATIONS)
    assert found.log_probability == pytest.approx(0, abs=1e-6)


def test_durations_count_every_token_and_every_symbol_has_one():
    found = walk(lambda symbol, state: torch.zeros(CLASSES + 1), symbols=30, temperature=1.0)
    assert len(found.durations) == 30 and sum(found.durations) == len(found.tokens)


def test_a_symbol_that_would_never_end_stops_at_the_limit():
    found = walk(lambda symbol, state: torch.arange(CLASSES, -1, -1).float(), symbols=3, max_per_symbol=4)
    assert found.durations == [4, 4, 4] and found.tokens == [0] * 12


def test_blank_bias_shortens_and_lengthens_up_to_the_extremes():
    joint = lambda symbol, state: torch.zeros(CLASSES + 1)  # noqa: E731
    counts = [len(walk(joint, symbols=50, temperature=1.0, blank_bias=bias).tokens) for bias in (1e9, 2.0, 0.0, -1.0, -1e9)]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 50 * 10


def test_at_temperature_zero_a_symbol_lasts_its_median():
    """Ending has a chance of 0.2 at each step and is never the likeliest: 0.8^3 > 0.5 > 0.8^4."""
    hazard = torch.tensor([0.5, 0.3, 0.2]).log()
    found = walk(lambda symbol, state: hazard, symbols=5, max_per_symbol=64)
    assert found.durations == [3] * 5 and set(found.tokens) == {0}


def test_at_temperature_one_durations_are_those_of_the_model():
    hazard = torch.tensor([0.5, 0.3, 0.2]).log()
    found = walk(lambda symbol, state: hazard, symbols=4000, temperature=1.0, max_per_symbol=64)
    durations = torch.tensor(found.durations, dtype=torch.float)
    assert float(durations.mean()) == pytest.approx(4.0, abs=0.25)  # geometric: 0.8 / 0.2
    assert float((durations == 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert found.tokens.count(0) / len(found.tokens) == pytest.approx(5 / 8, abs=0.03)


def test_the_probability_is_that_of_the_path():
    rng = torch.Generator().manual_seed(0)
    table = torch.randn(3, 40, CLASSES + 1, generator=rng)
    found = walk(lambda symbol, state: table[symbol, len(state)], symbols=3, temperature=1.0)
    expected, emitted = 0.0, 0
    for symbol, duration in enumerate(found.durations):
        for _ in range(duration):
            expected += float(table[symbol, emitted].log_softmax(-1)[found.tokens[emitted]])
            emitted += 1
        expected += float(table[symbol, emitted].log_softmax(-1)[-1])
    assert found.log_probability == pytest.approx(expected, abs=1e-4)


def test_the_joint_is_not_changed_by_the_bias_and_blank_does_not_advance():
    logits = torch.zeros(CLASSES + 1)
    walk(lambda symbol, state: logits, blank_bias=5.0)
    assert logits.eq(0).all()
    assert walk(lambda symbol, state: torch.tensor([1.0, 0.0]) if not state else torch.tensor([0.0, 1.0])).tokens == [0]


def test_same_seed_same_tokens_and_another_seed_differs():
    joint = lambda symbol, state: torch.zeros(CLASSES + 1)  # noqa: E731
    one, same, other = (walk(joint, symbols=20, temperature=1.0, rng=generator(seed)).tokens for seed in (1, 1, 2))
    assert one == same != other


def test_top_k_keeps_the_best_only():
    logits = torch.tensor([0.0, 3.0, 1.0, 2.0])
    drawn = {draw(logits, temperature=2.0, top_k=2, rng=generator(seed)) for seed in range(40)}
    assert drawn == {1, 3}


def test_temperature_follows_the_tempered_distribution():
    logits = torch.tensor([0.0, 1.0])
    rng = generator(3)
    share = sum(draw(logits, temperature=0.5, top_k=0, rng=rng) for _ in range(2000)) / 2000
    assert share == pytest.approx(float(torch.tensor([0.0, 2.0]).softmax(-1)[1]), abs=0.03)
