"""Paths, integration, time grids and guidance against closed forms."""

from __future__ import annotations

import itertools

import pytest
import torch

from speechgen.sampling.flow_matching import integrate, interpolate
from speechgen.sampling.guidance import guide
from speechgen.sampling.schedules import flow_times


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    noise, data = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    return noise, data


def test_time_zero_is_noise_and_time_one_is_data():
    noise, data = pair(2, 3, 4)
    torch.testing.assert_close(interpolate(noise, data, torch.zeros(2))[0], noise, rtol=0, atol=0)
    torch.testing.assert_close(interpolate(noise, data, torch.ones(2))[0], data, rtol=0, atol=0)


def test_each_row_has_its_own_time_and_the_velocity_does_not_depend_on_it():
    noise, data = pair(2, 3, 4)
    point, velocity = interpolate(noise, data, torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(point[0], 0.75 * noise[0] + 0.25 * data[0])
    torch.testing.assert_close(point[1], 0.5 * noise[1] + 0.5 * data[1])
    torch.testing.assert_close(velocity, data - noise)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_the_exact_straight_field_recovers_the_data_in_any_number_of_steps(method, steps):
    noise, data = pair(2, 3)
    made = integrate(lambda x, t: data - noise, noise, flow_times(steps), method=method)
    torch.testing.assert_close(made, data)


def test_one_euler_step_of_the_field_that_looks_at_the_state_recovers_the_data():
    """At t the field (data - x) / (1 - t) points from any state to the data."""
    noise, data = pair(2, 3)
    field = lambda x, t: (data - x) / (1 - t[:, None])  # noqa: E731
    torch.testing.assert_close(integrate(field, noise, flow_times(1)), data)


def test_midpoint_is_exact_for_a_field_linear_in_time_and_euler_is_not():
    start = torch.zeros(2, 1, dtype=torch.float64)
    field = lambda x, t: 2 * t[:, None].expand_as(x)  # noqa: E731
    times = flow_times(4, sway=0)
    torch.testing.assert_close(integrate(field, start, times, method="midpoint"), torch.ones_like(start))
    torch.testing.assert_close(integrate(field, start, times), torch.full_like(start, 0.75))


def test_integration_reports_every_step_and_passes_times_in_the_dtype_of_the_state():
    calls, seen = [], []

    def field(x, t):
        seen.append((t.dtype, t.tolist()))
        return x

    integrate(field, torch.ones(2, 1), flow_times(2, sway=0), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert seen == [(torch.float32, [0.0, 0.0]), (torch.float32, [0.5, 0.5])]


@pytest.mark.parametrize("steps", [1, 2, 5, 6, 7, 10, 12, 16, 32, 33])
@pytest.mark.parametrize("sway", [-1.0, -0.3, 0.0, 0.5, 1.75])
@pytest.mark.parametrize("pruned", [True, False])
def test_grids_rise_from_exactly_zero_to_one_in_the_steps_asked_for(steps, sway, pruned):
    times = flow_times(steps, sway, pruned=pruned)
    assert len(times) == steps + 1
    assert times[0] == 0 and abs(float(times[-1]) - 1) < 1e-12
    assert times.diff().gt(0).all()


def test_negative_sway_spends_its_steps_near_the_noise():
    assert flow_times(8, -1.0)[4] < flow_times(8, 0.0)[4] < flow_times(8, 1.0)[4]


def test_sway_of_minus_one_is_one_minus_a_cosine():
    """F5-TTS, equation 5, at s = -1."""
    u = torch.linspace(0, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(flow_times(8, -1.0), 1 - torch.cos(torch.pi / 2 * u))


def test_pruned_grids_lie_on_the_uniform_grid_of_32_and_are_finest_at_the_start():
    for steps in (5, 6, 7, 10, 12, 16):
        grid = 32 * flow_times(steps, 0.0)
        assert torch.equal(grid, grid.round())
        widths = grid.diff().tolist()
        assert all(a <= b for a, b in itertools.pairwise(widths))
    assert torch.equal(flow_times(5, 0.0, pruned=False), torch.linspace(0, 1, 6, dtype=torch.float64))


@pytest.mark.parametrize(("steps", "sway"), [(0, 0.0), (5, -1.01), (5, 1.8)])
def test_grids_that_would_run_backwards_are_refused(steps, sway):
    with pytest.raises(ValueError, match="must"):
        flow_times(steps, sway)


def test_guidance_of_zero_is_the_conditional_prediction_and_one_goes_as_far_again():
    conditional, unconditional = pair(2, 3)
    assert torch.equal(guide(conditional, unconditional, 0.0), conditional)
    torch.testing.assert_close(guide(conditional, unconditional, 1.0), 2 * conditional - unconditional)
