"""Waveform discriminators.

Multi-period (HiFi-GAN, Kong et al., 2020), multi-resolution spectrogram (UnivNet; Vocos bands), and multi-scale STFT (EnCodec,
Défossez et al., 2022).

Each returns, for every sub-discriminator, a map of scores and its intermediate features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = [
    "Judgement",
    "MultiPeriodDiscriminator",
    "MultiResolutionDiscriminator",
    "MultiScaleStftDiscriminator",
    "WaveformDiscriminator",
]


class Judgement(NamedTuple):
    """What one sub-discriminator says of a batch. A tuple, because Fabric maps over what a wrapped module returns."""

    scores: Tensor  # [B, N]
    features: list[Tensor]


class _PeriodDiscriminator(nn.Module):
    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        self.convolutions = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0))) for a, b in zip(widths, channels, strict=False)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> Judgement:
        samples = F.pad(samples, (0, -samples.shape[-1] % self.period), mode="reflect")
        x = samples.unflatten(-1, (-1, self.period))[:, None]  # [B, 1, L / period, period]
        features = []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.1)
            features.append(x)
        return Judgement(self.score(x).flatten(1), features)


class MultiPeriodDiscriminator(nn.Module):
    """Looks at every p-th sample, for each period p."""

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: Sequence[int] = (32, 128, 512, 1024)) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_PeriodDiscriminator(period, channels) for period in periods)

    def forward(self, samples: Tensor) -> list[Judgement]:
        """Judge samples [B, L]."""
        return [part(samples) for part in self.parts]


class _ResolutionDiscriminator(nn.Module):
    BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        bins = n_fft // 2 + 1
        self.edges = [(int(low * bins), int(high * bins)) for low, high in self.BANDS]
        self.bands = nn.ModuleList(self._stack(channels) for _ in self.BANDS)
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    @staticmethod
    def _stack(channels: int) -> nn.ModuleList:
        strided = [weight_norm(nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(1, 4))) for _ in range(3)]
        first = weight_norm(nn.Conv2d(2, channels, (3, 9), padding=(1, 4)))
        last = weight_norm(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1)))
        return nn.ModuleList([first, *strided, last])

    def forward(self, samples: Tensor) -> Judgement:
        # The level of the crop must not give it away.
        samples = samples - samples.mean(-1, keepdim=True)
        samples = 0.8 * samples / (samples.abs().amax(-1, keepdim=True) + 1e-9)
        window = torch.hann_window(self.n_fft, device=samples.device)
        spectrum = torch.stft(samples, self.n_fft, self.n_fft // 4, window=window, return_complex=True)
        planes = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        features, outputs = [], []
        for (low, high), stack in zip(self.edges, self.bands, strict=True):
            x = planes[..., low:high]
            for convolution in stack:
                x = F.leaky_relu(convolution(x), 0.1)
                features.append(x)
            outputs.append(x)
        return Judgement(self.score(torch.cat(outputs, dim=-1)).flatten(1), features)


class MultiResolutionDiscriminator(nn.Module):
    """Looks at complex spectra of several window lengths, split into five bands."""

    def __init__(self, n_ffts: Sequence[int] = (2048, 1024, 512), channels: int = 32) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_ResolutionDiscriminator(n_fft, channels) for n_fft in n_ffts)

    def forward(self, samples: Tensor) -> list[Judgement]:
        """Judge samples [B, L]."""
        return [part(samples) for part in self.parts]


class _StftDiscriminator(nn.Module):
    """One window length: convolutions of 3 frames by 9 bins, dilated in time by 1, 2 and 4 (EnCodec, figure 2).

    Differs from paper: spectra are not divided by the norm of the window, so that those of speech are of about one.
    """

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        first = nn.Conv2d(2, channels, (3, 9), padding=(1, 4))
        strided = [nn.Conv2d(channels, channels, (3, 9), (1, 2), (d, 4), (d, 1)) for d in (1, 2, 4)]
        last = nn.Conv2d(channels, channels, 3, padding=1)
        self.convolutions = nn.ModuleList(weight_norm(layer) for layer in (first, *strided, last))
        self.score = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> Judgement:
        window = torch.hann_window(self.n_fft, device=samples.device)
        spectrum = torch.stft(samples, self.n_fft, self.n_fft // 4, window=window, center=False, return_complex=True)
        x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        x = x.contiguous(memory_format=torch.channels_last)  # on a CPU twice as fast
        features = []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.2)
            features.append(x)
        return Judgement(self.score(x).flatten(1), features)


class MultiScaleStftDiscriminator(nn.Module):
    """Looks at complex spectra of several window lengths, all bins at once, at the level they have."""

    def __init__(self, n_ffts: Sequence[int] = (2048, 1024, 512, 256, 128), channels: int = 32) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_StftDiscriminator(n_fft, channels) for n_fft in n_ffts)

    def forward(self, samples: Tensor) -> list[Judgement]:
        """Judge samples [B, L], L at least the longest window."""
        return [part(samples) for part in self.parts]


class WaveformDiscriminator(nn.Module):
    """Both families under one roof, so that they share one optimiser and one forward pass.

    Returns:
        (multi-period judgements, multi-resolution judgements)
    """

    def __init__(
        self, periods: Sequence[int], period_channels: Sequence[int], n_ffts: Sequence[int], resolution_channels: int
    ) -> None:
        super().__init__()
        self.periods = MultiPeriodDiscriminator(periods, period_channels)
        self.resolutions = MultiResolutionDiscriminator(n_ffts, resolution_channels)

    def forward(self, samples: Tensor) -> tuple[list[Judgement], list[Judgement]]:
        """Judge samples [B, L]."""
        return self.periods(samples), self.resolutions(samples)
