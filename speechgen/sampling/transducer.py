"""Monotonic decoding of a transducer: at every symbol emit tokens until blank, then move on. Nothing is skipped or repeated.

How long a symbol lasts and which tokens it emits are decided apart. The probability of blank is a hazard: a symbol ends when
the probability that it goes on has fallen below a level, which is drawn from [0, 1] at temperature 1 (that is sampling from
the model) and is 0.5 at temperature 0: the median duration. Greedy choice between blank and token would go on for ever where
ending is at no single step the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Emitted", "decode", "draw"]


@dataclass(frozen=True)
class Emitted:
    """What one symbol emitted: tokens, and the log probability of that, blank included where it was chosen."""

    tokens: list[int]
    log_probability: float


def draw(logits: Tensor, *, temperature: float, top_k: int, rng: torch.Generator) -> int:
    """Pick an index of `logits [V]`: the best if `temperature` is 0, else a sample among the `top_k` best (0 = all)."""
    if temperature == 0:
        return int(logits.argmax())
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], float("-inf"))
    return int(torch.multinomial(logits.softmax(-1), 1, generator=rng))


State = TypeVar("State")


def decode(
    joint: Callable[[int, State], Tensor],
    advance: Callable[[int, State], State],
    start: State,
    num_symbols: int,
    *,
    max_per_symbol: int,
    temperature: float,
    top_k: int,
    blank_bias: float,
    rng: torch.Generator,
) -> Iterator[Emitted]:
    """Walk through the symbols once, yielding what each of them emits.

    Args:
        joint: (symbol index, state) to logits [K + 1], the last is blank.
        advance: (token, state) to the next state; called for tokens only, never for blank.
        start: the state before the first token.
        num_symbols: symbols to walk through.
        max_per_symbol: hard limit of tokens one symbol may emit.
        temperature: 0 takes the likeliest tokens for median durations; 1 samples from the model.
        top_k: candidate tokens kept when sampling; 0 = all.
        blank_bias: added to the blank logit; positive shortens, negative lengthens.
        rng: source of samples.
    """
    state = start
    for symbol in range(num_symbols):
        tokens: list[int] = []
        total, lasting = 0.0, 1.0
        level = 0.5 + min(1.0, temperature) * (float(torch.rand((), generator=rng, device=rng.device)) - 0.5)
        while len(tokens) < max_per_symbol:
            logits = joint(symbol, state).float().clone()
            logits[-1] += blank_bias
            log_probabilities = logits.log_softmax(-1)
            lasting *= -math.expm1(float(log_probabilities[-1]))
            if lasting <= level:
                total += float(log_probabilities[-1])
                break
            choice = draw(logits[:-1], temperature=temperature, top_k=top_k, rng=rng)
            total += float(log_probabilities[choice])
            tokens.append(choice)
            state = advance(choice, state)
        yield Emitted(tokens, total)
