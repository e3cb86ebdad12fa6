"""What there is: models, voices, and how the server is."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Request, Response, UploadFile
from prometheus_client import CONTENT_TYPE_LATEST

import speechgen
from speechgen.audio.io import Limits, decode_audio
from speechgen.core.errors import unknown
from speechgen.core.types import Waveform
from speechgen.pipeline.prompts import MAX_SECONDS, MIN_SECONDS
from speechgen.server.failures import Refusal, responses
from speechgen.server.metrics import Metrics
from speechgen.server.schemas import Health, Model, ModelList, Removed, Voice, VoiceList
from speechgen.server.settings import ServerSettings
from speechgen.server.waiting import finished, followed
from speechgen.service import catalog, devices
from speechgen.service import voices as store
from speechgen.service.jobs import JobQueue

__all__ = ["model_routes", "state_routes", "voice_routes"]

LIMITS = Limits(MIN_SECONDS, MAX_SECONDS, channels=2, rate=192000)
"""Of an uploaded recording."""
NAME_PATTERN = f"^{catalog.VOICE_NAME}$"
VoiceId = Annotated[str, Path(pattern=NAME_PATTERN, description="name of a voice")]


def model_routes() -> APIRouter:
    """Return the endpoints of pipelines."""
    router = APIRouter(prefix="/v1/models", tags=["models"], responses=responses())

    def model(name: str) -> Model:
        return Model(id=name, created=int(catalog.pipelines()[name].stat().st_mtime))

    @router.get("", summary="List the pipelines")
    def models() -> ModelList:
        return ModelList(data=[model(name) for name in catalog.pipelines()])

    @router.get("/{name}", summary="Show a pipeline", responses=responses(404))
    def one(name: str) -> Model:
        if name not in catalog.pipelines():
            raise Refusal(404, str(catalog.unusable(name[:80], "model")), code="model_not_found", parameter="model")
        return model(name)

    return router


def voice_routes(queue: JobQueue, settings: ServerSettings) -> APIRouter:
    """Return the endpoints of voices."""
    router = APIRouter(prefix="/v1/audio/voices", tags=["voices"], responses=responses())

    @router.get("", summary="List the voices")
    def voices() -> VoiceList:
        return VoiceList(data=[_told(voice) for voice in catalog.voices().values()])

    @router.post("", summary="Store a voice", responses=responses(409, 504))
    async def add(
        request: Request,
        name: Annotated[str, Form(pattern=NAME_PATTERN, description="1 to 64 of A-Z a-z 0-9 _ -")],
        audio_sample: Annotated[UploadFile, File(description=f"{MIN_SECONDS:g} to {MAX_SECONDS:g} seconds of one speaker")],
        transcript: Annotated[
            str | None, Form(max_length=1000, description="ours: what it says, for pipelines that read it")
        ] = None,
        replace: Annotated[bool, Form(description="ours: overwrite a stored voice of this name")] = False,
    ) -> Voice:
        """Encode a recording once; requests name it as `voice` from then on."""
        known = catalog.voices().get(name)
        if known is not None and not (replace and known.stored):
            advice = "send replace=true or choose another name" if known.stored else "choose another name"
            raise Refusal(409, f"there is a voice {name} already: {advice}", code="voice_exists", parameter="name")
        source = _harmless(audio_sample.filename or "recording")
        recording = await asyncio.to_thread(_decode, audio_sample, source)
        work = queue.run(
            lambda engine, progress: store.store(
                engine, name, recording, source, settings.pipeline, transcript=transcript, replace=replace
            )
        )
        async with followed(request, work) as job:
            info = await finished(job)
        told = _told(catalog.find_voice(name))
        return told.model_copy(update={"seconds": round(info.seconds, 3), "warnings": list(info.warnings)})

    @router.delete("/{name}", summary="Remove a stored voice", responses=responses(404, 409))
    def remove(name: VoiceId) -> Removed:
        known = catalog.voices()
        if name not in known:
            stored = [other for other, voice in known.items() if voice.stored]
            raise Refusal(404, str(unknown("stored voice", name, stored)), code="voice_not_found", parameter="name")
        if not known[name].stored:
            raise Refusal(409, f"voice {name} is a recording that was not stored here: only stored voices can be removed")
        store.remove(name)
        return Removed(id=name)

    return router


def state_routes(queue: JobQueue, settings: ServerSettings, metrics: Metrics) -> APIRouter:
    """Return /health and /metrics."""
    router = APIRouter(tags=["state"], responses=responses())
    device = str(devices.resolve(settings.device))

    @router.get("/health", summary="Tell whether the server answers")
    async def health() -> Health:
        told = {"running": queue.running, "waiting": queue.waiting, "capacity": queue.capacity}
        return Health(version=speechgen.__version__, device=device, **told)

    described: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}
    }

    @router.get("/metrics", summary="Counters for Prometheus", response_class=Response, responses=described)
    async def figures() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _told(voice: catalog.Voice) -> Voice:
    kind = "stored" if voice.stored else "recording"
    return Voice(id=voice.name, name=voice.name, created_at=int(voice.path.stat().st_mtime), kind=kind)


def _harmless(name: str) -> str:
    """A client's file name as what it is: a label. Its last part, printable, short."""
    last = PurePosixPath(name.replace("\\", "/")).name
    shown = "".join(c for c in last if c.isprintable() and unicodedata.category(c) not in ("Cf", "Cs", "Co"))
    return re.sub(r"\s+", " ", shown).strip()[:80] or "recording"


def _decode(upload: UploadFile, name: str) -> Waveform:
    """Read an upload; see decode_audio for what its header is asked before a sample is decoded."""
    return decode_audio(upload.file, name, LIMITS)
