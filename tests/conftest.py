"""What all tests share: nothing of the user's own folder is seen, nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: processes side by side share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's voices and checkpoints, and the network, out of every test and of the processes it starts."""
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path_factory.getbasetemp() / "home-of-nobody"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
