"""Seeds: one number in, independent and reproducible streams out."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator", "mix", "placed_noise"]

_BLOCK = 65536


def mix(*parts: int | str) -> int:
    """Combine integers and names into one 63-bit seed; different parts give unrelated seeds."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator seeded from `parts`, for example `generator(seed, "acoustic", chunk)`."""
    return torch.Generator(device=device).manual_seed(mix(*parts))


def placed_noise(rng: torch.Generator, start: int, count: int, name: str = "noise") -> torch.Tensor:
    """Return the Gaussian noise of places `start` to `start + count` of an endless row: [count], on the generator's device.

    It depends on the seed of `rng`, which stays as it is, on `name` and on the place: parts of an utterance that are made
    apart find the noise that the whole would have had.
    """
    blocks = range(start // _BLOCK, max(start, start + count - 1) // _BLOCK + 1)
    drawn = [
        torch.randn(_BLOCK, generator=generator(rng.initial_seed(), name, block, device=rng.device), device=rng.device)
        for block in blocks
    ]
    first = start - blocks.start * _BLOCK
    return torch.cat(drawn)[first : first + count]
