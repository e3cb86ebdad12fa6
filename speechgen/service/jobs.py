"""A bounded queue in front of the engine: what page and server hand their work to.

    queue = JobQueue([Engine()])
    job = queue.stream(request)            # or queue.synthesize(request), queue.run(work); raises QueueFull
    for chunk in job.chunks(): ...         # sound while the rest is made
    job.result()                           # the whole; raises what went wrong
    job.cancel()                           # from any thread

One thread works for each engine, and takes one job at a time: with one engine, a job has all CPU threads to itself, and two
at once cost what they cost one after the other. A job that is cancelled or out of time is over for who waits for it at
once; its thread leaves it at the next progress call or chunk.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.pipeline.carriers import Chunk
from speechgen.service import catalog
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult, join_chunks

__all__ = ["Job", "JobCancelled", "JobQueue", "JobTimeout", "QueueClosed", "QueueFull", "State"]

Result = TypeVar("Result")
log = logging.getLogger(__name__)

WAITING, TIMEOUT_SECONDS = 16, 600.0
"""Defaults: jobs that may wait, and seconds from the question to the end of the answer."""


class QueueFull(UserError):
    """No more jobs are taken now; `retry_seconds` is a guess at when there will be room."""

    def __init__(self, waiting: int, retry_seconds: int) -> None:
        super().__init__(f"{waiting} jobs are waiting already: try again in {retry_seconds} s")
        self.retry_seconds = retry_seconds


class QueueClosed(UserError):
    """The program is shutting down."""


class JobCancelled(UserError):
    """The job was cancelled."""


class JobTimeout(UserError):
    """The job took too long."""


class State(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Generic[Result]):
    """Work that was handed in. All methods may be called from any thread; `chunks` is for one reader.

    Attributes:
        request: what is to be spoken, its seed chosen; None for other work.
    """

    def __init__(
        self, work: Callable[[Engine, Job[Result]], Result], timeout: float, request: SynthesisRequest | None = None
    ) -> None:
        """Made by JobQueue."""
        self.request = request
        self._work = work
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._changed = threading.Condition()
        self._state = State.WAITING
        self._progress = (0, 0)
        self._chunks: deque[Chunk] = deque()
        self._result: Result | None = None
        self._error: Exception | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    @property
    def progress(self) -> tuple[int, int]:
        """How much is done, and of how much; (0, 0) before it is known."""
        return self._progress

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._state not in (State.WAITING, State.RUNNING)

    @property
    def error(self) -> Exception | None:
        """What `result` raises, once it is over."""
        return self._error

    def cancel(self) -> None:
        """End it, unless it is over."""
        self._end(State.CANCELLED, error=JobCancelled("the job was cancelled"))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over and return whether it is."""
        return self._wait_for(lambda: self.over, timeout)

    def result(self) -> Result:
        """Wait for what came out.

        Raises:
            UserError: what was given cannot be used; or JobCancelled, JobTimeout.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        return cast(Result, self._result)

    def chunks(self) -> Iterator[Chunk]:
        """Yield sound as it is made; none for a job that is not streamed.

        Raises:
            UserError: as `result`, behind the chunks that were made before.
        """
        while True:
            self._wait_for(lambda: bool(self._chunks) or self.over, None)
            made = self.take()
            yield from made
            if not made and self.over:
                break
        if self._error is not None:
            raise self._error

    def take(self) -> list[Chunk]:
        """Return the chunks that are there, without waiting."""
        with self._changed:
            made = list(self._chunks)
            self._chunks.clear()
        return made

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, in the thread that made it; at once if there is something already."""
        with self._changed:
            self._listeners.append(listener)
            ready = bool(self._chunks) or self.over
        if ready:
            listener()

    def expire(self) -> bool:
        """End it if its time is up; return whether it is over."""
        if not self.over and time.monotonic() >= self._deadline:
            self._end(State.FAILED, error=JobTimeout(f"the job took longer than {self._timeout:g} s: ask for less at once"))
        return self.over

    def report(self, done: int, total: int) -> None:
        """Note progress; the thread that works calls this.

        Raises:
            JobCancelled: it is over, whyever: leave it.
        """
        self._check()
        self._progress = (done, total)
        self._tell()

    def push(self, chunk: Chunk) -> None:
        """Hand on sound; the thread that works calls this.

        Raises:
            JobCancelled: as `report`.
        """
        self._check()
        with self._changed:
            self._chunks.append(chunk)
        self._tell()

    def perform(self, engine: Engine) -> None:
        """Do the work, unless it is over before it began."""
        with self._changed:
            if self.expire():
                return
            self._state = State.RUNNING
        self._tell()
        try:
            self._end(State.DONE, result=self._work(engine, self))
        except UserError as error:
            self._end(State.FAILED, error=error)
        except Exception as error:
            log.exception("a job failed")
            self._end(State.FAILED, error=error)

    def _check(self) -> None:
        if self.expire():
            raise JobCancelled("the job is over")

    def _end(self, state: State, *, result: Result | None = None, error: Exception | None = None) -> None:
        """Whoever comes first decides how it ended."""
        with self._changed:
            if self.over:
                return
            self._result, self._error, self._state = result, error, state
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def _wait_for(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for a condition, at most until the job's time is up."""
        with self._changed:
            if timeout is not None and timeout < self._deadline - time.monotonic():
                return self._changed.wait_for(condition, max(0.0, timeout))
            if not self._changed.wait_for(condition, max(0.0, self._deadline - time.monotonic())):
                self.expire()
            return condition()


class JobQueue:
    """Jobs in the order in which they came, and the threads that do them."""

    def __init__(self, engines: Sequence[Engine], *, waiting: int = WAITING, timeout: float = TIMEOUT_SECONDS) -> None:
        """Start one thread for each engine; nothing is loaded.

        Args:
            engines: one, unless there are several devices.
            waiting: jobs that may wait besides those being done.
            timeout: seconds that a job may take from the question on, unless it is given its own.
        """
        self.capacity, self.timeout = waiting, timeout
        self._changed = threading.Condition()
        self._jobs: deque[Job[Any]] = deque()
        self._running: list[Job[Any]] = []
        self._closed = False
        self._typical_seconds = 2.0
        names = [f"speechgen-{number}" for number in range(len(engines))]
        arguments = zip(names, engines, strict=True)
        self._threads = [threading.Thread(target=self._serve, args=(e,), name=name, daemon=True) for name, e in arguments]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return sum(not job.over for job in list(self._jobs))

    @property
    def running(self) -> int:
        """Jobs that are being done."""
        return len(self._running)

    def synthesize(self, request: SynthesisRequest, *, timeout: float | None = None) -> Job[SynthesisResult]:
        """Speak a request as Engine.synthesize does.

        Raises:
            QueueFull, QueueClosed: not now.
        """
        request = with_seed(request)
        return self._submit(Job(lambda engine, job: engine.synthesize(request, job.report), timeout or self.timeout, request))

    def stream(
        self, request: SynthesisRequest, *, spans: bool = True, keep: bool = True, timeout: float | None = None
    ) -> Job[SynthesisResult | None]:
        """Speak a request as Engine.stream does, into `chunks`.

        Args:
            request: its seed is chosen here if it has none.
            spans: parts of sentences, for an early beginning; False: whole pieces.
            keep: whether the chunks are also joined to a result; otherwise that is None.
            timeout: seconds, instead of the queue's own.

        Raises:
            QueueFull, QueueClosed: not now.
        """
        request = with_seed(request)

        def work(engine: Engine, job: Job[SynthesisResult | None]) -> SynthesisResult | None:
            asked = time.perf_counter()
            engine.load(request.pipeline)
            loaded, kept = time.perf_counter(), []
            with closing(
                cast(Generator[Chunk, None, None], engine.stream(request, spans=spans, progress=job.report))
            ) as chunks:
                for chunk in chunks:
                    job.push(chunk)
                    if keep:
                        kept.append(chunk)
            if not keep:
                return None
            voice = str(request.ref or request.voice or catalog.default_voice().name)
            return join_chunks(
                kept,
                pipeline=request.pipeline,
                voice=voice,
                seed=cast(int, request.seed),
                device=str(engine.device),
                seconds=(loaded - asked, time.perf_counter() - loaded),
            )

        return self._submit(Job(work, timeout or self.timeout, request))

    def run(self, work: Callable[[Engine, Progress], Result], *, timeout: float | None = None) -> Job[Result]:
        """Do anything else that needs the engine: store a voice, copy a recording, load a pipeline.

        Args:
            work: called with the engine and a callback (done, total) that raises when the job is to end.
            timeout: seconds, instead of the queue's own.

        Raises:
            QueueFull, QueueClosed: not now.
        """
        return self._submit(Job(lambda engine, job: work(engine, job.report), timeout or self.timeout))

    def position(self, job: Job[Any]) -> int:
        """How many jobs wait before this one; 0 if it is next, being done, or over."""
        waiting = [other for other in list(self._jobs) if not other.over]
        return waiting.index(job) if job in waiting else 0

    def close(self, seconds: float = 0.0) -> None:
        """Take no more jobs, give those that are there some seconds to finish, cancel the rest, end the threads."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._jobs and not self._running, seconds)
            left = [*self._jobs, *self._running]
            self._changed.notify_all()
        for job in left:
            job.cancel()
        for thread in self._threads:
            thread.join(timeout=30)

    def _submit(self, job: Job[Result]) -> Job[Result]:
        with self._changed:
            if self._closed:
                raise QueueClosed("the program is shutting down: no more jobs are taken")
            for other in [other for other in self._jobs if other.expire()]:
                self._jobs.remove(other)
            # A thread that is free takes a job without letting it wait.
            if len(self._jobs) >= self.capacity + len(self._threads) - len(self._running):
                seconds = self._typical_seconds * (len(self._jobs) + 1) / len(self._threads)
                raise QueueFull(len(self._jobs), max(1, round(seconds)))
            self._jobs.append(job)
            self._changed.notify_all()
        return job

    def _serve(self, engine: Engine) -> None:
        """Do jobs until the queue is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs) or self._closed)
                if not self._jobs:
                    return
                job = self._jobs.popleft()
                self._running.append(job)
            started = time.monotonic()
            job.perform(engine)
            with self._changed:
                self._running.remove(job)
                if job.state is State.DONE:
                    self._typical_seconds += 0.2 * (time.monotonic() - started - self._typical_seconds)
                self._changed.notify_all()
            del job  # and its sound, while the thread waits for the next


def with_seed(request: SynthesisRequest) -> SynthesisRequest:
    """The same request with a seed, chosen at random if it has none."""
    return request if request.seed is not None else request.model_copy(update={"seed": secrets.randbelow(2**31)})
