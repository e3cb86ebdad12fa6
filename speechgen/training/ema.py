"""Running mean of a network's weights: less noisy than the last step's, so it is what we validate and export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["ExponentialMovingAverage"]


class ExponentialMovingAverage:
    """float32 shadow of a module's parameters and buffers.

    After n updates the decay is `min(decay, (1 + n) / (10 + n))`: the mean follows quickly while weights are young,
    so the initial values are forgotten and short runs are usable. Integer buffers are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._module = module
        self.shadow = {key: _copy(value) for key, value in self._live().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the live weights by one step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for key, value in self._live().items():
            if value.is_floating_point():
                self.shadow[key].lerp_(value.detach().float(), 1 - decay)
            else:
                self.shadow[key].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the module holds the averaged weights."""
        kept = {key: value.detach().clone() for key, value in self._live().items()}
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(kept)

    def load(self, shadow: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved mean."""
        for key, value in self.shadow.items():
            value.copy_(shadow[key])
        self.updates = updates

    def _live(self) -> dict[str, Tensor]:
        return self._module.state_dict(keep_vars=True)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for key, value in self._live().items():
            value.copy_(values[key])


def _copy(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
