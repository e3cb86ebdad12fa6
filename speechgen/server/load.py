"""Many clients at once, and what they saw: answers by status, waiting times, and whether the server's memory grows.

Each client is a thread that asks one thing after the other: short texts in every format and way, lists, and now and then
something that is to be refused. Who is told to come again later does. Before them, one client asks alone, and then two
at once.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from speechgen.core.errors import UserError
from speechgen.server.asking import FAILED, KINDS, TEXTS, Load, Seen, ask, connect, get, voices_of

__all__ = ["Calm", "LoadReport", "measure", "own_server"]

START_SECONDS = 180.0
LOOK_SECONDS = 0.5
WARM_UP_SHARE = 0.2
"""Of the run: memory is compared behind it."""
ROUNDS = 10
"""How often one client asks twice, and two ask at once."""


@dataclass(frozen=True)
class Calm:
    """What one sentence, streamed as pcm, takes without a crowd; medians of ROUNDS.

    Attributes:
        first_byte: seconds that one client waits for it.
        two_at_once: time for two requests at once, as part of the time for the two one after the other.
    """

    first_byte: float
    two_at_once: float


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
    calm: Calm | None = None
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was seen that should not be."""
        return not self.faults

    def to_json(self) -> str:
        """One object."""
        return json.dumps({**asdict(self), "passed": self.passed})


class _Tally:
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

    def note(self, kind: str, answer: Seen) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[answer.status] += 1
            if answer.status == "200":
                self.times[kind].append((answer.first, answer.last))
            if answer.status not in (KINDS[kind].status, "429"):
                self.faults[f"{kind}: {answer.status}"] += 1


def measure(load: Load) -> LoadReport:
    """Ask, and tell what was seen.

    Raises:
        UserError: nothing answers there.
    """
    voices = voices_of(load)
    line = connect(load)
    for voice in voices:  # each is encoded once, when it is first asked for
        ask(line, load, KINDS["stream pcm"], {"input": TEXTS[0], "model": load.model, "voice": voice})
    line.close()
    calm = _calm(load)
    seen, done = _Tally(load), threading.Event()
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
        calm=calm,
        faults=tuple(f"{what} ({count} times)" for what, count in seen.faults.items()),
    )


def _calm(load: Load) -> Calm | None:
    """Ask alone, and two at once; None if the answers are no sound."""
    content = {"input": TEXTS[1], "model": load.model, "seed": 0}
    firsts: list[float] = []
    parts: list[float] = []
    with contextlib.closing(connect(load)) as one, contextlib.closing(connect(load)) as other, ThreadPoolExecutor(2) as clients:

        def asked(line: http.client.HTTPConnection) -> Seen:
            return ask(line, load, KINDS["stream pcm"], content)

        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answers = [asked(one), asked(one)]
            turned = time.perf_counter()
            answers += clients.map(asked, (one, other))
            if any(answer.status != "200" for answer in answers):
                return None
            parts.append((time.perf_counter() - turned) / (turned - begun))
            firsts += [answer.first for answer in answers[:2]]
    return Calm(round(statistics.median(firsts), 4), round(statistics.median(parts), 4))


def _ask_on(seen: _Tally, client: int, voices: Sequence[str]) -> None:
    """One client."""
    load, rng = seen.load, random.Random(client)
    kinds = [load.only] if load.only else list(KINDS)
    line = connect(load)
    while (number := seen.next()) is not None:
        kind = rng.choices(kinds, [KINDS[name].weight for name in kinds])[0]
        content = {"input": rng.choice(TEXTS), "model": load.model, "voice": rng.choice(voices), "seed": number}
        try:
            answer = ask(line, load, KINDS[kind], content)
        except (OSError, http.client.HTTPException) as error:
            answer = Seen(f"{FAILED}: {type(error).__name__}")
            line.close()
        seen.note(kind, answer)
        if answer.again:
            time.sleep(min(answer.again, 2.0) * rng.uniform(0.5, 1.0))
    line.close()


def _watch(seen: _Tally, done: threading.Event) -> None:
    """Note the server's memory now and then, and how much had been asked."""
    while not done.wait(LOOK_SECONDS):
        with contextlib.suppress(OSError, http.client.HTTPException, UserError):
            told = re.search(r"^process_resident_memory_bytes (\S+)", get(seen.load, "/metrics"), re.MULTILINE)
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
