"""Batches: many rows spoken, or composed, by one engine, several processes, or Ray; each finished file is in the manifest.

Workers write the sound, beside and renamed; the process that began the batch alone writes the manifest. A sudden end
therefore loses at most what was being spoken, and `resume` speaks exactly the rows that the manifest does not hold.
"""

from __future__ import annotations

import functools
import importlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobCancelled
from speechgen.service.journal import file_digest
from speechgen.service.lists import Row
from speechgen.service.manifest import Manifest
from speechgen.service.requests import MusicRequest

__all__ = ["BatchReport", "run_batch"]

ENGINES = ("local", "ray")
BLOCKS = 1000
"""At most so many parts of a batch travel to Ray's workers: finished rows come back part by part."""
PARTS = 100
"""Progress of each row is told in so many parts."""
FAULTS = (UserError, ValueError, OSError, RuntimeError, MemoryError)
"""What fails a row, and not the batch."""


@dataclass(frozen=True)
class BatchReport:
    """How a batch ended; `failed` holds the manifest's lines of the rows that did."""

    spoken: int
    skipped: int
    failed: tuple[dict[str, Any], ...]


def run_batch(
    rows: list[Row],
    out_dir: Path,
    *,
    device: str = "auto",
    jobs: int = 1,
    engine: str = "local",
    resume: bool = False,
    loaded: Engine | None = None,
    progress: Progress | None = None,
) -> BatchReport:
    """Speak all rows; a row that fails does not stop the others. Nor does what cannot be loaded, if some rows do without.

    Args:
        rows: from `read_rows`.
        out_dir: for the files and manifest.jsonl.
        device: where the networks run.
        jobs: worker processes, each with its own engine and its share of the CPU threads.
        engine: local, or ray for the nodes of a Ray cluster that share `out_dir`.
        resume: skip the rows that the manifest says are finished.
        loaded: an engine that is there already, for one local job.
        progress: called with parts of 100 for every row; within rows too, where there is one job. If it raises JobCancelled,
            the row that is being made is left.

    Raises:
        UserError: the manifest says otherwise, the disk refuses, a worker died, nothing can be loaded, or Ray is not installed.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}: allowed: {', '.join(ENGINES)}")
    if engine == "ray":
        _import_ray()
    manifest = Manifest(out_dir)
    waiting = manifest.begin(rows, resume=resume)
    skipped = count = len(rows) - len(waiting)

    def report(done: int, total: int) -> None:
        if progress:
            progress(PARTS * count + PARTS * done // max(1, total), PARTS * len(rows))

    if engine == "ray":
        ended = _with_ray(waiting, out_dir, device, jobs)
    else:
        ended = _locally(waiting, out_dir, device, jobs, loaded, report)
    failed = []
    for entry in ended:
        manifest.append(entry)
        count += 1
        if "error" in entry:
            failed.append(entry)
        report(0, 1)
    return BatchReport(len(waiting) - len(failed), skipped, tuple(sorted(failed, key=lambda entry: int(entry["row"]))))


def _speak(engine: Engine, row: Row, out_dir: Path, report: Progress | None = None) -> dict[str, Any]:
    """Speak or compose one row and return its line of the manifest.

    Raises:
        JobCancelled: `report` did.
    """
    path, request = out_dir / row.path, row.request
    try:
        if isinstance(request, MusicRequest):
            result = engine.compose(request, report)
        else:
            result = engine.synthesize(request, report)
        if report:
            report(1, 1)  # who stopped it may have removed the folder
        path.parent.mkdir(parents=True, exist_ok=True)
        result.save(path)
    except JobCancelled:
        raise
    except FAULTS as error:
        return _failed(row, error)
    return {
        **_entry(row),
        "seed": result.seed,
        "seconds": round(result.seconds, 3),
        "rtf": round(result.rtf, 4),
        "sha256": file_digest(path),
        "warnings": list(result.warnings),
    }


def _entry(row: Row) -> dict[str, Any]:
    """What every line of the manifest says."""
    entry: dict[str, Any] = {"row": row.number, "path": row.path, "row_sha256": row.digest}
    return {**entry, "prompt": row.request.prompt} if isinstance(row.request, MusicRequest) else entry


def _failed(row: Row, error: Exception) -> dict[str, Any]:
    return {**_entry(row), "error": " ".join(str(error).split()) or type(error).__name__}


def _locally(
    rows: list[Row], out_dir: Path, device: str, jobs: int, loaded: Engine | None, report: Progress
) -> Iterator[dict[str, Any]]:
    if not rows:
        return
    if jobs == 1:
        engine = loaded or Engine(device)
        broken = _load(engine, rows)
        for row in rows:
            error = broken.get(_maker(row))
            yield _failed(row, error) if error else _speak(engine, row, out_dir, report)
        return
    workers = min(jobs, len(rows))
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(threads,))
    try:
        for future in as_completed([pool.submit(_work, row, out_dir, device) for row in rows]):
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError("a worker process died, perhaps for lack of memory: continue by --resume with fewer --jobs") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _load(engine: Engine, rows: list[Row]) -> dict[str | None, Exception]:
    """Load what the rows need, and return why some of it cannot be loaded; if nothing can, that is told once, by raising."""
    broken: dict[str | None, Exception] = {}
    needed = {_maker(row): isinstance(row.request, MusicRequest) for row in rows}
    for name, music in needed.items():
        try:
            if music:
                engine.load_maker(name)
            else:
                engine.load(str(name))
        except FAULTS as error:
            broken[name] = error
    if len(broken) == len(needed):
        raise next(iter(broken.values()))
    return broken


def _maker(row: Row) -> str | None:
    """The model of a row of music, the pipeline of another."""
    return row.request.model if isinstance(row.request, MusicRequest) else row.request.pipeline


def _start_worker(threads: int) -> None:
    """Prepare a worker: its threads; Ctrl-C is the parent's matter; it ends when its parent does, however that was."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _work(row: Row, out_dir: Path, device: str) -> dict[str, Any]:
    return _speak(_engine(device), row, out_dir)


@functools.cache
def _engine(device: str) -> Engine:
    """The engine of this worker process."""
    return Engine(device)


def _import_ray() -> Any:
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise UserError(f"--engine ray needs Ray ({error}): pip install 'speechgen[ray]'") from error


class _RaySpeaker:
    """What each of Ray's actors runs."""

    def __init__(self, out_dir: str, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._engine, self._out_dir = Engine(device), Path(out_dir)

    def __call__(self, item: dict[str, str]) -> dict[str, str]:
        return {"entry": json.dumps(_speak(self._engine, Row.model_validate_json(item["row"]), self._out_dir))}


def _with_ray(rows: list[Row], out_dir: Path, device: str, jobs: int) -> Iterator[dict[str, Any]]:
    if not rows:
        return
    ray = _import_ray()
    threads = max(1, torch.get_num_threads() // jobs)
    items = ray.data.from_items([{"row": row.model_dump_json()} for row in rows], override_num_blocks=min(len(rows), BLOCKS))
    done = items.map(
        _RaySpeaker,
        fn_constructor_args=(str(out_dir.resolve()), device, threads),
        concurrency=jobs,
        num_cpus=threads,
        num_gpus=1 if device.startswith("cuda") else None,
    )
    for item in done.iter_rows():
        yield json.loads(item["entry"])
