"""Many clients at once, and what they saw: answers by status, waiting times, and whether the server's memory grows.

Each client is a thread that asks one thing after the other: short texts in every format and way, lists, and now and then
something that is to be refused. Who is told to come again later does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from speechgen.core.errors import UserError

__all__ = ["Load", "LoadReport", "measure", "own_server"]

TEXTS = (
    "Yes.",
    "The kitchen window looks out on a quiet garden.",
    "She paid 12.50 for the ticket, and left at 9 o'clock.",
    "Rain fell on the roof all night. In the morning the streets were empty.",
)
START_SECONDS = 180.0
LOOK_SECONDS = 0.5
WARM_UP_SHARE = 0.2
"""Of the run: memory is compared behind it."""
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
class LoadReport:
    """What was seen. Seconds are of answers with status 200, memory is the server's."""

    clients: int
    seconds: float
    requests: int
    statuses: dict[str, int]
    kinds: dict[str, dict[str, float]] = field(default_factory=dict)
    memory_mb: float = 0.0
    memory_growth: float = 0.0
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was seen that should not be."""
        return not self.faults

    def to_json(self) -> str:
        """One object."""
        return json.dumps({**asdict(self), "passed": self.passed})


@dataclass(frozen=True)
class _Kind:
    weight: int
    method: str
    path: str
    content: dict[str, Any] | None = None
    status: str = "200"


KINDS = {
    "stream pcm": _Kind(6, "POST", "/v1/audio/speech", {"response_format": "pcm"}),
    "stream mp3": _Kind(3, "POST", "/v1/audio/speech", {"response_format": "mp3"}),
    "stream opus": _Kind(2, "POST", "/v1/audio/speech", {"response_format": "opus"}),
    "events": _Kind(2, "POST", "/v1/audio/speech", {"response_format": "pcm", "stream_format": "sse"}),
    "whole wav": _Kind(2, "POST", "/v1/audio/speech", {"response_format": "wav", "stream": False}),
    "whole flac": _Kind(1, "POST", "/v1/audio/speech", {"response_format": "flac", "stream": False}),
    "list": _Kind(2, "GET", "/v1/audio/voices"),
    "refused": _Kind(2, "POST", "/v1/audio/speech", {"voice": "../../nobody"}, "400"),
}


class _Seen:
    """What all clients saw."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.stop = time.monotonic() + load.seconds
        self.lock = threading.Lock()
        self.asked = 0
        self.statuses: Counter[str] = Counter()
        self.times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.faults: Counter[str] = Counter()
        self.memory: list[tuple[float, float]] = []

    def next(self) -> int | None:
        """The number of the next request; None when it is enough."""
        with self.lock:
            if time.monotonic() >= self.stop or self.asked == self.load.requests:
                return None
            self.asked += 1
            return self.asked

    def note(self, kind: str, status: str, first: float, last: float) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.times[kind].append((first, last))
            if status not in (KINDS[kind].status, "429"):
                self.faults[f"{kind}: {status}"] += 1


def measure(load: Load) -> LoadReport:
    """Ask, and tell what was seen.

    Raises:
        UserError: nothing answers there.
    """
    voices = _voices(load)
    line = _connect(load)
    for voice in voices:  # each is encoded once, when it is first asked for
        _ask(line, load, KINDS["stream pcm"], {"input": TEXTS[0], "model": load.model, "voice": voice})
    line.close()
    seen, done = _Seen(load), threading.Event()
    begun = time.monotonic()
    clients = [threading.Thread(target=_ask_on, args=(seen, number, voices)) for number in range(load.clients)]
    watcher = threading.Thread(target=_watch, args=(seen, done))
    for thread in (*clients, watcher):
        thread.start()
    for thread in clients:
        thread.join()
    done.set()
    watcher.join()
    memory, growth = _growth(seen.memory)
    return LoadReport(
        clients=load.clients,
        seconds=round(time.monotonic() - begun, 1),
        requests=sum(seen.statuses.values()),
        statuses=dict(sorted(seen.statuses.items())),
        kinds={kind: _figures(seen.times[kind]) for kind in KINDS if seen.times[kind]},
        memory_mb=round(memory, 1),
        memory_growth=round(growth, 4),
        faults=tuple(f"{what} ({count} times)" for what, count in seen.faults.items()),
    )


def _ask_on(seen: _Seen, client: int, voices: Sequence[str]) -> None:
    """One client."""
    load, rng = seen.load, random.Random(client)
    kinds = [load.only] if load.only else list(KINDS)
    line = _connect(load)
    while (number := seen.next()) is not None:
        kind = rng.choices(kinds, [KINDS[name].weight for name in kinds])[0]
        content = {"input": rng.choice(TEXTS), "model": load.model, "voice": rng.choice(voices), "seed": number}
        try:
            status, first, last, again = _ask(line, load, KINDS[kind], content)
        except (OSError, http.client.HTTPException) as error:
            status, first, last, again = f"{FAILED}: {type(error).__name__}", 0.0, 0.0, 0.0
            line.close()
        seen.note(kind, status, first, last)
        if again:
            time.sleep(min(again, 2.0) * rng.uniform(0.5, 1.0))
    line.close()


def _ask(line: http.client.HTTPConnection, load: Load, kind: _Kind, content: dict[str, Any]) -> tuple[str, float, float, float]:
    """Ask once; return status, seconds to the first and the last byte, and seconds to wait before the next."""
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
    return status, first, time.perf_counter() - begun, float(answer.getheader("retry-after") or 0)


def _connect(load: Load) -> http.client.HTTPConnection:
    place = urlsplit(load.address)
    if place.scheme != "http" or not place.hostname:
        raise UserError(f"{load.address!r} is no address of a server: give one such as http://127.0.0.1:8000")
    return http.client.HTTPConnection(place.hostname, place.port, timeout=600)


def _key(load: Load) -> dict[str, str]:
    return {"Authorization": f"Bearer {load.api_key}"} if load.api_key else {}


def _get(load: Load, path: str) -> str:
    with contextlib.closing(_connect(load)) as line:
        line.request("GET", path, headers=_key(load))
        answer = line.getresponse()
        content = answer.read().decode()
    if answer.status != 200:
        raise UserError(f"{load.address} answers {path} by {answer.status}: {content[:200]}")
    return content


def _voices(load: Load) -> list[str]:
    try:
        return [voice["id"] for voice in json.loads(_get(load, "/v1/audio/voices"))["data"]]
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"nothing answers at {load.address} ({error}): start it by `speechgen serve`") from error


def _watch(seen: _Seen, done: threading.Event) -> None:
    """Note the server's memory now and then, and how much had been asked."""
    while not done.wait(LOOK_SECONDS):
        with contextlib.suppress(OSError, http.client.HTTPException, UserError):
            told = re.search(r"^process_resident_memory_bytes (\S+)", _get(seen.load, "/metrics"), re.MULTILINE)
            if told:
                seen.memory.append((seen.asked, float(told[1]) / 2**20))


def _growth(memory: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Memory at the end, and by which part it grew behind the warm-up; medians of a fifth of what was noted then."""
    if not memory:
        return 0.0, 0.0
    warm = [size for asked, size in memory if asked >= WARM_UP_SHARE * memory[-1][0]]
    part = max(1, len(warm) // 5)
    before, behind = statistics.median(warm[:part]), statistics.median(warm[-part:])
    return behind, behind / before - 1


def _figures(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    first, last = (sorted(pair[index] for pair in times) for index in (0, 1))
    figures = {"count": float(len(times))}
    for name, values in (("first_byte", first), ("whole", last)):
        for share in (50, 95):
            figures[f"{name}_p{share}"] = round(values[min(len(values) - 1, share * len(values) // 100)], 4)
    return figures


@contextlib.contextmanager
def own_server(options: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Start `speechgen serve` with options on a free port, warm; yield its address and its log, and end it.

    Raises:
        UserError: it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as errors:
            command = [sys.executable, "-m", "speechgen", "serve", "--port", "0", "--warm-up", *options]
            server = subprocess.Popen(command, stderr=errors, env=os.environ | {"SPEECHGEN_API_KEY": ""})
        try:
            deadline = time.monotonic() + START_SECONDS
            while not (told := re.search(r"serving (http://\S+)/", log.read_text())):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"the server did not start: {' '.join(log.read_text().split()) or 'it said nothing'}")
                time.sleep(0.05)
            yield told[1], log
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(60)
            server.kill()
            server.wait()
