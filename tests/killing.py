"""Batches that are killed while they run."""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from speechgen.service.manifest import Manifest


def finished_when_killed(
    command: list[str], folder: Path, wanted: int, environment: dict[str, str]
) -> dict[int, dict[str, Any]]:
    """Run a batch into a folder and kill it a moment after `wanted` rows are finished; return these by their numbers."""
    manifest = folder / "manifest.jsonl"
    running = subprocess.Popen(command, env=environment)
    while running.poll() is None and not (manifest.is_file() and manifest.read_bytes().count(b"\n") >= wanted):
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.05))
    running.send_signal(signal.SIGKILL)
    running.wait()
    return {entry["row"]: entry for entry in Manifest(folder).entries()}
