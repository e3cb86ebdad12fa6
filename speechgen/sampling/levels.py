"""Sampling of waveforms level by level: what a sampler of rows is asked for, and what is made of it.

A sampler goes on by any number of levels, known or drawn, and counts their information. Known levels prime it, or tell how
likely a recording is; drawn ones are sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from speechgen.audio.quantize import Quantizer, dequantize, read_levels
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform

__all__ = ["AutoregressiveGenerator", "Sampler", "SamplingOptions"]

MOST_ROWS = 64
"""Rows that are drawn side by side."""
TOO_UNLIKELY = 8 / 9
"""Of the rows that are left out, how many are the least likely; the others are the most likely (SaShiMi, appendix C.3.1)."""


class SamplingOptions(StrictModel):
    """What a request can change."""

    temperature: float = Field(1.0, ge=0, le=2, description="below 1 likely samples become likelier; 0: always the likeliest")
    top_p: float = Field(1.0, gt=0, le=1, description="share of the probability that samples are drawn from")
    oversample: float = Field(
        1.0, ge=1, le=10, description="draw so many times the clips and leave out the least likely and a few of the likeliest"
    )
    engine: Literal["fused", "eager"] = Field("fused", description="compiled steps, or layer by layer in torch, as a reference")


class Sampler(Protocol):
    """Rows that are made sample by sample.

    Attributes:
        rows: B.
        bits: [B] float64, the information of all levels so far.
    """

    rows: int
    bits: NDArray[np.float64]

    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by the levels [L, B]; negative ones are drawn and filled in, with the numbers `uniform` [L, B] in [0, 1)."""
        ...


@dataclass(frozen=True)
class AutoregressiveGenerator:
    """A WaveformModel of samplers.

    Attributes:
        samplers: engine and rows to a new sampler.
        sample_rate: samples per second.
        quantizer: of the levels.
    """

    samplers: Callable[[str, int], Sampler]
    sample_rate: int
    quantizer: Quantizer

    @torch.inference_mode()
    def generate(
        self,
        count: int,
        samples: int,
        prime: Waveform | None,
        *,
        options: SamplingOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return `count` waveforms of `samples` samples, behind `prime`, a single row, if it is given.

        Raises:
            UserError: nothing is asked for.
        """
        _check(count, samples)
        drawn = round(count * options.oversample)
        levels, bits = torch.empty(drawn, samples, dtype=torch.uint8), np.empty(drawn)
        total = samples * drawn
        for first in range(0, drawn, MOST_ROWS):
            rows, done = range(first, min(first + MOST_ROWS, drawn)), 0
            sampler = self.samplers(options.engine, len(rows))
            self._prime(sampler, prime)
            before = sampler.bits.copy()
            for piece in self._pieces(sampler, samples, options, rng):
                levels[first : rows.stop, done : done + len(piece)] = torch.from_numpy(piece.T.astype(np.uint8))
                done += len(piece)
                if progress is not None:
                    progress(samples * first + done * len(rows), total)
            bits[first : rows.stop] = sampler.bits - before
        made = dequantize(levels[_likely(bits, count)].long(), self.quantizer)
        return Waveform(made, torch.full((count,), samples), self.sample_rate)

    @torch.inference_mode()
    def stream(
        self, samples: int, prime: Waveform | None, *, options: SamplingOptions, rng: torch.Generator
    ) -> Iterator[Tensor]:
        """Yield one waveform, second by second [L]: what `generate` returns for a count of 1, in memory of constant size.

        Raises:
            UserError: nothing is asked for, or several are to be drawn for the one.
        """
        _check(1, samples)
        if options.oversample > 1:
            raise UserError("a stream cannot leave out what is unlikely: set oversample to 1, or ask for shorter sound")
        sampler = self.samplers(options.engine, 1)
        self._prime(sampler, prime)
        for piece in self._pieces(sampler, samples, options, rng):
            yield dequantize(torch.from_numpy(piece[:, 0]), self.quantizer)

    @torch.inference_mode()
    def bits(self, audio: Waveform) -> Tensor:
        """Return the information of each row of audio of any rate, -log2 of its probability, divided by its samples: [B]."""
        levels, lengths = read_levels(audio, self.sample_rate, self.quantizer)
        found = torch.empty(len(levels), dtype=torch.float64)
        for first in range(0, len(levels), MOST_ROWS):
            rows = levels[first : first + MOST_ROWS]
            sampler = self.samplers("fused", len(rows))
            ends = lengths[first : first + MOST_ROWS]
            done = 0
            for end in sorted(set(ends.tolist())):
                _run_known(sampler, rows[:, done:end])
                ended = ends == end
                found[first : first + MOST_ROWS][ended] = torch.from_numpy(sampler.bits)[ended] / end
                done = end
        return found

    def _prime(self, sampler: Sampler, prime: Waveform | None) -> None:
        if prime is not None:
            levels, _ = read_levels(prime, self.sample_rate, self.quantizer)
            _run_known(sampler, levels[:1].expand(sampler.rows, -1))

    def _pieces(
        self, sampler: Sampler, samples: int, options: SamplingOptions, rng: torch.Generator
    ) -> Iterator[NDArray[np.int64]]:
        """Draw [L, B] levels, second by second."""
        for start in range(0, samples, self.sample_rate):
            size = min(self.sample_rate, samples - start)
            drawn = np.full((size, sampler.rows), -1, np.int64)
            uniform = torch.rand(size, sampler.rows, generator=rng, device=rng.device).cpu().numpy()
            sampler.run(drawn, uniform, options.temperature, options.top_p)
            yield drawn


def _check(count: int, samples: int) -> None:
    if count < 1 or samples < 1:
        raise UserError(f"{count} clips of {samples} samples are nothing to generate: give at least one of each")


def _run_known(sampler: Sampler, levels: Tensor) -> None:
    """Let a sampler take levels [B, L] as they are."""
    known = np.ascontiguousarray(levels.cpu().numpy().T)
    sampler.run(known, np.zeros(known.shape, np.float32), 1.0, 1.0)


def _likely(bits: NDArray[np.float64], count: int) -> list[int]:
    """Which rows are kept, in the order in which they were drawn: not the least likely, nor the very likeliest."""
    surplus = len(bits) - count
    likeliest = surplus - round(surplus * TOO_UNLIKELY)
    kept = np.argsort(bits, kind="stable")[likeliest : likeliest + count]
    return sorted(kept.tolist())
