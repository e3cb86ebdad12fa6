"""Sound on its way to the browser while the rest is made.

A job's chunks go into a LiveSound; the page fetches `live/<token>` and plays what arrives (page.js). The body is the number
of samples per second, 4 bytes, and then mono 16-bit samples, both little-endian. Gradio's own streaming would need ffmpeg.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

__all__ = ["LiveSound", "LiveSounds", "live_routes"]

KEPT_SECONDS = 30.0
"""How long a finished sound waits for its listener."""
PATIENCE_SECONDS = 0.03
MOST = 64


class LiveSound:
    """One sound: pushed by the thread that makes it, read once."""

    def __init__(self) -> None:
        self.closed_at: float | None = None
        self._ready: deque[bytes] = deque()
        self._begun = False

    def push(self, samples: Any, rate: int) -> None:
        """Hand on some more, a tensor [L] in [-1, 1]."""
        if not self._begun:
            self._ready.append(struct.pack("<I", rate))
            self._begun = True
        self._ready.append((samples.clamp(-1, 1) * 32767).round().short().numpy().astype("<i2").tobytes())

    def close(self) -> None:
        """Nothing more will come."""
        self.closed_at = self.closed_at or time.monotonic()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what is there, and wait for more until it is closed."""
        while True:
            over = self.closed_at is not None  # asked first, so that what came before is not lost
            while self._ready:
                yield self._ready.popleft()
            if over:
                return
            await asyncio.sleep(PATIENCE_SECONDS)


class LiveSounds:
    """The sounds that may be fetched, by tokens that cannot be guessed."""

    def __init__(self) -> None:
        self._sounds: dict[str, LiveSound] = {}
        self._lock = threading.Lock()

    def open(self) -> tuple[str, LiveSound]:
        """Begin a sound and return it with its token."""
        token, sound = secrets.token_urlsafe(16), LiveSound()
        with self._lock:
            now = time.monotonic()
            stale = [key for key, kept in self._sounds.items() if kept.closed_at and now - kept.closed_at > KEPT_SECONDS]
            for key in stale + list(self._sounds)[: max(0, len(self._sounds) - len(stale) - MOST)]:
                self._sounds.pop(key, None)
            self._sounds[token] = sound
        return token, sound

    def take(self, token: str) -> LiveSound | None:
        """Return a sound to its one listener."""
        with self._lock:
            return self._sounds.pop(token, None)


def live_routes(sounds: LiveSounds, authorize: Callable[[Request], str | None] | None) -> APIRouter:
    """The route `live/<token>`; `authorize` as for app.main.mount."""
    router = APIRouter(include_in_schema=False)

    @router.get("/live/{token}")
    def live(token: str, request: Request) -> StreamingResponse:
        sound = sounds.take(token) if authorize is None or authorize(request) else None
        if sound is None:
            raise HTTPException(404, "there is no such sound, or it was fetched before")
        return StreamingResponse(sound.read(), media_type="application/octet-stream", headers={"cache-control": "no-store"})

    return router
