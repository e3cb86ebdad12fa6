"""Sines that follow a pitch: the excitation of source-filter vocoders (Wang et al., 2020, section III-B).

The phase is kept in turns and in float64, and wrapped before it is multiplied by the number of a harmonic, so that it
stays exact however long the audio is, and a part of an utterance can begin with the phase that the whole would have there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["harmonic_sines", "pitch_of_samples", "turns_of_samples"]


def pitch_of_samples(pitch: Tensor, hop_samples: int, *, glide: bool) -> Tensor:
    """Spread a pitch that is known at frame centres, frame j at sample j * hop, over the samples between them.

    Args:
        pitch: [B, T] Hz, 0 = unvoiced.
        hop_samples: samples between frames.
        glide: between two voiced frames along a line; else, and at the edges of voicing, the nearest frame's.

    Returns:
        [B, (T - 1) * hop] Hz.
    """
    before, after = pitch[:, :-1, None], pitch[:, 1:, None]  # [B, T - 1, 1]
    share = torch.arange(hop_samples, device=pitch.device) / hop_samples  # [hop]
    nearest = torch.where(share < 0.5, before, after)  # [B, T - 1, hop]
    if glide:
        # Never between a voiced frame and an unvoiced one: that would be a chirp from 0 Hz.
        nearest = torch.where((before > 0) & (after > 0), before + share * (after - before), nearest)
    return nearest.flatten(1)


def turns_of_samples(pitch: Tensor, sample_rate: int, start: Tensor | None = None) -> Tensor:
    """Phase of the fundamental before each sample and after the last.

    Args:
        pitch: [B, L] Hz, 0 = unvoiced: there the phase stands still.
        sample_rate: of the samples.
        start: [B] float64 turns before the first sample; none: 0.

    Returns:
        [B, L + 1] float64 turns in [0, 1).
    """
    steps = pitch.double() / sample_rate
    begin = pitch.new_zeros(len(pitch), dtype=torch.float64) if start is None else start.double()
    return torch.cat((begin[:, None], begin[:, None] + steps.cumsum(1)), dim=1).remainder(1.0)


def harmonic_sines(turns: Tensor, pitch: Tensor, sample_rate: int, offsets: Tensor) -> Tensor:
    """Sines of the fundamental and its overtones; those above half the sample rate, and all where unvoiced, are silent.

    Args:
        turns: [B, L] phase of the fundamental at each sample, in [0, 1).
        pitch: [B, L] Hz, 0 = unvoiced.
        sample_rate: of the samples.
        offsets: [H] or [B, H] phase in turns at which each harmonic begins.

    Returns:
        [B, H, L] in [-1, 1].
    """
    numbers = torch.arange(1, offsets.shape[-1] + 1, device=turns.device, dtype=torch.float32)[:, None]  # [H, 1]
    # One turn more or less of the fundamental is a whole number of turns of every harmonic.
    angles = numbers * turns.float()[:, None] + offsets.reshape(-1, offsets.shape[-1], 1)  # [B, H, L]
    audible = (pitch[:, None] > 0) & (numbers * pitch[:, None] < sample_rate / 2)
    return torch.sin(2 * math.pi * angles) * audible
