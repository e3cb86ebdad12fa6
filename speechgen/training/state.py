"""What an exact resume needs, on disk: tensors as safetensors, the rest as JSON. No pickles.

    state/step-<n>.safetensors    tensors, keys joined by "/": weights/<part>/..., optim/<part>/<index>/..., ema/...
    state/state.json              step, best metric, optimiser settings, and which tensor file belongs to it

`state.json` is replaced in one rename and only then is the older tensor file deleted, so whenever a save is cut off
(full disk, power, kill) the last complete state still loads. Random numbers need no state: each step seeds its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from speechgen.core.checkpoint import write_text_atomically
from speechgen.core.errors import UserError

__all__ = ["TrainingState", "exists", "pack_optimizer", "read", "unpack_optimizer", "write"]

FORMAT = 1


@dataclass(frozen=True)
class TrainingState:
    """`values` is JSON data; `tensors` is flat."""

    values: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under `prefix/`, without it."""
        return {key.removeprefix(f"{prefix}/"): value for key, value in self.tensors.items() if key.startswith(f"{prefix}/")}


def exists(folder: Path) -> bool:
    """Say whether there is a state to resume from."""
    return (folder / "state.json").is_file()


def write(folder: Path, step: int, state: TrainingState) -> None:
    """Save a state; the previous one stays loadable until this one is complete.

    Raises:
        UserError: it cannot be written.
    """
    name = f"step-{step}.safetensors"
    beside = folder / f".{name}.partial"
    values = {**state.values, "format": FORMAT, "step": step, "tensors": name}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in state.tensors.items()}, beside)
        beside.replace(folder / name)
        write_text_atomically(folder / "state.json", json.dumps(values))
        for old in folder.glob("*.safetensors*"):
            if old.name != name:
                old.unlink()
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot save to {folder} ({error}): free space and resume; the previous state is intact") from error


def read(folder: Path) -> TrainingState:
    """Load the last complete state onto the CPU.

    Raises:
        UserError: it is damaged or of a newer format.
    """
    try:
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise UserError(f"{folder} has format {values['format']}, this version reads up to {FORMAT}: upgrade speechgen")
        return TrainingState(values, load_file(folder / Path(values["tensors"]).name))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder} is damaged ({error}): delete it and train again, or start from --init") from error


def pack_optimizer(optimizer: torch.optim.Optimizer, prefix: str) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Split an optimiser's state into JSON settings of its groups and tensors under `prefix/`."""
    state = optimizer.state_dict()
    tensors = {f"{prefix}/{i}/{name}": value for i, entry in state["state"].items() for name, value in entry.items()}
    return state["param_groups"], tensors


def unpack_optimizer(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimizer` took, `tensors` without the prefix; settings stay those that the recipe has now."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
