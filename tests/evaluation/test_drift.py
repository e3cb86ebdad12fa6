"""Fréchet distance over time: closed forms for processes that stand still, move off, and grow."""

from __future__ import annotations

import json

import numpy as np
import pytest

from speechgen.core.errors import UserError
from speechgen.evaluation.drift import drift_over_time

WIDTH, SIZE = 3, 400
TIME = (np.arange(SIZE) + 0.5) / SIZE
MIDDLES, SPREAD = (np.arange(4) + 0.5) / 4, 1 / (16 * 12)
"""Of the quarters: mean time, and variance of time within each."""


def steady(count: int, seed: int, memory: float = 0.5) -> list[np.ndarray]:
    """Utterances of a process x' = memory x + noise of mean 0 and variance 1 at all times, each also upside down."""
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal((count // 2, WIDTH))]
    for _ in range(SIZE - 1):
        made.append(memory * made[-1] + (1 - memory**2) ** 0.5 * rng.standard_normal((count // 2, WIDTH)))
    values = np.stack(made, axis=1)
    return [*values, *-values]


REAL = steady(200, seed=0)


def measure(made):
    return drift_over_time(made, REAL, seconds=48.0, settings="as told")


def test_a_process_that_stands_still_is_as_near_in_every_quarter():
    found = measure(steady(200, seed=1))
    assert max(found.parts) < 0.002 and found.floor < 0.002 and found.utterances == 200


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_a_mean_that_moves_off_rises_with_the_square_of_time(speed):
    """Reference: a quarter has mean v t in all channels, and along their sum the variance 1 + D v^2 / 192."""
    found = measure([one + speed * TIME[:, None] for one in steady(200, seed=1)])
    expected = WIDTH * (speed * MIDDLES) ** 2 + ((1 + WIDTH * speed**2 * SPREAD) ** 0.5 - 1) ** 2
    assert found.parts == pytest.approx(tuple(expected), rel=0.1, abs=0.003)
    assert found.growth == found.parts[3] / found.parts[0]


def test_noise_that_grows_rises_with_it():
    """Reference: the variance of a quarter is that of 1 + g t on average over its time; so D (deviation - 1)^2."""
    growth = 1.5
    found = measure([one * (1 + growth * TIME[:, None]) for one in steady(200, seed=1)])
    expected = WIDTH * (((1 + growth * MIDDLES) ** 2 + growth**2 * SPREAD) ** 0.5 - 1) ** 2
    assert found.parts == pytest.approx(tuple(expected), rel=0.1)
    assert found.parts[0] < found.parts[1] < found.parts[2] < found.parts[3]


def test_what_is_not_finite_is_told_where_it_begins():
    made = steady(4, seed=1)
    made[1][SIZE // 2 + 5] = np.nan
    found = measure(made)
    assert [part is None for part in found.parts] == [False, False, True, False]
    assert found.row()["24 to 36 s"] == "not finite" and json.loads(found.to_json())["parts"][2] is None
    made[0][-1] = np.inf
    assert measure(made).growth is None and "| not finite |" in measure(made).table()


@pytest.mark.parametrize(
    ("made", "real"), [([REAL[0], REAL[1][:-1]], REAL), ([REAL[0][:3]], REAL), ([REAL[0]], REAL[:1])],
    ids=["two lengths", "too short", "one recording"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(made, real):
    with pytest.raises(UserError, match="drift needs utterances of one length"):
        drift_over_time(made, real, seconds=1.0, settings="")
