"""Pieces of speech made ready to follow one another: pauses by punctuation, soft edges, a true-peak limit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import resample

from speechgen.pipeline.silence import speech_span

__all__ = ["LAST_PAUSE", "close_piece", "end_at", "fade_edges", "fade_in", "limit_peaks", "open_piece", "pause_after"]

FADE_SECONDS = 0.005
LEAD_SECONDS = 0.03
"""Silence kept before the speech of a piece."""
LAST_PAUSE = 0.15
"""Silence kept behind the last piece."""
CEILING = 10 ** (-1 / 20)
"""-1 dB of full scale, measured between the samples."""
PAUSES = {".": 0.4, "!": 0.4, "?": 0.4, "…": 0.45, ":": 0.3, ";": 0.3, ",": 0.2, "—": 0.25}
WORD_PAUSE = 0.08


def pause_after(text: str) -> float:
    """Seconds of silence between a chunk that ends like `text` and the next one."""
    return PAUSES.get(text.rstrip("\"'”’)] ")[-1:], WORD_PAUSE)


def fade_edges(samples: Tensor, rate: int) -> Tensor:
    """Fade `samples [L]` in and out linearly, so that neither edge clicks."""
    return _fade(fade_in(samples, rate), rate, out=True)


def open_piece(samples: Tensor, rate: int, lead: float = LEAD_SECONDS) -> Tensor:
    """Shorten the silence before the speech in `samples [L]` to `lead` seconds and fade in."""
    start = max(0, speech_span(samples, rate).start - int(lead * rate))
    return fade_in(samples[start:], rate)


def fade_in(samples: Tensor, rate: int) -> Tensor:
    """Fade `samples [L]` in, so that they do not click."""
    return _fade(samples, rate, out=False)


def end_at(samples: Tensor, rate: int, size: int, pause: float = 0.0) -> Tensor:
    """Return `size` of `samples [L]`, faded out, with silence behind them if they are fewer, and `pause` seconds more of it."""
    kept = _fade(samples[: max(0, size)], rate, out=True)
    return torch.cat([kept, samples.new_zeros(max(0, size - len(kept)) + round(pause * rate))])


def close_piece(samples: Tensor, rate: int, pause: float) -> Tensor:
    """Make the silence behind the speech in `samples [L]` last `pause` seconds: its own first, shortened, then zeros."""
    wanted = int(pause * rate)
    stop = speech_span(samples, rate).stop or len(samples)
    kept = samples[: stop + wanted]
    return torch.cat([_fade(kept, rate, out=True), samples.new_zeros(max(0, stop + wanted - len(kept)))])


def _fade(samples: Tensor, rate: int, *, out: bool) -> Tensor:
    """Fade FADE_SECONDS in at the start or out at the end, so that the edge does not click."""
    size = min(int(FADE_SECONDS * rate), samples.shape[-1] // 2)
    if size == 0:
        return samples
    ramp = torch.linspace(0, 1, size, dtype=samples.dtype, device=samples.device)
    if out:
        return torch.cat([samples[:-size], samples[-size:] * ramp.flip(0)])
    return torch.cat([samples[:size] * ramp, samples[size:]])


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
