"""What the engine hands back: sound that knows its rate, its seed and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import speechgen
from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.core.files import written_beside
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.carriers import Chunk

__all__ = ["SynthesisResult", "join_chunks", "provenance"]


@dataclass(frozen=True)
class SynthesisResult:
    """Generated sound.

    Attributes:
        samples: [L] float32 in [-1, 1], on the CPU.
        rate: samples per second.
        seed: what the randomness came from.
        pipeline: name of the pipeline; of the vocoder for copy synthesis, of the model for music.
        voice: the reference that was used; empty for music.
        device: where the networks ran.
        threads: CPU threads that were used.
        load_seconds: time spent loading models in this call; 0 if they were loaded.
        synthesis_seconds: time spent from the reference to the finished samples.
        pieces: the text as it was spoken, piece by piece.
        warnings: what the user should know.
        provenance: what is written into the metadata of every file.
        alignment: where phones and tokens of each piece lie, if the models tell.
        original: [L] what was copied, at the same rate, if this is a copy.
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
    alignment: tuple[Alignment, ...] = field(default=(), repr=False)
    original: Tensor | None = field(default=None, repr=False)

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
        """Draw words, waveform, mel spectrogram, phones and tokens into a PNG; the file appears whole or not at all.

        Of copied sound, waveform and mel are drawn below those of the original, 5 s at most. Other sound longer than 20 s is
        drawn up to there.

        Raises:
            UserError: the disk refuses.
        """
        from speechgen.service.plot import draw, draw_copy  # matplotlib takes a while

        path = Path(path)
        if self.original is None:
            figure = draw(self.samples, self.rate, self.alignment)
        else:
            figure = draw_copy(self.original, self.samples, self.rate, Path(self.pipeline).name)
        try:
            with written_beside(path) as beside:
                figure.savefig(beside, format="png", metadata={"Description": self.provenance})
        except OSError as error:
            raise UserError(f"cannot write {path}: {error}") from error
        return path


def join_chunks(
    chunks: Sequence[Chunk], *, pipeline: str, voice: str, seed: int, device: str, seconds: tuple[float, float]
) -> SynthesisResult:
    """Make a result of sound that was streamed.

    Args:
        chunks: all of them, in order.
        pipeline: its name, or the path of its YAML.
        voice: what results call it.
        seed: of the request.
        device: where the networks ran.
        seconds: that loading and speaking took.
    """
    heard, begin, samples, alignment = 0, 0, [], []  # begin: where the piece begins
    for chunk in chunks:
        samples.append(chunk.samples)
        if chunk.alignment is not None:
            alignment.append(replace(chunk.alignment, start=chunk.alignment.start + begin / chunk.rate))
        heard += len(chunk.samples)
        begin = heard if chunk.last else begin
    return SynthesisResult(
        samples=torch.cat(samples),
        rate=chunks[0].rate,
        seed=seed,
        pipeline=pipeline,
        voice=voice,
        device=device,
        threads=torch.get_num_threads(),
        load_seconds=seconds[0],
        synthesis_seconds=seconds[1],
        pieces=tuple(chunk.text for chunk in chunks if chunk.last),
        warnings=tuple(line for chunk in chunks for line in chunk.warnings),
        provenance=provenance(f"pipeline {Path(pipeline).stem}", seed),
        alignment=tuple(alignment),
    )


def provenance(source: str, seed: int, kind: str = "speech") -> str:
    """What is written into a file's metadata: that it is synthetic, by what, and from which seed."""
    return f"synthetic {kind}; speechgen {speechgen.__version__}; {source}; seed {seed}"
