"""GAN-TTS generator: conditioning frames to a waveform through seven GBlocks (Bińkowski et al., 2020, section 3.2).

A GBlock is four dilated convolutions, each after a conditional normalisation by the noise z; the first also upsamples.
The discriminators are in speechgen.nn.random_window; generate.py folds this network for inference.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.spectrogram import filtered, mel_envelope
from speechgen.core.types import MelSettings
from speechgen.models.vocoders.gan_tts.config import GanTtsConfig
from speechgen.nn.spectral_norm import spectral_norm

_DILATIONS = (1, 2, 4, 8)
_MU = 255.0
_MEL_MEAN, _MEL_SCALE = -1.7, 2.2
"""Of natural-log mels of speech at the project's level, roughly: features are of the order of one."""


_LOUDEST = 10.0
"""Natural logarithm; a full-scale tone has less."""


def mel_features(mel: Tensor) -> Tensor:
    """Natural-log mel [B, T, M] as conditioning [B, T, M]."""
    return (mel - _MEL_MEAN) / _MEL_SCALE


def compress(samples: Tensor) -> Tensor:
    """Mu-law companding of samples in [-1, 1], continuous."""
    return samples.sign() * (_MU * samples.abs().clamp(max=1)).log1p() / math.log1p(_MU)


def expand(companded: Tensor) -> Tensor:
    """Undo `compress`."""
    return companded.sign() * (companded.abs() * math.log1p(_MU)).expm1() / _MU


def shape(samples: Tensor, mel: Tensor, settings: MelSettings) -> Tensor:
    """Give a sound of flat spectrum [B, (T - 1) * hop] the envelope of a mel [B, T, M].

    Differs from paper: the paper's generator makes the whole dynamic range, sixty decibels between frames and bands, of its
    ReLUs. A short training is better spent on phase and harmonics, since the envelope is known.
    """
    return filtered(samples, mel_envelope(mel.clamp(max=_LOUDEST), settings), settings)


class ConditionalNorm(nn.Module):
    """Batch normalisation (or none), then a scale and a shift for each channel that are linear in z."""

    def __init__(self, width: int, config: GanTtsConfig) -> None:
        super().__init__()
        # Differs from paper: the statistics of the averaged weights are averages of running statistics; the paper measures
        # them again. "none" is for batches of a few crops, whose statistics are those of what happens to be said in them.
        self.batch = nn.BatchNorm1d(width, affine=False) if config.normalisation == "batch" else None
        self.affine = nn.Linear(config.noise_size, 2 * width)
        nn.init.normal_(self.affine.weight, std=0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Normalise x [B, C, N] by z [B, Z]."""
        x = x if self.batch is None else self.batch(x)
        gain, shift = self.affine(z)[..., None].chunk(2, dim=1)  # each [B, C, 1]
        return x + torch.addcmul(shift, gain, x)  # gamma = 1 + W z

    def folded(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift [C] that this is in evaluation for one z [Z]."""
        gain, shift = self.affine(z).chunk(2)
        if self.batch is None:
            return 1 + gain, shift
        assert self.batch.running_mean is not None and self.batch.running_var is not None
        scale = (1 + gain) * (self.batch.running_var + self.batch.eps).rsqrt()
        return scale, shift - scale * self.batch.running_mean


class Upsampled(nn.Module):
    """A convolution whose result has `factor` times as many samples."""

    def __init__(self, inputs: int, outputs: int, kernel: int, factor: int, config: GanTtsConfig) -> None:
        super().__init__()
        self.factor = factor
        # Differs from paper: the paper repeats samples. With weights of its own for each new sample, which cost nothing
        # more at the lower rate, few channels at 24 kHz are enough.
        self.subpixel = config.upsampling == "subpixel"
        self.convolution = convolution(inputs, outputs * (factor if self.subpixel else 1), kernel, config)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, N] to [B, C', N * factor]."""
        if self.subpixel:
            return interleave(self.convolution(x), self.factor)
        if self.convolution.kernel_size == (1,):
            result: Tensor = self.convolution(x)
            return result.repeat_interleave(self.factor, -1)  # the same in either order, and cheaper in this
        result = self.convolution(x.repeat_interleave(self.factor, -1))
        return result


class GBlock(nn.Module):
    """Two residual pairs of convolutions of dilations 1, 2 and 4, 8, each after conditional normalisation and ReLU."""

    def __init__(self, inputs: int, width: int, factor: int, config: GanTtsConfig) -> None:
        super().__init__()
        self.factor = factor
        self.norms = nn.ModuleList(ConditionalNorm(size, config) for size in (inputs, width, width, width))
        self.upsampled = Upsampled(inputs, width, 3, factor, config)
        self.dilated = nn.ModuleList(convolution(width, width, 3, config, dilation) for dilation in _DILATIONS[1:])
        changes = inputs != width or (factor > 1 and config.upsampling == "subpixel")
        self.residual = Upsampled(inputs, width, 1, factor, config) if changes else None

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Map x [B, C, N] and z [B, Z] to [B, C', N * factor]."""
        h = self.upsampled(F.relu(self.norms[0](x, z)))
        h = self.dilated[0](F.relu(self.norms[1](h, z)))
        h = h + (x.repeat_interleave(self.factor, -1) if self.residual is None else self.residual(x))
        r = self.dilated[1](F.relu(self.norms[2](h, z)))
        r = self.dilated[2](F.relu(self.norms[3](r, z)))
        made: Tensor = h + r
        return made


class GanTts(nn.Module):
    """The generator. Frame j of the conditioning lies in the middle of samples j * hop to (j + 1) * hop."""

    def __init__(self, config: GanTtsConfig) -> None:
        super().__init__()
        self.bounded = not config.shaped
        self.input = convolution(config.num_features, config.widths[0], 3, config)
        inputs = (config.widths[0], *config.widths)
        self.blocks = nn.ModuleList(
            GBlock(a, b, factor, config) for a, b, factor in zip(inputs, config.widths, config.factors, strict=False)
        )
        self.output = convolution(config.widths[-1], 1, 3, config)
        if not config.spectral_norm:
            _balance(self)

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Render a waveform.

        Args:
            features: [B, T, F] conditioning, of the order of one.
            z: [B, Z] noise, one for an utterance; normal, or zeros.

        Returns:
            [B, T * hop] samples in (-1, 1), companded or of any level and yet to be shaped if the configuration says so.
        """
        x = self.input(features.transpose(1, 2))  # [B, C, T]
        for block in self.blocks:
            x = block(x, z)
        samples: Tensor = self.output(x)[:, 0]
        return samples.tanh() if self.bounded else samples


def convolution(inputs: int, outputs: int, kernel: int, config: GanTtsConfig, dilation: int = 1) -> nn.Conv1d:
    """A convolution that keeps the length, initialised orthogonally (Saxe et al., 2014)."""
    layer = nn.Conv1d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    # Differs from paper: without batch normalisation nothing else could raise what spectral norms hold down.
    return spectral_norm(layer) if config.spectral_norm else layer


def interleave(x: Tensor, factor: int) -> Tensor:
    """Put groups of `factor` channels after one another in time: [B, C * factor, N] to [B, C, N * factor]."""
    return x.reshape(len(x), -1, factor, x.shape[-1]).transpose(2, 3).flatten(2) if factor > 1 else x


def frames_reached(config: GanTtsConfig) -> int:
    """Frames on either side of the frame a sample lies in that it can depend on."""
    reach = 0
    hop = config.hop_samples
    for sample in (0, hop - 1):
        low, high = sample - 1, sample + 1  # the output convolution
        for factor in reversed(config.factors):
            side = sum(_DILATIONS[1:])
            low, high = low - side, high + side
            if config.upsampling == "nearest":
                low, high = (low - 1) // factor, (high + 1) // factor
            else:
                low, high = low // factor - 1, high // factor + 1
        reach = max(reach, 1 - low, high + 1)
    return reach


@torch.no_grad()
def _balance(network: GanTts) -> None:
    """Without normalisation: ReLU halves the power, and twice seven residual sums must not double it each time."""
    for block in network.blocks:
        for layer, gain in zip((block.upsampled.convolution, *block.dilated), (1.4, 0.4, 1.4, 0.4), strict=True):  # type: ignore
            layer.weight *= gain
    network.output.weight *= 0.1 if network.bounded else 0.5
