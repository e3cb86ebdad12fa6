"""ASGI middleware that refuses what no endpoint should see: foreign hosts and origins, no key, large or slow bodies, crowds.

A web page of somebody else may send requests to 127.0.0.1 from the browser of who visits it. It cannot forge Host (a name
that was bound to 127.0.0.1 later keeps its own name there) nor Origin, so both are compared.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechgen.server.failures import Refusal, answer
from speechgen.server.metrics import Metrics
from speechgen.server.settings import ServerSettings

__all__ = ["Guard", "shows_key"]

JSON_BYTES = 2**20
"""For bodies that are no upload: 4096 characters take a fortieth of it at worst."""
OPEN_PATHS = ("/health",)
"""Answered without a key."""
PAGE_PATH = "/app"


class Guard:
    """Stands before the whole application, and counts what goes through."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._present = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # nothing here speaks it
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 499  # the client went away
        body = _Body(receive, self._limit(scope), self._settings.body_seconds)

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                if not body.whole and self._is_endless(scope):  # or what is still to come would be read to its end
                    headers["connection"] = "close"
            await send(message)

        counted = not _is_page(scope["path"])  # the page keeps its connections open
        self._present += counted
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, body.receive, respond)
            else:
                basic = {"WWW-Authenticate": "Basic"} if refusal.status == 401 and _is_page(scope["path"]) else {}
                await answer(refusal, basic)(scope, receive, respond)
        finally:
            self._present -= counted
            self._metrics.note_request(scope, status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Why a request is not passed on."""
        headers, settings = Headers(scope=scope), self._settings
        allowed = settings.allowed_hosts
        if allowed and _name(headers.get("host", "")) not in allowed:
            return Refusal(400, "the server does not go by that name: see --allow-host", code="unknown_host")
        origin = headers.get("origin")
        if origin is not None and origin not in settings.origins and origin.partition("://")[2] != headers.get("host"):
            return Refusal(403, "web pages of other origins may not ask this server: see --cors", code="foreign_origin")
        if not self._may(scope, headers):
            sentence = "show the key that this server was started with: Authorization: Bearer KEY"
            return Refusal(401, sentence, code="invalid_api_key")
        if self._present > settings.crowd and not _is_page(scope["path"]):
            return Refusal(429, "too many requests at once: try again in 1 s", code="crowded", retry_seconds=1)
        if headers.get("content-encoding", "identity").lower() != "identity":
            return Refusal(415, "compressed bodies are not taken: send it as it is", code="content_encoding")
        size, limit = headers.get("content-length", "0"), self._limit(scope)
        if not (size.isascii() and size.isdigit()):
            return Refusal(400, "Content-Length is not a number")
        return _too_large(limit) if len(size) > 15 or int(size) > limit else None

    def _may(self, scope: Scope, headers: Headers) -> bool:
        key = self._settings.api_key
        if key is None or scope["path"] in OPEN_PATHS:
            return True
        # Browsers ask whether they may show a key to another origin before they show it.
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        return preflight or shows_key(headers.get("authorization", ""), key)

    def _is_endless(self, scope: Scope) -> bool:
        """Whether a body is larger than anything that is taken, or does not say how large it is."""
        headers = Headers(scope=scope)
        size = headers.get("content-length", "")
        return "transfer-encoding" in headers or len(size) > 15 or (size.isdigit() and int(size) > self._settings.body_bytes)

    def _limit(self, scope: Scope) -> int:
        upload = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data")
        return self._settings.body_bytes if upload else JSON_BYTES


def shows_key(authorization: str, key: str) -> bool:
    """Whether a header shows the key: as bearer, or as password of a browser. Takes as long for any wrong one."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            given = ""
    elif scheme.lower() != "bearer":
        given = ""
    return secrets.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())


def _name(host: str) -> str:
    """Host without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def _is_page(path: str) -> bool:
    return path == "/" or path == PAGE_PATH or path.startswith(PAGE_PATH + "/")


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than the {limit / 2**20:g} MiB that are taken", code="too_large")


class _Body:
    """A body as it comes in: so many bytes in so much time, whatever its header said."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self._limit = receive, limit
        self._deadline = time.monotonic() + seconds
        self._size = 0
        self.whole = False

    async def receive(self) -> Message:
        """What the application gets. HTTPException is what passes through FastAPI's reading of forms."""
        if self.whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            raise HTTPException(408, "the body took too long to come in") from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        if self._size > self._limit:
            raise HTTPException(413, str(_too_large(self._limit)))
        return message
