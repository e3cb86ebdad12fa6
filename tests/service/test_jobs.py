"""The queue: order, bound, cancelling, time, shutdown, and that its jobs are what the engine would have made."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobCancelled, JobQueue, JobTimeout, QueueClosed, QueueFull, State
from speechgen.service.requests import SynthesisRequest

LONG = "One two three four five six seven eight. " * 20


def ask(text="Hello there.", **content):
    return SynthesisRequest.checked({"text": text, "pipeline": "tiny", **content})


@pytest.fixture
def queue(home):
    queue = JobQueue([Engine("cpu")], waiting=2)
    yield queue
    queue.close()


class Gate:
    """Work that reports until it is let go."""

    def __init__(self):
        self.started, self.opened, self.left = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, engine, progress):
        self.started.set()
        try:
            while not self.opened.wait(0.005):
                progress(1, 2)
        finally:
            self.left.set()
        return "through"


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def test_a_job_gives_what_the_engine_gives(queue):
    job = queue.synthesize(ask(seed=3))
    assert torch.equal(job.result().samples, Engine("cpu").synthesize(ask(seed=3)).samples)
    assert (job.state, job.progress[0], list(job.chunks())) == (State.DONE, job.progress[1], [])


def test_a_streamed_job_gives_chunks_and_the_same_joined(queue):
    job = queue.stream(
        ask("Hello there. And a second sentence, behind the first one, long enough to be a piece by itself now.")
    )
    chunks = list(job.chunks())
    result = job.result()
    assert len(chunks) > 1
    assert torch.equal(result.samples, torch.cat([chunk.samples for chunk in chunks]))
    assert (result.seed, result.voice, result.pipeline) == (job.request.seed, "buzz", "tiny")
    assert len(result.pieces) == chunks[0].pieces == len(result.alignment) == 3
    assert 0 < result.alignment[1].start < result.alignment[2].start < result.seconds


def test_whole_pieces_joined_are_what_synthesize_makes(queue):
    request = ask("One sentence that fills a piece of its own, or nearly so, with words. Another one stands behind it.", seed=1)
    streamed, whole = queue.stream(request, spans=False).result(), queue.synthesize(request).result()
    assert torch.equal(streamed.samples, whole.samples)
    assert [part.start for part in streamed.alignment] == pytest.approx([part.start for part in whole.alignment])


def test_without_keeping_there_is_no_result(queue):
    job = queue.stream(ask(), keep=False)
    assert sum(len(chunk.samples) for chunk in job.chunks()) > 0
    assert job.result() is None


def test_jobs_are_done_one_at_a_time_in_order(queue, gate):
    first = queue.run(gate)
    assert gate.started.wait(5)
    done = []
    others = [queue.run(lambda engine, progress, n=n: done.append(n)) for n in range(2)]
    assert [queue.position(job) for job in (first, *others)] == [0, 0, 1]
    assert (queue.running, queue.waiting) == (1, 2)
    gate.opened.set()
    assert all(job.wait(5) for job in others) and done == [0, 1]
    assert first.result() == "through"


def test_two_engines_do_two_jobs(home):
    queue, gates = JobQueue([Engine("cpu"), Engine("cpu")]), [Gate(), Gate()]
    try:
        jobs = [queue.run(gate) for gate in gates]
        assert all(gate.started.wait(5) for gate in gates)
    finally:
        for gate in gates:
            gate.opened.set()
        assert [job.result() for job in jobs] == ["through"] * 2
        queue.close()


def test_a_full_queue_refuses_and_says_for_how_long(queue, gate):
    queue.run(gate)
    assert gate.started.wait(5)
    waiting = [queue.run(lambda engine, progress: None) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 jobs are waiting") as caught:
        queue.run(lambda engine, progress: None)
    assert caught.value.retry_seconds >= 1
    waiting[0].cancel()
    queue.run(lambda engine, progress: None)  # a cancelled job makes room at once


def test_cancelling_ends_a_job_at_once_and_the_work_soon(queue, gate):
    job = queue.run(gate)
    assert gate.started.wait(5)
    job.cancel()
    assert job.state is State.CANCELLED
    with pytest.raises(JobCancelled):
        job.result()
    assert gate.left.wait(5)
    assert queue.run(lambda engine, progress: "next").result() == "next"


def test_a_cancelled_stream_stops_after_the_chunk_that_is_being_made(queue):
    job = queue.stream(ask(LONG))
    chunks = job.chunks()
    first = next(chunks)
    job.cancel()
    with pytest.raises(JobCancelled):
        list(chunks)
    queue.run(lambda engine, progress: None).result()
    assert first.pieces > 3 and not job.take()


def test_a_job_that_waits_can_be_cancelled_and_is_never_done(queue, gate):
    queue.run(gate)
    assert gate.started.wait(5)
    done = []
    job = queue.run(lambda engine, progress: done.append(1))
    job.cancel()
    gate.opened.set()
    queue.run(lambda engine, progress: None).result()
    assert not done and job.state is State.CANCELLED


@pytest.mark.parametrize("running", [True, False])
def test_time_runs_out_for_who_waits_and_for_the_work(queue, gate, running):
    blocker = None if running else queue.run(gate)
    if blocker:
        assert gate.started.wait(5)
    job = queue.run(gate if running else (lambda engine, progress: None), timeout=0.1)
    begun = time.monotonic()
    with pytest.raises(JobTimeout, match=r"longer than 0\.1 s"):
        job.result()
    assert time.monotonic() - begun < 2 and job.state is State.FAILED
    if running:
        assert gate.left.wait(5)


def test_faults_reach_who_asked_and_the_next_job_is_done(queue, caplog):
    with pytest.raises(UserError, match="unknown voice"):
        queue.synthesize(ask(voice="nobody")).result()
    with pytest.raises(UserError, match="unknown voice"):
        list(queue.stream(ask(voice="nobody")).chunks())

    def broken(engine, progress):
        raise ZeroDivisionError("of the model")

    with pytest.raises(ZeroDivisionError):
        queue.run(broken).result()
    assert "a job failed" in caplog.text
    assert queue.run(lambda engine, progress: 1).result() == 1


def test_listeners_hear_of_every_change(queue):
    job, heard = queue.stream(ask()), []
    job.listen(lambda: heard.append(job.state))
    job.result()
    queue.run(lambda engine, progress: None).result()
    assert heard[-1] is State.DONE and len(heard) > 2
    late = []
    job.listen(lambda: late.append(1))
    assert late == [1]


def test_closing_lets_jobs_finish_or_cancels_them(home):
    patient, hasty = JobQueue([Engine("cpu")]), JobQueue([Engine("cpu")])
    job = patient.run(lambda engine, progress: time.sleep(0.1) or "finished")
    patient.close(5)
    assert job.result() == "finished"
    gate = Gate()
    jobs = [hasty.run(gate), hasty.run(gate)]
    assert gate.started.wait(5)
    hasty.close()
    assert [job.state for job in jobs] == [State.CANCELLED] * 2 and gate.left.wait(5)
    for queue in (patient, hasty):
        with pytest.raises(QueueClosed):
            queue.run(gate)
