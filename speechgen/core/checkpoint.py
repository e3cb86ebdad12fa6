"""The one checkpoint format: a folder of JSON and safetensors.

config.json         format number, model name, config, carriers, mel, vocabulary, hashes of checkpoints it was trained with
model.safetensors   weights (EMA), floating point tensors in fp16 or fp32
card.md             what it is, data, licence, measured figures and the commands that print them
recipe.yaml         the recipe that trained it
metrics.json        figures of the last validation
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from speechgen.core import registry
from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError
from speechgen.core.files import written_beside
from speechgen.core.spec import ModelSpec
from speechgen.core.types import MelSettings

__all__ = [
    "FORMAT",
    "CheckpointInfo",
    "Loaded",
    "fingerprint",
    "identity",
    "load",
    "read_info",
    "save",
    "write_text_atomically",
]

FORMAT = 1


class CheckpointInfo(StrictModel):
    """The contents of `config.json`."""

    format: int
    model: str
    config: dict[str, Any]
    accepts: tuple[str, ...]
    produces: str
    mel: MelSettings
    vocabulary: tuple[str, ...] | None = None
    uses: dict[str, str] = {}


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory: `network` is in eval mode, `config` is the model's own configuration class."""

    path: Path
    info: CheckpointInfo
    spec: ModelSpec
    config: Any
    network: nn.Module = field(repr=False)

    def generator(self) -> Any:
        """Return the object with the role's protocol."""
        return self.spec.generator(self.network, self.config)


def write_text_atomically(path: Path, text: str) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def save(
    folder: Path,
    info: CheckpointInfo,
    state: Mapping[str, Tensor],
    *,
    recipe: str = "",
    metrics: Mapping[str, float] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a checkpoint; each file is complete or absent. An existing `card.md` is kept.

    Args:
        folder: created if missing.
        info: what `config.json` will hold.
        state: the network's state dict.
        recipe: text of the recipe.
        metrics: measured figures.
        dtype: what floating point weights are stored as; a tensor with values beyond its range stays float32.

    Raises:
        UserError: the disk refuses.
    """
    tensors = {key: _stored(value.detach(), dtype).cpu().contiguous() for key, value in state.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_beside(folder / "model.safetensors") as beside:
            beside.write_bytes(serialize(tensors))
        _write_texts(folder, info, recipe, metrics)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the checkpoint {folder} ({error}): free some space or choose another folder") from error


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    if not value.is_floating_point():
        return value
    small = value.to(dtype)
    return small if torch.equal(small.isfinite(), value.isfinite()) else value.float()


def _write_texts(folder: Path, info: CheckpointInfo, recipe: str, metrics: Mapping[str, float] | None) -> None:
    write_text_atomically(folder / "config.json", info.model_dump_json(indent=1) + "\n")
    write_text_atomically(folder / "metrics.json", json.dumps(dict(metrics or {}), indent=1) + "\n")
    if recipe:
        write_text_atomically(folder / "recipe.yaml", recipe)


def read_info(folder: Path) -> CheckpointInfo:
    """Read and check `config.json` without touching the weights.

    Raises:
        UserError: it is missing, damaged, or of a newer format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"no checkpoint at {folder}: expected config.json and model.safetensors in it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): restore or pull the checkpoint again") from error
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise UserError(f"{path} has format {content['format']}, this version reads up to {FORMAT}: upgrade speechgen")
    return validate(CheckpointInfo, content, str(path))


def load(folder: Path, device: torch.device | str = "cpu") -> Loaded:
    """Build the network of a checkpoint and load its weights as float32, strictly.

    Raises:
        UserError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    info = read_info(folder)
    spec = registry.get(info.model)
    config = validate(spec.config, info.config, str(folder / "config.json"))
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): restore or pull the checkpoint again") from error
    try:
        network = spec.build(config)
        network.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} does not fit {info.model}: {' '.join(str(error).split())[:300]}") from error
    return Loaded(folder, info, spec, config, network.float().eval().to(device))


def fingerprint(folder: Path) -> str:
    """Return 16 hex digits that identify a checkpoint's weights and configuration."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def identity(name: str, network: nn.Module) -> str:
    """Return `name` and 8 hex digits that identify a network by its weights, wherever its checkpoint lies."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"{name}-{digest.hexdigest()[:8]}"
