"""The codec's network: mel frames side by side -> encoder -> residual quantiser -> decoder -> mel -> Vocos -> waveform.

Encoder and decoder are causal. The Vocos has the published names, so that a checkpoint of one is what training starts from.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from speechgen.models.codecs.mel_codec.config import MelCodecConfig
from speechgen.nn.convnext import CausalConvNeXt
from speechgen.nn.quantize import ResidualQuantizer
from speechgen.nn.vocos import Backbone, SpectrumHead


class CodedMel(NamedTuple):
    """What encoder, quantiser and decoder make of a mel. A tuple, because Fabric maps over what a wrapped module returns."""

    mel: Tensor  # [B, T, M]
    latent: Tensor  # [B, D, T'] before the quantiser
    codes: Tensor  # [B, Q, T']
    commitment: Tensor  # []


class MelCodec(nn.Module):
    """Encoder, quantiser, decoder and vocoder."""

    def __init__(self, config: MelCodecConfig) -> None:
        super().__init__()
        self.config = config
        mel, patch = config.mel, config.frames * config.mel.num_bins
        sizes = {"depth": config.depth, "ff_multiple": config.ff_multiple}
        self.encoder = CausalConvNeXt(patch, config.width, config.latent_width, **sizes)
        self.quantizer = ResidualQuantizer(config.num_codebooks, config.codebook_size, config.latent_width)
        self.decoder = CausalConvNeXt(config.latent_width, config.width, patch, **sizes)
        self.backbone = Backbone(mel.num_bins, config.vocoder_width, config.vocoder_hidden_width, config.vocoder_depth)
        self.head = SpectrumHead(config.vocoder_width, mel.n_fft, mel.hop_samples)

    def forward(
        self, mel: Tensor, levels: Tensor | None = None, valid: Tensor | None = None, *, quantized: bool = True
    ) -> CodedMel:
        """Code log-mels [B, T, M] of whole frames of codes, and decode them.

        Args:
            mel: [B, T, M], T a multiple of `frames`.
            levels: [B] how many codebooks each row uses; None: all.
            valid: [B, T'] which frames of codes are real; None: all.
            quantized: whether the decoder hears code vectors, or the latents themselves.
        """
        latent = self.encode(mel)
        found = self.quantizer(latent, levels, valid)
        return CodedMel(self.decode(found.values if quantized else latent), latent, found.codes, found.commitment)

    def encode(self, mel: Tensor) -> Tensor:
        """Map log-mels [B, T, M] to latents [B, D, T'] before the quantiser."""
        normal = (mel - self.config.mel_mean) / self.config.mel_scale
        latent: Tensor = self.encoder(normal.unflatten(1, (-1, self.config.frames)).flatten(2))
        return latent.transpose(1, 2)

    def decode(self, latent: Tensor) -> Tensor:
        """Map code vectors [B, D, T'] to log-mels [B, T, M]."""
        mel: Tensor = self.decoder(latent.transpose(1, 2)).unflatten(2, (self.config.frames, -1)).flatten(1, 2)
        return mel * self.config.mel_scale + self.config.mel_mean

    def render(self, mel: Tensor) -> Tensor:
        """Map log-mels [B, T, M], T >= 2, to samples [B, (T - 1) * hop]."""
        samples: Tensor = self.head(self.backbone(mel))
        return samples

    @property
    def coder(self) -> nn.ModuleList:
        """The parts that say what codes mean; the vocoder is none of them."""
        return nn.ModuleList([self.encoder, self.quantizer, self.decoder])
