"""Memory that compiled kernels take, in a process of its own: oneDNN asks for the bound once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

LENGTHS = """
import pathlib, statistics, sys, torch
from speechgen.service import devices
if sys.argv[1] == "bounded":
    devices.bound_kernel_cache()
torch.set_num_threads(1)
layer = torch.nn.Conv1d(224, 512, 7, padding=3)
taken = {}
with torch.inference_mode():
    for length in range(200, 460):
        layer(torch.zeros(1, 224, length))
        taken[length] = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
pages = list(taken.values())
print(int(statistics.median(pages[-20:]) - statistics.median(pages[10:30])))  # what is freed for a moment does not count
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the memory of a process in /proc")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_lengths_that_come_and_go_leave_no_kernels_behind(repository: Path):
    # An engine of another test has bounded the cache of this process, and of those it starts.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}

    def grown(kind: str) -> int:
        """The less of two: the allocator sometimes takes a stretch more."""
        command = [sys.executable, "-c", LENGTHS, kind]
        told = [
            subprocess.run(
                command, cwd=repository, env=environment, capture_output=True, text=True, check=True, timeout=300
            ).stdout
            for _ in range(2)
        ]
        return min(map(int, told))

    assert grown("bounded") < 0.5 * grown("free")
