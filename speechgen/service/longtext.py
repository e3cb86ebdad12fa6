"""Long texts: sound goes to the disk piece by piece, and a run that ended suddenly is continued where it was.

While `out.wav` is being made, the folder `out.wav.partial` beside it holds

    header.json    what was asked, as a digest that covers voice and checkpoints too; the seed; the format of this folder
    pieces.jsonl   a line for each finished piece: its text, its last sample, the work it took, warnings; of those that a
                   picture shows, where their phones lie
    samples.f32    their samples, float32; what lies behind the last finished piece is cut off when the run is continued

Each piece depends on the request, the seed and its own number alone, so that a continued run gives the same bytes as one
that was never interrupted. Memory holds one piece; `out.wav` is encoded from the disk and appears whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechgen.audio.io import write_audio
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.carriers import Chunk
from speechgen.service import journal, voices
from speechgen.service.engine import Engine
from speechgen.service.plot import LONGEST_SECONDS
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult, provenance

__all__ = ["LONG_CHARACTERS", "partial_folder", "synthesize_to_file"]

LONG_CHARACTERS = 5000
"""Longer texts, about five minutes of speech, are worth continuing."""
FORMAT = 1


def partial_folder(out: Path) -> Path:
    """Where the finished pieces of `out` lie while it is being made."""
    return out.with_name(f"{out.name}.partial")


def synthesize_to_file(
    engine: Engine, request: SynthesisRequest, out: Path, *, resume: bool = False, progress: Progress | None = None
) -> SynthesisResult:
    """Speak a request into a file.

    Args:
        engine: speaks.
        request: from `SynthesisRequest.checked`.
        out: file to write; its suffix says the format.
        resume: continue what an earlier run left; without one, begin.
        progress: called with (done, total).

    Returns:
        The result; its samples are read from the disk when they are looked at.

    Raises:
        UserError: something that was given cannot be used, what was left is of another request, or was not to be continued.
    """
    label = voices.read_source(request.ref, request.voice).label
    partial = _Partial(partial_folder(out))
    digest, started = _digest(request), time.perf_counter()
    engine.load(request.pipeline)
    load_seconds = time.perf_counter() - started
    seed = partial.begin(digest, request.seed, resume=resume)
    try:
        partial.fill(engine, request.model_copy(update={"seed": seed}), progress)
    except UserError:
        if not partial.entries:
            partial.remove()
        raise
    entries = partial.entries
    result = SynthesisResult(
        samples=partial.samples(),
        rate=entries[0]["rate"],
        seed=seed,
        pipeline=request.pipeline,
        voice=label,
        device=str(engine.device),
        threads=torch.get_num_threads(),
        load_seconds=load_seconds,
        synthesis_seconds=sum(entry["work_seconds"] for entry in entries),
        pieces=tuple(entry["text"] for entry in entries if entry["text"]),
        warnings=tuple(dict.fromkeys(line for entry in entries for line in entry["warnings"])),
        provenance=provenance(f"pipeline {Path(request.pipeline).stem}", seed),
        alignment=tuple(_alignment(entry["alignment"]) for entry in entries if entry.get("alignment")),
    )
    write_audio(out, partial.seconds(result.rate), result.rate, comment=result.provenance)
    partial.remove()
    return result


def _digest(request: SynthesisRequest) -> str:
    """Of all that the sound depends on: the request, voices, pipeline, checkpoints, and this version."""
    parts = (journal.pipeline_digest(request.pipeline), journal.request_digest(request))
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


@dataclass
class _Partial:
    """The folder of a run that is under way."""

    folder: Path

    def __post_init__(self) -> None:
        self.header, self.pieces = self.folder / "header.json", self.folder / "pieces.jsonl"
        self.sound = self.folder / "samples.f32"
        self.entries: list[dict[str, Any]] = []

    def begin(self, digest: str, seed: int | None, *, resume: bool) -> int:
        """Open the folder, or create it, and return the seed of the run.

        Raises:
            UserError: it is of another request, or there and not to be continued, or the disk refuses.
        """
        entries = journal.read(self.pieces)
        if entries and not resume:
            raise UserError(f"{self.folder} holds {_count(entries)} pieces: continue by --resume, or remove that folder")
        known = self._read_header() if entries else None
        if known is not None and known.get("request") != digest:
            raise UserError(
                f"{self.folder} holds {_count(entries)} pieces of another request: text, voice, options, checkpoints or "
                "version differ; give them as they were, or remove that folder"
            )
        try:
            self.folder.mkdir(exist_ok=True)
            if known is None:
                seed = secrets.randbelow(2**31) if seed is None else seed
                self.pieces.unlink(missing_ok=True)
                content = {"format": FORMAT, "request": digest, "seed": seed}
                checkpoint.write_text_atomically(self.header, json.dumps(content) + "\n")
            else:
                seed = int(known["seed"])
                self._cut(entries)
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}") from error
        return seed

    def _read_header(self) -> dict[str, Any]:
        try:
            content = json.loads(self.header.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.header} is missing or damaged ({error}): remove that folder and begin anew") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("seed"), int):
            raise UserError(f"{self.header} is not of this version: remove that folder and begin anew")
        return content

    def _cut(self, entries: list[dict[str, Any]]) -> None:
        """Keep the pieces whose samples are on the disk, and nothing behind them."""
        size = self.sound.stat().st_size if self.sound.is_file() else 0
        self.entries = [entry for entry in entries if 4 * entry["stop"] <= size]
        journal.rewrite(self.pieces, self.entries)
        if self.sound.is_file():
            os.truncate(self.sound, 4 * self._stop)

    @property
    def _stop(self) -> int:
        """Samples of the finished pieces."""
        return int(self.entries[-1]["stop"]) if self.entries else 0

    def fill(self, engine: Engine, request: SynthesisRequest, progress: Progress | None) -> None:
        """Speak the pieces that lack.

        Raises:
            UserError: something that was given cannot be used, or the disk refuses.
        """
        first = 1 + max((entry["piece"] for entry in self.entries), default=-1)
        if self.entries and first == self.entries[0]["pieces"]:
            return
        started = time.perf_counter()
        try:
            with self.sound.open("ab" if self.entries else "wb", buffering=0) as file:
                for chunk in engine.stream(request, spans=False, first_piece=first, progress=progress):
                    content = memoryview(chunk.samples.float().numpy().astype("<f4").tobytes())
                    stop = self._stop + len(chunk.samples)
                    while content:
                        content = content[file.write(content) :]
                    os.fsync(file.fileno())
                    now = time.perf_counter()
                    entry: dict[str, Any] = {"piece": chunk.piece, "pieces": chunk.pieces, "rate": chunk.rate, "stop": stop}
                    entry |= {"work_seconds": now - started, "text": chunk.text, "warnings": list(chunk.warnings)}
                    entry |= self._shown(chunk)
                    journal.append(self.pieces, entry)
                    self.entries.append(entry)
                    started = now
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}") from error

    def _shown(self, chunk: Chunk) -> dict[str, Any]:
        """What a picture needs of the piece that comes next, if it reaches so far."""
        if chunk.alignment is None:
            return {}
        placed = replace(chunk.alignment, start=chunk.alignment.start + self._stop / chunk.rate)
        return {"alignment": _told(placed)} if placed.start < LONGEST_SECONDS else {}

    def seconds(self, rate: int) -> Iterator[Tensor]:
        """The samples, second by second."""
        with self.sound.open("rb") as file:
            for start in range(0, self._stop, rate):
                yield torch.from_numpy(np.fromfile(file, dtype="<f4", count=min(rate, self._stop - start)))

    def samples(self) -> Tensor:
        """All samples [L], read from the disk when they are looked at."""
        if not self._stop:
            return torch.zeros(0)
        return torch.from_numpy(np.memmap(self.sound, dtype="<f4", mode="c", shape=(self._stop,)))

    def remove(self) -> None:
        """Delete the folder: the file is there."""
        shutil.rmtree(self.folder)


def _told(alignment: Alignment) -> dict[str, Any]:
    """An alignment ready for JSON."""
    return {**vars(alignment), "durations": alignment.durations.tolist(), "tokens": alignment.tokens.tolist()}


def _alignment(told: dict[str, Any]) -> Alignment:
    """What `_told` made JSON of."""
    tensors = {name: torch.tensor(told[name], dtype=torch.int64) for name in ("durations", "tokens")}
    return Alignment(**{**told, **tensors, "symbols": tuple(told["symbols"])})


def _count(entries: list[dict[str, Any]]) -> str:
    """How far a run came: finished pieces of all."""
    return f"{1 + max(entry['piece'] for entry in entries)} of {entries[0]['pieces']}"
