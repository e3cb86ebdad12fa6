"""Reading and writing audio files through soundfile (wav, flac, ogg, opus, mp3)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechgen.audio.ogg import fix_positions, fix_serial
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform

__all__ = ["FORMATS", "Limits", "Recording", "decode_audio", "read_audio", "read_recording", "write_audio"]

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}
"""Output formats by file suffix: soundfile's container and subtype."""
OGG = b"OggS"
"""What Ogg files begin with."""
BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of a sample that is a whole number."""


@dataclass(frozen=True)
class Recording:
    """A file's sound as it is.

    Attributes:
        samples: [C, L], every channel; float32, or float64 where only that holds them exactly.
        rate: samples per second.
        subtype: soundfile's name of how its samples are stored, such as "PCM_24".
    """

    samples: Tensor
    rate: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples.shape[1] / self.rate

    @property
    def mono(self) -> Waveform:
        """The mean of its channels, as float32."""
        return Waveform.single(self.samples.mean(0).float(), self.rate)


def read_recording(path: Path, *, max_seconds: float | None = None) -> Recording:
    """Read a file with all of its channels, exactly.

    Raises:
        UserError: as `read_audio`.
    """
    if not path.is_file():
        raise UserError(f"no such audio file: {path}")
    return _decode(path, str(path), Limits(longest_seconds=max_seconds))


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
    heard = _decode(source, name, limits)
    return Waveform.single(heard.mono.samples[0].clamp(-1, 1), heard.rate)


def _decode(source: Path | BinaryIO, name: str, limits: Limits) -> Recording:
    try:
        try:
            found = _read(source, name, limits)
        except soundfile.LibsndfileError:
            fixed = fix_positions(_content(source))
            if fixed is None:
                raise
            found = _read(BytesIO(fixed), name, limits)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{name} is not readable audio ({error}): give wav, flac, ogg, opus or mp3") from error
    if found.samples.numel() == 0:
        raise UserError(f"{name} holds no samples")
    if not found.samples.isfinite().all():
        raise UserError(f"{name} holds NaN or infinite samples: export it again")
    return found


def _read(source: Path | BinaryIO, name: str, limits: Limits) -> Recording:
    with soundfile.SoundFile(source) as file:
        _check(file, name, limits)
        samples = file.read(dtype="float64" if file.subtype in ("PCM_32", "DOUBLE") else "float32", always_2d=True)
        return Recording(torch.from_numpy(np.ascontiguousarray(samples.T)), file.samplerate, file.subtype)


def _content(source: Path | BinaryIO) -> bytes:
    """All of an Ogg file; nothing of another."""
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        file.seek(0)
        if file.read(4) != OGG:
            return b""
        file.seek(0)
        return file.read()


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
    path: Path,
    samples: Tensor | Iterable[Tensor],
    rate: int,
    *,
    format: str | None = None,
    comment: str = "",
    like: str | None = None,
) -> None:
    """Write audio; the file appears whole or not at all.

    Args:
        path: where to; its folder must exist.
        samples: [L] or [C, L], clipped to [-1, 1] unless stored as floats; or mono second by second, for sound that is not in
            memory.
        rate: samples per second.
        format: a key of FORMATS; by default the path's suffix.
        comment: provenance, stored in the file's metadata.
        like: subtype of the file that the samples came from: what was a whole number there is the same here, if the format can.

    Raises:
        UserError: unknown format, missing folder, samples that are not finite, or the disk refuses.
    """
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in FORMATS:
        raise UserError(f"cannot write {path} as {name!r}: formats are {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise UserError(f"no such folder: {path.parent}")
    container, subtype = FORMATS[name]
    if like is not None and subtype in BITS:
        subtype = _subtype_like(like, container)
    channels = samples.shape[0] if isinstance(samples, Tensor) and samples.dim() == 2 else 1
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb+", buffering=0) as opened:
            sink = _Sink(opened)
            with soundfile.SoundFile(sink, "w", rate, channels, subtype, format=container) as file:
                if comment:
                    file.comment = comment
                # In pieces: the Vorbis encoder overflows its stack on long blocks.
                for piece in samples.detach().split(rate, dim=-1) if isinstance(samples, Tensor) else samples:
                    if not piece.isfinite().all():
                        raise UserError(f"cannot write {path}: the audio holds NaN or infinite samples; its maker has failed")
                    file.write(_stored(piece.cpu().movedim(0, -1).numpy(), subtype, exact=like is not None))
                    sink.check()
            sink.check()
        if container == "OGG":
            beside.write_bytes(fix_serial(beside.read_bytes()))
        beside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _subtype_like(like: str, container: str) -> str:
    """The subtype of a container that holds samples of another file exactly, or as nearly as it can."""
    if like in (*BITS, "FLOAT", "DOUBLE") and soundfile.check_format(container, like):
        return like
    return "PCM_24" if like in ("PCM_32", "FLOAT", "DOUBLE") else "PCM_16"


def _stored(samples: NDArray[np.floating], subtype: str, *, exact: bool) -> NDArray[np.generic]:
    """What soundfile is to be given for samples [L] or [L, C].

    It multiplies by the largest whole number when it writes floats, but divides by one more when it reads them: exact samples
    are made whole here.
    """
    if subtype in ("FLOAT", "DOUBLE"):
        return samples
    if not exact or subtype not in BITS:
        return samples.clip(-1, 1)
    half = 2.0 ** (BITS[subtype] - 1)
    whole = np.round(samples.astype(np.float64) * half).clip(-half, half - 1)
    return (whole * (2**31 / half)).astype(np.int32)


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
