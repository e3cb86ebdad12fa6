"""What a run tells: metrics.jsonl and TensorBoard on disk, a progress bar (or plain lines) on the terminal.

Every rank may log; only the first writes. A line of metrics.jsonl is one JSON object with "step", "kind" ("train" or
"validation"), "seconds" since the start of this session, and figures.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch.utils.tensorboard import SummaryWriter

from speechgen.core.protocols import Sample

__all__ = ["ProgressStyle", "RunLog"]

ProgressStyle = Literal["auto", "bar", "lines", "none"]


class RunLog:
    """Log of one session of a run. A context manager: opening it drops entries after `step`, which a resume repeats."""

    def __init__(self, folder: Path, *, step: int, steps: int, style: ProgressStyle = "auto", active: bool = True) -> None:
        self._folder, self._first, self._steps = folder, step, steps
        self._started = time.monotonic()
        self._console = Console(stderr=True)
        if style == "auto":
            style = "bar" if self._console.is_terminal else "lines"
        self._active, self._style = active, style if active else "none"
        self._file: TextIO | None = None
        self._board: SummaryWriter | None = None
        columns = (MofNCompleteColumn(), BarColumn(None), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("", total=steps, completed=step)

    def __enter__(self) -> RunLog:
        if self._active:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / "metrics.jsonl"
            kept = _entries_until(path, self._first)
            self._file = path.open("w", encoding="utf-8")
            self._file.writelines(kept)
            self._file.flush()
            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=self._first + 1)
        if self._style == "bar":
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._style == "bar":
            self._bar.stop()
        if self._file and self._board:
            self._file.close()
            self._board.close()

    def figures(self, step: int, kind: Literal["train", "validation"], values: Mapping[str, float]) -> None:
        """Write figures of `step`; those that are not finite are null in the JSON."""
        if self._file and self._board:
            entry = {"step": step, "kind": kind, "seconds": round(time.monotonic() - self._started, 3)}
            entry |= {key: value if math.isfinite(value) else None for key, value in values.items()}
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{key}", value, step)

    def sample(self, step: int, sample: Sample) -> None:
        """Write audio and a picture of the mel to TensorBoard."""
        if not self._board:
            return
        if sample.audio is not None:
            audio = sample.audio.detach().float().cpu().clamp(-1, 1)  # [L]
            self._board.add_audio("sample/audio", audio[None], step, sample_rate=sample.rate)
        if sample.mel is not None:
            mel = sample.mel.detach().float().cpu().T.flip(0)  # [M, T], low bins at the bottom
            span = (mel.max() - mel.min()).clamp(min=1e-5)
            self._board.add_image("sample/mel", ((mel - mel.min()) / span)[None], step)
        self._board.flush()

    def progress(self, step: int, loss: float, *, line: bool) -> None:
        """Show where the run is: the bar always, a plain line if `line`."""
        rate = (step - self._first) / max(1e-6, time.monotonic() - self._started)
        left = _clock((self._steps - step) / max(rate, 1e-9))
        told = f"loss {loss:.4f}  {rate:.2f} steps/s  {left} left"
        if self._style == "bar":
            self._bar.update(self._task, completed=step, description=told)
        elif self._style == "lines" and line:
            self._console.print(f"step {step}/{self._steps}  {told}", highlight=False, soft_wrap=True)

    def message(self, text: str) -> None:
        """Tell the user something once."""
        if self._style != "none":
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _entries_until(path: Path, step: int) -> list[str]:
    """Whole lines of a metrics file up to `step`; a line that was cut off is dropped."""
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("}\n") and json.loads(line)["step"] <= step:
            kept.append(line)
    return kept


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
