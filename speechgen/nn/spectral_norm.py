"""Spectral normalisation (Miyato et al., 2018): a weight divided by its largest singular value, found by power iteration.

Unlike the one in torch, a forward pass changes nothing: the iteration is stored by `iterate`, which training calls after
each step of the optimiser. So the same weights give the same numbers in training, in evaluation and after a resume, and
several forward passes between two steps, as a discriminator makes, see one norm.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["iterate", "spectral_norm"]

Layer = TypeVar("Layer", bound=nn.Module)
_FIRST_ITERATIONS = 15


class _SpectralNorm(nn.Module):
    """weight [N, ...] -> weight / sigma, with sigma = u W v and u the direction stored."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.seen = 0  # version of the weight that the direction follows
        self.register_buffer("direction", F.normalize(torch.randn(len(weight), dtype=weight.dtype), dim=0))
        for _ in range(_FIRST_ITERATIONS):
            self.direction = self._improved(weight.detach().flatten(1))[0]

    def forward(self, weight: Tensor) -> Tensor:
        flat = weight.flatten(1)
        left, right = self._improved(flat.detach())
        return weight / (left @ flat @ right)

    def _improved(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """One power iteration: left [N] and right [M] singular vector."""
        right = F.normalize(self.direction @ flat, dim=0)
        return F.normalize(flat @ right, dim=0), right

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        if weight._version != self.seen:
            self.seen = 0  # version of the weight that the direction follows
            self.direction.copy_(self._improved(weight.flatten(1))[0])


def spectral_norm(layer: Layer) -> Layer:
    """Let the layer use its weight divided by its largest singular value; returns the layer."""
    norm = _SpectralNorm(layer.weight)  # type: ignore[arg-type]
    parametrize.register_parametrization(layer, "weight", norm)
    norm.seen = layer.parametrizations.weight.original._version  # type: ignore[union-attr]
    return layer


def iterate(network: nn.Module) -> None:
    """Follow weights that an optimiser has changed since the last call, by one power iteration."""
    for module in network.modules():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], _SpectralNorm):
            module[0].iterate(module.original)
