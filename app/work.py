"""The page's jobs: handed to the queue, followed until they are over, stopped when the visitor says so or leaves."""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError
from speechgen.service.jobs import Job, JobQueue, State

from .components import said, sentence
from .live import LiveSounds

__all__ = ["Page", "Sounding", "Turn", "Update"]

Update = dict[Any, Any]
"""New values by component."""
log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often a job's status is told."""


@dataclass(eq=False)
class Turn:
    """What one press of a tab's button set going.

    Attributes:
        name: tells it from those before, so that a press of Stop that arrives late stops what it was meant for.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(4))
    stopped: bool = False
    _job: Job[Any] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, job: Job[Any]) -> None:
        """Note the job that is under way now; it is cancelled if Stop was pressed before."""
        with self._lock:
            self._job = job
            stopped = self.stopped
        if stopped:
            job.cancel()

    def stop(self) -> None:
        """Cancel the job, and those to come."""
        with self._lock:
            self.stopped, job = True, self._job
        if job is not None:
            job.cancel()


@dataclass
class Page:
    """What the tabs share.

    Attributes:
        queue: where work goes.
        sounds: those that are being made.
        voices_changed: a counter; whoever stores or removes a voice adds 1.
        voice_lists: lists of voices, filled again when that happens.
    """

    queue: JobQueue
    sounds: LiveSounds = field(default_factory=LiveSounds)
    voices_changed: gr.State | None = None
    voice_lists: list[gr.Dropdown] = field(default_factory=list)
    _turns: dict[tuple[str, str], Turn] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def alone(self, visitor: str, tab: str, turn: Turn, updates: Generator[Update, None, None]) -> Iterator[Update]:
        """Yield what a visitor's tab has to show, until the visitor begins the same anew: then this is stopped."""
        key = (visitor, tab)
        with self._lock:
            before = self._turns.get(key)
            self._turns[key] = turn
        if before is not None:
            before.stop()
        shown: Update = {}
        try:
            for update in updates:
                if self._turns.get(key) is not turn:
                    break
                # The page drops an update if the next one overtakes it, all but the last: each repeats those before it.
                shown = {**shown, **update}
                yield shown
            if self._turns.get(key) is not turn:  # Gradio shows the last once more: it must not stand over the next turn's
                yield {part: gr.skip() for part in shown}
        finally:
            updates.close()
            with self._lock:
                if self._turns.get(key) is turn:
                    del self._turns[key]

    def wire(
        self,
        tab: str,
        begin: gr.Button,
        stop: gr.Button,
        status: gr.HTML,
        updates: Callable[[dict[Any, Any], Turn, Path], Generator[Update, None, None]],
        inputs: set[Any],
        outputs: list[Any],
    ) -> None:
        """Let one button begin a tab's work and another stop it.

        Args:
            tab: its title.
            begin: the one.
            stop: the other, which can be pressed as long as there is something to stop.
            status: where faults are told.
            updates: called with the values by component, the turn that is to know the jobs, and a folder for files that
                lasts as long as the turn; yields what to show, raises what went wrong.
            inputs: components whose values it gets.
            outputs: components that it updates.
        """
        shown = gr.Textbox(visible="hidden")

        def all_updates(data: dict[Any, Any], turn: Turn) -> Generator[Update, None, None]:
            yield {status: said("Beginning …", share=0.0), shown: turn.name, stop: gr.Button(interactive=True)}
            with tempfile.TemporaryDirectory(prefix="speechgen-") as folder:
                try:
                    yield from updates(data, turn, Path(folder))
                except Exception as error:
                    if not isinstance(error, UserError):
                        log.exception("the tab %s failed", tab)
                    uploads = [value for component, value in data.items() if isinstance(component, gr.Audio)]
                    yield {status: said(sentence(error, *filter(None, uploads)), kind="bad")}
                yield {stop: gr.Button(interactive=False)}

        def run(data: dict[Any, Any], request: gr.Request) -> Iterator[Update]:
            turn = Turn()
            yield from self.alone(str(request.session_hash), tab, turn, all_updates(data, turn))

        def halt(name: str, request: gr.Request) -> None:
            self.stop(str(request.session_hash), name)

        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        begin.click(run, inputs, [status, stop, shown, *outputs], concurrency_limit=None, trigger_mode="multiple", **quiet)
        stop.click(halt, shown, None, queue=False, **quiet)

    def stop(self, visitor: str, name: str | None = None) -> None:
        """Stop a visitor's turn of this name, or everything the visitor has set going."""
        with self._lock:
            turns = [turn for (whose, _), turn in self._turns.items() if whose == visitor and name in (None, turn.name)]
        for turn in turns:
            turn.stop()

    def follow(self, job: Job[Any], doing: str, live: str = "", sounding: Sounding | None = None) -> Iterator[str]:
        """Yield what to say of a job until it is over, whenever that changes."""
        before = ""
        while not job.wait(LOOK_SECONDS):
            now = self._tell(job, doing, live, sounding)
            if now != before:
                before = now
                yield now

    def _tell(self, job: Job[Any], doing: str, live: str, sounding: Sounding | None) -> str:
        if job.state is State.WAITING:
            ahead = self.queue.position(job) + self.queue.running
            return said(f"Waiting for {ahead} other {'job' if ahead == 1 else 'jobs'} …", share=0.0, live=live)
        done, total = job.progress
        share = done / total if total else 0.0
        if sounding is not None and sounding.seconds:
            share = max(share, sounding.share)
            return said(f"{doing} … {sounding.seconds:.1f} s of sound so far", share=share, live=live)
        return said(f"{doing} …" if total else "Loading the models …", share=share, live=live)


class Sounding:
    """The chunks of a job: kept, and passed on to the player of the page."""

    def __init__(self, sounds: LiveSounds, job: Job[Any]) -> None:
        self.token, self._sound = sounds.open()
        self.chunks: list[Any] = []
        self.seconds, self.share, self.first_seconds = 0.0, 0.0, 0.0
        self._job, self._lock, self._begun = job, threading.Lock(), time.perf_counter()
        job.listen(self._pump)

    def _pump(self) -> None:
        with self._lock:
            for chunk in self._job.take():
                if not self.seconds and len(chunk.samples):
                    self.first_seconds = time.perf_counter() - self._begun
                self.chunks.append(chunk)
                self._sound.push(chunk.samples, chunk.rate)
                self.seconds += len(chunk.samples) / chunk.rate
                self.share = (chunk.piece + (1 if chunk.last else 0.5)) / max(1, chunk.pieces)
            if self._job.over:
                self._sound.close()

    def close(self) -> list[Any]:
        """End the sound, and return all of it that there is."""
        self._pump()
        self._sound.close()
        return self.chunks
