"""GAN-TTS as a Vocoder, in a form made for CPUs: for one z everything but the ReLUs is a convolution with fixed weights.

Spectral norms are divided out. Conditional normalisation is a scale and a shift for each channel; where it follows a
convolution it is part of its weights. Repeating samples before a convolution of width 3 gives each repeated sample one of
three kernels of the lower rate: `_Repeated`. Long utterances are rendered in chunks that overlap by the receptive field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.spectrogram import corrected, corrected_frames
from speechgen.core.errors import UserError
from speechgen.core.protocols import Part, Progress
from speechgen.core.random import placed_noise
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.gan_tts.config import GanTtsConfig, GanTtsOptions
from speechgen.models.vocoders.gan_tts.model import (
    ConditionalNorm,
    GanTts,
    GBlock,
    Upsampled,
    expand,
    frames_reached,
    interleave,
    mel_features,
    shape,
)
from speechgen.nn.windows import in_windows, num_windows

CHUNK_FRAMES = 384


class GanTtsGenerator:
    """Renders mels of the settings it was trained with; `render` takes features of any conditioning.

    The noise z is the mean, unless the options give it a temperature: then it is that of the seed, the same for all rows
    and all parts of an utterance.
    """

    def __init__(self, network: GanTts, config: GanTtsConfig) -> None:
        self.network, self.config, self.mel = network, config, config.mel
        # A sample lies between two frames; shaping hears a window on either side, and another at the edges of a part.
        filter_frames = config.mel.n_fft // config.mel.hop_samples + 2 if config.shaped else 0
        self.reach_frames = frames_reached(config) + 1 + filter_frames + corrected_frames(config.mel, config.corrections)
        self._mean: Baked | None = None

    @torch.inference_mode()
    def generate(
        self,
        mel: Mel,
        *,
        options: GanTtsOptions,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return (T - 1) * hop samples for T frames.

        Raises:
            ValueError: the mel is defined differently or has values that are not finite.
            UserError: this checkpoint renders linguistic features.
        """
        if self.config.conditioning != "mel":
            raise UserError("this vocoder renders linguistic features, not mels: use its render(), or choose another vocoder")
        mel.require(self.mel)
        return self._render(mel_features(mel.values), mel.lengths, mel.values, options.temperature, rng, progress)

    @torch.inference_mode()
    def render(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        options: GanTtsOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Waveform:
        """Render phones and pitch, by a checkpoint of that conditioning.

        Args:
            features: [B, T, F] of speechgen.nn.linguistic, frame j centred on sample j * hop.
            lengths: [B] frames of each row that are real.
            options: temperature of the noise.
            rng: its seed gives the noise; nothing is drawn from it.
            progress: told of each chunk.

        Returns:
            (T - 1) * hop samples for T frames.

        Raises:
            UserError: this checkpoint renders mels.
        """
        if self.config.conditioning == "mel":
            raise UserError("this vocoder renders mels, not linguistic features: use its generate(), or choose another vocoder")
        return self._render(features, lengths, None, options.temperature, rng, progress)

    def _render(
        self,
        features: Tensor,
        lengths: Tensor,
        mel: Tensor | None,
        temperature: float,
        rng: torch.Generator,
        progress: Progress | None,
    ) -> Waveform:
        """Render row by row, for what pads a row must not be seen, and chunk by chunk, for memory."""
        baked, sizes, done = self._baked(temperature, rng), (lengths - 1).tolist(), count(1)
        total = sum(num_windows(size, CHUNK_FRAMES) for size in sizes)
        rows = []

        def told() -> None:
            if progress is not None:
                progress(next(done), total)

        def window(row: int, low: int, high: int) -> Tensor:
            read = slice(low, high + 1)
            return self._window(baked, features[row : row + 1, read], None if mel is None else mel[row : row + 1, read])

        for row, size in enumerate(sizes):
            samples = features.new_zeros(0)
            if size:
                hop, reach = self.config.hop_samples, self.reach_frames
                samples = in_windows(partial(window, row), size, step=CHUNK_FRAMES, reach=reach, hop=hop, told=told)
            rows.append(samples)
        return Waveform.from_rows(rows, self.mel.sample_rate)

    def _window(self, baked: Baked, features: Tensor, mel: Tensor | None) -> Tensor:
        """The (T - 1) * hop samples of features [1, T, F], and of the mel [1, T, M] if that is the conditioning."""
        half = self.config.hop_samples // 2
        samples = baked(features)[:, half:-half]
        if self.config.shaped and mel is not None:
            samples = shape(samples, mel, self.mel)
        samples = expand(samples) if self.config.mu_law else samples
        return (samples if mel is None else corrected(samples, mel, self.mel, self.config.corrections))[0]

    def _baked(self, temperature: float, rng: torch.Generator) -> Baked:
        device = self.network.output.bias.device  # type: ignore[union-attr]
        size = self.config.noise_size
        if temperature > 0:
            return Baked(self.network, temperature * placed_noise(rng, 0, size, "z").to(device))
        if self._mean is None:
            self._mean = Baked(self.network, torch.zeros(size, device=device))
        return self._mean


class Baked:
    """The network in evaluation for one z [Z]: maps features [B, T, F] to samples [B, T * hop]."""

    def __init__(self, network: GanTts, z: Tensor) -> None:
        self._input, self._output = _Convolution(network.input), _Convolution(network.output)
        self._bounded = network.bounded
        self._blocks = [_Block(block, z) for block in network.blocks]  # type: ignore[arg-type]

    def __call__(self, features: Tensor) -> Tensor:
        """Render features [B, T, F], companded samples if the network speaks so."""
        x = self._input(features.transpose(1, 2))
        for block in self._blocks:
            x = block(x)
        samples = self._output(x)[:, 0]
        return samples.tanh_() if self._bounded else samples


class _Convolution:
    """A convolution, and the scale and shift [C'] that follow it."""

    def __init__(self, layer: nn.Conv1d, after: tuple[Tensor, Tensor] | None = None) -> None:
        assert layer.bias is not None
        weight, bias = layer.weight.detach(), layer.bias.detach()
        if after is not None:
            scale, shift = (each.repeat_interleave(len(bias) // len(each)) for each in after)  # subpixels are neighbours
            weight, bias = weight * scale[:, None, None], bias * scale + shift
        self.weight, self.bias = weight.contiguous(), bias
        self._dilation = int(layer.dilation[0])
        self._padding = self._dilation * (layer.kernel_size[0] // 2)

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias, padding=self._padding, dilation=self._dilation)


class _Repeated:
    """A convolution of width 3 over samples that are repeated `factor` times, computed before they are repeated.

    The first of the repeated samples sees its predecessor and itself twice, the last itself twice and its successor; all
    between see themselves three times and are equal.
    """

    def __init__(self, inner: _Convolution, factor: int) -> None:
        left, middle, right = inner.weight.unbind(-1)
        self._first = torch.stack((left, middle + right), -1)
        self._between = (left + middle + right)[..., None]
        self._last = torch.stack((left + middle, right), -1)
        self._bias, self._factor = inner.bias, factor

    def __call__(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1))
        first = F.conv1d(padded[..., :-1], self._first, self._bias)
        last = F.conv1d(padded[..., 1:], self._last, self._bias)
        between = [F.conv1d(x, self._between, self._bias)] * (self._factor - 2) if self._factor > 2 else []
        return torch.stack((first, *between, last), -1).flatten(2)  # [B, C', N * factor]


class _Block:
    """A GBlock for one z."""

    def __init__(self, block: GBlock, z: Tensor) -> None:
        norms = [_folded(norm, z) for norm in block.norms]  # type: ignore[arg-type]
        self._before_first, self._before_third = norms[0], norms[2]
        self._upsampled = _upsampled(block.upsampled, norms[1])
        second, third, fourth = block.dilated
        self._second, self._fourth = _Convolution(second), _Convolution(fourth)  # type: ignore[arg-type]
        self._third = _Convolution(third, norms[3])  # type: ignore[arg-type]
        self._residual = _upsampled(block.residual) if block.residual is not None else _repeat(block.factor)

    def __call__(self, x: Tensor) -> Tensor:
        h = self._upsampled(_activated(x, self._before_first)).relu_()
        h = self._second(h).add_(self._residual(x))
        r = self._third(_activated(h, self._before_third)).relu_()
        return self._fourth(r).add_(h)


def _upsampled(layer: Upsampled, after: tuple[Tensor, Tensor] | None = None) -> Callable[[Tensor], Tensor]:
    inner, factor = _Convolution(layer.convolution, after), layer.factor
    if factor == 1:
        return inner
    if layer.subpixel:
        return lambda x: interleave(inner(x), factor)
    if inner.weight.shape[-1] == 1:
        return lambda x: inner(x).repeat_interleave(factor, -1)
    return _Repeated(inner, factor)


def _repeat(factor: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.repeat_interleave(factor, -1) if factor > 1 else x


def _folded(norm: ConditionalNorm, z: Tensor) -> tuple[Tensor, Tensor]:
    scale, shift = norm.folded(z)
    return scale.detach(), shift.detach()


def _activated(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    scale, shift = norm
    return torch.addcmul(shift[:, None], x, scale[:, None]).relu_()
