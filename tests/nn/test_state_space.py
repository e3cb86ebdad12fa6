"""State spaces: the convolution is the recurrence, whatever the parametrisation."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.nn.state_space import INITIALS, StateSpace, diagonal_initial, hippo_legs

every_kernel = pytest.mark.parametrize("kernel", [*INITIALS, "s4"])


def layer(kernel, *, shared=False, bidirectional=False, dtype=torch.float32, width=5, size=16):
    """A layer whose parameters are not where they begin."""
    torch.manual_seed(0)
    made = StateSpace(width, size, kernel, shared=shared, bidirectional=bidirectional).to(dtype)
    with torch.no_grad():
        for value in made.kernel.parameters():
            value.add_(0.2 * torch.randn_like(value))
    return made


@every_kernel
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["float32", "float64"])
def test_stepping_is_the_convolution(kernel, shared, dtype, bound):
    made = layer(kernel, shared=shared, dtype=dtype)
    u = torch.randn(2, 300, 5, dtype=dtype)
    with torch.no_grad():
        expected, recurrence, out = made(u), made.recurrence(), []
        state = torch.zeros(2, *recurrence.a.shape, dtype=recurrence.a.dtype)
        for t in range(300):
            y, state = recurrence.step(u[:, t], state)
            out.append(y + made.skip * u[:, t])
    assert expected.std() > 0.5
    assert (torch.stack(out, 1) - expected).abs().max() < bound


@every_kernel
def test_the_kernel_is_the_response_to_an_impulse_and_a_shorter_one_is_its_beginning(kernel):
    made = layer(kernel, dtype=torch.float64)
    impulse = torch.zeros(1, 100, 5, dtype=torch.float64)
    impulse[:, 0] = 1
    with torch.no_grad():
        kernel_values = made.kernel(100)[0]  # [H, L]
        response = (made(impulse) - made.skip * impulse)[0].T
        torch.testing.assert_close(response, kernel_values)
        torch.testing.assert_close(made.kernel(37)[0], kernel_values[:, :37])


def test_the_convolution_does_not_wrap_round():
    """Against the sum itself."""
    made = layer("lin", dtype=torch.float64)
    u = torch.randn(1, 40, 5, dtype=torch.float64)
    with torch.no_grad():
        kernel = made.kernel(40)[0]
        direct = torch.stack([(kernel[:, : t + 1].flip(-1) * u[0, : t + 1].T).sum(-1) for t in range(40)])
        torch.testing.assert_close(made(u)[0] - made.skip * u[0], direct)


@every_kernel
def test_two_kernels_swapped_are_the_sequence_turned_round(kernel):
    """Up to the sample itself, which the first kernel alone weighs."""
    made = layer(kernel, bidirectional=True, dtype=torch.float64)
    u = torch.randn(1, 30, 5, dtype=torch.float64)
    with torch.no_grad():
        forth, back = made.kernel(30)
        y = (made(u) - made.skip * u)[0]
        for t in range(30):
            before = (forth[:, : t + 1].flip(-1) * u[0, : t + 1].T).sum(-1)
            after = (back[:, : 29 - t] * u[0, t + 1 :].T).sum(-1)
            torch.testing.assert_close(y[t], before + after)
    with pytest.raises(ValueError, match="cannot be stepped"):
        made.recurrence()


def test_s4d_begins_with_the_published_eigenvalues():
    n = torch.arange(32, dtype=torch.float64)
    torch.testing.assert_close(diagonal_initial("lin", 64), torch.complex(-0.5 + 0 * n, math.pi * n))
    assert diagonal_initial("inv", 64)[0].imag.item() == pytest.approx(64 / math.pi * 63)
    assert diagonal_initial("real", 4).tolist() == [-1, -2, -3, -4]
    for kernel, size in (("other", 64), ("lin", 7)):
        with pytest.raises(ValueError, match="sizes are even, initialisations lin, inv"):
            diagonal_initial(kernel, size)  # type: ignore[arg-type]


def test_hippo_has_its_eigenvalues_in_diagonal_and_low_rank_form():
    """The matrix is lower triangular with -1, -2 ... on its diagonal; a unitary change of basis keeps them."""
    values, p, _ = hippo_legs(8)
    whole, q = torch.cat((values, values.conj())), torch.cat((p, p.conj()))
    found = torch.linalg.eigvals(torch.diag(whole) - q[:, None] * q.conj()[None, :])
    torch.testing.assert_close(found.real.sort().values, -torch.arange(8, 0, -1, dtype=torch.float64))
    assert found.imag.abs().max() < 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_s4_stays_stable_wherever_training_leads_it(seed):
    """Lambda - p p* has its eigenvalues in the left half plane for any p, so that no state can grow."""
    made = layer("s4", dtype=torch.float64, size=8)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in made.kernel.parameters():
            value.add_(torch.randn(value.shape, generator=rng, dtype=value.dtype))
        _, values, p, _, _ = made.kernel._continuous()
        whole, q = torch.cat((values, values.conj()), -1), torch.cat((p, p.conj()), -1)
        matrix = torch.diag_embed(whole) - q[:, :, None] * q.conj()[:, None]
        assert torch.linalg.eigvals(matrix).real.max() < 0
        assert torch.linalg.eigvals(made.kernel._dense()).abs().max() < 1


def test_half_precision_around_it_changes_nothing():
    made = layer("lin")
    u = torch.randn(1, 64, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = made(u)
    torch.testing.assert_close(mixed, made(u))
