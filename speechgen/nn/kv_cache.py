"""Keys and values of what a transformer has read, so that reading on costs only what is new."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KeyValueCache", "LayerCache"]


class LayerCache:
    """Keys and values of one layer, in memory that is taken once.

    Args:
        capacity: positions that it can hold.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self._keys = self._values = torch.empty(0)

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return all keys and values, the new ones [B, H, T, D/H] last. They are overwritten next time unless they are kept.

        Raises:
            ValueError: there is no room for them.
        """
        stop = self.length + keys.shape[2]
        if stop > self.capacity:
            raise ValueError(f"a cache of {self.capacity} positions cannot hold {stop}: make it larger before starting")
        if self._keys.numel() == 0:
            self._keys, self._values = (x.new_empty(*x.shape[:2], self.capacity, x.shape[3]) for x in (keys, values))
        self._keys[:, :, self.length : stop] = keys
        self._values[:, :, self.length : stop] = values
        return self._keys[:, :, :stop], self._values[:, :, :stop]


class KeyValueCache:
    """One LayerCache for each layer.

    Args:
        layers: of the transformer.
        capacity: positions that it can hold; asking for too little is an error when it is full, so reckon beforehand.
    """

    def __init__(self, layers: int, capacity: int) -> None:
        self.layers = tuple(LayerCache(capacity) for _ in range(layers))

    @property
    def length(self) -> int:
        """Positions that are kept."""
        return self.layers[0].length

    def keep(self, count: int) -> None:
        """Keep the first `count` positions of those that were read last."""
        for layer in self.layers:
            layer.length += count
