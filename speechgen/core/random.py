"""Seeds: one number in, independent and reproducible streams out."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator", "mix"]


def mix(*parts: int | str) -> int:
    """Combine integers and names into one 63-bit seed; different parts give unrelated seeds."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator seeded from `parts`, for example `generator(seed, "acoustic", chunk)`."""
    return torch.Generator(device=device).manual_seed(mix(*parts))
