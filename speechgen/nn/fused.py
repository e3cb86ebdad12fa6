"""Compiled parts of autoregressive sampling (numba): one sample of a few rows costs microseconds, not a thousand calls.

Rows come first and channels last, float32 throughout. Loops are written so that the compiler vectorises the innermost one:
products go through their inputs four at a time, functions are polynomials without branches.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

__all__ = ["LOG2E", "compiled", "draw", "gelu", "inlined", "inner", "normalize", "product", "sigmoid", "tanh"]

_OPTIONS = {"cache": True, "fastmath": True, "nogil": True, "error_model": "numpy"}
compiled: Any = numba.njit(**_OPTIONS)
"""Decorator of what Python calls; compiled code is kept beside the source, or in the user's cache."""
inner: Any = numba.njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of what compiled code alone calls: it needs no way in from Python."""
inlined: Any = numba.njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True, inline="always")
"""Decorator of what is a part of one larger function: it is compiled once, with that."""

F = np.float32
LOG2E = F(math.log2(math.e))


@inner
def product(x, weight, bias, y):  # type: ignore[no-untyped-def]
    """Y [B, O] = bias [O] + x [B, I] @ weight [I, O]; I is a multiple of 4, or what is left over is done one by one."""
    rows, inputs = x.shape
    for b in range(rows):
        y[b] = bias
    whole = inputs - inputs % 4
    for i in range(0, whole, 4):
        w0, w1, w2, w3 = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        for b in range(rows):
            x0, x1, x2, x3 = x[b, i], x[b, i + 1], x[b, i + 2], x[b, i + 3]
            out = y[b]
            for o in range(out.shape[0]):
                out[o] += x0 * w0[o] + x1 * w1[o] + x2 * w2[o] + x3 * w3[o]
    for i in range(whole, inputs):
        w0 = weight[i]
        for b in range(rows):
            x0, out = x[b, i], y[b]
            for o in range(out.shape[0]):
                out[o] += x0 * w0[o]


@inner
def normalize(x, gain, bias, y):  # type: ignore[no-untyped-def]
    """Layer norm of each row: x [B, H] to y [B, H], both may be the same."""
    width = x.shape[1]
    for b in range(x.shape[0]):
        row, out = x[b], y[b]
        total = F(0)
        for h in range(width):
            total += row[h]
        mean = total / F(width)
        total = F(0)
        for h in range(width):
            total += (row[h] - mean) * (row[h] - mean)
        scale = F(1) / np.sqrt(total / F(width) + F(1e-5))
        for h in range(width):
            out[h] = (row[h] - mean) * scale * gain[h] + bias[h]


@inner
def gelu(x):  # type: ignore[no-untyped-def]
    """X [B, H] becomes x Phi(x), with a rational approximation of erf to about 1e-7."""
    for b in range(x.shape[0]):
        row = x[b]
        for h in range(x.shape[1]):
            v = row[h]
            t = min(max(v * F(0.7071067811865476), F(-3.832506856900711)), F(3.832506856900711))
            s = t * t
            p = F(0.00022905065861350646) * s + F(0.0034082910107109506)
            p = p * s + F(0.050955695062380861)
            p = p * s + F(0.18520832239976145)
            p = (p * s + F(1.128379143519084)) * t
            q = F(-1.1791602954361697e-7) * s + F(0.000023547966471313185)
            q = q * s + F(0.0010179625278914885)
            q = q * s + F(0.014070470171167667)
            q = q * s + F(0.11098505178285362)
            q = q * s + F(0.49746925110067538)
            q = q * s + F(1.0)
            row[h] = F(0.5) * v * (F(1.0) + p / q)


@inner
def tanh(v):  # type: ignore[no-untyped-def]
    """Hyperbolic tangent of one number, a rational approximation to about 1e-7."""
    t = min(max(v, F(-7.90531110763549805)), F(7.90531110763549805))
    s = t * t
    p = F(-2.76076847742355e-16) * s + F(2.00018790482477e-13)
    p = p * s + F(-8.60467152213735e-11)
    p = p * s + F(5.12229709037114e-08)
    p = p * s + F(1.48572235717979e-05)
    p = p * s + F(6.37261928875436e-04)
    p = (p * s + F(4.89352455891786e-03)) * t
    q = F(1.19825839466702e-06) * s + F(1.18534705686654e-04)
    q = q * s + F(2.26843463243900e-03)
    q = q * s + F(4.89352518554385e-03)
    return p / q


@inner
def sigmoid(v):  # type: ignore[no-untyped-def]
    """Logistic function of one number."""
    return F(0.5) + F(0.5) * tanh(F(0.5) * v)


@inner
def _exponentials(x, bits):  # type: ignore[no-untyped-def]
    """X [V] of numbers not above 0 becomes exp(x); `bits` [V] int32 is scratch. Returns the sum."""
    powers = bits.view(np.float32)
    for v in range(x.shape[0]):
        scaled = max(x[v], F(-87)) * LOG2E
        whole = np.floor(scaled + F(0.5))
        bits[v] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        r = (scaled - whole) * F(0.6931471805599453)
        p = F(1 / 720) * r + F(1 / 120)
        p = p * r + F(1 / 24)
        p = p * r + F(1 / 6)
        p = p * r + F(0.5)
        p = p * r + F(1)
        x[v] = p * r + F(1)
    total = F(0)
    for v in range(x.shape[0]):
        x[v] *= powers[v]
        total += x[v]
    return total


@inner
def _nucleus(p, mass):  # type: ignore[no-untyped-def]
    """The least of the most probable entries of p [V] that together have `mass`, by bisection of the threshold."""
    low, high = F(0), F(0)
    for v in range(p.shape[0]):
        high = max(high, p[v])
    for _ in range(24):
        middle = F(0.5) * (low + high)
        held = F(0)
        for v in range(p.shape[0]):
            held += p[v] if p[v] >= middle else F(0)
        if held >= mass:
            low = middle
        else:
            high = middle
    return low


@compiled
def draw(logits, uniform, temperature, top_p, scratch, levels, bits):  # type: ignore[no-untyped-def]
    """Draw a level for each row, and count its information under the unchanged distribution.

    Args:
        logits: [B, V]; overwritten.
        uniform: [B] in [0, 1).
        temperature: divides the logits; 0 takes the most probable.
        top_p: share of the probability that may be drawn from.
        scratch: [V] int32.
        levels: [B] int64; where a number is given (not negative) it is taken instead of drawn.
        bits: [B] float64; -log2 p is added.
    """
    for b in range(logits.shape[0]):
        row = logits[b]
        most, best = row[0], 0
        for v in range(row.shape[0]):
            if row[v] > most:
                most, best = row[v], v
        known, chosen = levels[b] >= 0, levels[b]
        plain = row - most
        if not known:
            if temperature == 0:
                chosen = best
            else:
                chosen = _choose((row - most) / temperature, uniform[b], top_p, scratch)
            levels[b] = chosen
        own = plain[chosen]
        bits[b] += (math.log(_exponentials(plain, scratch)) - own) * LOG2E


@inner
def _choose(row, uniform, top_p, scratch):  # type: ignore[no-untyped-def]
    """Inverse of the cumulative distribution of a row of logits [V] not above 0."""
    total = _exponentials(row, scratch)
    if top_p < 1:
        least = _nucleus(row, F(top_p) * total)
        total = F(0)
        for v in range(row.shape[0]):
            row[v] = row[v] if row[v] >= least else F(0)
            total += row[v]
    target, reached, last = F(uniform) * total, F(0), 0
    for v in range(row.shape[0]):
        if row[v] > 0:
            reached += row[v]
            last = v
            if reached > target:
                break
    return last
