"""Published weights into a checkpoint of this project, and a pipeline if they can speak.

speechgen models import FAMILY SOURCE --name NAME     from a file, a folder, or the hub
speechgen models pull NAME                            the same for those with a name of their own
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from speechgen import published
from speechgen.core import checkpoint, registry
from speechgen.core.config import apply_overrides, validate
from speechgen.core.errors import UserError, unknown
from speechgen.core.spec import ModelSpec
from speechgen.core.types import MelSettings
from speechgen.published import About, Imported
from speechgen.service import catalog, hub
from speechgen.service.codecs import load_codec

__all__ = ["ImportedCheckpoint", "Pullable", "import_published", "pull", "pullable"]

VOCODERS = ("vocos-mel-24khz", "default-vocoder")
"""What renders the mels of imported models: the first that is here."""
TOKENIZER = "default-tokenizer"


@dataclass(frozen=True)
class ImportedCheckpoint:
    """Where the checkpoint lies, how many parameters it has, what the user should know, and its pipeline if it has one."""

    folder: Path
    parameters: int
    notes: tuple[str, ...]
    pipeline: Path | None = None


@dataclass(frozen=True)
class Pullable:
    """Published weights that `pull` knows by name."""

    name: str
    family: str
    address: str
    licence: str

    @property
    def commercial(self) -> bool:
        """Whether the licence lets the weights be used for money."""
        return "-NC" not in self.licence


def pullable() -> dict[str, Pullable]:
    """Everything that can be pulled, by name."""
    found: dict[str, Pullable] = {}
    for family in published.families():
        about = _about(family)
        found |= {name: Pullable(name, family, address, about.licence) for name, address in about.pulls.items()}
    return found


def pull(name: str) -> ImportedCheckpoint:
    """Fetch published weights by name, compare their hashes, and import them under that name.

    Raises:
        UserError: there is no such name, it is here already, or the hub cannot be reached; says what to copy where.
    """
    known = pullable()
    if name not in known:
        raise unknown("name to pull", name, known)
    wanted = known[name]
    return import_published(wanted.family, wanted.address, name)


def import_published(
    family: str, source: str, name: str, *, codec: str | None = None, changes: Sequence[str] = ()
) -> ImportedCheckpoint:
    """Write a checkpoint from published weights into the user's own folder; for one that speaks text, a pipeline, too.

    Args:
        family: a file of `speechgen/published`.
        source: a file or folder in the published layout, or owner and repository on the Hugging Face hub, perhaps with a
            folder in it.
        name: of the checkpoint, and of the pipeline.
        codec: whose codes a model of codes makes: name or folder of its checkpoint. Without it, the one that was published
            for it, if that is installed.
        changes: of the configuration that was read, such as "t5=FOLDER".

    Raises:
        UserError: the family is unknown, the name taken, the source missing, damaged or something else, or the codec's codes
            are not those that the model makes.
    """
    if family not in published.families():
        raise unknown("family", family, published.families())
    if not re.fullmatch(catalog.VOICE_NAME, name):
        raise UserError(f"{name!r} cannot be a checkpoint's name: use letters, digits, - and _, at most 64")
    folder = catalog.home() / "checkpoints" / name
    if folder.exists():
        raise UserError(f"{folder} exists: choose another --name, or remove it")
    about = _about(family)
    made: Imported = importlib.import_module(f"speechgen.published.{family}").read(_local(family, source, about, name))
    spec = registry.get(about.model)
    if changes:
        content = apply_overrides(made.config.model_dump(mode="json"), changes)
        made = replace(made, config=validate(spec.config, content, f"configuration of {about.model}"))
    _check(made, spec, source, about)
    uses, notes = _uses(made, spec, codec)
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model=about.model,
        config=made.config.model_dump(mode="json"),
        accepts=spec.accepts,
        produces=spec.produces,
        mel=getattr(made.config, "mel", MelSettings()),
        uses=uses,
    )
    checkpoint.save(folder, info, made.state, dtype=torch.float32)
    parameters = sum(value.numel() for value in made.state.values())
    checkpoint.write_text_atomically(folder / "card.md", _card(name, about, family, source, parameters))
    pipeline = _write_pipeline(name) if spec.role == "text_to_mel" else None
    return ImportedCheckpoint(folder, parameters, (*made.notes, *notes), pipeline)


def _about(family: str) -> About:
    about: About = importlib.import_module(f"speechgen.published.{family}").ABOUT
    return about


def _check(made: Imported, spec: ModelSpec, source: str, about: About) -> None:
    """Refuse weights that are not all of the model's, saying which differ; nothing is computed for it."""
    with torch.device("meta"), published.foreign(Path(source), about.model):
        wanted = spec.build(made.config).state_dict()
    missing = sorted(wanted.keys() - made.state.keys())
    strange = sorted(made.state.keys() - wanted.keys())
    shaped = [key for key in sorted(wanted.keys() & made.state.keys()) if wanted[key].shape != made.state[key].shape]
    faults = [
        f"{fault} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for fault, keys in (("it lacks", missing), ("it has, unknown here,", strange), ("of another shape are", shaped))
        if keys
    ]
    if faults:
        raise UserError(f"{source} does not fit {about.model}: {'; '.join(faults)} (our names)")


def _uses(made: Imported, spec: ModelSpec, codec: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which codec's codes a model makes, by its identity, and what is to be said about it.

    Raises:
        UserError: a codec is given to what makes no codes, or its codes are others.
    """
    if spec.role != "text_to_codes":
        if codec is not None:
            raise UserError(f"{spec.role} make no codes of a description: leave --codec out")
        return {}, ()
    name = codec or made.codec
    if codec is None and name not in catalog.checkpoints():
        first = f"speechgen models pull {name}" if name else "import its codec"
        return {}, (
            f"it makes no music before it knows its codec: first {first}, then import it with --codec {name or 'NAME'}",
        )
    decodes, config = load_codec(str(name))[0], made.config.model_dump()
    wanted = (config["num_codebooks"], config["codebook_size"], config["code_rate"])
    given = (decodes.num_codebooks, decodes.size, decodes.rate)
    if wanted[1:] != given[1:] or wanted[0] > given[0]:
        made_codes, known = (f"{books} codebooks of {size} at {rate:g} Hz" for books, size, rate in (wanted, given))
        raise UserError(f"it makes {made_codes}, {name} decodes {known}: give the codec that it was trained with")
    return {"codes": decodes.identity}, (f"its codes are decoded by {name} ({decodes.identity})",)


def _write_pipeline(name: str) -> Path | None:
    """Write a pipeline around a checkpoint from characters to mel; None if its name is taken or nothing here renders."""
    known = catalog.checkpoints()
    vocoder = next((each for each in VOCODERS if each in known), None)
    path = catalog.home() / "pipelines" / f"{name}.yaml"
    if name in catalog.pipelines() or vocoder is None:
        return None
    tokenizer = f", tokenizer: {TOKENIZER}" if TOKENIZER in known else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text_atomically(
        path,
        f"# {name} as published: characters and a prompt -> mel -> waveform.\n#\n"
        f'#   speechgen synth --pipeline {name} --ref VOICE.wav --ref-text "What it says." --text "Hello." -o out.wav\n'
        f"checkpoints: {{text_to_mel: {name}, vocoder: {vocoder}{tokenizer}}}\n"
        "text_to_mel: {steps: 16, guidance: 2.0}\n"
        "prompt_seconds: 12\n"
        "precision: float32   # bfloat16 and int8 are faster: speechgen bench e2\n",
    )
    return path


def _local(family: str, source: str, about: About, name: str) -> Path:
    """The source on this machine; what is only on the hub is fetched.

    Raises:
        UserError: it is neither here nor on the hub, the hub cannot be reached, or it has several models there.
    """
    path = Path(source)
    if path.exists():
        return path
    address = source if source in about.pulls.values() else about.pulls.get(name, "")
    folder = hub.split_address(address)[1] if address else ""
    weights = [pattern for pattern in about.files if pattern.endswith(hub.WEIGHTS)]
    others = [pattern for pattern in about.files if pattern not in weights]
    files = " and ".join([" or ".join(weights), *others])
    origin = f"huggingface.co/{address}" if address else about.origin
    by_hand = (
        f"copy {files} of {origin} into a folder{f' {folder}' if folder else ''} and run: "
        f"speechgen models import {family} {folder or 'FOLDER'} --name {name}"
    )
    if not re.fullmatch(hub.ADDRESS, source):
        raise UserError(f"no file or folder {source}: {by_hand}")
    try:
        return hub.fetch(source, about.files)
    except hub.Unreachable as error:
        raise UserError(f"{source} is not a folder here, and the hub did not give it ({error}): {by_hand}") from error


def _card(name: str, about: About, family: str, source: str, parameters: int) -> str:
    """What is known of imported weights."""
    return (
        f"# {name}\n\n`{about.model}`, {parameters / 1e6:.1f} M parameters, imported as published: not trained here.\n\n"
        f"**Origin**: {about.origin}, given as `{Path(source).name if Path(source).exists() else source}`.\n"
        f"**Licence of the weights**: {about.licence}; their publisher's terms hold.\n\n"
        f"Imported by `speechgen models import {family} SOURCE --name {name}`.\n"
    )
