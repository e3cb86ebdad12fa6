"""One utterance: its file to stored samples (decode, check, resample, level, trim), and these to mel and pitch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechgen.audio.io import read_audio
from speechgen.audio.loudness import TARGET_DBFS, active_level, normalize_level
from speechgen.audio.pitch import estimate_pitch
from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings, Waveform
from speechgen.data.features import FeatureStore

__all__ = ["AUDIO_PRODUCER", "RATE", "SCALE", "Decoded", "Utterance", "decode", "stored_mel", "stored_pitch", "stored_samples"]

RATE = 24000
SCALE = 32768
"""Stored int16 value of full scale."""
_KEEP_SECONDS = 0.3
_SILENT_DBFS = -60.0
_QUIET_DB = 45.0
"""A 20 ms frame this far under the loudest one is silence. Far enough that a breath or a soft s is kept."""
AUDIO_PRODUCER = {"sample_rate": RATE, "level_dbfs": TARGET_DBFS, "max_silence_seconds": _KEEP_SECONDS, "quiet_db": _QUIET_DB}


@dataclass(frozen=True)
class Utterance:
    """A stretch of an audio file and what is known of it; empty strings where nothing is."""

    id: str
    path: Path
    text: str = ""
    speaker: str = ""
    language: str = ""
    start_seconds: float = 0.0
    seconds: float | None = None
    trim: bool = True
    """Whether leading and trailing silence may be cut."""
    shortest_seconds: float = 0.3
    """What is shorter is left out."""
    speed: float = 1.0
    """What it is played at: pitch, formants and tempo all move, which makes another voice of it."""
    phones: tuple[tuple[str, float], ...] = ()
    """ARPABET phones and where each ends, in seconds from the start, if they are known."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What else is known of a sound whose text describes it and is not said in it: instrument, key, label, split ..."""


@dataclass(frozen=True)
class Decoded:
    """An utterance as it is stored, or the fault that makes it unusable."""

    utterance: Utterance
    fault: str = ""
    samples: NDArray[np.int16] | None = None  # [L] at RATE
    start_seconds: float = 0.0  # where samples[0] lies in the file
    source_rate: int = 0
    source_samples: int = 0
    clipping: float = 0.0  # share of samples at full scale
    digest: str = ""  # equal for equal recordings


def decode(utterance: Utterance) -> Decoded:
    """Return the utterance as 24 kHz mono int16 of the standard level, with at most 0.3 s of silence at either end."""
    if not utterance.path.is_file():
        return Decoded(utterance, "missing")
    try:
        audio = _read(utterance.path)
    except UserError:
        return Decoded(utterance, "unreadable")
    first = round(utterance.start_seconds * audio.rate)
    last = None if utterance.seconds is None else first + round(utterance.seconds * audio.rate)
    samples = audio.samples[0, first:last]  # [L]
    if active_level(samples, audio.rate) < _SILENT_DBFS if samples.numel() else True:
        return Decoded(utterance, "silent")
    clipping = float((samples.abs() >= 0.999).float().mean())
    start, stop = _speech_span(samples, audio.rate) if utterance.trim else (0, len(samples))
    played_at = round(audio.rate * utterance.speed)
    kept = resample(Waveform.single(samples[start:stop], played_at), RATE).samples[0]
    stored = (normalize_level(kept, RATE) * SCALE).round().clamp(-SCALE, SCALE - 1).to(torch.int16).numpy()
    return Decoded(
        utterance,
        samples=stored,
        start_seconds=(first + start) / audio.rate,
        source_rate=audio.rate,
        source_samples=audio.samples.shape[-1],
        clipping=clipping,
        digest=hashlib.sha256(stored.tobytes()).hexdigest(),
    )


def stored_samples(audio: FeatureStore, cut_id: str) -> Tensor:
    """Return the stored samples [L] as float32 in [-1, 1]."""
    return torch.from_numpy(audio.get(cut_id).astype(np.float32) / SCALE)


def stored_mel(audio: FeatureStore, settings: MelSettings, cut_id: str) -> NDArray[np.float16]:
    """Return the log-mel [T, M] of a stored utterance."""
    return log_mel(stored_samples(audio, cut_id)[None], settings)[0].numpy().astype(np.float16)


def stored_pitch(audio: FeatureStore, settings: MelSettings, cut_id: str) -> NDArray[np.float32]:
    """Return the fundamental frequency [T] of a stored utterance in Hz, 0 where unvoiced."""
    return estimate_pitch(stored_samples(audio, cut_id), settings).numpy()


@lru_cache(maxsize=2)
def _read(path: Path) -> Waveform:
    """The last files are kept: corpora of long recordings list many utterances of one file in a row."""
    return read_audio(path)


def _speech_span(samples: Tensor, rate: int) -> tuple[int, int]:
    """First and last sample to keep: all that is loud, and _KEEP_SECONDS around it."""
    size = max(1, int(0.02 * rate))
    if len(samples) < size:
        return 0, len(samples)
    power = samples.unfold(0, size, size).square().mean(-1)  # [frames]
    loud = (power > power.max() * 10 ** (-_QUIET_DB / 10)).nonzero()
    keep = int(_KEEP_SECONDS * rate)
    return max(0, int(loud[0]) * size - keep), min(len(samples), (int(loud[-1]) + 1) * size + keep)
