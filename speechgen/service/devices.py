"""Names of devices, and what is really there."""

from __future__ import annotations

from pathlib import Path

import torch

from speechgen.core.errors import UserError

__all__ = ["available", "overlooked_gpu", "resolve"]


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
