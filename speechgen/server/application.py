"""The endpoints joined to one application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import speechgen
from speechgen.core.errors import UserError
from speechgen.server import catalogue, failures, music, speech
from speechgen.server.guard import PAGE_PATH, Guard
from speechgen.server.metrics import Metrics
from speechgen.server.settings import ServerSettings
from speechgen.service import catalog
from speechgen.service.jobs import JobQueue
from speechgen.service.page import load_page
from speechgen.service.requests import SynthesisRequest

__all__ = ["build", "check", "warm_up"]

WARM_UP_TEXT = "One sentence, so that everything is loaded."


def check(settings: ServerSettings) -> None:
    """Refuse settings that are not safe, or cannot be.

    Raises:
        UserError: others than this machine could reach the server, and it has no key; or there is no such pipeline here.
    """
    if settings.pipeline not in catalog.pipelines():
        raise catalog.unusable(settings.pipeline)
    if not settings.local and settings.api_key is None:
        raise UserError(
            f"others could reach {settings.host}: set a key in SPEECHGEN_API_KEY or by --api-key, or leave --host out"
        )


def build(settings: ServerSettings, queue: JobQueue, ending: Callable[[], bool] = lambda: False) -> ASGIApp:
    """Return the application, behind its guard. It owns the queue and closes it at its end.

    Args:
        settings: see there.
        queue: where jobs go.
        ending: tells whether the server is to end, and open pages with it.

    Raises:
        UserError: the page is asked for and not installed.
    """
    metrics = Metrics(queue)

    @asynccontextmanager
    async def life(application: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(queue.close)

    application = FastAPI(
        title="speechgen",
        version=speechgen.__version__,
        description="Speech and music from text. Paths and schemas of speech are those of OpenAI's endpoints.",
        docs_url=None,  # its scripts would come from the network
        redoc_url=None,
        redirect_slashes=False,
        lifespan=life,
    )
    failures.install(application)
    application.include_router(speech.routes(queue, settings, metrics))
    application.include_router(music.routes(queue, metrics))
    application.include_router(catalogue.model_routes())
    application.include_router(catalogue.voice_routes(queue, settings))
    application.include_router(catalogue.state_routes(queue, settings, metrics))
    if settings.origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=[f"X-Speechgen-{name}" for name in (*speech.HEADERS, "Model")] + ["Retry-After"],
        )
    if settings.page:
        load_page().mount(application, queue, PAGE_PATH, ending=ending)

        @application.get("/", include_in_schema=False)
        async def front(request: Request) -> RedirectResponse:
            return RedirectResponse(f"{PAGE_PATH}/")

    return Guard(application, settings, metrics)


def warm_up(queue: JobQueue, settings: ServerSettings) -> None:
    """Speak once each way, so that the first client does not wait for anything to be loaded.

    Raises:
        UserError: the pipeline cannot be loaded.
    """
    request = SynthesisRequest.checked({"text": WARM_UP_TEXT, "pipeline": settings.pipeline, "seed": 0})
    queue.synthesize(request).result()
    queue.stream(request, keep=False).result()
