"""Where speech begins, ends and pauses: short-time power, without a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchaudio.functional import highpass_biquad

__all__ = ["SpeechSpan", "latest_pause", "speech_span"]

FRAME_SECONDS = 0.01
RANGE_DB = (28.0, 35.0)
"""Frames this far below the loudest tenth count as silence: the more, the quieter it is between the words."""
FLOOR_DB = 6.0
"""How far noise rises above its level: the quietest tenth."""
BURST_FRAMES, APART_FRAMES, WEAK_DB = 4, 15, 12.0
"""No longer, so far from the rest and so far below the loudest tenth, it is a noise of the room and not speech."""
LOWEST_HZ = 80.0
"""Rooms and hands rumble below."""


@dataclass(frozen=True)
class SpeechSpan:
    """Samples `[start, stop)` from the first to the last active frame; empty if nothing is active."""

    start: int
    stop: int


def _levels(samples: Tensor, rate: int) -> tuple[Tensor, int]:
    """Level in dB of consecutive frames `[F]`, and the frame's length in samples."""
    size = max(1, int(FRAME_SECONDS * rate))
    if samples.shape[-1] < size:
        return samples.new_full((1,), -120.0), size
    heard = samples.float()
    frames = torch.stack([heard, highpass_biquad(heard, rate, LOWEST_HZ)]).unfold(-1, size, size)
    power = frames.square().mean(-1).amin(0)  # the filter rings behind a click
    return 10 * torch.log10(power.clamp(min=1e-12)), size


def speech_span(samples: Tensor, rate: int) -> SpeechSpan:
    """Return where the active part of `samples [L]` lies.

    A frame is active within RANGE_DB of the loud frames, above the noise and above -65 dB of full scale; a click of one frame
    is not speech, nor a weak burst at either end that is far from everything else.
    """
    levels, size = _levels(samples, rate)
    quiet, loud = torch.quantile(levels, levels.new_tensor([0.1, 0.9])).tolist()
    least, most = RANGE_DB
    active = levels > max(min(max(quiet + FLOOR_DB, loud - most), loud - least), -65.0)
    if active.numel() > 2:
        active = active & (torch.roll(active, 1) | torch.roll(active, -1))
    places = active.nonzero().flatten()
    if not places.numel():
        return SpeechSpan(0, 0)
    runs = list(places.tensor_split((places.diff() > APART_FRAMES).nonzero().flatten().cpu() + 1))
    for end in (0, -1):
        while len(runs) > 1 and len(runs[end]) <= BURST_FRAMES and float(levels[runs[end]].max()) < loud - WEAK_DB:
            del runs[end]
    return SpeechSpan(int(runs[0][0]) * size, min((int(runs[-1][-1]) + 1) * size, samples.shape[-1]))


def latest_pause(samples: Tensor, rate: int, first: int, last: int) -> int:
    """Return the middle of the latest 50 ms in `[first, last)` that are about as quiet as its quietest 50 ms.

    If there is no room for 50 ms, `last`.
    """
    levels, size = _levels(samples[first:last], rate)
    width = 5
    if levels.numel() < width:
        return last
    means = levels.unfold(0, width, 1).mean(-1)
    quiet = (means <= means.min() + 6.0).nonzero().flatten()
    return first + int(quiet[-1]) * size + width * size // 2
