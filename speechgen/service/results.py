"""What the engine hands back: sound that knows its rate, its seed and how long it took."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from speechgen.audio.io import write_audio
from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings

__all__ = ["SynthesisResult"]


@dataclass(frozen=True)
class SynthesisResult:
    """Generated sound.

    Attributes:
        samples: [L] float32 in [-1, 1], on the CPU.
        rate: samples per second.
        seed: what the randomness came from.
        pipeline: name of the pipeline, or of the vocoder for copy synthesis.
        voice: the reference that was used.
        device: where the networks ran.
        threads: CPU threads that were used.
        load_seconds: time spent loading models in this call; 0 if they were loaded.
        synthesis_seconds: time spent from the reference to the finished samples.
        pieces: the text as it was spoken, piece by piece.
        warnings: what the user should know.
        provenance: what is written into the metadata of every file.
    """

    samples: Tensor = field(repr=False)
    rate: int
    seed: int
    pipeline: str
    voice: str
    device: str
    threads: int
    load_seconds: float
    synthesis_seconds: float
    pieces: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: str = "synthetic speech"

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.samples.shape[-1] / self.rate

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of synthesis, without loading, for a second of sound."""
        return self.synthesis_seconds / max(self.seconds, 1e-9)

    def report(self) -> dict[str, Any]:
        """Everything but the samples, ready for JSON."""
        return {
            "sample_rate": self.rate,
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "load_seconds": round(self.load_seconds, 3),
            "synthesis_seconds": round(self.synthesis_seconds, 3),
            "rtf": round(self.rtf, 4),
            "pipeline": self.pipeline,
            "voice": self.voice,
            "device": self.device,
            "threads": self.threads,
            "pieces": len(self.pieces),
            "warnings": list(self.warnings),
        }

    def save(self, path: str | Path, format: str | None = None) -> Path:
        """Write the sound; the file appears whole or not at all.

        Args:
            path: where to.
            format: wav, flac, ogg or mp3; by default what the path's suffix says.

        Raises:
            UserError: unknown format, no such folder, or the disk refuses.
        """
        path = Path(path)
        write_audio(path, self.samples, self.rate, format=format, comment=self.provenance)
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw waveform and mel spectrogram into a PNG; the file appears whole or not at all.

        Raises:
            UserError: the disk refuses.
        """
        from matplotlib.figure import Figure

        settings = MelSettings(sample_rate=self.rate)
        mel = log_mel(self.samples[None], settings)[0]  # [T, M]
        figure = Figure(figsize=(min(40.0, 4 + 2 * self.seconds), 5), layout="constrained")
        wave, picture = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
        wave.plot([index / self.rate for index in range(0, len(self.samples), 8)], self.samples[::8].tolist(), linewidth=0.4)
        wave.set_ylim(-1, 1)
        picture.imshow(mel.T.numpy(), origin="lower", aspect="auto", extent=(0, self.seconds, 0, settings.num_bins))
        picture.set(xlabel="seconds", ylabel="mel bin")
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            figure.savefig(beside, format="png", dpi=100)
            beside.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
        return path
