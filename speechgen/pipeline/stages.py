"""The four stages of a pipeline: which checkpoints they are, whether they fit together, and loading them.

Everything is compared through `config.json`; weights are read only after the combination has been accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from speechgen.core import checkpoint, registry
from speechgen.core.checkpoint import CheckpointInfo
from speechgen.core.config import StrictModel, apply_overrides, read_yaml, validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import AcousticModel, SemanticModel, SemanticTokenizer, Vocoder
from speechgen.core.types import MelSettings
from speechgen.text.vocabulary import ENGLISH

__all__ = ["CheckpointNames", "PipelineConfig", "Stages", "check", "load_stages", "read_config"]

ROLES = {"tokenizer": "tokenizers", "semantic": "semantic", "acoustic": "acoustic", "vocoder": "vocoders"}
"""Slot of a pipeline -> role of the model that fits it."""
NEEDS = (("tokenizer", "semantic"), ("tokenizer", "acoustic"))
"""(used, user): the user must have been trained with exactly that checkpoint, `uses["tokens"]`."""


class CheckpointNames(StrictModel):
    """Folder names under `checkpoints/`."""

    tokenizer: str = Field(description="audio to semantic tokens")
    semantic: str = Field(description="phonemes to semantic tokens")
    acoustic: str = Field(description="semantic tokens to mel")
    vocoder: str = Field(description="mel to waveform")


class PipelineConfig(StrictModel):
    """The contents of `recipes/pipelines/<name>.yaml`."""

    checkpoints: CheckpointNames
    semantic: dict[str, Any] = Field({}, description="options of the semantic model that differ from its defaults")
    acoustic: dict[str, Any] = Field({}, description="options of the acoustic model that differ from its defaults")
    vocoder: dict[str, Any] = Field({}, description="options of the vocoder that differ from its defaults")
    prompt_seconds: float = Field(6.0, ge=1.0, le=30.0, description="how much of the reference is used as the prompt")
    max_tries: int = Field(4, ge=1, le=10, description="how often a piece whose sound is faulty is spoken at most")
    max_characters: int = Field(200, ge=20, le=1000, description="longer text is spoken in pieces of at most this length")


@dataclass(frozen=True)
class Stages:
    """Four loaded stages that fit together."""

    tokenizer: SemanticTokenizer
    semantic: SemanticModel
    acoustic: AcousticModel
    vocoder: Vocoder
    mel: MelSettings
    semantic_options: type[StrictModel]
    acoustic_options: type[StrictModel]
    vocoder_options: type[StrictModel]
    device: torch.device


def read_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a pipeline's YAML, strictly; its options are checked when the models are known, by `load_stages`.

    Args:
        path: the file.
        overrides: changes such as "acoustic.steps=6".

    Raises:
        UserError: naming the fault.
    """
    return validate(PipelineConfig, apply_overrides(read_yaml(path), overrides), str(path))


def check(folders: Mapping[str, Path]) -> dict[str, CheckpointInfo]:
    """Read every `config.json` and refuse a combination that cannot work.

    Args:
        folders: checkpoint folder by slot: tokenizer, semantic, acoustic, vocoder.

    Raises:
        UserError: a checkpoint is missing or in the wrong slot, or two do not fit; says which and what to do.
    """
    infos = {slot: checkpoint.read_info(folders[slot]) for slot in ROLES}
    roles = registry.names()
    for slot, role in ROLES.items():
        spec = registry.get(infos[slot].model)
        if roles[infos[slot].model] != role:
            raise UserError(
                f"{folders[slot].name} cannot be the {slot}: {spec.role}/{infos[slot].model} is not one of models/{role}; "
                f"it takes {' + '.join(spec.accepts)} and gives {spec.produces}"
            )
    if "Mel" not in (accepted := infos["vocoder"].accepts):
        raise UserError(
            f"{folders['vocoder'].name} renders {' + '.join(accepted)}, but {folders['acoustic'].name} gives a Mel: "
            "choose another vocoder"
        )
    _check_mels(folders, infos)
    _check_tokens(folders, infos)
    vocabulary = infos["semantic"].vocabulary
    if vocabulary is not None and vocabulary != ENGLISH.symbols:
        raise UserError(
            f"{folders['semantic'].name} was trained with {len(vocabulary)} phoneme symbols that are not the "
            f"{ENGLISH.size} of this version: take a checkpoint of this version or train it again"
        )
    return infos


def _check_mels(folders: Mapping[str, Path], infos: Mapping[str, CheckpointInfo]) -> None:
    expected = infos["acoustic"].mel
    for slot in ("semantic", "vocoder"):
        differing = expected.differences(infos[slot].mel)
        if differing:
            raise UserError(
                f"{folders[slot].name} and {folders['acoustic'].name} do not share one mel ({differing}): "
                f"choose a {slot} that was trained with the same MelSettings"
            )


def _check_tokens(folders: Mapping[str, Path], infos: Mapping[str, CheckpointInfo]) -> None:
    for used, user in NEEDS:
        wanted = infos[user].uses.get("tokens")
        if wanted is None:
            raise UserError(f"{folders[user].name} does not say which tokenizer it was trained with: train it again")
        given = checkpoint.fingerprint(folders[used])
        if wanted != given:
            raise UserError(
                f"{folders[user].name} was trained with tokens of checkpoint {wanted}, but {folders[used].name} is {given}: "
                f"choose the {used} it was trained with, or train it again"
            )


def load_stages(
    config: PipelineConfig, find: Callable[[str], Path], device: torch.device, *, source: str = "pipeline"
) -> Stages:
    """Check the combination and the options, then load all four checkpoints.

    Args:
        config: the pipeline.
        find: checkpoint name to folder.
        device: where the networks go.
        source: what to call the configuration in messages.

    Raises:
        UserError: a checkpoint is missing, damaged, or does not fit the others.
    """
    folders = {slot: find(getattr(config.checkpoints, slot)) for slot in ROLES}
    infos = check(folders)
    specs = {slot: registry.get(info.model) for slot, info in infos.items()}
    for slot in ("semantic", "acoustic", "vocoder"):
        validate(specs[slot].options, getattr(config, slot), f"{source}: {slot}")
    loaded = {slot: checkpoint.load(folder, device).generator() for slot, folder in folders.items()}
    return Stages(
        tokenizer=loaded["tokenizer"],
        semantic=loaded["semantic"],
        acoustic=loaded["acoustic"],
        vocoder=loaded["vocoder"],
        mel=infos["acoustic"].mel,
        semantic_options=specs["semantic"].options,
        acoustic_options=specs["acoustic"].options,
        vocoder_options=specs["vocoder"].options,
        device=device,
    )
