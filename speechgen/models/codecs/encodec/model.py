"""EnCodec network: SEANet encoder, residual quantiser, SEANet decoder (Défossez et al., 2022, section 3.1).

The order of layers is the published one, so that its weights fit by their places. Weight normalisation is a matter of
training that our own does without; published weights have it folded in.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechgen.models.codecs.encodec.config import EncodecConfig
from speechgen.nn.quantize import ResidualQuantizer
from speechgen.nn.streaming import LSTM, Stream, StreamingConv, StreamingConvTranspose


class Coded(NamedTuple):
    """What the whole network makes of audio. A tuple, because Fabric maps over what a wrapped module returns."""

    samples: Tensor  # [B, L]
    latent: Tensor  # [B, D, T] before the quantiser
    codes: Tensor  # [B, Q, T]
    commitment: Tensor  # []


class ResidualBlock(nn.Module):
    """A dilated convolution to fewer channels and one back, and a way around them."""

    def __init__(self, width: int, dilation: int, config: EncodecConfig) -> None:
        super().__init__()
        inside = width // config.compress
        self.block = nn.ModuleList(
            [
                nn.ELU(),
                _conv(config, width, inside, config.residual_kernel, dilation=dilation),
                nn.ELU(),
                _conv(config, inside, width, 1),
            ]
        )
        self.shortcut = _conv(config, width, width, 1) if config.conv_shortcut else nn.Identity()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Map [B, C, T] to the same shape."""
        around = self.shortcut(x, stream) if isinstance(self.shortcut, StreamingConv) else x
        return around + _run(self.block, x, stream)


class Encoder(nn.Module):
    """Audio [B, channels, L] to latents [B, D, ceil(L / hop)]."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        width, patch = config.width, config.patch
        first = _conv(config, config.channels, width, config.kernel if patch == 1 else 2 * patch, stride=patch)
        layers: list[nn.Module] = [first]
        for ratio in reversed(config.ratios):
            layers += [*_residuals(config, width), nn.ELU(), _conv(config, width, 2 * width, 2 * ratio, stride=ratio)]
            width *= 2
        layers += [LSTM(width, config.lstm_layers)] if config.lstm_layers else []
        layers += [nn.ELU(), _conv(config, width, config.latent_width, config.kernel)]
        self.layers = nn.ModuleList(layers)

    def forward(self, audio: Tensor, stream: Stream | None = None) -> Tensor:
        """Encode the whole of a signal, or its next chunk."""
        return _run(self.layers, audio, stream)


class Decoder(nn.Module):
    """Latents [B, D, T] to audio [B, channels, T * hop]."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        width = config.width * 2 ** len(config.ratios)
        layers: list[nn.Module] = [_conv(config, config.latent_width, width, config.kernel)]
        layers += [LSTM(width, config.lstm_layers)] if config.lstm_layers else []
        for ratio in config.ratios:
            layers += [nn.ELU(), _conv_transpose(config, width, width // 2, ratio), *_residuals(config, width // 2)]
            width //= 2
        if config.patch == 1:
            layers += [nn.ELU(), _conv(config, width, config.channels, config.kernel)]
        else:
            layers += [nn.ELU(), _conv_transpose(config, width, config.channels, config.patch)]
        self.layers = nn.ModuleList(layers)

    def forward(self, latent: Tensor, stream: Stream | None = None) -> Tensor:
        """Decode the whole of a signal, or its next chunk."""
        return _run(self.layers, latent, stream)


class Encodec(nn.Module):
    """The whole codec."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.channels = config.channels
        self.encoder = Encoder(config)
        self.quantizer = ResidualQuantizer(config.num_codebooks, config.codebook_size, config.latent_width)
        self.decoder = Decoder(config)
        _initialise(self)

    def forward(self, audio: Tensor, levels: Tensor | None = None, quantized: bool = True) -> Coded:
        """Code audio and decode it again.

        Args:
            audio: [B, L].
            levels: [B] codebooks that each row uses; None: all.
            quantized: off: the decoder is given the encoder's own latents.
        """
        latent = self.encoder(audio[:, None].expand(-1, self.channels, -1)).float()
        found = self.quantizer(latent, levels)
        made = self.decoder(found.values if quantized else latent)
        return Coded(made.mean(1)[:, : audio.shape[-1]], latent, found.codes, found.commitment)


def _initialise(network: Encodec) -> None:
    """Weights that keep the level of a signal from layer to layer, for audio a tenth as loud as that level."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            # A step of a transposed convolution lies under two windows.
            taps = module.kernel_size[0] if isinstance(module, nn.Conv1d) else 2
            nn.init.normal_(module.weight, std=(module.in_channels * taps) ** -0.5)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module.block[-1].conv.weight *= 0.3  # type: ignore[union-attr]
        network.encoder.layers[0].conv.weight *= 10  # type: ignore[union-attr]
        network.decoder.layers[-1].conv.weight *= 0.1  # type: ignore[union-attr]


def _residuals(config: EncodecConfig, width: int) -> list[ResidualBlock]:
    return [ResidualBlock(width, config.dilation_growth**index, config) for index in range(config.residual_layers)]


def _conv(
    config: EncodecConfig, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> StreamingConv:
    return StreamingConv(
        inputs, outputs, kernel, stride=stride, dilation=dilation, causal=config.causal, pad_mode=config.pad_mode,
        group_norm=config.group_norm,
    )  # fmt: skip


def _conv_transpose(config: EncodecConfig, inputs: int, outputs: int, stride: int) -> StreamingConvTranspose:
    return StreamingConvTranspose(inputs, outputs, stride, causal=config.causal, group_norm=config.group_norm)


def _run(layers: nn.ModuleList, x: Tensor, stream: Stream | None) -> Tensor:
    """Layer by layer; activations remember nothing."""
    for layer in layers:
        x = layer(x) if isinstance(layer, nn.ELU) else layer(x, stream)
    return x
