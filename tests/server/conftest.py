"""A server with the tiny pipeline: in this process, and as a program on the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """A client of an application of its own, which closes the queue."""
    chosen = ServerSettings(pipeline="tiny", device="cpu", **settings)
    queue = queue or JobQueue([Engine("cpu")], timeout=chosen.timeout)
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

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextmanager
def programs(home: Path, logs: Path) -> Iterator[Callable[..., Program]]:
    """Yield what starts `speechgen serve` with options; all are ended behind it."""
    started: list[subprocess.Popen] = []

    def start(*options: str) -> Program:
        log = logs / f"log{len(started)}"
        command = [sys.executable, "-m", "speechgen", "serve", "--port", "0", "--pipeline", "tiny", "--device", "cpu", *options]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "SPEECHGEN_HOME": str(home)}
        with log.open("w") as errors:
            started.append(subprocess.Popen(command, stderr=errors, env=env))
        deadline = time.monotonic() + 100
        while "http://" not in (text := log.read_text()):
            assert started[-1].poll() is None and time.monotonic() < deadline, text
            time.sleep(0.05)
        return Program("http://" + text.partition("http://")[2].split("/")[0], started[-1])

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture
def program(home: Path, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start `speechgen serve` with options, to be ended by the test."""
    with programs(home, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def server(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One `speechgen serve` for the tests of a file."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(tiny_home, folder / "home")
    with programs(folder / "home", folder) as start:
        yield start("--warm-up", "--queue", "4")


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client without proxies."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client
