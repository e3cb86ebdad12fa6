"""What measuring speed needs to know of the machine: the time, the processor, its peak, and the memory that work takes."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

__all__ = ["describe", "gemm_peak", "memory_added", "now", "using_threads"]

_GEMM = {"cpu": 1024, "cuda": 8192, "mps": 4096}
"""Rows and columns of the matrices, by kind of device: large enough to be at the peak, small enough to be quick."""
_GEMM_RUNS = 8


def now(device: torch.device) -> float:
    """The time when all work that was given to the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def describe() -> str:
    """What the system calls its processor, and how many cores it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads while inside; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gemm_peak(device: torch.device) -> float:
    """Return the most floating point operations a second that a product of two large float32 matrices reached."""
    size = _GEMM.get(device.type, 2048)
    first, second = (torch.ones(size, size, device=device) for _ in range(2))
    product = first @ second
    spent = []
    for _ in range(_GEMM_RUNS):
        started = now(device)
        torch.mm(first, second, out=product)
        spent.append(now(device) - started)
    return 2 * size**3 / min(spent)


def memory_added(work: Callable[[], object], device: torch.device) -> int | None:
    """Do `work`; return the bytes that it took at its peak beyond those taken before, None if the system does not tell."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError, AttributeError):  # glibc alone has it: freed memory goes back to the system
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
        before = _status("VmRSS")
    except OSError:
        work()
        return None
    work()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    """Bytes that Linux tells of this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no {name}")
    return 1024 * int(found[1])
