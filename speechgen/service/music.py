"""Music and sounds from a description: which checkpoint makes them, which codec decodes, and what comes of a request.

`Engine.compose` is the way in.
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speechgen.core import checkpoint, registry
from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError, unknown
from speechgen.core.protocols import Progress
from speechgen.nn.packed import hasten
from speechgen.pipeline.music import MusicStages, decode_long, generate_long, master
from speechgen.service import catalog
from speechgen.service.codecs import codec_of
from speechgen.service.requests import MusicRequest
from speechgen.service.results import SynthesisResult, provenance

if TYPE_CHECKING:
    from speechgen.service.engine import Engine

__all__ = ["NONE_INSTALLED", "MusicMaker", "compose", "default_model", "load_maker", "models"]

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
    """

    name: str
    stages: MusicStages
    options: type[StrictModel]


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
    folder = catalog.find_checkpoint(name)
    info = checkpoint.read_info(folder)
    spec = registry.get(info.model)
    if spec.role != ROLE:
        raise unknown("model of music", name, models())
    codec = codec_of(info, name, device, codec_name)
    loaded = checkpoint.load(folder, device)
    hasten(loaded.network, "float32", device)
    model = loaded.generator()
    made = f"{model.num_codebooks} codebooks of {model.size} at {model.rate:g} Hz"
    decoded = f"{codec.num_codebooks} of {codec.size} at {codec.rate:g} Hz"
    if (model.size, model.rate) != (codec.size, codec.rate) or model.num_codebooks > codec.num_codebooks:
        raise UserError(f"{name} makes {made}, its codec {codec.identity} decodes {decoded}: pull or train it again")
    return MusicMaker(name, MusicStages(model, codec), spec.options)


def compose(engine: Engine, request: MusicRequest, progress: Progress | None = None) -> SynthesisResult:
    """Make what a request describes, at -14 LUFS with a true-peak limit.

    Raises:
        UserError: as `load_maker`; or the model has no such option, or the overlap leaves nothing of a window.
    """
    started = time.perf_counter()
    maker = engine.load_maker(request.model)
    loaded = time.perf_counter()
    stages = maker.stages
    options = validate(maker.options, request.model_options(), f"option of {maker.name}")
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
        provenance=provenance(f"model {Path(maker.name).name}", seed, kind="music"),
    )
