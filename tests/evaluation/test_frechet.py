"""Distances of sets: closed forms for Gaussians, brute force, and the properties that make them measures."""

import numpy as np
import pytest

from speechgen.core.errors import UserError
from speechgen.evaluation.frechet import compare_sets, frechet_distance, kernel_distance


def drawn(rows: int, width: int = 4, *, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).standard_normal((rows, width))


def with_moments(mean: np.ndarray, covariance: np.ndarray, rows: int = 50, seed: int = 0) -> np.ndarray:
    """Rows whose sample mean and covariance are exactly these."""
    values = drawn(rows, len(mean), seed=seed)
    values -= values.mean(axis=0)
    values = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T
    return mean + values @ np.linalg.cholesky(covariance).T


def test_frechet_of_commuting_gaussians_is_the_closed_form():
    """Reference: |m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances."""
    first = with_moments(np.array([1.0, 0.0, -1.0]), np.diag([1.0, 4.0, 9.0]))
    second = with_moments(np.array([0.0, 2.0, -1.0]), np.diag([4.0, 4.0, 0.25]), seed=1)
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 0 + 2.5**2)


def test_frechet_equals_the_formula_with_a_matrix_root():
    """Reference: scipy's root of the product of two covariances that do not commute."""
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(3)
    first, second = (drawn(40, 5, seed=seed) @ rng.standard_normal((5, 5)) + seed for seed in (1, 2))
    covariances = np.cov(first.T), np.cov(second.T)
    expected = np.square(first.mean(0) - second.mean(0)).sum()
    expected += np.trace(covariances[0] + covariances[1] - 2 * linalg.sqrtm(covariances[0] @ covariances[1]).real)
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_frechet_needs_no_more_rows_than_dimensions():
    """Reference: two sets on a line, in a space of more dimensions than they have rows."""
    direction = np.eye(8)[:1]
    first, second = np.array([[0.0], [2.0]]) @ direction, np.array([[3.0], [9.0]]) @ direction
    assert frechet_distance(first, second) == pytest.approx(5**2 + (2**0.5 - 18**0.5) ** 2)


def test_kernel_distance_is_the_sum_over_all_pairs():
    """Reference: the definition, pair by pair."""
    first, second = drawn(6), drawn(5, shift=0.5, seed=1)

    def kernel(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    def within(rows):
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in first for y in second]
    assert kernel_distance(first, second) == pytest.approx(within(first) + within(second) - 2 * sum(across) / len(across))


def test_kernel_distance_of_two_draws_is_zero_on_average():
    values = [kernel_distance(drawn(20, seed=2 * seed), drawn(20, seed=2 * seed + 1)) for seed in range(200)]
    assert min(values) < 0 and abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance])
def test_distances_are_symmetric_ignore_order_and_grow_with_noise(measure):
    first, second = drawn(30), drawn(25, shift=0.2, seed=1)
    assert measure(first, second) == pytest.approx(measure(second, first))
    assert measure(first[::-1], second) == pytest.approx(measure(first, second))
    grown = [measure(first, first + drawn(30, scale=scale, seed=5)) for scale in (0.5, 1.0, 2.0)]
    assert grown[0] < grown[1] < grown[2]


def test_frechet_to_itself_is_zero_and_falls_with_the_size_of_two_draws():
    assert frechet_distance(drawn(30), drawn(30)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(drawn(20), drawn(20, seed=1)) > 3 * frechet_distance(drawn(2000), drawn(2000, seed=1))


@pytest.mark.parametrize(("first", "second"), [((1, 3), (5, 3)), ((5, 3), (5, 2)), ((5, 3), (0, 3))])
def test_sets_that_have_no_distance_are_refused(first, second):
    for measure in (frechet_distance, kernel_distance):
        with pytest.raises(UserError, match="two rows or more"):
            measure(np.ones(first), np.ones(second))


def test_a_perfect_copy_is_as_far_as_real_speech_is_from_itself():
    clips = [drawn(3, shift=0.3 * clip, seed=clip) for clip in range(8)]
    result = compare_sets(clips, clips)
    assert result.same.frechet == pytest.approx(0, abs=1e-9)
    assert result.other.frechet == pytest.approx(result.floor.frechet) and result.other.kernel == pytest.approx(
        result.floor.kernel
    )
    assert (result.windows, result.clips) == (24, 8)
    worse = compare_sets(clips, [clip + 1 for clip in clips])
    assert worse.other.frechet > worse.floor.frechet + 1 and worse.floor == result.floor


def test_too_few_clips_cannot_be_halved():
    assert compare_sets([drawn(1), drawn(1)], [drawn(1), drawn(1)]) is None
    assert compare_sets([], []) is None
    assert compare_sets([drawn(0), drawn(9), drawn(3)], [drawn(0), drawn(9), drawn(3)]).clips == 2
