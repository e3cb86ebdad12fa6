"""Small objectives and batches with known behaviour."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.random import generator
from speechgen.training.optim import OptimConfig
from speechgen.training.recipe import TrainerConfig

OPTIM = OptimConfig(learning_rate=1e-2, weight_decay=0.01, warmup_steps=2, schedule="cosine")


def settings(
    steps: int = 6, accumulate: int = 1, ema_decay: float = 0.9, log_every: int = 1, rare: int = 1000
) -> TrainerConfig:
    """Trainer settings that log every step and validate at the end."""
    return TrainerConfig(
        steps=steps, accumulate=accumulate, ema_decay=ema_decay, log_every=log_every, validate_every=rare, save_every=rare
    )


def batch(index: int, rows: int = 4) -> Batch:
    """The batch number `index`: rows of 3 inputs."""
    return Batch({"audio": torch.randn(rows, 3, generator=generator("toy", index))}, {"audio": torch.full((rows,), 3)})


def batches(start: int = 0) -> Iterator[Batch]:
    """Batches from number `start` on."""
    while True:
        yield batch(start)
        start += 1


class Regression:
    """One part: learn the sum of the inputs through dropout and drawn noise, so that it notices wrong random numbers."""

    fields = ("audio",)

    def __init__(self, noise: float = 0.1) -> None:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5 if noise else 0.0), nn.Linear(8, 1))
        self.parts: dict[str, nn.Module] = {"network": network if noise else nn.Sequential(network[0], network[3])}
        self.noise = noise

    def _loss(self, x: Tensor) -> Tensor:
        return (self.parts["network"](x)[:, 0] - x.sum(1)).square().mean()

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        x = batch["audio"]
        yield Update("network", self._loss(x + self.noise * torch.randn(x.shape, generator=rng)))

    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self._loss(batch["audio"])}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        return Sample(audio=torch.linspace(-1, 1, 2400), mel=torch.randn(10, 100, generator=rng))


class Adversarial:
    """Two parts that share a forward, as generator and discriminator do; notes the weights it finds at each yield."""

    fields = ("audio",)

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.parts: dict[str, nn.Module] = {"network": nn.Linear(3, 3), "discriminator": nn.Linear(3, 1)}
        self.raw = dict(self.parts)
        self.seen: list[dict[str, Tensor]] = []

    def _note(self) -> None:
        self.seen.append({name: part.weight.detach().clone() for name, part in self.raw.items()})

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        real = batch["audio"]
        fake = self.parts["network"](real.flip(0))
        judge = self.parts["discriminator"]
        self._note()
        yield Update("discriminator", (judge(real) - 1).square().mean() + judge(fake.detach()).square().mean())
        self._note()
        yield Update("network", (judge(fake) - 1).square().mean())
        self._note()

    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self.parts["network"](batch["audio"]).square().mean()}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        return Sample()
