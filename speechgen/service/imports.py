"""Published weights into a checkpoint of this project: `speechgen models import FAMILY SOURCE --name NAME`."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from speechgen import published
from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError, unknown
from speechgen.core.types import MelSettings
from speechgen.published import About
from speechgen.service import catalog

__all__ = ["ImportedCheckpoint", "import_published"]

_HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class ImportedCheckpoint:
    """Where the checkpoint lies, how many parameters it has, and what the user should know."""

    folder: Path
    parameters: int
    notes: tuple[str, ...]


def import_published(family: str, source: str, name: str) -> ImportedCheckpoint:
    """Write a checkpoint from published weights into the user's own folder.

    Args:
        family: a file of `speechgen/published`.
        source: a file or folder in the published layout, or the id of a repository of the Hugging Face hub.
        name: of the checkpoint.

    Raises:
        UserError: the family is unknown, the name taken, the source missing, damaged or something else.
    """
    if family not in published.families():
        raise unknown("family", family, published.families())
    if not re.fullmatch(catalog.VOICE_NAME, name):
        raise UserError(f"{name!r} cannot be a checkpoint's name: use letters, digits, - and _, at most 64")
    folder = catalog.home() / "checkpoints" / name
    if folder.exists():
        raise UserError(f"{folder} exists: choose another --name, or remove it")
    module = importlib.import_module(f"speechgen.published.{family}")
    about: About = module.ABOUT
    made = module.read(_local(source, about))
    spec = registry.get(about.model)
    try:
        spec.build(made.config).load_state_dict(made.state, strict=True)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{source} does not fit {about.model}: {' '.join(str(error).split())[:300]}") from error
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model=about.model,
        config=made.config.model_dump(mode="json"),
        accepts=spec.accepts,
        produces=spec.produces,
        mel=getattr(made.config, "mel", MelSettings()),
    )
    checkpoint.save(folder, info, made.state, dtype=torch.float32)
    parameters = sum(value.numel() for value in made.state.values())
    checkpoint.write_text_atomically(folder / "card.md", _card(name, about, family, source, parameters))
    return ImportedCheckpoint(folder, parameters, made.notes)


def _local(source: str, about: About) -> Path:
    """The source on this machine; what is only on the hub is fetched.

    Raises:
        UserError: it is neither here nor on the hub, or the hub cannot be reached.
    """
    path = Path(source)
    if path.exists():
        return path
    by_hand = f"copy {' or '.join(about.files)} of {about.origin} into a folder and give that folder"
    if not re.fullmatch(_HUB_ID, source):
        raise UserError(f"no file or folder {source}: {by_hand}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"{source} is not a folder here, and the hub needs pip install huggingface_hub; or {by_hand}"
        ) from error
    try:
        return Path(snapshot_download(source, allow_patterns=list(about.files)))
    except (OSError, ValueError, RuntimeError) as error:  # what the hub and its connection raise is among them
        raise UserError(
            f"{source} is not a folder here, and the hub did not give it ({type(error).__name__}): {by_hand}"
        ) from error


def _card(name: str, about: About, family: str, source: str, parameters: int) -> str:
    """What is known of imported weights."""
    return (
        f"# {name}\n\n`{about.model}`, {parameters / 1e6:.1f} M parameters, imported as published: not trained here.\n\n"
        f"**Origin**: {about.origin}, given as `{Path(source).name if Path(source).exists() else source}`.\n"
        f"**Licence of the weights**: {about.licence}; their publisher's terms hold.\n\n"
        f"Imported by `speechgen models import {family} SOURCE --name {name}`.\n"
    )
