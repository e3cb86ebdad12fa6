"""Sound as the bytes of a file, at once or while it is made: wav, flac, opus, mp3, and pcm without any header.

A stream cannot go back to its header. Its WAV says that its length is unknown, as players expect of a pipe; FLAC, Ogg Opus
and MP3 are made of frames that stand for themselves.
"""

from __future__ import annotations

import io
import os
import struct
from types import TracebackType

import numpy as np
import soundfile
from torch import Tensor

from speechgen.audio.ogg import fix_serial, whole_pages
from speechgen.audio.resample import resample
from speechgen.core.types import Waveform

__all__ = ["ENCODINGS", "Encoder", "encode", "wav_comment", "wav_header"]

ENCODINGS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "pcm": ("RAW", "PCM_16"),
}
"""soundfile's container and subtype; pcm is 16 bits, little-endian."""
UNKNOWN = 0xFFFFFFFF
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
"""Sound of another rate is stored at the last."""


def wav_header(rate: int, frames: int | None, behind: int = 0) -> bytes:
    """The 44 bytes in front of mono 16-bit samples.

    Args:
        rate: samples per second.
        frames: how many there are; None: as many as come.
        behind: bytes that follow the samples.
    """
    size = UNKNOWN if frames is None else 2 * frames
    riff = UNKNOWN if frames is None else 36 + size + behind
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)


def wav_comment(comment: str) -> bytes:
    """A comment, to be put behind 16-bit samples."""
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    return struct.pack("<4sI4s4sI", b"LIST", 12 + len(text), b"INFO", b"ICMT", len(text)) + text


def encode(samples: Tensor, rate: int, encoding: str, comment: str = "") -> bytes:
    """Return the bytes of a whole file.

    Args:
        samples: [L] float32, clipped to [-1, 1].
        rate: samples per second.
        encoding: a key of ENCODINGS.
        comment: provenance, stored in the metadata of formats that have some.
    """
    if encoding == "pcm":
        return _pcm(samples)
    if encoding == "opus" and rate not in OPUS_RATES:
        samples, rate = resample(Waveform.single(samples.detach(), rate), OPUS_RATES[-1]).samples[0], OPUS_RATES[-1]
    container, subtype = ENCODINGS[encoding]
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", rate, 1, subtype, format=container) as file:
        if comment:
            file.comment = comment
        for piece in samples.detach().split(rate):  # in pieces: encoders overflow their stack on long blocks
            file.write(piece.clamp(-1, 1).numpy())
    content = target.getvalue()
    return fix_serial(content) if container == "OGG" else content


class Encoder:
    """A stream of one encoding. Close it: libsndfile holds memory of its own until then."""

    def __init__(self, encoding: str, rate: int, comment: str = "") -> None:
        """Begin; see `encode` for the arguments."""
        self._encoding = encoding
        self._sent = _Sent()
        self._ogg = bytearray()
        self._begun = False
        self._rate = rate
        self._file: soundfile.SoundFile | None = None
        if encoding not in ("wav", "pcm"):
            container, subtype = ENCODINGS[encoding]
            # Where no header tells the length of MP3, players guess it from the rate of its first frames.
            level, mode = (0.5, "CONSTANT") if encoding == "mp3" else (None, None)
            self._file = soundfile.SoundFile(
                self._sent, "w", rate, 1, subtype, format=container, compression_level=level, bitrate_mode=mode
            )
            if comment:
                self._file.comment = comment

    def push(self, samples: Tensor) -> bytes:
        """Return what is finished with these samples `[L]`; it may be nothing yet."""
        if self._file is None:
            header = wav_header(self._rate, None) if self._encoding == "wav" and not self._begun else b""
            self._begun = True
            return header + _pcm(samples)
        for piece in samples.detach().split(self._rate):
            self._file.write(piece.clamp(-1, 1).numpy())
        return self._finished()

    def close(self) -> bytes:
        """Return the rest."""
        if self._file is None:
            return b""
        self._file.close()
        self._file = None
        return self._finished()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _finished(self) -> bytes:
        fresh = self._sent.take()
        if self._encoding != "opus":
            return fresh
        self._ogg += fresh
        size = whole_pages(self._ogg)
        pages, self._ogg = fix_serial(bytes(self._ogg[:size])), self._ogg[size:]
        return pages


def _pcm(samples: Tensor) -> bytes:
    whole = (samples.detach().clamp(-1, 1) * 32767).round().short().numpy()
    return whole.astype(np.dtype("<i2"), copy=False).tobytes()


class _Sent:
    """A file for libsndfile of which only what is new is kept; what it would correct in sent bytes is lost."""

    def __init__(self) -> None:
        self._fresh = bytearray()
        self._position = self._end = 0

    def write(self, content: bytes) -> int:
        """Append what lies behind the end."""
        stop = self._position + len(content)
        if stop > self._end:
            self._fresh += bytes(content)[len(content) - (stop - self._end) :]
            self._end = stop
        self._position = stop
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        """Where it is."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Nothing can be read again."""
        return b""

    def take(self) -> bytes:
        """Return what is new, once."""
        content = bytes(self._fresh)
        self._fresh.clear()
        return content
