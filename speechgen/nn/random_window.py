"""Random window discriminators (Bińkowski et al., 2020, section 3.3): each judges a short window at a random place.

Blocks of `stride` successive samples of a window are its channels, so that windows of all sizes have one length. An
unconditional discriminator sees nothing but sound; a conditional one begins at a frame and also sees the conditioning of
the frames that its window covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.spectral_norm import spectral_norm

__all__ = ["RandomWindow", "RandomWindowDiscriminators", "WindowDiscriminator", "draw_starts", "fold"]


class RandomWindow(NamedTuple):
    """One size of window, judged by a conditional and an unconditional discriminator.

    Attributes:
        frames: conditioning frames that it covers.
        stride: successive samples that become channels.
        conditional: downsampling factors of the conditional one; the last brings it to one entry a frame.
        unconditional: downsampling factors of the other.
    """

    frames: int
    stride: int
    conditional: tuple[int, ...]
    unconditional: tuple[int, ...]


def draw_starts(windows: Sequence[RandomWindow], frames: int, hop_samples: int, batch: int, rng: torch.Generator) -> Tensor:
    """Draw where each discriminator looks.

    Args:
        windows: their sizes.
        frames: T, length of what is judged.
        hop_samples: samples of a frame.
        batch: B.
        rng: source of the places.

    Returns:
        [2 * windows, B] first samples: conditional ones on frames, then unconditional ones anywhere.

    Raises:
        ValueError: a window is longer than the crop.
    """
    widest = max(window.frames for window in windows)
    if widest > frames:
        raise ValueError(f"the widest window covers {widest} frames, the crop has {frames}: use longer crops or fewer windows")

    def draw(last: int) -> Tensor:
        return torch.randint(last + 1, (batch,), generator=rng, device=rng.device)

    conditional = [draw(frames - window.frames) * hop_samples for window in windows]
    unconditional = [draw((frames - window.frames) * hop_samples) for window in windows]
    return torch.stack(conditional + unconditional)


def fold(window: Tensor, stride: int) -> Tensor:
    """Turn blocks of `stride` successive samples into channels: [B, W] to [B, stride, W / stride]."""
    return window.reshape(len(window), -1, stride).transpose(1, 2)


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Module:
    layer = nn.Conv1d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return spectral_norm(layer)


class DownBlock(nn.Module):
    """Pooling, then two convolutions beside a residual path; the conditional form adds conditioning between the two."""

    def __init__(self, inputs: int, outputs: int, factor: int = 1, *, features: int | None = None, first: bool = False) -> None:
        super().__init__()
        self.factor, self.first = factor, first
        self.inner = _convolution(inputs, outputs, 3)
        self.outer = _convolution(outputs, outputs, 3, dilation=2)
        self.residual = _convolution(inputs, outputs, 1)
        self.condition = _convolution(features, outputs, 1) if features else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map x [B, C, N] (and conditioning [B, F, N / factor]) to [B, C', N / factor]."""
        x = F.avg_pool1d(x, self.factor) if self.factor > 1 else x
        h = self.inner(x if self.first else F.relu(x))  # the first block sees the waveform whole, its negative half too
        if self.condition is not None:
            h = h + self.condition(condition)
        # A convolution of width 1 and pooling commute.
        result: Tensor = self.outer(F.relu(h)) + self.residual(x)
        return result


class WindowDiscriminator(nn.Module):
    """Judges windows that were cut out already. `features` None: unconditional."""

    def __init__(self, stride: int, factors: Sequence[int], width: int, features: int | None = None) -> None:
        super().__init__()
        self.stride, self.factors = stride, tuple(factors)
        plain = self.factors[:-1] if features else self.factors
        widths = [2 * width] * (len(plain) // 2) + [4 * width] * (len(plain) - len(plain) // 2)
        self.down = nn.ModuleList([DownBlock(stride, width, first=True)])
        last = width
        for factor, size in zip(plain, widths, strict=True):
            self.down.append(DownBlock(last, size, factor))
            last = size
        self.conditional = DownBlock(last, 2 * last, self.factors[-1], features=features) if features else None
        last = 2 * last if features else last
        self.even = nn.ModuleList([DownBlock(last, last), DownBlock(last, last)])
        self.score = nn.Linear(last, 1)
        nn.init.orthogonal_(self.score.weight)
        spectral_norm(self.score)

    def forward(self, window: Tensor, features: Tensor | None = None) -> Tensor:
        """Map windows [B, W] (and conditioning [B, T, F] of the frames they cover) to scores [B]."""
        x = fold(window, self.stride)  # [B, stride, W / stride]
        for block in self.down:
            x = block(x)
        if self.conditional is not None and features is not None:
            x = self.conditional(x, features.transpose(1, 2))  # [B, C, T]
        for block in self.even:
            x = block(x)
        scores: Tensor = self.score(F.relu(x).mean(-1))[:, 0]
        return scores


class RandomWindowDiscriminators(nn.Module):
    """The ensemble: a conditional and an unconditional discriminator for every window.

    Args:
        windows: their sizes.
        hop_samples: samples of a conditioning frame.
        features: channels F of the conditioning.
        width: channels of the first block.

    Raises:
        ValueError: the factors of a window do not bring it to one entry a frame, or do not divide it.
    """

    def __init__(self, windows: Sequence[RandomWindow], hop_samples: int, features: int, width: int) -> None:
        super().__init__()
        self.windows, self.hop_samples = tuple(windows), hop_samples
        for window in windows:
            _check(window, hop_samples)
        self.conditional = nn.ModuleList(WindowDiscriminator(w.stride, w.conditional, width, features) for w in windows)
        self.unconditional = nn.ModuleList(WindowDiscriminator(w.stride, w.unconditional, width) for w in windows)

    def forward(self, samples: Tensor, features: Tensor, starts: Tensor) -> list[Tensor]:
        """Judge a batch.

        Args:
            samples: [B, T * hop].
            features: [B, T, F], frame j belongs to samples j * hop to (j + 1) * hop.
            starts: [2 * windows, B] from `draw_starts`.

        Returns:
            Scores [B] of each discriminator.
        """
        conditional, unconditional = starts.chunk(2)
        scores = []
        for judge, window, start in zip(self.conditional, self.windows, conditional, strict=True):
            sound = cut(samples, start, window.frames * self.hop_samples)
            scores.append(judge(sound, cut(features, start // self.hop_samples, window.frames)))
        for judge, window, start in zip(self.unconditional, self.windows, unconditional, strict=True):
            scores.append(judge(cut(samples, start, window.frames * self.hop_samples)))
        return scores


def cut(values: Tensor, start: Tensor, length: int) -> Tensor:
    """Take `length` entries of each row of values [B, N] or [B, N, F] from start [B] on."""
    places = start[:, None] + torch.arange(length, device=values.device)  # [B, length]
    return values[torch.arange(len(values), device=values.device)[:, None], places]


def _check(window: RandomWindow, hop_samples: int) -> None:
    size = window.frames * hop_samples
    length, rest = divmod(size, window.stride)
    product = 1
    for factor in window.conditional:
        product *= factor
    if rest or length != product * window.frames:
        raise ValueError(
            f"a window of {window.frames} frames of {hop_samples} samples in blocks of {window.stride} has to be downsampled "
            f"by {size / window.stride / window.frames:g}, its conditional factors {window.conditional} make {product}"
        )
