"""What stands in front of the page: bodies of bounded size, no URLs for files, and headers that keep the browser at home.

An open page holds connections that never end by themselves; the guard ends them when the server is to end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["UPLOAD_BYTES", "PageGuard"]

UPLOAD_BYTES = 25 * 2**20
JSON_BYTES = 2**20
OVERHEAD_BYTES = 2**16
"""What a form adds to the file in it."""
DEEPEST = 12
LOOK_SECONDS = 0.3
"""How often to look whether the server is to end."""
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class PageGuard:
    """ASGI middleware for everything under one path."""

    def __init__(self, app: ASGIApp, path: str = "/", ending: Callable[[], bool] = lambda: False) -> None:
        self.app, self.ending = app, ending
        self.prefix = path.rstrip("/") + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with headers."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(self.prefix):
            await self.app(scope, receive, send)
            return

        unfinished = False

        async def respond(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        given = {key: value.decode("latin-1") for key, value in scope["headers"]}
        form = given.get(b"content-type", "").startswith("multipart/")
        limit = UPLOAD_BYTES + OVERHEAD_BYTES if form else JSON_BYTES
        try:
            if int(given.get(b"content-length", "0") or 0) > limit:
                raise _Refused(413, f"the request is larger than {limit // 2**20} MiB")
            body = _Body(receive, limit, self.ending)
            if scope["method"] == "POST" and not form:
                body.hold(_checked(await body.read()))
            await self.app(scope, body.receive, respond)
            if unfinished and self.ending():
                await respond({"type": "http.response.body"})
        except _Refused as error:
            await JSONResponse({"detail": str(error)}, error.status)(scope, receive, respond)
        except ValueError:
            await JSONResponse({"detail": "the length of the request is not a number"}, 400)(scope, receive, respond)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Body:
    """A request's body, counted as it comes in."""

    def __init__(self, receive: Receive, limit: int, ending: Callable[[], bool]) -> None:
        self._receive, self._limit, self._ending, self._count = receive, limit, ending, 0
        self._held: bytes | None = None

    async def receive(self) -> Message:
        """What the application gets."""
        if self._held is not None:
            held, self._held = self._held, None
            return {"type": "http.request", "body": held, "more_body": False}
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    message = await self._receive()
                break
            except TimeoutError:
                if self._ending():
                    return {"type": "http.disconnect"}
        self._count += len(message.get("body", b""))
        if self._count > self._limit:
            raise _Refused(413, f"the request is larger than {self._limit // 2**20} MiB")
        return message

    async def read(self) -> bytes:
        """Read it all."""
        parts, more = [], True
        while more:
            message = await self.receive()
            parts.append(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        return b"".join(parts)

    def hold(self, body: bytes) -> None:
        """Keep what was read for the application."""
        self._held = body


def _checked(body: bytes) -> bytes:
    """Refuse JSON that names a file by an address: the page's own requests name uploads alone."""
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body  # not JSON: the application will say so
    if _names_address(content, 0):
        raise _Refused(400, "files are uploaded, not named by an address")
    return body


def _names_address(value: Any, depth: int) -> bool:
    if depth > DEEPEST:
        raise _Refused(400, "the request is nested too deeply")
    if isinstance(value, list):
        return any(_names_address(entry, depth + 1) for entry in value)
    if not isinstance(value, dict):
        return False
    path = value.get("path")
    return (isinstance(path, str) and "://" in path) or any(_names_address(entry, depth + 1) for entry in value.values())
