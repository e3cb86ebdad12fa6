"""POST /v1/audio/speech: text to sound, while it is made or as a whole, as bytes or as events."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse

from speechgen.audio.encode import Encoder, encode
from speechgen.core.errors import UserError, unknown
from speechgen.pipeline.carriers import Chunk
from speechgen.server import failures
from speechgen.server.failures import Refusal
from speechgen.server.metrics import Metrics
from speechgen.server.schemas import SpeechRequest
from speechgen.server.settings import ServerSettings
from speechgen.server.waiting import chunks, finished, followed
from speechgen.service import catalog
from speechgen.service.jobs import Job, JobCancelled, JobQueue
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult, provenance

__all__ = ["routes"]

log = logging.getLogger(__name__)
MEDIA_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}
HEADERS = ("Seed", "Pipeline", "Voice", "Sample-Rate", "Seconds", "Synthesis-Seconds", "Warnings")
"""Of every answer, behind X-Speechgen-."""


@dataclass
class _Answer:
    """What one request asks, and what is known of its answer."""

    body: SpeechRequest
    job: Job[Any]
    metrics: Metrics
    begun: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def request(self) -> SynthesisRequest:
        """As the service has it, with its seed."""
        assert self.job.request is not None
        return self.job.request

    def headers(self, rate: int) -> dict[str, str]:
        """What was used, for who asks."""
        told: dict[str, Any] = {
            "Seed": self.request.seed,
            "Pipeline": self.request.pipeline,
            "Voice": self.request.voice or catalog.default_voice().name,
            "Sample-Rate": rate,
        }
        if self.warnings:
            told["Warnings"] = json.dumps([failures.public(line) for line in self.warnings])
        return {f"X-Speechgen-{key}": str(value).encode("ascii", "backslashreplace").decode() for key, value in told.items()}

    def comment(self) -> str:
        """What is written into the metadata."""
        return provenance(f"pipeline {self.request.pipeline}", self.request.seed or 0)


def routes(queue: JobQueue, settings: ServerSettings, metrics: Metrics) -> APIRouter:
    """Return the endpoint."""
    router = APIRouter(tags=["audio"])
    kinds = {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()}
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    described: dict[int | str, dict[str, Any]] = {200: {"description": "the sound", "content": {**kinds, **events}}}

    @router.post(
        "/v1/audio/speech",
        summary="Speak a text",
        response_class=Response,
        responses=described | failures.responses(404, 504),
    )
    async def speech(request: Request, body: Annotated[SpeechRequest, Body()]) -> Response:
        """Sound of `input`, sent while it is made unless `stream` is false."""
        asked = _checked(body, settings)
        if body.stream:
            return await _streamed(request, _Answer(body, queue.stream(asked, keep=False), metrics))
        answer = _Answer(body, queue.synthesize(asked), metrics)
        _be_honest(answer)
        async with followed(request, answer.job) as job:
            return await _whole(answer, await finished(job))

    return router


def _checked(body: SpeechRequest, settings: ServerSettings) -> SynthesisRequest:
    """Names first: they are looked up among what is installed, and are never paths."""
    content = body.to_service(body.model or settings.pipeline)
    if content["pipeline"] not in catalog.pipelines():
        raise Refusal(404, str(catalog.unusable(content["pipeline"], "model")), code="model_not_found", parameter="model")
    if content["voice"] and content["voice"] not in catalog.voices():
        message = str(unknown("voice", content["voice"], catalog.voices()))
        raise Refusal(400, message, code="voice_not_found", parameter="voice")
    return SynthesisRequest.checked(content)


def _be_honest(answer: _Answer) -> None:
    if answer.body.instructions:
        answer.warnings.append(f"instructions were not used: pipeline {answer.request.pipeline} follows none")


async def _whole(answer: _Answer, result: SynthesisResult) -> Response:
    """Answer with a file, or with one event that carries it."""
    answer.warnings += result.warnings
    answer.metrics.note_first_sound(time.perf_counter() - answer.begun)
    answer.metrics.note_audio(result.seconds)
    content = await asyncio.to_thread(encode, result.samples, result.rate, answer.body.response_format, answer.comment())
    headers = answer.headers(result.rate)
    headers |= {
        "X-Speechgen-Seconds": f"{result.seconds:.3f}",
        "X-Speechgen-Synthesis-Seconds": f"{result.synthesis_seconds:.3f}",
    }
    if answer.body.stream_format == "audio":
        return Response(content, headers=headers, media_type=MEDIA_TYPES[answer.body.response_format])
    answer.seconds = result.seconds
    return Response(_delta(content) + _done(answer), headers=headers, media_type="text/event-stream")


async def _streamed(request: Request, answer: _Answer) -> Response:
    """Wait for the first sound, so that what cannot be spoken is refused by its status; then answer as it comes."""
    _be_honest(answer)
    stack = AsyncExitStack()
    try:
        job = await stack.enter_async_context(followed(request, answer.job))
        sound = await stack.enter_async_context(aclosing(chunks(job)))
        first = [chunk async for chunk in _until_sound(sound, answer)]
        answer.metrics.note_first_sound(time.perf_counter() - answer.begun)
    except BaseException:
        await stack.aclose()
        raise
    form = _events if answer.body.stream_format == "sse" else _bytes
    media = "text/event-stream" if answer.body.stream_format == "sse" else MEDIA_TYPES[answer.body.response_format]
    headers = answer.headers(first[-1].rate) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(form(stack, first, sound, answer), headers=headers, media_type=media)


async def _until_sound(sound: AsyncIterator[Chunk], answer: _Answer) -> AsyncIterator[Chunk]:
    """The chunks up to the first that can be heard."""
    async for chunk in sound:
        answer.warnings += chunk.warnings
        yield chunk
        if len(chunk.samples):
            break


async def _encoded(first: list[Chunk], sound: AsyncIterator[Chunk], answer: _Answer) -> AsyncIterator[bytes]:
    """Bytes as they are finished. Encoding runs in a thread: the event loop has other clients."""
    with Encoder(answer.body.response_format, first[-1].rate, answer.comment()) as encoder:
        for chunk in first:
            answer.seconds += len(chunk.samples) / chunk.rate
            yield await asyncio.to_thread(encoder.push, chunk.samples)
        async for chunk in sound:
            answer.seconds += len(chunk.samples) / chunk.rate
            answer.warnings += chunk.warnings
            yield await asyncio.to_thread(encoder.push, chunk.samples)
        yield encoder.close()
    answer.metrics.note_audio(answer.seconds)


async def _bytes(
    stack: AsyncExitStack, first: list[Chunk], sound: AsyncIterator[Chunk], answer: _Answer
) -> AsyncIterator[bytes]:
    """Sound as it is made. A fault behind its beginning can only be told by breaking off."""
    async with stack:
        try:
            async for part in _encoded(first, sound, answer):
                if part:
                    yield part
        except JobCancelled:
            log.info("a client went away")
            raise


async def _events(
    stack: AsyncExitStack, first: list[Chunk], sound: AsyncIterator[Chunk], answer: _Answer
) -> AsyncIterator[bytes]:
    """OpenAI's events: deltas, then done, or an error."""
    async with stack:
        try:
            async for part in _encoded(first, sound, answer):
                if part:
                    yield _delta(part)
            yield _done(answer)
        except UserError as error:
            yield _event({"type": "error", **failures.envelope(failures.shape(error))})


def _delta(part: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()})


def _done(answer: _Answer) -> bytes:
    """The last event; tokens are not what is counted here, so characters and tenths of a second stand for them."""
    used = {"input_tokens": len(answer.body.input), "output_tokens": round(10 * answer.seconds)}
    content = {"type": "speech.audio.done", "usage": {**used, "total_tokens": sum(used.values())}}
    told = [failures.public(line) for line in answer.warnings]
    return _event({**content, "seconds": round(answer.seconds, 3), "seed": answer.request.seed, "warnings": told})


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
