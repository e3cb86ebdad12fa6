"""Whether a voice stays itself over a long recording: how alike its beginning and its end are to the reference."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import soundfile
import torch

from speechgen.audio.io import read_audio
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.speaker import SHORTEST_SECONDS, SpeakerSimilarity

__all__ = ["LongReport", "measure_long"]

SHARE = 10
"""Of the recording a tenth is compared at either end."""


@dataclass(frozen=True)
class LongReport:
    """Speaker similarity of the first and the last tenth of `seconds` to the reference."""

    first: float
    last: float
    seconds: float
    settings: str

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        row = f"| {self.seconds:.1f} | {self.first:.4f} | {self.last:.4f} | {self.last - self.first:+.4f} |"
        return "\n".join(["| seconds | SIM, first tenth | SIM, last tenth | change |", "| --- | --- | --- | --- |", row, "",
                          self.settings])  # fmt: skip

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1)


def measure_long(path: Path, reference: Path) -> LongReport:
    """Compare the first and the last tenth of a recording with a voice; what lies between is not read.

    Args:
        path: of any length.
        reference: the voice that speaks in it.

    Raises:
        UserError: a file is not audio or too short, or an optional package is missing.
    """
    try:
        with soundfile.SoundFile(path) as file:
            size, rate = file.frames // SHARE, file.samplerate
            if size <= SHORTEST_SECONDS * rate:
                raise UserError(f"{path} lasts {file.frames / rate:.1f} s: give more than {SHARE * SHORTEST_SECONDS:g} s")
            tenths = []
            for start in (0, file.frames - size):
                file.seek(start)
                samples = torch.from_numpy(file.read(size, dtype="float32", always_2d=True)).mean(1)
                tenths.append(Waveform.single(samples, rate))
            seconds = file.frames / rate
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(f"{path} is not readable audio ({error}): give wav or flac") from error
    similarity = SpeakerSimilarity()
    voice = similarity.embed(read_audio(reference))
    first, last = (float(similarity.embed(tenth) @ voice) for tenth in tenths)
    return LongReport(first, last, seconds, f"SIM: resemblyzer, tenths of {path.name} against {reference.name}")
