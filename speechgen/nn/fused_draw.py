"""Drawing of levels by compiled code: a row of logits, or LANES of them at once."""

from __future__ import annotations

import math

import numpy as np

from speechgen.nn.fused_vector import (
    LANES,
    WIDTH,
    at_most,
    compiled,
    entry,
    floor,
    greatest,
    inner,
    load,
    maximum,
    minimum,
    power_of_two,
    splat,
    store,
    total,
)

__all__ = ["draw", "draw_next", "exponential"]

F = np.float32
LOG2E = F(math.log2(math.e))


@inner
def exponential(v):  # type: ignore[no-untyped-def]
    """Exp of a vector of numbers not above 0."""
    scaled = maximum(v, splat(F(-87))) * splat(LOG2E)
    whole = floor(scaled + splat(F(0.5)))
    r = (scaled - whole) * splat(F(0.6931471805599453))
    p = splat(F(1 / 720)) * r + splat(F(1 / 120))
    p = p * r + splat(F(1 / 24))
    p = p * r + splat(F(1 / 6))
    p = p * r + splat(F(0.5))
    p = p * r + splat(F(1))
    return (p * r + splat(F(1))) * power_of_two(whole)


@inner
def _weights(logits, first, step, size, most, temperature, p):  # type: ignore[no-untyped-def]
    """P = exp((logits - most) / temperature) vector by vector, `size` of them `step` apart; returns their sum."""
    sum_, share = splat(F(0)), splat(F(1) / temperature)
    for k in range(size):
        value = exponential((load(logits, first + k * step) - most) * share)
        store(p, k * step, value)
        sum_ += value
    return sum_


@inner
def _nucleus(p, step, size, mass, whole):  # type: ignore[no-untyped-def]
    """Keep the most probable entries of p, vectors `step` apart, that together have `mass`, by bisection of the threshold.

    Args:
        p: sums of one row go across vectors if `whole`, otherwise each place of a vector is a row.
    """
    one, low, high = splat(F(1)), splat(F(0)), splat(F(0))
    for k in range(size):
        high = maximum(high, load(p, k * step))
    if whole:
        high = splat(greatest(high))
    for _ in range(24):
        middle = splat(F(0.5)) * (low + high)
        held = splat(F(0))
        for k in range(size):
            value = load(p, k * step)
            held += value * at_most(middle, value)
        if whole:
            held = splat(total(held))
        enough = at_most(mass, held)
        low, high = enough * middle + (one - enough) * low, enough * high + (one - enough) * middle
    sum_ = splat(F(0))
    for k in range(size):
        value = load(p, k * step)
        value = value * at_most(low, value)
        store(p, k * step, value)
        sum_ += value
    return sum_


@inner
def _draw_row(logits, first, size, uniform, temperature, top_p, p, level):  # type: ignore[no-untyped-def]
    """One row, `size` logits from `first` on; returns the level and its information in bits."""
    high = load(logits, first)
    for v in range(WIDTH, size, WIDTH):
        high = maximum(high, load(logits, first + v))
    most, vectors = greatest(high), size // WIDTH
    plain = total(_weights(logits, first, WIDTH, vectors, splat(most), F(1), p))
    chosen = level
    if level < 0 and temperature == 0:
        chosen = 0
        while entry(logits, first + chosen) < most:
            chosen += 1
    elif level < 0:
        mass = plain
        if temperature != 1:
            mass = total(_weights(logits, first, WIDTH, vectors, splat(most), temperature, p))
        if top_p < 1:
            mass = total(_nucleus(p, WIDTH, vectors, splat(top_p * mass), True))
        chosen = _reach(p, size, uniform * mass)
    return chosen, (math.log(plain) - (entry(logits, first + chosen) - most)) * LOG2E


@inner
def _reach(p, size, target):  # type: ignore[no-untyped-def]
    """Where the sum of p exceeds the target; if it does nowhere, by rounding, the last entry that adds to it."""
    reached, start = F(0), 0
    while start + WIDTH < size:
        block = total(load(p, start))
        if reached + block > target:
            break
        reached, start = reached + block, start + WIDTH
    for v in range(start, size):
        reached += entry(p, v)
        if reached > target:
            return v
    last = size - 1
    while last > 0 and entry(p, last) <= target * F(2**-24):
        last -= 1
    return last


@inner
def _draw_group(logits, uniform, temperature, top_p, p, levels, bits):  # type: ignore[no-untyped-def]
    """LANES rows, logits [V, LANES], a vector of rows at a time; as `draw_next`."""
    one, size = splat(F(1)), logits.shape[0]
    for b in range(0, LANES, WIDTH):
        high = load(logits, b)
        for v in range(1, size):
            high = maximum(high, load(logits, v * LANES + b))
        mass = _weights(logits, b, LANES, size, high, F(1), p)
        plain = mass
        index = splat(F(0))
        if temperature == 0:
            seen = index
            for v in range(size):
                seen = maximum(seen, at_most(high, load(logits, v * LANES + b)))
                index += one - seen
        elif _any_unknown(levels, b):
            if temperature != 1:
                mass = _weights(logits, b, LANES, size, high, temperature, p)
            if top_p < 1:
                mass = _nucleus(p, LANES, size, splat(top_p) * mass, False)
            # A little below the sum of all, which is reached by an entry that is not 0.
            target = minimum(load(uniform, b) * mass, mass * splat(F(1 - 2**-23)))
            reached = index
            for v in range(size):
                reached += load(p, v * LANES)
                index += at_most(reached, target)
        store(p, 0, index)  # the probabilities of these rows are used up
        store(p, LANES, plain)
        store(p, 2 * LANES, high)
        for k in range(WIDTH):
            level = levels[b + k] if levels[b + k] >= 0 else np.int64(p[0, k])
            levels[b + k] = level
            bits[b + k] += (math.log(p[1, k]) - (entry(logits, level * LANES + b + k) - p[2, k])) * LOG2E


@inner
def _any_unknown(levels, first):  # type: ignore[no-untyped-def]
    least = levels[first]
    for b in range(first + 1, first + WIDTH):
        least = min(least, levels[b])
    return least < 0


@inner
def draw_next(logits, uniform, temperature, top_p, p, levels, bits):  # type: ignore[no-untyped-def]
    """Draw the next level of each row, from logits [V, B]; as `draw`, with `p` [V, B] as scratch."""
    if len(levels) == 1:
        levels[0], more = _draw_row(logits, 0, logits.size, uniform[0], temperature, top_p, p, levels[0])
        bits[0] += more
    else:
        _draw_group(logits, uniform, temperature, top_p, p, levels, bits)


@compiled
def draw(logits, uniform, temperature, top_p, p, levels, bits):  # type: ignore[no-untyped-def]
    """Draw a level for each row, and count its information under the unchanged distribution.

    Args:
        logits: [B, V] contiguous; V is a multiple of WIDTH.
        uniform: [B] in [0, 1).
        temperature: divides the logits; 0 takes the most probable.
        top_p: share of the probability that may be drawn from.
        p: [V], scratch.
        levels: [B] int64; where a number is given (not negative) it is taken instead of drawn.
        bits: [B] float64; -log2 p is added.
    """
    rows, size = logits.shape
    for b in range(rows):
        levels[b], more = _draw_row(logits, b * size, size, uniform[b], temperature, top_p, p, levels[b])
        bits[b] += more
