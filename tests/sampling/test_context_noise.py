"""Noise on the past: nothing at level 0, noise alone at level 1, the promised variance between."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.random import generator
from speechgen.sampling.context_noise import disturb, disturbed


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator(0)
    return torch.randn(4, 50, 100, generator=rng), torch.randn(4, 50, 100, generator=rng)


@pytest.mark.parametrize("mix", ["preserving", "linear"])
def test_the_ends_are_the_values_and_the_noise(mix):
    values, noise = pair()
    assert torch.equal(disturb(values, 0.0, noise, mix), values)
    assert torch.equal(disturb(values, 1.0, noise, mix), noise)


@pytest.mark.parametrize(("mix", "variance"), [("preserving", 1.0), ("linear", 0.7**2 + 0.3**2)])
def test_the_variance_between_is_that_of_the_formula(mix, variance):
    values, noise = pair()
    assert disturb(values, 0.3, noise, mix).var() == pytest.approx(variance, rel=0.02)


def test_every_entry_has_a_strength_of_its_own_up_to_the_largest():
    values = torch.ones(8, 500, 60)
    made = disturbed(values, 0.4, generator(1), "linear")
    kept = made.mean(-1)  # 1 - k, and noise of k / sqrt(60)
    assert 0.9 < float(kept.max()) < 1.1 and 0.35 < float(kept.min()) < 0.7
    assert kept.mean() == pytest.approx(0.8, abs=0.01) and kept.std() > 0.1
    assert torch.equal(values, torch.ones_like(values))


def test_nothing_is_drawn_for_no_noise():
    values, rng = torch.ones(1, 2, 3), generator(1)
    before = rng.get_state()
    assert disturbed(values, 0.0, rng) is values and torch.equal(rng.get_state(), before)


def test_errors_fade_in_a_process_that_was_learnt_with_noise_on_its_past():
    """The remedy in one number: fitted to a noisy past, the coefficient of x' = a x + w is smaller, so that errors fade.

    Least squares gives a times the share of the past in what is read, sqrt(1 - k).
    """
    rng = generator(3)
    x = [torch.zeros(2000)]
    for _ in range(200):
        x.append(0.99 * x[-1] + (1 - 0.99**2) ** 0.5 * torch.randn(2000, generator=rng))
    past, following = torch.stack(x[100:-1]), torch.stack(x[101:])
    noisy = disturb(past, 0.3, torch.randn(past.shape, generator=rng))
    clean_fit, noisy_fit = (float((p * following).mean() / p.square().mean()) for p in (past, noisy))
    assert clean_fit == pytest.approx(0.99, abs=0.01)
    assert noisy_fit == pytest.approx(0.99 * 0.7**0.5, abs=0.03)
