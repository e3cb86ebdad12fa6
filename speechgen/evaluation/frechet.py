"""Distances between two sets of feature vectors: Fréchet (Gaussians) and kernel (unbiased squared maximum mean discrepancy).

    Fréchet   |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)); sets smaller than a few thousand make it too large
    kernel    mean k(x, x') + mean k(y, y') - 2 mean k(x, y) with k = (x . y / D + 1)^3; unbiased, so it may be negative

As in GAN-TTS (Binkowski et al., 2020, section 4.2) and KID (Binkowski et al., 2018). A figure means something only beside the
one for two sets of real speech of the same size: `compare_sets` always measures that floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechgen.core.errors import UserError

__all__ = ["Distance", "Features", "SetComparison", "compare_sets", "distance", "frechet_distance", "kernel_distance"]

Features = NDArray[np.float64]
"""[N, D], one row for each window."""

SPLITS = 10
"""Ways of halving the clips that are averaged: one alone would depend on who is in which half."""


@dataclass(frozen=True)
class Distance:
    """Both distances of two sets."""

    frechet: float
    kernel: float


@dataclass(frozen=True)
class SetComparison:
    """Generated speech against recordings.

    Attributes:
        same: between all of both, which say the same sentences (cFDSD and cKDSD in GAN-TTS): content cancels out.
        other: between one half of the recordings and the other half of the generated clips (FDSD and KDSD).
        floor: between one half of the recordings and the other half of the recordings: what `other` comes to without any fault.
        windows: how many there are of each kind; a half has about half of them.
        clips: that they come from.
    """

    same: Distance
    other: Distance
    floor: Distance
    windows: int
    clips: int


def frechet_distance(first: Features, second: Features) -> float:
    """Return the Fréchet distance (2-Wasserstein, squared) of the Gaussians with the sets' means and covariances.

    Args:
        first: [N, D], N at least 2; there may be fewer rows than dimensions.
        second: [N', D].

    Raises:
        UserError: the dimensions differ, or a set has fewer than two rows.
    """
    _check(first, second)
    roots = []
    for values in (first, second):
        centred = np.asarray(values, np.float64) - values.mean(axis=0)
        roots.append(np.linalg.qr(centred, mode="r") / np.sqrt(len(values) - 1))  # R'R is the covariance
    # The eigenvalues of S1 S2 are the squared singular values of R1 R2': no root of a singular matrix is taken.
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(np.square(root).sum() for root in roots)
    shift = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(max(0.0, shift + spread - 2 * overlap))


def kernel_distance(first: Features, second: Features) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x . y / D + 1)^3.

    Args:
        first: [N, D], N at least 2.
        second: [N', D].

    Raises:
        UserError: the dimensions differ, or a set has fewer than two rows.
    """
    _check(first, second)
    within = 0.0
    for values in (first, second):
        kernel = _kernel(values, values)
        within += (kernel.sum() - np.trace(kernel)) / (len(values) * (len(values) - 1))
    return float(within - 2 * _kernel(first, second).mean())


def _kernel(first: Features, second: Features) -> Features:
    values: Features = (np.asarray(first, np.float64) @ np.asarray(second, np.float64).T / first.shape[1] + 1) ** 3
    return values


def _check(first: Features, second: Features) -> None:
    if first.ndim != 2 or first.shape[1:] != second.shape[1:] or min(len(first), len(second)) < 2:
        raise UserError(
            f"got sets of shapes {list(first.shape)} and {list(second.shape)}: "
            "a distance needs two rows or more on each side, of one width"
        )


def distance(first: Features, second: Features) -> Distance:
    """Return both distances."""
    return Distance(frechet_distance(first, second), kernel_distance(first, second))


def compare_sets(real: Sequence[Features], made: Sequence[Features], *, seed: int = 0) -> SetComparison | None:
    """Compare the windows of clips with those of the recordings that they are copies of.

    Args:
        real: [N, D] for each recording.
        made: [N, D] for each generated clip, in the same order.
        seed: how clips are dealt into halves.

    Returns:
        None if the clips are too few or too short to be halved.
    """
    kept = [(first, second) for first, second in zip(real, made, strict=True) if len(first) and len(second)]
    rng = np.random.default_rng(seed)
    floors, others = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(kept))
        halves = order[: len(kept) // 2], order[len(kept) // 2 :]
        if min(sum(min(len(kept[clip][0]), len(kept[clip][1])) for clip in half) for half in halves) < 2:
            return None
        (real_one, made_one), (real_two, made_two) = (_join([kept[clip] for clip in half]) for half in halves)
        floors.append(distance(real_one, real_two))
        others += [distance(real_one, made_two), distance(real_two, made_one)]
    all_real, all_made = _join(kept)
    return SetComparison(
        same=distance(all_real, all_made), other=_mean(others), floor=_mean(floors), windows=len(all_real), clips=len(kept)
    )


def _join(clips: Sequence[tuple[Features, Features]]) -> tuple[Features, Features]:
    return np.concatenate([real for real, _ in clips]), np.concatenate([made for _, made in clips])


def _mean(distances: Sequence[Distance]) -> Distance:
    return Distance(float(np.mean([one.frechet for one in distances])), float(np.mean([one.kernel for one in distances])))
