"""The balancer: what a loss is multiplied by does not matter, only its share."""

from __future__ import annotations

import torch

from speechgen.losses.balance import balanced


def gradient(shares: tuple[float, float], scales: tuple[float, float]) -> torch.Tensor:
    """Of two losses that pull in directions at right angles."""
    output = torch.zeros(3, 4, requires_grad=True)
    first, second = balanced(output, *shares)
    loss = scales[0] * first[:, 0].sum() + scales[1] * second[:, 1:3].square().sub(second[:, 1:3]).sum()
    (found,) = torch.autograd.grad(loss, output)
    return found


def test_equal_shares_give_equal_norms_whatever_the_scales():
    found = gradient((1.0, 1.0), (1000.0, 0.001))
    norms = [torch.linalg.vector_norm(part, dim=-1) for part in (found[:, :1], found[:, 1:3])]
    for norm in norms:
        torch.testing.assert_close(norm, torch.full((3,), 0.5))


def test_the_gradient_is_the_weighted_sum_of_the_normed_ones():
    """Reference: share / sum of shares, along each loss's own gradient."""
    expected = torch.zeros(3, 4)
    expected[:, 0] = 0.75
    expected[:, 1:3] = -0.25 / 2**0.5
    torch.testing.assert_close(gradient((3.0, 1.0), (7.0, 2.0)), expected)


def test_the_copies_are_the_output_and_a_loss_without_gradient_is_no_fault():
    output = torch.randn(2, 4, requires_grad=True)
    (copy,) = balanced(output, 2.0)
    assert torch.equal(copy, output)
    (found,) = torch.autograd.grad((copy * 0).sum(), output)
    assert torch.equal(found, torch.zeros(2, 4))
