"""POST /v1/audio/music: a description to sound, as a whole: it is brought to one loudness when all of it is there."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from speechgen.audio.encode import encode
from speechgen.core.errors import unknown
from speechgen.server import failures
from speechgen.server.failures import Refusal
from speechgen.server.metrics import Metrics
from speechgen.server.schemas import MusicBody
from speechgen.server.speech import MEDIA_TYPES
from speechgen.server.waiting import finished, followed
from speechgen.service import music
from speechgen.service.jobs import JobQueue
from speechgen.service.requests import MusicRequest

__all__ = ["routes"]


def routes(queue: JobQueue, metrics: Metrics) -> APIRouter:
    """Return the endpoint."""
    router = APIRouter(tags=["audio"])
    kinds = {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()}
    described: dict[int | str, dict[str, Any]] = {200: {"description": "the sound", "content": kinds}}

    @router.post(
        "/v1/audio/music",
        summary="Make music, or another sound, of a description",
        response_class=Response,
        responses=described | failures.responses(404, 504),
    )
    async def make(request: Request, body: Annotated[MusicBody, Body()]) -> Response:
        """Sound of what `prompt` describes, at -14 LUFS."""
        asked = await asyncio.to_thread(_checked, body)
        async with followed(request, queue.run(lambda engine, progress: engine.compose(asked, progress))) as job:
            result = await finished(job)
        metrics.note_audio(result.seconds)
        content = await asyncio.to_thread(encode, result.samples, result.rate, body.response_format, result.provenance)
        told: dict[str, Any] = {
            "Seed": result.seed,
            "Model": result.pipeline,
            "Sample-Rate": result.rate,
            "Seconds": f"{result.seconds:.3f}",
            "Synthesis-Seconds": f"{result.synthesis_seconds:.3f}",
        }
        if result.warnings:
            told["Warnings"] = json.dumps([failures.public(line) for line in result.warnings])
        headers = {f"X-Speechgen-{key}": str(value) for key, value in told.items()}
        return Response(content, headers=headers, media_type=MEDIA_TYPES[body.response_format])

    return router


def _checked(body: MusicBody) -> MusicRequest:
    """A model is looked up among what is installed, and is never a path."""
    asked = MusicRequest.checked(body.model_dump(exclude={"response_format"}))
    known = music.models()
    if not known or asked.model not in (None, *known):
        message = str(unknown("model of music", str(asked.model), known)) if known else music.NONE_INSTALLED
        raise Refusal(404, message, code="model_not_found", parameter="model")
    return asked
