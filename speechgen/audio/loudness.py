"""Levels: of speech over its active part, so that pauses do not count; of any sound as broadcasters measure it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchaudio.functional import lfilter

__all__ = ["RunningLevel", "active_level", "integrated_loudness", "normalize_level"]

TARGET_DBFS = -23.0
"""RMS of active speech that all training audio and references are brought to."""
FRAME_SECONDS = 0.02


def active_level(samples: Tensor, rate: int) -> float:
    """RMS of the active 20 ms frames (within 40 dB of the loudest) in dB relative to full scale; -inf for silence.

    Args:
        samples: [L] in [-1, 1].
        rate: samples per second.
    """
    return _level_of(_powers(samples, rate))


class RunningLevel:
    """The active level of speech in parts, over the last minute; it begins as if two seconds at TARGET_DBFS were heard."""

    KEPT, ASSUMED = 3000, 100
    """Frames."""

    def __init__(self, rate: int) -> None:
        self._rate, self._powers = rate, torch.full((self.ASSUMED,), 10 ** (TARGET_DBFS / 10))

    def hear(self, samples: Tensor) -> None:
        """Add `samples [L]`."""
        self._powers = torch.cat((self._powers, _powers(samples, self._rate)))[-self.KEPT :]

    @property
    def gain(self) -> float:
        """The factor that brings it to TARGET_DBFS; 1 for silence."""
        level = _level_of(self._powers)
        return 10 ** ((TARGET_DBFS - level) / 20) if math.isfinite(level) else 1.0


def _powers(samples: Tensor, rate: int) -> Tensor:
    size = max(1, min(int(FRAME_SECONDS * rate), samples.shape[-1]))
    return samples.float().unfold(-1, size, size).square().mean(-1) if len(samples) else torch.zeros(0)


def _level_of(powers: Tensor) -> float:
    active = powers[powers > powers.amax() * 1e-4] if powers.numel() else powers
    return float(10 * torch.log10(active.mean())) if active.numel() else float("-inf")


def normalize_level(samples: Tensor, rate: int, target_dbfs: float = TARGET_DBFS) -> Tensor:
    """Scale `samples [L]` so that active speech has `target_dbfs`, without exceeding a peak of 0.95. Silence stays as it is."""
    level = active_level(samples, rate)
    if level < -80:
        return samples
    gain = 10 ** ((target_dbfs - level) / 20)
    return samples * min(gain, 0.95 / float(samples.abs().max()))


def integrated_loudness(samples: Tensor, rate: int) -> float:
    """Return the loudness in LUFS (ITU-R BS.1770-4, one channel); -inf if nothing is louder than -70 LUFS.

    The mean power of the K-weighted signal in blocks of 0.4 s that overlap by three quarters, of those blocks that are above
    -70 LUFS and less than 10 LU below what these alone come to.

    Args:
        samples: [L] in [-1, 1]; shorter than a block counts as one.
        rate: samples per second.
    """
    heard = samples.double()
    for feedback, feedforward in _k_weighting(rate):
        heard = lfilter(heard, feedback, feedforward, clamp=False)
    block = round(0.4 * rate)
    if len(heard) < block:
        heard = torch.nn.functional.pad(heard, (0, block - len(heard)))
    power = heard.square().unfold(-1, block, block // 4).mean(-1)  # [blocks]
    power = power[_loudness(power) > -70]
    power = power[_loudness(power) > _loudness(power.mean()) - 10]
    return float(_loudness(power.mean())) if len(power) else float("-inf")


def _loudness(power: Tensor) -> Tensor:
    return 10 * torch.log10(power) - 0.691


def _k_weighting(rate: int) -> list[tuple[Tensor, Tensor]]:
    """The two filters of BS.1770 (a shelf for the head, a high-pass) at any rate, as (a, b), by the bilinear transform.

    The standard tabulates them for 48 kHz; these are the analogue prototypes that give its table.
    """
    shelf = math.tan(math.pi * 1681.974450955533 / rate)
    quality, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    head_a = [1 + shelf / quality + shelf**2, 2 * (shelf**2 - 1), 1 - shelf / quality + shelf**2]
    head_b = [high + middle * shelf / quality + shelf**2, 2 * (shelf**2 - high), high - middle * shelf / quality + shelf**2]
    low, quality = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    pass_a = [1 + low / quality + low**2, 2 * (low**2 - 1), 1 - low / quality + low**2]
    scaled = [(head_a, head_b), (pass_a, [pass_a[0], -2 * pass_a[0], pass_a[0]])]
    return [tuple(torch.tensor(side, dtype=torch.float64) / a[0] for side in (a, b)) for a, b in scaled]  # type: ignore[misc]
