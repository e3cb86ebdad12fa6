"""The diffusion process against closed forms: statistics, exact recovery, and two forms of one step."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.random import generator
from speechgen.sampling.diffusion import (
    SCHEDULES,
    ancestral_mean,
    diffuse,
    draw_levels,
    geometric_betas,
    named_betas,
    noise_levels,
    posterior_mean,
    posterior_scale,
    predict_data,
    sample,
    spaced_betas,
)

LEVELS = noise_levels(spaced_betas(1e-6, 0.01, 1000))


def test_named_schedules_have_their_length_and_rise():
    for steps, betas in SCHEDULES.items():
        values = named_betas(steps)
        assert len(values) == len(betas) == steps and (values[1:] >= values[:-1]).all() and 0 < values.min() < values.max() < 1


def test_the_25_steps_are_fibonacci_numbers_of_millionths():
    assert [round(1e6 * beta) for beta in SCHEDULES[25]][:8] == [1, 2, 3, 5, 8, 13, 21, 34]
    assert float(noise_levels(SCHEDULES[25])[-1] ** 2) == pytest.approx(0.719, abs=1e-3)


def test_an_unknown_number_of_steps_names_those_that_are_known():
    with pytest.raises(ValueError, match="no ready-made schedule has 7 steps: allowed: 6, 12, 25, 50, 1000"):
        named_betas(7)


@pytest.mark.parametrize("count", [2, 6, 25, 1000, 9000])
def test_geometric_betas_begin_and_add_up_as_asked(count):
    betas = geometric_betas(1e-4, 0.45, count)
    ratios = betas[1:] / betas[:-1]
    assert len(betas) == count and float(betas[0]) == pytest.approx(1e-4) and float(betas.sum()) == pytest.approx(0.45)
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))
    assert betas.max() < 1 and geometric_betas(1e-4, 0.45, 1).tolist() == [0.45]


def test_geometric_betas_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cannot add up to"):
        geometric_betas(0.5, 0.45, 6)


@pytest.mark.parametrize("geometric", [False, True])
def test_spaced_betas_have_constant_differences_or_ratios(geometric):
    betas = spaced_betas(1e-6, 0.01, 5, geometric=geometric)
    steps = betas[1:] / betas[:-1] if geometric else betas.diff()
    torch.testing.assert_close(steps, steps[:1].expand(4))
    assert (float(betas[0]), float(betas[-1])) == pytest.approx((1e-6, 0.01))


def test_levels_are_roots_of_products():
    torch.testing.assert_close(noise_levels([0.1, 0.5]), torch.tensor([1.0, 0.9**0.5, 0.45**0.5], dtype=torch.float64))


def test_drawn_levels_are_as_frequent_as_the_steps_they_lie_in():
    """A uniform step, then a uniform level inside it: the share of levels below l_s is 1 - s / S."""
    drawn = torch.cat([draw_levels(LEVELS, 16, generator(seed)) for seed in range(500)])
    assert LEVELS[-1].float() <= drawn.min() and drawn.max() <= 1
    for step in (100, 500, 900):
        assert float((drawn < LEVELS[step]).float().mean()) == pytest.approx(1 - step / 1000, abs=0.01)
    alone = torch.cat([draw_levels(LEVELS, 1, generator(seed)) for seed in range(2000)])
    assert float((alone < LEVELS[500]).float().mean()) == pytest.approx(0.5, abs=0.04)


def test_draws_of_a_batch_are_spread_over_the_steps():
    drawn, _ = draw_levels(LEVELS, 4, generator(1)).sort(descending=True)
    for quarter, level in enumerate(drawn):
        assert LEVELS[250 * (quarter + 1)] <= level <= LEVELS[250 * quarter]


def test_noisy_data_has_the_variance_of_the_mixture():
    data, level = 0.3 * torch.randn(2, 100_000, generator=generator(0)), torch.tensor([0.9, 0.2])
    noisy = diffuse(data, level, torch.randn(data.shape, generator=generator(1)))
    torch.testing.assert_close(noisy.var(1), level**2 * data.var(1) + 1 - level**2, rtol=0.02, atol=0)


def test_both_forms_of_the_mean_agree():
    noisy, noise = torch.randn(2, 50, dtype=torch.float64, generator=generator(2))
    for level, before in ((0.3, 0.5), (0.9, 0.99), (0.99, 1.0)):
        data = predict_data(noisy, noise, level)
        torch.testing.assert_close(
            posterior_mean(noisy, data, level, before), ancestral_mean(noisy, noise, level, before), rtol=0, atol=1e-6
        )


def test_one_step_with_the_true_noise_recovers_the_data():
    data, noise = torch.randn(2, 1, 40, dtype=torch.float64, generator=generator(3))
    betas = torch.tensor([0.7], dtype=torch.float64)
    level = float(noise_levels(betas)[1])
    noisy = diffuse(data, torch.tensor([level]), noise)
    torch.testing.assert_close(ancestral_mean(noisy, noise, level, 1.0), data)
    assert posterior_scale(level, 1.0) == 0


@pytest.mark.parametrize("limit", [None, 5.0])
@pytest.mark.parametrize("steps", [6, 25])
def test_many_steps_with_the_true_noise_recover_the_data(steps, limit):
    """An oracle that knows the data ends at it, whatever is drawn on the way."""
    data = torch.randn(1, 40, dtype=torch.float64, generator=generator(4))

    def predict(noisy: torch.Tensor, level: float) -> torch.Tensor:
        return (noisy - level * data) / (1 - level**2) ** 0.5

    draws: list[int] = []

    def draw(n: int) -> torch.Tensor:
        draws.append(n)
        return torch.randn(data.shape, generator=generator("draw", n), dtype=torch.float64)

    calls: list[tuple[int, int]] = []
    made = sample(predict, named_betas(steps), draw, limit=limit, progress=lambda *done: calls.append(done))
    torch.testing.assert_close(made, data)
    assert draws == list(range(steps, 0, -1)) and calls == [(n + 1, steps) for n in range(steps)]


def test_generation_of_gaussian_data_has_its_variance():
    """Closed form: for data of variance v the best guess of the noise is linear, and many steps end at variance v."""
    variance = 0.25

    def predict(noisy: torch.Tensor, level: float) -> torch.Tensor:
        return (1 - level**2) ** 0.5 / (level**2 * variance + 1 - level**2) * noisy

    made = sample(predict, named_betas(1000), lambda n: torch.randn(1, 20_000, generator=generator("gauss", n)))
    assert float(made.var()) == pytest.approx(variance, rel=0.05)


def test_without_temperature_nothing_is_random_and_the_limit_holds():
    seen: list[torch.Tensor] = []

    def predict(noisy: torch.Tensor, level: float) -> torch.Tensor:
        seen.append(noisy)
        return torch.full_like(noisy, -10.0)

    noise = [torch.randn(1, 8, generator=generator(seed)) for seed in range(7)]
    made = sample(predict, named_betas(6), lambda n: noise[n], temperature=0.0, limit=1.0)
    assert seen[0].eq(0).all() and made.abs().max() <= 1
