"""Filters of finite impulse response: fixed ones, and windowed sincs whose cut-off moves (Wang & Yamagishi, 2019)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["design_low_pass", "filter_fixed", "filter_moving", "windowed_sincs"]

_STOP_WEIGHT = 10.0


def design_low_pass(pass_hz: float, stop_hz: float, sample_rate: int, num_taps: int, *, mirrored: bool = False) -> Tensor:
    """Return the symmetric low-pass of least squared error: 1 up to `pass_hz`, 0 from `stop_hz` on, free between.

    What should be stopped counts _STOP_WEIGHT times as much as what should pass.

    Args:
        pass_hz, stop_hz: edges of the bands.
        sample_rate: of the audio.
        num_taps: odd.
        mirrored: the spectrum turned over, so that what is kept are the frequencies within `pass_hz` of the highest.

    Returns:
        [num_taps] float32.
    """
    half = num_taps // 2
    frequency = torch.linspace(0, 0.5, 512, dtype=torch.float64)  # cycles a sample
    wanted = (frequency <= pass_hz / sample_rate).double()
    weight = wanted + _STOP_WEIGHT**2 * (frequency >= stop_hz / sample_rate)
    cosines = torch.cos(2 * math.pi * frequency[:, None] * torch.arange(half + 1))  # [frequencies, half + 1]
    weighted = cosines.T * weight
    found = torch.linalg.solve(weighted @ cosines, weighted @ wanted)
    taps = torch.cat((found[1:].flip(0) / 2, found[:1], found[1:] / 2))
    if mirrored:
        taps = taps * torch.cos(math.pi * torch.arange(-half, half + 1))
    return taps.float()


def filter_fixed(signal: Tensor, taps: Tensor) -> Tensor:
    """Filter a signal [B, L] by symmetric taps [K], K odd, without delay."""
    return F.conv1d(signal[:, None], taps[None, None], padding=len(taps) // 2)[:, 0]


def windowed_sincs(cutoff: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Low-pass and high-pass filters of one cut-off, of gain 1 at 0 Hz and at the highest frequency.

    Args:
        cutoff: [B, N] as a share of the highest frequency, in (0, 1).
        order: number of taps K, odd.

    Returns:
        Two [B, N, K]; both are symmetric, so their delay is the same.
    """
    place = torch.arange(-(order // 2), order // 2 + 1, device=cutoff.device, dtype=cutoff.dtype)  # [K]
    window = 0.54 + 0.46 * torch.cos(2 * math.pi * place / order)
    low = cutoff[..., None] * torch.sinc(cutoff[..., None] * place)  # [B, N, K]
    high = (torch.sinc(place) - low) * window
    low = low * window
    alternating = 1 - 2 * (place % 2)  # the highest frequency
    return low / low.sum(-1, keepdim=True), high / (high * alternating).sum(-1, keepdim=True)


def filter_moving(signal: Tensor, taps: Tensor) -> Tensor:
    """Filter a signal by taps that change, without delay.

    Args:
        signal: [B, L], L = N * s.
        taps: [B, N, K], symmetric, each for s samples; K odd.

    Returns:
        [B, L].
    """
    order, stretch = taps.shape[-1], signal.shape[-1] // taps.shape[1]
    padded = F.pad(signal, (order // 2, order // 2))
    around = padded.unfold(-1, stretch + order - 1, stretch)  # [B, N, s + K - 1]
    made = around[..., :stretch] * taps[..., :1]  # [B, N, s]
    for place in range(1, order):
        made = torch.addcmul(made, around[..., place : place + stretch], taps[..., place : place + 1])
    return made.flatten(1)
