"""The cosine path: its identities, exact steps, temperature, and analytic Gaussian fields."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.core.random import generator
from speechgen.sampling.variance_preserving import interpolate, sample, separate


def grid(steps: int) -> torch.Tensor:
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator(0)
    return torch.randn(*shape, generator=rng, dtype=torch.float64), torch.randn(*shape, generator=rng, dtype=torch.float64)


def gaussian_velocity(mean: float, deviation: float):
    """The velocity of N(mean, deviation^2): E[data] and E[noise] given the state, in closed form."""

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        angle = (math.pi / 2 * t).view(-1, *[1] * (x.dim() - 1))
        sin, cos = angle.sin(), angle.cos()
        power = sin.square() * deviation**2 + cos.square()
        data = mean + sin * deviation**2 / power * (x - sin * mean)
        noise = cos / power * (x - sin * mean)
        return math.pi / 2 * (cos * data - sin * noise)

    return velocity


def test_the_path_begins_with_noise_ends_with_data_and_keeps_its_variance():
    noise, data = pair(2, 40000)
    at = [interpolate(noise, data, torch.full((2,), t, dtype=torch.float64))[0] for t in (0.0, 0.3, 1.0)]
    torch.testing.assert_close(at[0], noise)
    torch.testing.assert_close(at[2], data)
    assert at[1].var() == pytest.approx(1, abs=0.02)


def test_the_velocity_is_the_derivative_of_the_path():
    noise, data = pair(3, 5)
    t, step = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), 1e-6
    _, velocity = interpolate(noise, data, t)
    slope = (interpolate(noise, data, t + step)[0] - interpolate(noise, data, t - step)[0]) / (2 * step)
    torch.testing.assert_close(velocity, slope, atol=1e-6, rtol=0)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.8, 1.0])
def test_data_and_noise_are_found_again_in_a_state_and_its_velocity(t):
    noise, data = pair(1, 5)
    x, velocity = interpolate(noise, data, torch.tensor([t], dtype=torch.float64))
    found = separate(x, velocity, t)
    torch.testing.assert_close(found[0], data)
    torch.testing.assert_close(found[1], noise)


def test_an_untrained_head_that_says_zero_has_the_loss_of_a_quarter_of_pi_squared():
    """E v^2 = (pi / 2)^2 for data of unit variance."""
    noise, data = pair(1, 200000)
    _, velocity = interpolate(noise, data, torch.tensor([0.37], dtype=torch.float64))
    assert velocity.square().mean() == pytest.approx((math.pi / 2) ** 2, rel=0.01)


def test_one_step_with_the_true_velocity_is_exact():
    noise, data = pair(2, 5)
    made = sample(lambda x, t: interpolate(noise, data, t)[1], noise, grid(1))
    torch.testing.assert_close(made, data)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.4)])
def test_an_analytic_gaussian_field_gives_its_mean_and_deviation(mean, deviation):
    noise = torch.randn(1, 20000, generator=generator(1))
    made = sample(gaussian_velocity(mean, deviation), noise, grid(50))
    assert made.mean() == pytest.approx(mean, abs=0.02) and made.std() == pytest.approx(deviation, rel=0.05)


def test_without_temperature_the_mean_is_made_whatever_the_seed():
    fields = gaussian_velocity(1.5, 0.4)
    made = [sample(fields, torch.randn(1, 4, generator=generator(seed)), grid(8), 0.0) for seed in (1, 2)]
    assert torch.equal(*made)
    torch.testing.assert_close(made[0], torch.full((1, 4), 1.5))


def test_the_earlier_noise_enters_the_more_it_varies():
    """Between the temperatures the mean stays and the deviation grows."""
    noise = torch.randn(1, 20000, generator=generator(2))
    made = [sample(gaussian_velocity(1.5, 0.4), noise, grid(40), temperature) for temperature in (0.0, 0.25, 0.5, 0.75, 1.0)]
    deviations = [float(each.std()) for each in made]
    assert deviations == sorted(deviations) and deviations[0] < 1e-5
    assert deviations[2] > 0.05 and all(float(each.mean()) == pytest.approx(1.5, abs=0.02) for each in made)


def test_noise_enters_at_its_time_alone():
    """At half of the temperature the first half of the states is the same for every seed."""
    seen: list[list[torch.Tensor]] = [[], []]
    for seed in (0, 1):
        fields = gaussian_velocity(0.5, 1.0)

        def velocity(x, t, states=seen[seed], fields=fields):
            states.append(x)
            return fields(x, t)

        sample(velocity, torch.randn(1, 4, generator=generator(seed)), grid(8), 0.5)
    same = [torch.equal(one, other) for one, other in zip(*seen, strict=True)]
    assert same == [True] * 4 + [False] * 4


def test_progress_counts_the_steps():
    calls = []
    sample(gaussian_velocity(0, 1), torch.zeros(1, 2), grid(3), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
