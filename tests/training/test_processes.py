"""Two processes under torchrun on the CPU: DistributedDataParallel against one process with the batches joined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from speechgen.core.protocols import Batch
from speechgen.training.trainer import Trainer
from tests.training.toys import OPTIM, Adversarial, Regression, batch, settings

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of two processes."""
    out = tmp_path_factory.mktemp("ddp")
    path = os.pathsep.join([str(WORKER.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(WORKER), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def joined(size: int) -> Iterator[Batch]:
    """Batches of the toys, `size` at a time."""
    index = 0
    while True:
        rows = torch.cat([batch(index + i)["audio"] for i in range(size)])
        yield Batch({"audio": rows}, {"audio": torch.full((len(rows),), 3)})
        index += size


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("objective", [lambda: Regression(noise=0), Adversarial], ids=["one part", "two parts"])
def test_two_processes_train_as_one(objective, accumulate, two_processes: Path, tmp_path: Path):
    """Both ranks end with the same weights, those of a single process with all batches joined, and log its loss."""
    toy = objective()
    name = f"{type(toy).__name__}-{accumulate}"
    first, second = (load_file(two_processes / f"{name}-rank{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)

    single = Trainer(toy, dict.fromkeys(toy.parts, OPTIM), settings(3), tmp_path, progress="none")
    single.fit(joined(2 * accumulate), [batch(1000), batch(1001)])
    for part, network in single.networks.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(first[f"{part}/{key}"], value, rtol=1e-4, atol=1e-6)

    def losses(out: Path) -> list[float]:
        entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return [value for entry in entries for key, value in sorted(entry.items()) if key.endswith("loss")]

    found, expected = losses(two_processes / name), losses(tmp_path)
    assert len(found) == 3 * len(toy.parts) + 1
    assert found == pytest.approx(expected, rel=1e-4)
