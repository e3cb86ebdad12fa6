"""Pieces of speech joined into one: pauses by punctuation, cross-fades inside silence, soft edges, a true-peak limit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import resample

from speechgen.pipeline.silence import speech_span

__all__ = ["fade_edges", "join", "limit_peaks", "pause_after"]

FADE_SECONDS = 0.005
OVERLAP_SECONDS = 0.02
CEILING = 10 ** (-1 / 20)
"""-1 dB of full scale, measured between the samples."""
PAUSES = {".": 0.4, "!": 0.4, "?": 0.4, "…": 0.45, ":": 0.3, ";": 0.3, ",": 0.2, "—": 0.25}
WORD_PAUSE = 0.08


def pause_after(text: str) -> float:
    """Seconds of silence between a chunk that ends like `text` and the next one."""
    return PAUSES.get(text.rstrip("\"'”’)] ")[-1:], WORD_PAUSE)


def fade_edges(samples: Tensor, rate: int, seconds: float = FADE_SECONDS) -> Tensor:
    """Fade `samples [L]` in and out linearly, so that neither edge clicks."""
    size = min(int(seconds * rate), samples.shape[-1] // 2)
    if size == 0:
        return samples
    ramp = torch.linspace(0, 1, size, dtype=samples.dtype, device=samples.device)
    return torch.cat([samples[:size] * ramp, samples[size:-size], samples[-size:] * ramp.flip(0)])


def join(pieces: Sequence[Tensor], pauses: Sequence[float], rate: int) -> Tensor:
    """Join pieces so that the silence between two of them lasts as told.

    Silence that the pieces bring themselves is used first and shortened if it is too long; what lacks is filled with zeros.
    The cross-fade therefore never touches speech.

    Args:
        pieces: each `[L]`, at least one.
        pauses: seconds of silence between piece i and i + 1; one fewer than pieces.
        rate: samples per second.

    Returns:
        `[L]`, edges not faded.
    """
    spans = [speech_span(piece, rate) for piece in pieces]
    overlap = int(OVERLAP_SECONDS * rate)
    joined = [pieces[0]]
    for index, pause in enumerate(pauses):
        left, right = joined[-1], pieces[index + 1]
        wanted = int(pause * rate)
        tail = len(pieces[index]) - spans[index].stop if spans[index].stop else 0
        lead = spans[index + 1].start
        excess = max(0, tail + lead - wanted)
        cut_tail = min(tail, excess * tail // max(1, tail + lead))
        cut_lead = min(lead, excess - cut_tail)
        left, right = left[: len(left) - cut_tail], right[cut_lead:]
        missing = max(0, wanted - tail - lead)
        kept_tail, kept_lead = tail - cut_tail, lead - cut_lead
        left = _fade(left, min(overlap, kept_tail), out=True)
        right = _fade(right, min(overlap, kept_lead), out=False)
        joined[-1] = left
        joined += [left.new_zeros(missing), right]
    return torch.cat(joined)


def _fade(samples: Tensor, size: int, *, out: bool) -> Tensor:
    """Fade the last (or first) `size` samples."""
    if size <= 0:
        return samples
    ramp = torch.linspace(1, 0, size, dtype=samples.dtype, device=samples.device)
    if out:
        return torch.cat([samples[:-size], samples[-size:] * ramp])
    return torch.cat([samples[:size] * ramp.flip(0), samples[size:]])


def limit_peaks(samples: Tensor, rate: int, ceiling: float = CEILING) -> Tensor:
    """Turn `samples [L]` down around peaks above `ceiling`, measured on the four times oversampled signal.

    The gain is the smallest one needed within 5 ms, smoothed over 5 ms: it reaches its minimum before the peak does.
    """
    if samples.shape[-1] == 0:
        return samples
    between = resample(samples, rate, 4 * rate)[: 4 * samples.shape[-1]].abs()  # [4L]
    peaks = torch.maximum(between.view(-1, 4).amax(-1), samples.abs())  # [L]
    if float(peaks.max()) <= ceiling:
        return samples
    reach = int(0.005 * rate)
    needed = (ceiling / peaks.clamp(min=ceiling))[None, None]
    lowest = -functional.max_pool1d(-needed, 2 * reach + 1, stride=1, padding=reach)
    gain = functional.avg_pool1d(functional.pad(lowest, (reach, reach), mode="replicate"), 2 * reach + 1, stride=1)
    return samples * gain[0, 0]
