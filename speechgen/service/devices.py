"""Names of devices, and what is really there."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from speechgen.core.errors import UserError

__all__ = ["available", "bound_kernel_cache", "overlooked_gpu", "resolve"]

KEPT_KERNELS = "64"
"""For how many shapes a CPU keeps compiled kernels."""


def bound_kernel_cache() -> None:
    """Let oneDNN keep few of the kernels it compiles; whoever has set the number is left alone.

    It compiles one for every length of sound and keeps 1024, which lets a server grow for hours by some hundred megabytes.
    Heard by oneDNN only before the first convolution.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KEPT_KERNELS)


def available() -> list[str]:
    """Every device name that `resolve` accepts here."""
    names = ["auto", "cpu"]
    names += [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return names + (["mps"] if torch.backends.mps.is_available() else [])


def resolve(name: str) -> torch.device:
    """Turn auto, cpu, cuda, cuda:N or mps into a device that exists; auto is the first GPU, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    names = available()
    if name in ("auto", "cuda") and "cuda:0" in names:
        return torch.device("cuda:0")
    if name == "auto":
        return torch.device("cpu")
    if name not in names:
        raise UserError(f"no device {name!r} here: allowed: {', '.join(names)}")
    return torch.device(name)


def overlooked_gpu() -> str:
    """Return a hint if this machine has an NVIDIA GPU that the installed torch cannot use; otherwise an empty text."""
    if torch.cuda.is_available() or not Path("/dev/nvidia0").exists():
        return ""
    return f"an NVIDIA GPU is here, but torch {torch.__version__} cannot use it: running on the CPU; install a CUDA build"
