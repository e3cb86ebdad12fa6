"""Memory-mapped features of a prepared folder: `features/<kind>-<hash8>/{data.bin, index.json}`.

All entries of a kind lie in one flat file; the index says where each begins. The folder's name carries the hash of
its producer (settings, checkpoint fingerprint ...), so features of another producer are never mistaken for these.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechgen.core.errors import UserError

__all__ = ["KINDS", "FeatureStore", "FeatureWriter", "find", "producer_hash"]

KINDS: dict[str, tuple[str, int | None]] = {
    "audio": ("int16", 0),  # [L] at 24 kHz, 32768 = full scale
    "mel": ("float16", 100),  # [T, 100]
    "latents": ("float16", None),  # [T'', D] normalised
    "phonemes": ("int16", 0),  # [S]
    "characters": ("int32", 0),  # [S] code points
    "alignment": ("int16", 0),  # [S + 1] mel frames at which characters begin, and at which the last one ends
    "tokens": ("int16", 0),  # [T']
    "labels": ("int16", 0),  # [T'] phone of each token frame, 0 = silence
    "pitch": ("float32", 0),  # [T] Hz, 0 = unvoiced
    "codes": ("int16", None),  # [T, Q] of a codec
}
"""Feature kinds: stored dtype and width (size of the trailing dimension, 0 = none, None = that of the first entry)."""


def producer_hash(producer: Mapping[str, Any]) -> str:
    """Return 8 hex digits that identify what made a feature."""
    return hashlib.sha256(json.dumps(producer, sort_keys=True).encode()).hexdigest()[:8]


def find(folder: Path, kind: str) -> dict[str, Path]:
    """Return {hash: feature folder} of every finished feature of `kind` in a prepared folder."""
    found = sorted((folder / "features").glob(f"{kind}-*/index.json"))
    return {path.parent.name.rpartition("-")[2]: path.parent for path in found}


class FeatureWriter:
    """Writes one feature of a prepared folder. Nothing is visible until the `with` block ends without an error."""

    def __init__(self, folder: Path, kind: str, producer: Mapping[str, Any]) -> None:
        self.dtype, self.width = KINDS[kind]
        self.producer = dict(producer)
        self.target = folder / "features" / f"{kind}-{producer_hash(producer)}"
        self._beside = self.target.with_name(f".{self.target.name}.{os.getpid()}")
        self._offsets: dict[str, tuple[int, int]] = {}
        self._written = 0

    def __enter__(self) -> FeatureWriter:
        shutil.rmtree(self._beside, ignore_errors=True)  # of a killed process that had this number
        self._beside.mkdir(parents=True)
        self._file = open(self._beside / "data.bin", "wb")
        return self

    def add(self, cut_id: str, values: NDArray[Any]) -> None:
        """Append the entry of one cut: `values` [N] or [N, width]."""
        if self.width is None:
            self.width = values.shape[1]
        expected = (len(values), self.width) if self.width else (len(values),)
        if values.shape != expected:
            raise ValueError(f"{self.target.name}: {cut_id} has shape {values.shape}, expected {expected}")
        if cut_id in self._offsets:
            raise ValueError(f"{self.target.name}: {cut_id} was added twice")
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).tobytes())
        self._offsets[cut_id] = (self._written, len(values))
        self._written += len(values)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                index = {"producer": self.producer, "dtype": self.dtype, "width": self.width or 0, "offsets": self._offsets}
                (self._beside / "index.json").write_text(json.dumps(index), encoding="utf-8")
                shutil.rmtree(self.target, ignore_errors=True)
                self._beside.rename(self.target)
        finally:
            shutil.rmtree(self._beside, ignore_errors=True)  # gone already if it was renamed


class FeatureStore:
    """Reads one feature folder. Entries are views of the memory map; the map opens on first use, in each process anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = json.loads((path / "index.json").read_text(encoding="utf-8"))
            self.producer: dict[str, Any] = index["producer"]
            self.dtype, self.width = np.dtype(index["dtype"]), int(index["width"])
            self.offsets: dict[str, tuple[int, int]] = index["offsets"]
            size = (path / "data.bin").stat().st_size
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error!r}): remove it and run `speechgen prepare` again") from error
        entries = sum(length for _, length in self.offsets.values())
        if size != entries * max(1, self.width) * self.dtype.itemsize:
            raise UserError(
                f"{path}/data.bin holds {size} bytes, not what index.json says: remove the folder and prepare it again"
            )
        self._data: NDArray[Any] | None = None

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self.offsets

    def __len__(self) -> int:
        return len(self.offsets)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}

    def length(self, cut_id: str) -> int:
        """Number of entries (samples, frames, symbols) of a cut."""
        return self.offsets[cut_id][1]

    def get(self, cut_id: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return entries [start, stop) of a cut, clipped to what it has: [N] or [N, width]."""
        first, length = self.offsets[cut_id]
        stop = length if stop is None else min(stop, length)
        return self._entries()[first + min(start, length) : first + stop]

    def largest(self) -> int:
        """The largest value in it, such as the last id that is used; -1 if it is empty."""
        return int(self._entries().max(initial=-1))

    def _entries(self) -> NDArray[Any]:
        """All entries [N] or [N, width]."""
        if self._data is None:
            shape = (-1, self.width) if self.width else (-1,)
            size = (self.path / "data.bin").stat().st_size
            # An empty file cannot be mapped.
            flat = np.memmap(self.path / "data.bin", self.dtype, mode="r") if size else np.empty(0, self.dtype)
            self._data = flat.reshape(shape)
        return self._data
