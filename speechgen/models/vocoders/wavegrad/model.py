"""WaveGrad network: (noisy audio, mel, noise level) -> the noise in it (Chen et al., 2021, section 3).

Two streams of equal rates: DBlocks take the noisy audio down, UBlocks the mel up, and at each rate FiLM lets the first
scale and shift the second. `condition` is the part that the noise level does not change; generation computes it once.
The diffusion process lives in speechgen.sampling.diffusion.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.vocoders.wavegrad.config import WaveGradConfig


class FiLM(nn.Module):
    """Feature-wise linear modulation: how one block of the mel stream is scaled and shifted (section 3.2)."""

    def __init__(self, channels: int, out_channels: int, level_scale: float) -> None:
        super().__init__()
        self.level_scale = level_scale
        self.input = nn.Conv1d(channels, channels, 3, padding=1)
        self.output = nn.Conv1d(channels, 2 * out_channels, 3, padding=1)
        for convolution in (self.input, self.output):
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.output.bias[:out_channels] = 1  # type: ignore[index]  # begin with scales about 1

    def forward(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Map x [B, C, L] and level [B] to scale and shift, each [B, D, L]."""
        hidden = F.leaky_relu(self.input(x), 0.2) + self.encode(level)[:, :, None].to(x.dtype)
        scale, shift = self.output(hidden).chunk(2, dim=1)
        return scale, shift

    def encode(self, level: Tensor) -> Tensor:
        """Sinusoids of the noise level [B]: [B, C], in float32, where neighbouring levels differ by little."""
        half = self.input.in_channels // 2
        rates = torch.exp(-math.log(1e4) / half * torch.arange(half, device=level.device))
        angles = self.level_scale * level.float()[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class UBlock(nn.Module):
    """Upsampling with two residual branches, modulated before three of its four convolutions (figure 2)."""

    def __init__(self, channels: int, out_channels: int, factor: int, dilations: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode
        self.residual = _orthogonal(nn.Conv1d(channels, out_channels, 1))
        widths = (channels, out_channels, out_channels, out_channels)
        self.convolutions = nn.ModuleList(
            _orthogonal(nn.Conv1d(width, out_channels, 3, padding=d, dilation=d))
            for width, d in zip(widths, dilations, strict=True)
        )

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Map x [B, C, L] to [B, D, factor * L], given scale and shift of that shape."""
        first, second, third, fourth = self.convolutions
        # A convolution of width 1 and an interpolation may change places: at the low rate it costs less.
        residual = _upsample(self.residual(x), self.factor, self.mode)
        y = _upsample_and_convolve(F.leaky_relu(x, 0.2), first, self.factor, self.mode)
        x = second(_modulated(y, scale, shift)) + residual
        return x + fourth(_modulated(third(_modulated(x, scale, shift)), scale, shift))


class DBlock(nn.Module):
    """Downsampling with a residual branch (figure 3)."""

    def __init__(self, channels: int, out_channels: int, factor: int, dilations: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode
        self.residual = _orthogonal(nn.Conv1d(channels, out_channels, 1))
        self.convolutions = nn.ModuleList(
            _orthogonal(nn.Conv1d(out_channels if i else channels, out_channels, 3, padding=d, dilation=d))
            for i, d in enumerate(dilations)
        )
        if mode == "strided":
            self.convolutions[0].stride = (factor,)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, L] to [B, D, L / factor]."""
        low = _downsample(x, self.factor, self.mode)
        y = x if self.mode == "strided" else low
        for convolution in self.convolutions:
            y = convolution(F.leaky_relu(y, 0.2))
        return y + self.residual(low)


class WaveGrad(nn.Module):
    """The whole network."""

    def __init__(self, config: WaveGradConfig) -> None:
        super().__init__()
        self.hop_samples, self.mel_range, self.mel_clamped = config.mel.hop_samples, config.mel_range, config.mel_clamped
        self.signal_scale = config.signal_scale
        self.mel_input = _orthogonal(nn.Conv1d(config.mel.num_bins, config.mel_channels, 3, padding=1))
        widths = (config.mel_channels, *config.up_channels)
        self.upsample = nn.ModuleList(
            UBlock(*pair, factor, dilations, config.upsampling)
            for *pair, factor, dilations in zip(widths, widths[1:], config.up_factors, config.up_dilations, strict=False)
        )
        self.output = _orthogonal(nn.Conv1d(config.up_channels[-1], 1, 3, padding=1))
        if config.signal_scale is not None:
            nn.init.zeros_(self.output.weight)  # begin with the linear guess, see `denoise`
        self.audio_input = _orthogonal(nn.Conv1d(1, config.audio_channels, 5, padding=2))
        widths = (config.audio_channels, *config.down_channels)
        self.downsample = nn.ModuleList(
            DBlock(*pair, factor, config.down_dilations, config.downsampling)
            for *pair, factor in zip(widths, widths[1:], reversed(config.up_factors[1:]), strict=False)
        )
        # One for each rate, the highest first.
        self.film = nn.ModuleList(
            FiLM(width, up, config.level_scale) for width, up in zip(widths, reversed(config.up_channels), strict=True)
        )

    def forward(self, noisy: Tensor, mel: Tensor, level: Tensor) -> Tensor:
        """Predict the noise in `noisy`.

        Args:
            noisy: [B, L] audio at noise level `level`, L a multiple of the hop.
            mel: [B, T, M] natural-log mel, T >= L / hop; frame t is the one at sample t * hop.
            level: [B] square root of the remaining signal power, in (0, 1].

        Returns:
            [B, L] estimate of the noise, of variance 1.
        """
        return self.denoise(noisy, self.condition(mel), level)

    def condition(self, mel: Tensor) -> Tensor:
        """Map mel [B, T, M] to what the UBlocks start from: [B, C, T]."""
        low, high = self.mel_range
        shares = (mel - low) / (high - low)
        hidden: Tensor = self.mel_input((shares.clamp(0, 1) if self.mel_clamped else shares).transpose(1, 2))
        return hidden

    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """As `forward`, with the mel as `condition` makes it; frames that begin after the audio's end are left out."""
        if self.signal_scale is None:
            return self._denoise(noisy, condition, level)
        # Differs from paper: the network sees variance 1 at all levels and adds to the best linear guess, scaled to what
        # that leaves open (Karras et al., EDM, 2022, section 5). High levels, which are easy, no longer hide the others.
        signal, noise = (level * self.signal_scale)[:, None], (1 - level.square()).sqrt()[:, None]
        power = signal.square() + noise.square()
        rest = self._denoise(noisy * power.rsqrt(), condition, level)
        return noise / power * noisy + signal * power.rsqrt() * rest

    def _denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """The paper's network."""
        y = self.audio_input(noisy[:, None])  # [B, C, L]
        modulations = [self.film[0](y, level)]
        for block, film in zip(self.downsample, self.film[1:], strict=True):
            y = block(y)
            modulations.append(film(y, level))
        x = condition[..., : noisy.shape[-1] // self.hop_samples]
        for block, (scale, shift) in zip(self.upsample, reversed(modulations), strict=True):
            x = block(x, scale, shift)
        noise: Tensor = self.output(x)[:, 0]
        return noise


def reach_samples(config: WaveGradConfig) -> int:
    """How many samples on either side a predicted sample depends on, at most."""
    stride, up = 1, 1  # samples between the positions of a block, and what its convolutions see
    for factor, dilations in zip(reversed(config.up_factors), reversed(config.up_dilations), strict=True):
        up += sum(dilations) * stride
        stride *= factor
        up += stride  # neighbours that an interpolation takes
    up += stride  # the convolution over frames
    stride, down = 1, 2
    for factor in reversed(config.up_factors[1:]):
        down += factor * stride
        stride *= factor
        down += sum(config.down_dilations) * stride
    return up + down + 2 * stride


def _modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.leaky_relu(torch.addcmul(shift, scale, x), 0.2)


def _upsample(x: Tensor, factor: int, mode: str) -> Tensor:
    if mode == "linear":
        return F.interpolate(x, scale_factor=factor, mode="linear", align_corners=False)
    return x.repeat_interleave(factor, dim=-1)


def _upsample_and_convolve(x: Tensor, convolution: nn.Conv1d, factor: int, mode: str) -> Tensor:
    """`convolution` of the upsampled x, at the low rate if possible.

    Of `factor` equal neighbours all but the first and the last see themselves under every tap.
    """
    if mode == "linear" or factor == 1 or convolution.dilation != (1,):
        upsampled: Tensor = convolution(_upsample(x, factor, mode))
        return upsampled
    left, middle, right = convolution.weight.unbind(-1)
    taps = F.conv1d(x, torch.cat((left, left + middle + right, right))[..., None])
    before, same, after = taps.chunk(3, dim=1)  # each [B, D, L]
    same = same + convolution.bias[:, None]  # type: ignore[index]
    first = same + F.pad(before, (1, 0))[..., :-1] - before
    last = same + F.pad(after, (0, 1))[..., 1:] - after
    return torch.stack((first, *[same] * (factor - 2), last), dim=-1).flatten(-2)  # [B, D, factor * L]


def _downsample(x: Tensor, factor: int, mode: str) -> Tensor:
    if mode == "linear":
        return F.interpolate(x, size=x.shape[-1] // factor, mode="linear", align_corners=False)
    return x[..., ::factor]


def _orthogonal(convolution: nn.Conv1d) -> nn.Conv1d:
    nn.init.orthogonal_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
