"""Several losses of one output, each with its share of the gradient whatever its scale (Défossez et al., 2022, eq. 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["balanced"]


def balanced(output: Tensor, *shares: float) -> tuple[Tensor, ...]:
    """Return copies of a network's output, one for each loss: what comes back through a copy is brought to one norm.

    The sum of losses of the copies has the gradient that the paper's balancer makes: sum of share * g / n, where g is the
    gradient of a loss with regard to the output and n the mean of its norms over rows. What the losses are multiplied by does
    not matter.

    Args:
        output: [B, L].
        shares: weight of each loss; their sum counts as one.
    """
    # Differs from paper: norms of this batch instead of running means of them. There is nothing to save, and a resumed
    # training repeats an uninterrupted one.
    return tuple(_Balanced.apply(output, share / sum(shares)) for share in shares)  # type: ignore[no-untyped-call]


class _Balanced(torch.autograd.Function):
    """The identity, whose gradient is brought to a mean norm of `share`."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, share: float) -> Tensor:
        ctx.share = share
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        norm = torch.linalg.vector_norm(gradient, dim=-1).mean()
        return ctx.share * gradient / norm.clamp(min=1e-12), None
