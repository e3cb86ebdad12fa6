"""From a recipe and folders to a trained checkpoint.

    <out>/checkpoint/    the best weights by validation loss (EMA), a complete checkpoint folder
    <out>/last/          the latest weights (EMA), likewise
    <out>/state/         what `resume` needs
    <out>/metrics.jsonl, <out>/tensorboard/

Several processes: start the command under `torchrun`, which this module notices by the environment it sets.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Objective
from speechgen.core.random import mix
from speechgen.core.types import MelSettings
from speechgen.data.batching import TrainingData
from speechgen.data.decode import RATE
from speechgen.nn.packed import has_bfloat16
from speechgen.text.vocabulary import ENGLISH
from speechgen.training import state
from speechgen.training.logging import ProgressStyle
from speechgen.training.recipe import LoadedRecipe
from speechgen.training.trainer import Export, FitResult, Trainer

__all__ = ["TrainResult", "WarmStart", "launch", "train", "warm_start"]


@dataclass(frozen=True)
class WarmStart:
    """Which tensors of a network came from a checkpoint, and why the others did not."""

    loaded: tuple[str, ...]
    other_shape: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def report(self, source: Path) -> str:
        """One line for the user."""
        others = {"other shape": self.other_shape, "not in it": self.missing, "not used": self.unused}
        told = "".join(f"; {why}: {_shortened(names)}" for why, names in others.items() if names)
        return f"started from {source}: {len(self.loaded)} tensors{told}"


def _shortened(names: Sequence[str], most: int = 6) -> str:
    """Few names as they are; of many, the first parts of the names and how many each has: blocks (84), norm (2)."""
    if len(names) <= most:
        return ", ".join(names)
    return ", ".join(f"{part} ({count})" for part, count in Counter(name.split(".")[0] for name in names).items())


@dataclass(frozen=True)
class TrainResult:
    """A finished or interrupted session."""

    fit: FitResult
    out: Path
    warm_start: WarmStart | None


def train(
    loaded: LoadedRecipe,
    *,
    data_folders: Sequence[Path],
    validation_folders: Sequence[Path],
    out: Path,
    device: str = "auto",
    init: Path | None = None,
    resume: Literal["auto"] | None = None,
    progress: ProgressStyle = "auto",
) -> TrainResult:
    """Train what the recipe says.

    Args:
        loaded: from `load_recipe`.
        data_folders: prepared corpora to learn from.
        validation_folders: prepared corpora to measure on; may be empty.
        out: run folder.
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        init: checkpoint folder whose matching tensors the network starts from (ignored when a state is resumed).
        resume: "auto" continues from `out/state` if it exists; None starts anew and refuses an `out` that has a state.
        progress: how to show progress.

    Raises:
        UserError: for anything the caller can put right, memory included.
    """
    recipe = loaded.recipe
    settings = recipe.trainer
    resuming = state.exists(out / "state")
    if resuming and resume is None:
        raise UserError(f"{out} already holds a run: continue it with --resume auto, or choose another --out")
    if not data_folders:
        raise UserError("no training data: give at least one prepared folder with --data")
    fabric = launch(device, settings.precision)
    rank, world = fabric.global_rank, fabric.world_size
    network = _build(loaded)
    warm = warm_start(network, init) if init and not resuming else None
    objective: Objective = loaded.spec.objective(network, loaded.config, loaded.objective_config)
    data = TrainingData(data_folders, objective.fields, recipe.data, settings.seed)
    _check_sizes(loaded.config, data)
    export = exporter(loaded, objective.fields, data.uses, out)
    trainer = Trainer(objective, recipe.optim, settings, out, fabric=fabric, export=export, progress=progress)

    notes = [f"training on {data.summary}"]
    if settings.precision == "bf16-mixed" and not _multiplies_bfloat16(fabric.device.type):
        notes.append("this CPU does not multiply bfloat16, which the recipe asks for: training in float32")
    validation: list[Batch] = []
    if validation_folders:
        same_features = recipe.data.model_copy(update={"producers": data.producers})
        held_out = TrainingData(validation_folders, objective.fields, same_features, settings.seed)
        notes.append(f"validating on {held_out.summary}")
        validation = held_out.validation(settings.validation_batches, rank, world)
        fewest = fabric.all_reduce(torch.tensor(len(validation), device=fabric.device), reduce_op="min")
        validation = validation[: int(fewest)]  # forwards of wrapped modules are collective: as many on every rank
    if warm and init:
        notes.append(warm.report(init))
    if resuming:
        trainer.resume()
        notes.append(f"resuming {out} at step {trainer.step}")
    try:
        batches = data.batches(trainer.step * settings.accumulate, rank, world)
        fit = trainer.fit(batches, validation, notes)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory at step {trainer.step}: lower data.batch_seconds (now {recipe.data.batch_seconds:g}) and raise "
            f"trainer.accumulate (now {settings.accumulate}) by as much, lower data.crop_seconds or data.max_seconds, or "
            "use trainer.precision bf16-mixed"
        ) from error
    return TrainResult(fit, out, warm)


def launch(device: str, precision: Literal["32-true", "bf16-mixed"]) -> Fabric:
    """Set up Fabric on one device, or as one of the processes that `torchrun` started; a CPU without bfloat16 has float32.

    Raises:
        UserError: there is no such device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdecimal())):
        raise UserError(f"unknown device {device!r}: allowed: auto, cpu, cuda, cuda:<index>")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {device!r} is not there: {torch.cuda.device_count()} CUDA devices found; use --device cpu")
    accelerator = kind if kind != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if not _multiplies_bfloat16(accelerator):
        precision = "32-true"
    if precision == "bf16-mixed":  # that norms of bfloat16 have weights of float32 is what is meant
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, strategy="ddp", precision=precision)
    else:
        devices = [int(index or 0)] if accelerator == "cuda" else 1
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)
    fabric.launch()
    return fabric


def _multiplies_bfloat16(accelerator: str) -> bool:
    return accelerator != "cpu" or has_bfloat16()


def warm_start(network: nn.Module, folder: Path) -> WarmStart:
    """Copy every tensor of a checkpoint that has the same name and shape into `network`.

    A network that can make use of another model's weights has `adopt`, which maps its tensors to tensors by own names.

    Raises:
        UserError: it cannot be read, or nothing matches.
    """
    path = folder / "model.safetensors"
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot start from {path} ({error}): give the folder of a checkpoint") from error
    if callable(adopt := getattr(network, "adopt", None)):
        given |= adopt(given)
    own = network.state_dict()
    fits = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    if not fits:
        raise UserError(f"nothing in {path} matches this network in name and shape: start from a checkpoint of the same model")
    network.load_state_dict(fits, strict=False)
    return WarmStart(
        loaded=tuple(sorted(fits)),
        other_shape=tuple(sorted(key for key in given if key in own and key not in fits)),
        missing=tuple(sorted(own.keys() - given.keys())),
        unused=tuple(sorted(given.keys() - own.keys())),
    )


def _build(loaded: LoadedRecipe) -> nn.Module:
    torch.manual_seed(mix(loaded.recipe.trainer.seed, "weights"))
    try:
        return loaded.spec.build(loaded.config)
    except ValueError as error:
        raise UserError(f"recipe: model.config does not fit together: {error}") from error


def _check_sizes(config: Any, data: TrainingData) -> None:
    """Refuse a network whose alphabet is too small for the data, or whose mel or rate is another than the data's."""
    for kind, setting in (("tokens", "num_tokens"), ("phonemes", "vocabulary_size"), ("labels", "vocabulary_size")):
        size = getattr(config, setting, None)
        if size is not None and kind in data.producers and (least := data.largest(kind) + 1) > size:
            raise UserError(f"recipe: model.config.{setting} is {size}, but the data has {kind} for {least}: set it to {least}")
    mel = getattr(config, "mel", None)
    if mel and data.mel and mel != data.mel:
        raise UserError(f"recipe: model.config.mel is {mel}, but the data was prepared with {data.mel}: leave it out")
    latents = (getattr(config, "latent_width", 0), getattr(config, "latent_rate", 0.0))
    if data.latents and latents != data.latents:
        raise UserError(
            f"recipe: model.config has latent_width {latents[0]} and latent_rate {latents[1]:g}, but the data's latents have "
            f"{data.latents[0]} and {data.latents[1]:g}: set them so"
        )
    if mel and "audio" in data.producers and mel.sample_rate != RATE:
        raise UserError(
            f"recipe: model.config.mel.sample_rate is {mel.sample_rate}, but prepared audio has {RATE}: leave it out"
        )


def exporter(loaded: LoadedRecipe, fields: Sequence[str], uses: Mapping[str, str], out: Path) -> Export:
    """Return the function that writes checkpoint folders of this run under `out`.

    Args:
        loaded: the recipe.
        fields: what the objective reads; the vocabulary is stored if phonemes are among it.
        uses: checkpoints that the data came from, by hash.
        out: run folder.
    """
    reads_phonemes = not {"phonemes", "labels"}.isdisjoint(fields)
    config = loaded.config
    if callable(learning := getattr(config, "learning", None)):  # what a network can do depends on its objective, too
        config = learning(loaded.objective_config)
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model=loaded.recipe.model.name,
        config=config.model_dump(mode="json"),
        accepts=getattr(loaded.config, "accepts", loaded.spec.accepts),  # some configurations take another conditioning
        produces=loaded.spec.produces,
        mel=getattr(loaded.config, "mel", MelSettings()),
        vocabulary=ENGLISH.symbols if reads_phonemes else None,
        uses=dict(uses),
    )

    def export(name: str, weights: Mapping[str, Tensor], metrics: Mapping[str, float]) -> None:
        checkpoint.save(out / name, info, weights, recipe=loaded.text, metrics=metrics)

    return export


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has an exception of its own; the CPU allocator raises a RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
