"""Reading and writing audio files through soundfile (wav, flac, ogg, opus, mp3)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from speechgen.audio.ogg import fix_serial
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform

__all__ = ["FORMATS", "Limits", "decode_audio", "read_audio", "write_audio"]

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}
"""Output formats by file suffix: soundfile's container and subtype."""


def read_audio(path: Path, *, max_seconds: float | None = None) -> Waveform:
    """Read a file as mono float32 in [-1, 1] at its own rate; channels are averaged, NaN and infinities refused.

    Args:
        path: an audio file.
        max_seconds: refuse longer files before decoding them.

    Raises:
        UserError: missing, not audio, empty, too long, or holding values that are not finite.
    """
    if not path.is_file():
        raise UserError(f"no such audio file: {path}")
    return decode_audio(path, str(path), Limits(longest_seconds=max_seconds))


@dataclass(frozen=True)
class Limits:
    """What the header of a recording may say; None: anything."""

    shortest_seconds: float = 0.0
    longest_seconds: float | None = None
    channels: int | None = None
    rate: int | None = None


def decode_audio(source: Path | BinaryIO, name: str, limits: Limits) -> Waveform:
    """Read audio from a file that is open, or lies at a path; the limits are checked before anything is decoded.

    Args:
        source: where to read.
        name: what to call it in messages.
        limits: refuse what lies beyond.

    Raises:
        UserError: as `read_audio`.
    """
    try:
        with soundfile.SoundFile(source) as file:
            _check(file, name, limits)
            samples = file.read(dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        raise UserError(f"{name} is not readable audio ({error}): give wav, flac, ogg, opus or mp3") from error
    if samples.size == 0:
        raise UserError(f"{name} holds no samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{name} holds NaN or infinite samples: export it again")
    return Waveform.single(torch.from_numpy(samples).clamp(-1, 1), rate)


def _check(file: soundfile.SoundFile, name: str, limits: Limits) -> None:
    seconds, longest = file.frames / file.samplerate, limits.longest_seconds
    if longest is not None and seconds > longest + 0.005:
        raise UserError(f"{name} lasts {_spoken(seconds)}, at most {longest:g} s are allowed: cut it shorter")
    if seconds < limits.shortest_seconds:
        raise UserError(f"{name} lasts {seconds:.2f} s, at least {limits.shortest_seconds:g} s are needed")
    if limits.channels is not None and file.channels > limits.channels:
        raise UserError(f"{name} has {file.channels} channels, at most {limits.channels} are allowed: mix it down")
    if limits.rate is not None and file.samplerate > limits.rate:
        raise UserError(f"{name} has {file.samplerate} samples per second, at most {limits.rate} are allowed")


def _spoken(seconds: float) -> str:
    """A length; that of a stream that does not tell it is a number beyond all sense."""
    return f"{seconds:.1f} s" if seconds < 1e9 else "an unknown time"


def write_audio(
    path: Path, samples: Tensor | Iterable[Tensor], rate: int, *, format: str | None = None, comment: str = ""
) -> None:
    """Write mono audio; the file appears whole or not at all.

    Args:
        path: where to; its folder must exist.
        samples: [L] float32, clipped to [-1, 1]; or the same second by second, for sound that is not in memory.
        rate: samples per second.
        format: a key of FORMATS; by default the path's suffix.
        comment: provenance, stored in the file's metadata.

    Raises:
        UserError: unknown format, missing folder, samples that are not finite, or the disk refuses.
    """
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in FORMATS:
        raise UserError(f"cannot write {path} as {name!r}: formats are {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise UserError(f"no such folder: {path.parent}")
    container, subtype = FORMATS[name]
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb+", buffering=0) as opened:
            sink = _Sink(opened)
            with soundfile.SoundFile(sink, "w", rate, 1, subtype, format=container) as file:
                if comment:
                    file.comment = comment
                # In pieces: the Vorbis encoder overflows its stack on long blocks.
                for piece in samples.detach().split(rate) if isinstance(samples, Tensor) else samples:
                    if not piece.isfinite().all():
                        raise UserError(f"cannot write {path}: the audio holds NaN or infinite samples; its maker has failed")
                    file.write(piece.clamp(-1, 1).cpu().numpy())
                    sink.check()
            sink.check()
        if container == "OGG":
            beside.write_bytes(fix_serial(beside.read_bytes()))
        beside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


class _Sink:
    """An unbuffered file for libsndfile, which does not report every failure to write: this remembers the first."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def write(self, content: bytes) -> int:
        """Write all, or remember why not; libsndfile calls this and cannot be told."""
        rest = memoryview(content)
        try:
            while rest and self._error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._error = error
        return len(content)

    def check(self) -> None:
        """Raise what `write` remembered."""
        if self._error is not None:
            raise self._error
