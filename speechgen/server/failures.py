"""Every refusal as one clear sentence in OpenAI's envelope; nothing of this machine's folders in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from speechgen.core.errors import UserError, unknown
from speechgen.server.schemas import BODIES, ErrorEnvelope, SpeechRequest, VoiceName
from speechgen.service.jobs import JobCancelled, JobTimeout, QueueClosed, QueueFull

__all__ = ["Refusal", "envelope", "install", "public", "responses", "shape"]

log = logging.getLogger(__name__)
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
NOT_SHOWN = {"constrained-str", "VoiceName"}
"""Parts of a fault's place that are pydantic's and not the client's."""
_FOLDERS = re.compile(r"(?<![\w./])/(?:[^\s/:'\"<>]+/)+")
"""Folders in front of a file's name."""


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        code: for programs.
        parameter: which part of the request is meant.
        retry_seconds: when to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        parameter: str | None = None,
        retry_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.parameter, self.retry_seconds = status, code, parameter, retry_seconds


def public(message: str) -> str:
    """A message of the service as strangers may read it: on one line, without folders and options of the command."""
    message = " ".join(message.encode("utf-8", "replace").decode().split())
    return re.sub(r"(?<!\S)--(?=[a-z])", "", _FOLDERS.sub("", message))


def shape(error: Exception) -> Refusal:
    """Return how an error is told."""
    match error:
        case Refusal():
            return error
        case QueueFull():
            return Refusal(429, str(error), code="queue_full", retry_seconds=error.retry_seconds)
        case QueueClosed() | JobCancelled():
            return Refusal(503, "the server is shutting down: try again later", code="shutting_down", retry_seconds=5)
        case JobTimeout():
            return Refusal(504, str(error), code="timeout")
        case UserError():
            return Refusal(400, str(error))
    return Refusal(500, "the server failed: its log says why", code="server_error")


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refusal."""
    kind = KINDS.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    told = {"message": public(str(refusal)), "type": kind, "param": refusal.parameter, "code": refusal.code}
    return {"error": told}


def answer(refusal: Refusal, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal as a response."""
    headers = dict(headers or {})
    if refusal.retry_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_seconds)
    if refusal.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(envelope(refusal), refusal.status, headers)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of an endpoint, for the OpenAPI document; those of the guard are everywhere."""
    return {status: {"model": ErrorEnvelope} for status in sorted({400, 401, 403, 408, 413, 415, 429, 503, *statuses})}


def install(application: FastAPI) -> None:
    """Let an application tell all its errors in this way."""

    @application.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(_explained(_plainest(error.errors()), BODIES.get(request.url.path, SpeechRequest).model_fields))

    @application.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        sentences = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not possible here"}
        message = sentences.get(error.status_code, str(error.detail)) if error.status_code in (404, 405) else str(error.detail)
        return answer(Refusal(error.status_code, message), dict(error.headers or {}))

    @application.exception_handler(Refusal)
    @application.exception_handler(UserError)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        return answer(shape(error))

    @application.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return answer(shape(error))  # uvicorn logs it


def _plainest(faults: Sequence[Any]) -> Any:
    """The first fault; of a voice that is an object, the first in the object, and not that it is no text."""
    inside = [fault for fault in faults if "VoiceName" in fault["loc"] and isinstance(fault["input"], dict | str)]
    return inside[0] if inside and inside[0]["type"] != "model_type" else faults[0]


def _explained(fault: Any, fields: Iterable[str]) -> Refusal:
    """The first fault of a request in one sentence; `fields` are those that it may have."""
    where = [str(part) for part in fault["loc"][1:] if part not in NOT_SHOWN]
    name = ".".join(where)
    if fault["type"] == "extra_forbidden":
        problem = str(unknown("key", where[-1][:80], VoiceName.model_fields if "VoiceName" in fault["loc"] else fields))
        return Refusal(400, problem, parameter=name[:200])
    if fault["type"] == "json_invalid" or not where:
        return Refusal(400, f"the body is not the JSON that was expected: {fault['msg']}")
    given = repr(fault.get("input"))
    shown = "" if isinstance(fault.get("input"), dict | list) or "missing" in fault["type"] else f" (given: {given[:60]})"
    return Refusal(400, f"{name}: {fault['msg']}{shown}", parameter=name[:200])
