"""A server with the tiny pipeline: in this process, and as a program on the loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from speechgen.server.application import build
from speechgen.server.settings import ServerSettings
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobQueue
from tests.tiny import home, tiny_home

__all__ = ["home", "tiny_home"]

ADDRESS = "http://127.0.0.1:8000"


def served(queue: JobQueue | None = None, **settings) -> TestClient:
    """A client of an application of its own."""
    chosen = ServerSettings(pipeline="tiny", device="cpu", **settings)
    return TestClient(build(chosen, queue), base_url=ADDRESS, raise_server_exceptions=False)


@pytest.fixture
def queue(home: Path) -> Iterator[JobQueue]:
    """The queue of `client`, to look into or to fill."""
    queue = JobQueue([Engine("cpu")], waiting=2)
    yield queue
    queue.close()


@pytest.fixture
def client(queue: JobQueue) -> Iterator[TestClient]:
    """A client of a server in this process."""
    with served(queue) as client:
        yield client


@dataclass
class Program:
    """`speechgen serve` in a process."""

    address: str
    process: subprocess.Popen

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


@pytest.fixture
def program(home: Path, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start `speechgen serve` with options."""
    started = []

    def start(*options: str) -> Program:
        log = (tmp_path / f"log{len(started)}").open("w+")
        command = [sys.executable, "-m", "speechgen", "serve", "--port", "0", "--pipeline", "tiny", "--device", "cpu", *options]
        process = subprocess.Popen(command, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        started.append((process, log))
        deadline = time.monotonic() + 60
        while "http://" not in (text := Path(log.name).read_text()):
            assert process.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.05)
        return Program("http://" + text.partition("http://")[2].split("/")[0], process)

    yield start
    for process, log in started:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client without proxies."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client
