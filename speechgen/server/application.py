"""The endpoints joined to one application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import speechgen
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.server import catalogue, failures, speech
from speechgen.server.guard import PAGE_PATH, Guard
from speechgen.server.metrics import Metrics
from speechgen.server.settings import ServerSettings
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobQueue
from speechgen.service.page import load_page
from speechgen.service.requests import SynthesisRequest

__all__ = ["build", "check"]

WARM_UP_TEXT = "One sentence, so that everything is loaded."


def check(settings: ServerSettings) -> None:
    """Refuse settings that are not safe.

    Raises:
        UserError: others than this machine could reach the server, and it has no key.
    """
    if not settings.local and settings.api_key is None:
        raise UserError(
            f"others could reach {settings.host}: set a key in SPEECHGEN_API_KEY or by --api-key, or leave --host out"
        )


def build(settings: ServerSettings, queue: JobQueue | None = None) -> ASGIApp:
    """Return the application, behind its guard. It owns the queue and closes it at its end.

    Args:
        settings: see there.
        queue: where jobs go; without one, one engine is put behind a new queue.

    Raises:
        UserError: the settings are not safe, there is no such device, or the page is not installed.
    """
    check(settings)
    queue = queue or JobQueue([Engine(settings.device)], waiting=settings.waiting, timeout=settings.timeout)
    metrics = Metrics(queue)

    @asynccontextmanager
    async def life(application: FastAPI) -> AsyncIterator[None]:
        if settings.warm_up:
            await asyncio.to_thread(queue.run(lambda engine, progress: _warm_up(engine, settings, progress)).result)
        try:
            yield
        finally:
            await asyncio.to_thread(queue.close)

    application = FastAPI(
        title="speechgen",
        version=speechgen.__version__,
        description="Speech from text. Paths and schemas are those of OpenAI's speech endpoints.",
        docs_url=None,  # its scripts would come from the network
        redoc_url=None,
        lifespan=life,
    )
    failures.install(application)
    application.include_router(speech.routes(queue, settings, metrics))
    application.include_router(catalogue.model_routes())
    application.include_router(catalogue.voice_routes(queue, settings))
    application.include_router(catalogue.state_routes(queue, settings, metrics))
    if settings.origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=[f"X-Speechgen-{name}" for name in speech.HEADERS] + ["Retry-After"],
        )
    if settings.page:
        load_page().mount(application, queue, PAGE_PATH)

        @application.get("/", include_in_schema=False)
        async def front(request: Request) -> RedirectResponse:
            return RedirectResponse(f"{PAGE_PATH}/")

    return Guard(application, settings, metrics)


def _warm_up(engine: Engine, settings: ServerSettings, progress: Progress) -> None:
    """Speak once each way, so that the first client does not wait for anything to be loaded."""
    request = SynthesisRequest.checked({"text": WARM_UP_TEXT, "pipeline": settings.pipeline, "seed": 0})
    engine.synthesize(request, progress)
    for _ in engine.stream(request, progress=progress):
        pass
