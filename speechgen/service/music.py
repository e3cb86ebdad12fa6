"""Music and sounds from a description: which checkpoint makes them, which codec decodes, and what comes of a request.

`Engine.compose` is the way in.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechgen.core import checkpoint, registry
from speechgen.core.checkpoint import CheckpointInfo
from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError, unknown
from speechgen.core.protocols import Progress
from speechgen.nn.packed import hasten
from speechgen.pipeline.music import MusicStages, decode_long, generate_long, master
from speechgen.service import catalog
from speechgen.service.codecs import codec_of, find_codec
from speechgen.service.journal import checkpoints_digest
from speechgen.service.requests import MusicRequest
from speechgen.service.results import SynthesisResult, provenance
from speechgen.text.captions import LONGEST_WORDS, count_words

if TYPE_CHECKING:
    from speechgen.service.engine import Engine

__all__ = ["NONE_INSTALLED", "MusicMaker", "compose", "default_model", "digest", "load_maker", "models", "stages_for"]

ROLE = "text_to_codes"
NONE_INSTALLED = "no model that makes music is installed: train one (recipes/text_to_codes), or import published weights"
OVERLAP_SHARE = 1 / 3
"""Of the window, that each window takes over from the one before."""


@dataclass(frozen=True)
class MusicMaker:
    """What makes music, loaded.

    Attributes:
        name: of the checkpoint.
        stages: the model and its codec.
        options: settings that a request may change.
        longest_words: how many words of a prompt it reads; None: all.
    """

    name: str
    stages: MusicStages
    options: type[StrictModel]
    longest_words: int | None = None


def models() -> list[str]:
    """Names of the installed checkpoints that make sound of a description."""
    return catalog.of_role(ROLE)


def default_model() -> str:
    """Return the checkpoint that answers when none is named.

    Raises:
        UserError: none is installed.
    """
    found = models()
    if not found:
        raise UserError(f"{NONE_INSTALLED}; its checkpoint and its codec's belong into {catalog.home() / 'checkpoints'}")
    return found[0]


def load_maker(name: str | None, device: torch.device, codec_name: str | None = None) -> MusicMaker:
    """Load a model and the codec that its codes are of.

    Args:
        name: of the model's checkpoint; the first one that is installed if None.
        device: where both go.
        codec_name: of the codec's checkpoint, where it is not installed.

    Raises:
        UserError: there is no such checkpoint, it makes no music, or its codec is not installed.
    """
    name = name or default_model()
    folder, info = _find(name)
    codec = codec_of(info, name, device, codec_name)
    loaded = checkpoint.load(folder, device)
    hasten(loaded.network, "float32", device)
    model = loaded.generator()
    made = f"{model.num_codebooks} codebooks of {model.size} at {model.rate:g} Hz"
    decoded = f"{codec.num_codebooks} of {codec.size} at {codec.rate:g} Hz"
    if (model.size, model.rate) != (codec.size, codec.rate) or model.num_codebooks > codec.num_codebooks:
        raise UserError(f"{name} makes {made}, its codec {codec.identity} decodes {decoded}: pull or train it again")
    words = LONGEST_WORDS if getattr(loaded.config, "text", None) == "words" else None
    return MusicMaker(name, MusicStages(model, codec), loaded.spec.options, words)


def digest(name: str | None, rescorer: str | None = None) -> str:
    """Return the SHA-256 of what makes the sound: models, their codec, and this version.

    Args:
        name: of the model's checkpoint; the first one that is installed if None.
        rescorer: that of the other model, if one rescores.

    Raises:
        UserError: as `load_maker`, but that no model is loaded.
    """
    name = name or default_model()
    folder, info = _find(name)
    others = [_find(rescorer)[0]] if rescorer else []
    return checkpoints_digest((folder, find_codec(info, name)[0], *others))


def _find(name: str) -> tuple[Path, CheckpointInfo]:
    """Return the folder of a model, and what it says of itself.

    Raises:
        UserError: there is no such checkpoint, or it makes no music.
    """
    folder = catalog.find_checkpoint(name)
    info = checkpoint.read_info(folder)
    if registry.names().get(info.model) != ROLE:
        raise unknown("model of music", name, models())
    return folder, info


def stages_for(maker: MusicMaker, options: Any, load: Callable[[str], MusicMaker]) -> MusicStages:
    """Return the stages of a model, rescored by another one if its options name that.

    Args:
        maker: the model.
        options: of it.
        load: returns another by the name of its checkpoint.

    Raises:
        UserError: there is no such model, its codes are others or fewer, or it has not learnt to tell what comes next.
    """
    name = getattr(options, "rescorer", None)
    if name is None:
        return maker.stages
    model: Any = maker.stages.model
    stages = load(name).stages
    other: Any = stages.model
    made, theirs = (
        f"{each.model.num_codebooks} codebooks of {each.codec.identity}, up to {each.window_seconds:.2f} s"
        for each in (maker.stages, stages)
    )
    same = (maker.stages.codec.identity, model.num_codebooks) == (stages.codec.identity, other.num_codebooks)
    if not same or other.max_frames < model.max_frames:
        raise UserError(f"{name} cannot rescore {maker.name}: it knows {theirs}, {maker.name} makes {made}: name another one")
    if not other.predicts_next:
        raise UserError(f"{name} cannot rescore: it has learnt masked spans alone, not what comes next: name another rescorer")
    return replace(maker.stages, model=model.rescored_by(other))


def compose(engine: Engine, request: MusicRequest, progress: Progress | None = None) -> SynthesisResult:
    """Make what a request describes, at -14 LUFS with a true-peak limit.

    Raises:
        UserError: as `load_maker` and `stages_for`; or the model has no such option, or has not learnt what it asks for, or the
            overlap leaves nothing of a window.
    """
    started = time.perf_counter()
    maker = engine.load_maker(request.model)
    options = validate(maker.options, request.model_options(), f"option of {maker.name}")
    stages = stages_for(maker, options, engine.load_maker)
    loaded = time.perf_counter()
    overlap = stages.window_seconds * OVERLAP_SHARE if request.overlap is None else request.overlap
    frames = math.ceil(request.duration * stages.model.rate)
    overlap_frames = round(overlap * stages.model.rate)
    if overlap_frames >= stages.model.max_frames:
        raise UserError(
            f"an overlap of {overlap:g} s leaves nothing of the {stages.window_seconds:g} s that {maker.name} makes at once: "
            "give less"
        )
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    tokens = generate_long(
        stages,
        request.prompt.strip(),
        frames,
        overlap=overlap_frames,
        options=options,
        seed=seed,
        device=engine.device,
        progress=progress,
    )
    codec = stages.codec
    samples = decode_long(codec, tokens)[: round(request.duration * codec.sample_rate)]
    return SynthesisResult(
        samples=master(samples, codec.sample_rate),
        rate=codec.sample_rate,
        seed=seed,
        pipeline=maker.name,
        voice="",
        device=str(engine.device),
        threads=torch.get_num_threads(),
        load_seconds=loaded - started,
        synthesis_seconds=time.perf_counter() - loaded,
        warnings=_unread(request.prompt, maker),
        provenance=provenance(f"model {Path(maker.name).name}", seed, kind="music"),
    )


def _unread(prompt: str, maker: MusicMaker) -> tuple[str, ...]:
    """Tell if a model reads less than all of a prompt."""
    words, read = count_words(prompt), maker.longest_words
    if read is None or words <= read:
        return ()
    return (f"the prompt has {words} words, of which {Path(maker.name).name} has read the first {read}: say it in fewer",)
