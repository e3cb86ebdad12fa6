"""A synthetic corpus whose phone times are known exactly: sentences read by the voices of the `flite` program.

An encoder starts on its frame labels, because CTC from random weights sits long on a plateau of blanks.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.data.decode import Utterance

__all__ = ["VOICES", "generate_flite"]

VOICES = ("kal16", "awb", "rms", "slt")
_STRETCH = (0.8, 1.25)
_PITCH_HERTZ = {"kal16": (80, 160), "awb": (90, 160), "slt": (140, 230)}
"""Range of the mean pitch; rms does not obey it."""
_PHONE = re.compile(r"(\S+):([0-9.]+)")


@dataclass(frozen=True)
class _Reading:
    text: str
    voice: str
    stretch: float
    pitch: float | None
    path: Path


def generate_flite(
    sentences: Path, folder: Path, *, hours: float = 2.0, seed: int = 0, jobs: int = 1, progress: Progress | None = None
) -> list[Utterance]:
    """Read randomly chosen sentences in all voices, at varied speed, until there are `hours` of audio.

    Args:
        sentences: text file, one sentence a line.
        folder: where the wav files go.
        hours: how much to make.
        seed: chooses sentences, voices and speeds.
        jobs: flite processes at a time.
        progress: called with seconds made and wanted.

    Raises:
        UserError: flite is not installed or fails, or there are no sentences.
    """
    program = shutil.which("flite")
    if program is None:
        raise UserError("the flite program is not installed: install it, on Debian and Ubuntu by `apt install flite`")
    if not sentences.is_file():
        raise UserError(f"no such text file: {sentences}: give one sentence a line")
    lines = [line.strip() for line in sentences.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{sentences} holds no sentences: give one a line")
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(mix(seed, "flite"))
    utterances: list[Utterance] = []
    seconds = 0.0
    with ThreadPoolExecutor(jobs) as pool:
        while seconds < hours * 3600:
            readings = [_choose(lines, folder, len(utterances) + i, rng) for i in range(16)]
            for utterance in pool.map(lambda reading: _speak(program, reading), readings):
                utterances.append(utterance)
                seconds += utterance.phones[-1][1]
            if progress:
                progress(int(seconds), int(hours * 3600))
    return utterances


def _choose(lines: Sequence[str], folder: Path, number: int, rng: random.Random) -> _Reading:
    voice = VOICES[number % len(VOICES)]
    pitch = rng.uniform(*_PITCH_HERTZ[voice]) if voice in _PITCH_HERTZ else None
    return _Reading(rng.choice(lines), voice, rng.uniform(*_STRETCH), pitch, folder / f"{voice}-{number:06d}.wav")


def _speak(program: str, reading: _Reading) -> Utterance:
    """Run flite once; the phones' end times come from what it prints."""
    command = [program, "-voice", reading.voice, "--setf", f"duration_stretch={reading.stretch:.3f}"]
    if reading.pitch is not None:
        command += ["--setf", f"int_f0_target_mean={reading.pitch:.1f}"]
    command += ["-psdur", "-t", reading.text, "-o", str(reading.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    phones = tuple((phone, float(end)) for phone, end in _PHONE.findall(result.stdout))
    if result.returncode or not phones:
        raise UserError(f"flite could not read {reading.text[:60]!r} in voice {reading.voice}: {result.stderr.strip()[:200]}")
    return Utterance(
        reading.path.stem, reading.path.absolute(), reading.text, f"flite-{reading.voice}", "en-us", trim=False, phones=phones
    )
