"""One process of the two in test_processes.py: trains both toys and leaves its weights in the folder it is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import save_file

from speechgen.core.protocols import Batch
from speechgen.training.run import launch
from speechgen.training.trainer import Trainer
from tests.training.toys import OPTIM, Adversarial, Regression, batch, settings


def share(rank: int, world: int) -> Iterator[Batch]:
    """Batches rank, rank + world, ..."""
    index = rank
    while True:
        yield batch(index)
        index += world


if __name__ == "__main__":
    out = Path(sys.argv[1])
    fabric = launch("cpu", "32-true")
    for accumulate in (1, 2):
        for objective in (Regression(noise=0), Adversarial()):
            name = f"{type(objective).__name__}-{accumulate}"
            optim = dict.fromkeys(objective.parts, OPTIM)
            run = Trainer(objective, optim, settings(3, accumulate), out / name, fabric=fabric, progress="none")
            run.fit(share(fabric.global_rank, fabric.world_size), [batch(1000 + fabric.global_rank)])
            tensors = {f"{part}/{key}": v for part, n in run.networks.items() for key, v in n.state_dict().items()}
            save_file(tensors, out / f"{name}-rank{fabric.global_rank}.safetensors")
