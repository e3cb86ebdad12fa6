"""One request of a client to a server, and what it saw of the answer; used by `speechgen bench serve`."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from speechgen.core.errors import UserError

__all__ = ["FAILED", "KINDS", "TEXTS", "Kind", "Load", "Seen", "ask", "connect", "get", "voices_of"]

TEXTS = (
    "Yes.",
    "The kitchen window looks out on a quiet garden.",
    "She paid 12.50 for the ticket, and left at 9 o'clock.",
    "Rain fell on the roof all night. In the morning the streets were empty.",
)
FAILED = "failed"
"""Stands for a status where there was none, or an answer broke off."""


@dataclass(frozen=True)
class Load:
    """What to do to a server.

    Attributes:
        address: such as http://127.0.0.1:8000.
        clients: that ask at once.
        seconds: to ask for; what was asked by then is waited for.
        requests: to stop after, even if there is time.
        model: that speaks.
        api_key: if the server wants one.
        only: ask for this kind alone: a key of KINDS.
    """

    address: str
    clients: int = 8
    seconds: float = 300.0
    requests: int | None = None
    model: str = "default"
    api_key: str | None = None
    only: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of request: how often it is asked, what it is, and the status that its answer is to have."""

    weight: int
    method: str
    path: str
    content: dict[str, Any] | None = None
    status: str = "200"


KINDS = {
    "stream pcm": Kind(6, "POST", "/v1/audio/speech", {"response_format": "pcm"}),
    "stream mp3": Kind(3, "POST", "/v1/audio/speech", {"response_format": "mp3"}),
    "stream opus": Kind(2, "POST", "/v1/audio/speech", {"response_format": "opus"}),
    "events": Kind(2, "POST", "/v1/audio/speech", {"response_format": "pcm", "stream_format": "sse"}),
    "whole wav": Kind(2, "POST", "/v1/audio/speech", {"response_format": "wav", "stream": False}),
    "whole flac": Kind(1, "POST", "/v1/audio/speech", {"response_format": "flac", "stream": False}),
    "list": Kind(2, "GET", "/v1/audio/voices"),
    "refused": Kind(2, "POST", "/v1/audio/speech", {"voice": "../../nobody"}, "400"),
}


@dataclass(frozen=True)
class Seen:
    """An answer: its status, the seconds to its first and its last byte, and the seconds to wait before the next request."""

    status: str
    first: float = 0.0
    last: float = 0.0
    again: float = 0.0


def ask(line: http.client.HTTPConnection, load: Load, kind: Kind, content: dict[str, Any]) -> Seen:
    """Ask once.

    Raises:
        OSError, http.client.HTTPException: there was no answer, or it broke off.
    """
    headers = {"Content-Type": "application/json"} | _key(load)
    body = None if kind.content is None else json.dumps(content | kind.content)
    begun = time.perf_counter()
    line.request(kind.method, kind.path, body, headers)
    answer = line.getresponse()
    size = len(answer.read1(65536))
    first = time.perf_counter() - begun
    while part := answer.read1(65536):
        size += len(part)
    answer.read()  # read1 does not note the end of an answer of known length
    status = str(answer.status)
    if status == "200" and kind.method == "POST" and size < 1000:
        status = f"{FAILED}: no sound"
    return Seen(status, first, time.perf_counter() - begun, float(answer.getheader("retry-after") or 0))


def connect(load: Load) -> http.client.HTTPConnection:
    """Return a line to the server, which opens itself.

    Raises:
        UserError: the address is none.
    """
    place = urlsplit(load.address)
    if place.scheme != "http" or not place.hostname:
        raise UserError(f"{load.address!r} is no address of a server: give one such as http://127.0.0.1:8000")
    return http.client.HTTPConnection(place.hostname, place.port, timeout=600)


def _key(load: Load) -> dict[str, str]:
    return {"Authorization": f"Bearer {load.api_key}"} if load.api_key else {}


def get(load: Load, path: str) -> str:
    """Return what the server has at a path.

    Raises:
        OSError, http.client.HTTPException: nothing answers.
        UserError: it refuses.
    """
    with contextlib.closing(connect(load)) as line:
        line.request("GET", path, headers=_key(load))
        answer = line.getresponse()
        content = answer.read().decode()
    if answer.status != 200:
        raise UserError(f"{load.address} answers {path} by {answer.status}: {content[:200]}")
    return content


def voices_of(load: Load) -> list[str]:
    """Return the names of the server's voices.

    Raises:
        UserError: nothing answers.
    """
    try:
        return [voice["id"] for voice in json.loads(get(load, "/v1/audio/voices"))["data"]]
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"nothing answers at {load.address} ({error}): start it by `speechgen serve`") from error
