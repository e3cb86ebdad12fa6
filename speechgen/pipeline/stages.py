"""The stages of a pipeline: which checkpoints they are, whether they fit together, and loading them.

Everything is compared through `config.json`; weights are read only after the combination has been accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from speechgen.core import checkpoint, registry
from speechgen.core.checkpoint import CheckpointInfo
from speechgen.core.config import StrictModel, apply_overrides, read_yaml, validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Codec, MelCoder
from speechgen.nn.packed import Precision, hasten
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.codec_stages import CodecStages
from speechgen.pipeline.hearing import Hear, WordListener
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.speaking import Stages
from speechgen.pipeline.text_stages import TextStages
from speechgen.pipeline.token_stages import TokenStages
from speechgen.text.vocabulary import ENGLISH

__all__ = ["CheckpointNames", "PipelineConfig", "Plan", "check", "load_stages", "plan_stages", "read_config"]

ROLES = {
    "tokenizer": "tokenizers",
    "semantic": "semantic",
    "acoustic": "acoustic",
    "text_to_mel": "text_to_mel",
    "text_to_latents": "text_to_latents",
    "autoencoder": "autoencoders",
    "vocoder": "vocoders",
    "codec": "codecs",
}
"""Slot of a pipeline -> role of the model that fits it."""
NEEDS = (
    ("tokenizer", "semantic", "tokens"),
    ("tokenizer", "acoustic", "tokens"),
    ("autoencoder", "text_to_latents", "latents"),
)
"""(used, user, what): the user must have been trained with what exactly that checkpoint makes, `uses[what]`."""
KINDS = (
    ({"tokenizer", "semantic", "acoustic", "vocoder"}, set[str]()),
    ({"tokenizer", "semantic", "acoustic", "codec"}, {"vocoder"}),
    ({"text_to_mel", "vocoder"}, {"tokenizer"}),
    ({"text_to_latents", "autoencoder", "vocoder"}, {"tokenizer"}),
)
"""Slots of each kind of pipeline: those that it needs, and those that it may have besides."""


class CheckpointNames(StrictModel):
    """Folder names under `checkpoints/`, of one of the KINDS."""

    tokenizer: str | None = Field(None, description="audio to semantic tokens; where no model reads tokens it only listens")
    semantic: str | None = Field(None, description="phonemes to semantic tokens")
    acoustic: str | None = Field(None, description="semantic tokens to mel, or to codes")
    text_to_mel: str | None = Field(None, description="characters to mel")
    text_to_latents: str | None = Field(None, description="phonemes to continuous latents")
    autoencoder: str | None = Field(None, description="latents to mel, and back")
    vocoder: str | None = Field(None, description="mel to waveform; beside a codec that codes a mel, in its place")
    codec: str | None = Field(None, description="codes to waveform, and back")

    @model_validator(mode="after")
    def _check(self) -> CheckpointNames:
        given = set(self.slots)
        if not any(needed <= given <= needed | more for needed, more in KINDS):
            kinds = "; or ".join(", ".join(slot for slot in ROLES if slot in needed) for needed, _ in KINDS)
            raise ValueError(f"{', '.join(self.slots)} make no pipeline: give {kinds} (and a tokenizer)")
        return self

    @property
    def slots(self) -> dict[str, str]:
        """Checkpoint by slot, of those that are given."""
        return {slot: name for slot, name in self.model_dump().items() if name is not None}


class PipelineConfig(StrictModel):
    """The contents of `recipes/pipelines/<name>.yaml`."""

    checkpoints: CheckpointNames
    semantic: dict[str, Any] = Field({}, description="options of the semantic model that differ from its defaults")
    acoustic: dict[str, Any] = Field({}, description="options of the acoustic model that differ from its defaults")
    text_to_mel: dict[str, Any] = Field({}, description="options of the model that reads characters, likewise")
    text_to_latents: dict[str, Any] = Field({}, description="options of the model that makes latents, likewise")
    vocoder: dict[str, Any] = Field({}, description="options of the vocoder that differ from its defaults")
    prompt_seconds: float = Field(6.0, ge=1.0, le=30.0, description="how much of the reference is used as the prompt")
    match: float = Field(0.0, ge=0, le=1, description="how far each voice's sound is moved to the statistics of its reference")
    max_tries: int = Field(4, ge=1, le=10, description="how often a piece whose sound is faulty is spoken at most")
    precision: Precision = Field("float32", description="of the products of what reads the text or makes codes: less is faster")
    compile: bool = Field(False, description="compile that model into CUDA graphs when it first speaks; for GPUs")
    least_fit: float | None = Field(
        None, le=0, description="least mean log probability of a piece's phones, by the tokenizer; of a few, less is asked"
    )
    max_characters: int = Field(200, ge=20, le=1000, description="longer text is spoken in pieces of at most this length")

    @model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        given = self.checkpoints.slots
        asked = ("semantic", "acoustic", "text_to_mel", "text_to_latents")
        idle = [slot for slot in asked if slot not in given and getattr(self, slot)]
        fast = {"text_to_mel", "text_to_latents", "codec"}.intersection(given)
        idle += ["precision"] if "precision" in self.model_fields_set and not fast else []
        idle += ["compile"] if "compile" in self.model_fields_set and "text_to_mel" not in given else []
        idle += ["match"] if self.match and "vocoder" not in given else []
        idle += ["vocoder"] if self.vocoder and "vocoder" not in given else []
        idle += ["least_fit"] if self.least_fit is not None and "tokenizer" not in given else []
        if idle:
            raise ValueError(f"{', '.join(idle)} set what this pipeline of {', '.join(given)} does not have: leave it out")
        return self


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
        folders: checkpoint folder by slot.

    Raises:
        UserError: a checkpoint is missing or in the wrong slot, or two do not fit; says which and what to do.
    """
    infos = {slot: checkpoint.read_info(folders[slot]) for slot in ROLES if slot in folders}
    roles = registry.names()
    for slot, info in infos.items():
        spec, role = registry.get(info.model), ROLES[slot]
        if roles[info.model] != role:
            raise UserError(
                f"{folders[slot].name} cannot be the {slot}: {spec.role}/{info.model} is not one of models/{role}; "
                f"it takes {' + '.join(spec.accepts)} and gives {spec.produces}"
            )
    giver = next(slot for slot in ("text_to_mel", "autoencoder", "acoustic") if slot in infos)
    renderer = "codec" if "codec" in infos else "vocoder"
    wanted = "CodecTokens" if renderer == "codec" else "Mel"
    gives = "Mel" if giver == "autoencoder" else infos[giver].produces
    if gives != wanted or (renderer == "vocoder" and wanted not in infos[renderer].accepts):
        raise UserError(
            f"{folders[renderer].name} renders {wanted if renderer == 'codec' else ' + '.join(infos[renderer].accepts)}, but "
            f"{folders[giver].name} gives a {gives}: choose another {renderer}"
        )
    if "vocoder" in infos:
        _check_mels(folders, infos, "codec" if renderer == "codec" else giver)
    _check_makers(folders, infos)
    for slot in infos.keys() & {"semantic", "text_to_latents"}:
        _check_vocabulary(folders[slot], infos[slot])
    return infos


def _check_mels(folders: Mapping[str, Path], infos: Mapping[str, CheckpointInfo], giver: str) -> None:
    expected = infos[giver].mel
    for slot in infos.keys() & {"semantic", "vocoder"}:
        differing = expected.differences(infos[slot].mel)
        if differing:
            raise UserError(
                f"{folders[slot].name} and {folders[giver].name} do not share one mel ({differing}): "
                f"choose a {slot} that was trained with the same MelSettings"
            )


def _check_vocabulary(folder: Path, info: CheckpointInfo) -> None:
    if info.vocabulary is not None and info.vocabulary != ENGLISH.symbols:
        raise UserError(
            f"{folder.name} was trained with {len(info.vocabulary)} phoneme symbols that are not the "
            f"{ENGLISH.size} of this version: take a checkpoint of this version or train it again"
        )


def _check_makers(folders: Mapping[str, Path], infos: Mapping[str, CheckpointInfo]) -> None:
    for used, user, what in NEEDS:
        if user not in infos:
            continue
        wanted = infos[user].uses.get(what)
        if wanted is None:
            raise UserError(f"{folders[user].name} does not say which {used} it was trained with: train it again")
        given = checkpoint.fingerprint(folders[used])
        if wanted != given:
            raise UserError(
                f"{folders[user].name} was trained with {what} of checkpoint {wanted}, but {folders[used].name} is {given}: "
                f"choose the {used} it was trained with, or train it again"
            )


def _check_codec(folders: Mapping[str, Path], infos: Mapping[str, CheckpointInfo], codec: Codec) -> None:
    """Codes name their codec by its weights, which have been read now."""
    wanted, identity = infos["acoustic"].uses.get("codes"), codec.identity
    if "vocoder" in folders and not isinstance(codec, MelCoder):
        raise UserError(
            f"{folders['vocoder'].name} cannot render what {folders['codec'].name} codes: no mel. Leave the vocoder out"
        )
    if wanted != identity:
        raise UserError(
            f"{folders['acoustic'].name} makes codes of the codec {wanted or 'that it does not name'}, but "
            f"{folders['codec'].name} is {identity}: choose the codec it was trained with, or train it again"
        )


@dataclass(frozen=True)
class Plan:
    """A combination that can work, before any weights are read: what there is in each slot."""

    folders: Mapping[str, Path]
    infos: Mapping[str, CheckpointInfo]
    options: Mapping[str, type[StrictModel]]


def plan_stages(config: PipelineConfig, find: Callable[[str], Path], *, source: str = "pipeline") -> Plan:
    """Check the combination and the options; reads no weights.

    Args:
        config: the pipeline.
        find: checkpoint name to folder.
        source: what to call the configuration in messages.

    Raises:
        UserError: a checkpoint is missing or does not fit the others, or an option is unknown or out of range.
    """
    folders = {slot: find(name) for slot, name in config.checkpoints.slots.items()}
    infos = check(folders)
    # Neither tokenizer nor autoencoder has options.
    options = {slot: registry.get(info.model).options for slot, info in infos.items() if slot in PipelineConfig.model_fields}
    for slot, known in options.items():
        validate(known, getattr(config, slot), f"{source}: {slot}")
    return Plan(folders, infos, options)


def load_stages(
    config: PipelineConfig,
    find: Callable[[str], Path],
    device: torch.device,
    *,
    source: str = "pipeline",
    hear: Hear | None = None,
) -> Stages:
    """Check the combination and the options, then load all checkpoints.

    Args:
        config: the pipeline.
        find: checkpoint name to folder.
        device: where the networks go.
        source: what to call the configuration in messages.
        hear: writes down what a reference says better than the pipeline's own tokenizer can.

    Raises:
        UserError: a checkpoint is missing, damaged, or does not fit the others.
    """
    plan = plan_stages(config, find, source=source)
    folders, infos, options = plan.folders, plan.infos, plan.options
    checkpoints = {slot: checkpoint.load(folder, device) for slot, folder in folders.items()}
    reader = next((slot for slot in ("text_to_mel", "text_to_latents") if slot in folders), None)
    hastened = "acoustic" if "codec" in folders else reader
    if hastened is not None:
        hasten(checkpoints[hastened].network, config.precision, device, compiled=config.compile)
    loaded = {slot: each.generator() for slot, each in checkpoints.items()}
    usual = Options({slot: validate(known, getattr(config, slot), source) for slot, known in options.items()})
    kept: dict[str, Any] = {"options": options, "device": device, "match": config.match, "usual": usual}
    if "codec" in folders:
        _check_codec(folders, infos, loaded["codec"])
        return CodecStages(**loaded, mel=infos["semantic"].mel, **kept)
    if reader is None:
        return TokenStages(**loaded, mel=infos["acoustic"].mel, **kept)
    if hear is None and "tokenizer" in loaded:
        hear = WordListener(loaded["tokenizer"])
    kind = TextStages if reader == "text_to_mel" else LatentStages
    mel = infos["text_to_mel" if reader == "text_to_mel" else "autoencoder"].mel
    return kind(**loaded, mel=mel, hear=hear, **kept)
