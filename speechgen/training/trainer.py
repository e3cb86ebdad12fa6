"""The one loop. It knows no model: an Objective yields updates, the loop steps the part each belongs to.

`Trainer.fit` is the whole run, `_step` one step of it; read those two. Devices, precision and processes are Lightning
Fabric's. Every step seeds its own random numbers from (seed, step, rank), so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Objective, Update
from speechgen.core.random import generator, mix
from speechgen.training import state
from speechgen.training.ema import ExponentialMovingAverage
from speechgen.training.logging import ProgressStyle, RunLog
from speechgen.training.optim import OptimConfig, build_optimizer, check_parts, learning_rate
from speechgen.training.recipe import TrainerConfig
from speechgen.training.signals import StopSignal

__all__ = ["Export", "FitResult", "Trainer"]

MAX_SKIPPED = 10
"""Steps in a row without finite gradients after which a run has failed."""

Export = Callable[[str, Mapping[str, Tensor], Mapping[str, float]], None]
"""Called with ("checkpoint" or "last", weights to export, metrics)."""


@dataclass(frozen=True)
class FitResult:
    """How a session ended: `step` steps are done; `interrupted` if a signal stopped it."""

    step: int
    best: float | None
    metrics: dict[str, float]
    interrupted: bool
    skipped: int


class Trainer:
    """Runs an objective. Wraps `objective.parts` in place with Fabric.

    Args:
        objective: what to train.
        optim: settings of each part.
        settings: the loop's settings.
        out: run folder; the state goes to `out/state`.
        fabric: launched; default: one CPU process.
        export: writes a checkpoint; None writes none.
        progress: how to show progress.
    """

    def __init__(
        self,
        objective: Objective,
        optim: Mapping[str, OptimConfig],
        settings: TrainerConfig,
        out: Path,
        *,
        fabric: Fabric | None = None,
        export: Export | None = None,
        progress: ProgressStyle = "auto",
    ) -> None:
        check_parts(optim, objective.parts)
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1, precision=settings.precision)
        self.objective, self.optim, self.settings, self.out = objective, optim, settings, out
        self._export, self._progress = export, progress
        self.networks = dict(objective.parts)  # as written, for weights; the objective calls the wrapped ones
        for name, network in self.networks.items():
            objective.parts[name] = self.fabric.setup_module(network)
        self.parameters = {n: [p for p in net.parameters() if p.requires_grad] for n, net in self.networks.items()}
        self.optimizers = {
            name: self.fabric.setup_optimizers(build_optimizer(network, optim[name])) for name, network in self.networks.items()
        }
        self.ema = ExponentialMovingAverage(self.networks["network"], settings.ema_decay)
        # DistributedDataParallel averages while backward runs, but expects one forward per backward. Several parts share
        # forwards, so their gradients are averaged here, after backward.
        self._average_here = self.fabric.world_size > 1 and len(self.networks) > 1
        self.step, self.best, self.metrics, self.skipped = 0, None, {}, 0
        self._skipped_in_a_row, self._saved_at = 0, time.monotonic()

    def fit(self, batches: Iterator[Batch], validation: Sequence[Batch] = (), notes: Sequence[str] = ()) -> FitResult:
        """Train until `settings.steps`, or until SIGINT or SIGTERM.

        Args:
            batches: micro-batches, already at `self.step * accumulate`.
            validation: held-out batches; none: every export counts as the best.
            notes: what to tell the user first.

        Raises:
            UserError: gradients stay infinite, or a save fails.
        """
        settings = self.settings
        log = RunLog(self.out, step=self.step, steps=settings.steps, style=self._progress, active=self.fabric.is_global_zero)
        with log, StopSignal() as told:
            for note in notes:
                log.message(note)
            recent: dict[str, list[float]] = {}
            while self.step < settings.steps:
                figures = self._step(batches)
                for key, value in figures.items():
                    recent.setdefault(key, []).append(value)

                due = self.step % settings.log_every == 0 or self.step == settings.steps
                log.progress(self.step, figures.get("network/loss", math.nan), line=due)
                if due:
                    log.figures(self.step, "train", {key: sum(values) / len(values) for key, values in recent.items()})
                    recent.clear()
                if self.step % settings.validate_every == 0 or self.step == settings.steps:
                    self._validate(validation, log)
                stop, late = self._agree(told.stop, time.monotonic() - self._saved_at > 60 * settings.save_minutes)
                if stop or late or self.step % settings.save_every == 0 or self.step == settings.steps:
                    self.save()
                if stop:
                    break
            interrupted = self.step < settings.steps
            reached = "" if self.best is None else f", best validation loss {self.best:.4f}"
            end = "saved: continue with the same command and --resume auto" if interrupted else f"done{reached}"
            log.message(f"step {self.step}  {end}")
        return FitResult(self.step, self.best, self.metrics, interrupted, self.skipped)

    def _step(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Run one step: `accumulate` micro-batches through every update of the objective. Returns figures to log."""
        count, rank = self.settings.accumulate, self.fabric.global_rank
        device, seed = self.fabric.device, self.settings.seed
        started = time.monotonic()
        micro = [next(batches).to(device) for _ in range(count)]
        waited = time.monotonic() - started
        torch.manual_seed(mix(seed, "step", self.step, rank))
        streams = [
            self.objective.updates(batch, self.step, generator(seed, "updates", self.step, rank, i, device=device))
            for i, batch in enumerate(micro)
        ]
        figures: dict[str, list[Tensor]] = {}
        finite = True
        while True:
            updates: list[Update] = []
            for i, stream in enumerate(streams):
                with self._synchronised(last=i == count - 1):
                    update = next(stream, None)
                    if update is not None:
                        self.fabric.backward(update.loss / count, inputs=self.parameters[update.part])
                        updates.append(update)
            if not updates:
                break
            finite &= self._optimise(updates, figures)
        self.step += 1
        self.ema.update()
        self._count_skipped(finite)
        means = torch.stack([torch.stack(values).float().mean() for values in figures.values()]).tolist()  # one transfer
        rates = {f"{name}/learning_rate": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        seconds = {"wait_seconds": waited, "step_seconds": time.monotonic() - started}
        return dict(zip(figures, means, strict=True)) | rates | seconds

    def _optimise(self, updates: Sequence[Update], figures: dict[str, list[Tensor]]) -> bool:
        """Step the part of these updates (one per micro-batch), unless its gradients are not finite; say whether they were."""
        part = updates[0].part
        optimizer, config = self.optimizers[part], self.optim[part]
        if self._average_here:
            self._average_gradients(part)
        norm = self.fabric.clip_gradients(
            self.objective.parts[part], optimizer, max_norm=config.clip_norm or math.inf, error_if_nonfinite=False
        )
        loss = self.fabric.all_reduce(torch.stack([u.loss.detach() for u in updates]).mean(), reduce_op="mean")
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if finite:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, self.step, self.settings.steps)
            optimizer.step()
        optimizer.zero_grad()
        figures.setdefault(f"{part}/loss", []).append(loss)
        figures.setdefault(f"{part}/gradient_norm", []).append(norm)
        for update in updates:
            for key, value in update.metrics.items():
                figures.setdefault(f"{part}/{key}", []).append(value.detach())
        return finite

    def _validate(self, batches: Sequence[Batch], log: RunLog) -> None:
        """Measure the averaged weights on held-out batches; export them as "last" and, if better, as "checkpoint"."""
        seed, device, rank = self.settings.seed, self.fabric.device, self.fabric.global_rank
        parts = self.objective.parts.values()
        with self.ema.applied(), torch.no_grad():
            torch.manual_seed(mix(seed, "validation", rank))
            for part in parts:
                part.eval()
            found: dict[str, list[Tensor]] = {}
            for i, batch in enumerate(batches):
                measured = self.objective.validate(batch.to(device), generator(seed, "validation", rank, i, device=device))
                for key, value in measured.items():
                    found.setdefault(key, []).append(value)
            means = {k: self.fabric.all_reduce(torch.stack(v).float().mean(), reduce_op="mean") for k, v in found.items()}
            self.metrics = {key: value.item() for key, value in means.items()}
            if batches:  # on every rank: forwards of wrapped modules are collective
                log.sample(self.step, self.objective.sample(batches[0].to(device), generator(seed, "sample", device=device)))
            for part in parts:
                part.train()
        log.figures(self.step, "validation", self.metrics)
        loss = self.metrics.get("loss", math.nan)
        better = not batches or (math.isfinite(loss) and (self.best is None or loss < self.best))
        if better and batches:
            self.best = loss
        if batches:
            log.message(f"step {self.step}  validation loss {loss:.4f}{'  (best)' if better else ''}")
        if self._export and self.fabric.is_global_zero:
            for name in ("last", "checkpoint") if better else ("last",):
                self._export(name, self.ema.shadow, {**self.metrics, "step": self.step})

    def save(self) -> None:
        """Save the state to resume from; the first rank writes."""
        self._saved_at = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        tensors = {f"ema/{key}": value for key, value in self.ema.shadow.items()}
        groups = {}
        for name, network in self.networks.items():
            tensors |= {f"weights/{name}/{key}": value for key, value in network.state_dict().items()}
            groups[name], moments = state.pack_optimizer(self.optimizers[name].optimizer, f"optim/{name}")
            tensors |= moments
        values = {"best": self.best, "metrics": self.metrics, "skipped": self.skipped}
        values |= {"optim": groups, "ema_updates": self.ema.updates}
        state.write(self.out / "state", self.step, state.TrainingState(values, tensors))

    def resume(self) -> None:
        """Continue from `out/state`.

        Raises:
            UserError: there is none, it is damaged, or it is of another model.
        """
        saved = state.read(self.out / "state")
        try:
            for name, network in self.networks.items():
                network.load_state_dict(saved.group(f"weights/{name}"))
                groups, moments = saved.values["optim"][name], saved.group(f"optim/{name}")
                state.unpack_optimizer(self.optimizers[name].optimizer, groups, moments)
            self.ema.load(saved.group("ema"), saved.values["ema_updates"])
        except (RuntimeError, ValueError, KeyError) as error:
            told = " ".join(str(error).split())[:200]
            raise UserError(f"{self.out / 'state'} is of another model ({told}): choose another --out") from error
        self.step, self.best = saved.values["step"], saved.values["best"]
        self.metrics, self.skipped = saved.values["metrics"], saved.values["skipped"]

    def _count_skipped(self, finite: bool) -> None:
        self._skipped_in_a_row = 0 if finite else self._skipped_in_a_row + 1
        self.skipped += not finite
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise UserError(
                f"loss or gradients were not finite for {MAX_SKIPPED} steps in a row, up to step {self.step}: lower "
                "learning_rate or clip_norm in optim, or use trainer.precision 32-true; "
                f"the last save is in {self.out / 'state'}"
            )

    @contextmanager
    def _synchronised(self, *, last: bool) -> Iterator[None]:
        """Let gradients be averaged over ranks during backward, if it is the last micro-batch and DDP can do it."""
        with ExitStack() as stack:
            for part in self.objective.parts.values():
                stack.enter_context(self.fabric.no_backward_sync(part, enabled=self._average_here or not last))
            yield

    def _average_gradients(self, part: str) -> None:
        """Average the gradients of one part over ranks, in one message."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters[part]]
        joined = self.fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
        for parameter, gradient in zip(self.parameters[part], joined.split([g.numel() for g in gradients]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def _agree(self, stop: bool, late: bool) -> tuple[bool, bool]:
        """Let all ranks act alike if one of them was told to stop or finds a save late."""
        if self.fabric.world_size == 1:
            return stop, late
        told = torch.tensor([stop, late], dtype=torch.float32, device=self.fabric.device)
        told = self.fabric.all_reduce(told, reduce_op="sum")
        return bool(told[0]), bool(told[1])
