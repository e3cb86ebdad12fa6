"""8-bit quantisers: samples to one of 256 levels and back. Likelihoods are comparable under the same quantiser alone.

mu-law   levels close together near zero (ITU-T G.711 with mu = 255, continuous)
linear   levels at equal distances
Level 128 is silence. Between the outermost levels the error is at most half a step.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from speechgen.audio.resample import resample
from speechgen.core.errors import unknown
from speechgen.core.types import Waveform

__all__ = ["LEVELS", "QUANTIZERS", "SILENCE", "Quantizer", "bits_per_sample", "dequantize", "quantize", "read_levels"]

Quantizer = Literal["mu-law", "linear"]
QUANTIZERS: tuple[str, ...] = get_args(Quantizer)
LEVELS, SILENCE = 256, 128
_MU = 255.0


def quantize(samples: Tensor, quantizer: Quantizer) -> Tensor:
    """Return the levels [...] int64 of samples [...] in [-1, 1].

    Raises:
        UserError: there is no such quantiser.
    """
    _check(quantizer)
    if quantizer == "mu-law":
        samples = samples.sign() * (_MU * samples.abs()).log1p() / math.log1p(_MU)
    return (samples * SILENCE).round().long().add(SILENCE).clamp(0, LEVELS - 1)


def dequantize(levels: Tensor, quantizer: Quantizer) -> Tensor:
    """Return the samples [...] float32 of levels [...].

    Raises:
        UserError: there is no such quantiser.
    """
    _check(quantizer)
    samples = (levels - SILENCE).to(torch.float32) / SILENCE
    if quantizer == "mu-law":
        samples = samples.sign() * (samples.abs() * math.log1p(_MU)).expm1() / _MU
    return samples


def read_levels(audio: Waveform, rate: int, quantizer: Quantizer, tail_seconds: float = 0.0) -> tuple[Tensor, Tensor]:
    """Resample and quantise.

    Args:
        audio: of any rate.
        rate: samples per second of the levels.
        quantizer: named.
        tail_seconds: silence that is counted behind each row.

    Returns:
        Levels [B, L], silence behind the end of a row, and their lengths [B].
    """
    there = resample(audio, rate)
    tail = round(tail_seconds * rate)
    levels = torch.nn.functional.pad(quantize(there.samples.clamp(-1, 1), quantizer), (0, tail), value=SILENCE)
    place = torch.arange(levels.shape[1], device=levels.device)
    levels = levels.masked_fill(place >= there.lengths.to(levels.device)[:, None], SILENCE)
    return levels, there.lengths + tail


def bits_per_sample(logits: Tensor, levels: Tensor, lengths: Tensor) -> Tensor:
    """Mean over all real samples of -log2 of the probability that they were given, a scalar.

    Args:
        logits: [B, L, 256].
        levels: [B, L].
        lengths: [B], how many of a row are real.
    """
    bits = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), levels.flatten(), reduction="none") / math.log(2)
    real = torch.arange(levels.shape[1], device=levels.device) < lengths.to(levels.device)[:, None]
    return (bits.view_as(levels) * real).sum() / real.sum()


def _check(quantizer: str) -> None:
    if quantizer not in QUANTIZERS:
        raise unknown("quantiser", quantizer, QUANTIZERS)
