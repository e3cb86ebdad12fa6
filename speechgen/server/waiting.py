"""Jobs of the queue, awaited: nothing blocks the event loop, and a job ends when its client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import Request

from speechgen.pipeline.carriers import Chunk
from speechgen.service.jobs import Job

__all__ = ["chunks", "finished", "followed"]

Result = TypeVar("Result")
LOOK_SECONDS = 1.0
"""How often to look whether a job's time is up."""


class _Bell:
    """Rings on the event loop when a job has changed."""

    def __init__(self, job: Job[Any]) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        job.listen(self._ring)

    def _ring(self) -> None:
        with suppress(RuntimeError):  # the loop has ended before the job
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), LOOK_SECONDS)
        self._event.clear()


@asynccontextmanager
async def followed(request: Request, job: Job[Result]) -> AsyncIterator[Job[Result]]:
    """Cancel a job when the client goes away, or when this is left before the job is over."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield job
    finally:
        watcher.cancel()
        job.cancel()


async def finished(job: Job[Result]) -> Result:
    """Return what came out of a job, or raise what went wrong."""
    bell = _Bell(job)
    while not job.expire():
        await bell.wait()
    return job.result()


async def chunks(job: Job[Any]) -> AsyncGenerator[Chunk, None]:
    """Yield sound as it is made; raise what went wrong behind it."""
    bell = _Bell(job)
    while True:
        over = job.expire()  # before the chunks are taken, so that none comes in between
        made = job.take()
        for chunk in made:
            yield chunk
        if over:
            break
        if not made:
            await bell.wait()
    if job.error is not None:
        raise job.error
