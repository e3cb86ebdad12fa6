"""The autoencoder: frames of a latent side by side -> causal ConvNeXt blocks -> a Gaussian for each latent, and back.

Causal on both sides, so that latents can be decoded as they are made: what is decoded never changes. The channels' mean and
deviation over the training data are kept with the weights; all others see normalised latents.

Differs from paper: the decoder gives the likeliest mel in one pass, where ARDiT's is a flow of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.autoencoders.vae.config import VAEConfig
from speechgen.nn.convnext import CausalConvNeXt

MOMENTUM = 0.02
"""Share of a batch in the running statistics of the channels."""


class Posterior(NamedTuple):
    """A Gaussian for each latent: mean and logarithm of the variance, [B, T, D] each."""

    mean: Tensor
    log_variance: Tensor


class VAE(nn.Module):
    """Encoder, decoder and the statistics of the channels."""

    mean: Tensor
    variance: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        patch, sizes = config.frames * config.mel.num_bins, {"depth": config.depth, "ff_multiple": config.ff_multiple}
        self.encoder = CausalConvNeXt(patch, config.width, 2 * config.latent_width, **sizes)
        self.decoder = CausalConvNeXt(config.latent_width, config.width, patch, **sizes)
        self.register_buffer("mean", torch.zeros(config.latent_width))
        self.register_buffer("variance", torch.ones(config.latent_width))

    @property
    def reach(self) -> int:
        """Latents before its own that a decoded frame depends on."""
        return self.decoder.reach

    def forward(self, mel: Tensor, draws: Tensor | None = None, noise: float = 0.0) -> tuple[Posterior, Tensor]:
        """Encode log-mels [B, T, M] of whole latents and decode them.

        Args:
            mel: [B, T, M], T a multiple of `frames`.
            draws: [2, B, T', D] unit Gaussian; the first moves the latents within their posteriors, the second by `noise`
                over each channel's deviation in the batch. None: means are decoded.
            noise: see `draws`.

        Returns:
            The posterior and the decoded log-mels [B, T, M].
        """
        posterior = self.posterior(mel)
        latents = posterior.mean
        if draws is not None:
            spread = noise * latents.detach().std((0, 1), correction=0)
            latents = latents + draws[0] * (0.5 * posterior.log_variance).exp() + draws[1] * spread
        return posterior, self.expand(latents)

    def posterior(self, mel: Tensor) -> Posterior:
        """Map log-mels [B, T, M], T a multiple of `frames`, to latents as they are before normalisation."""
        x = (mel - self.config.mel_mean) / self.config.mel_scale
        mean, log_variance = self.encoder(x.unflatten(1, (-1, self.config.frames)).flatten(2)).chunk(2, dim=-1)
        return Posterior(mean, log_variance.clamp(-12.0, 4.0))

    def expand(self, latents: Tensor) -> Tensor:
        """Map latents [B, T', D] as they are before normalisation to log-mels [B, T, M]."""
        mel: Tensor = self.decoder(latents).unflatten(2, (self.config.frames, -1)).flatten(1, 2)
        return mel * self.config.mel_scale + self.config.mel_mean

    def encode(self, mel: Tensor) -> Tensor:
        """Map log-mels [B, T, M] to normalised latents [B, ceil(T / frames), D]; the last frame fills up the last latent."""
        missing = -mel.shape[1] % self.config.frames
        whole = F.pad(mel.transpose(1, 2), (0, missing), mode="replicate").transpose(1, 2) if missing else mel
        return (self.posterior(whole).mean - self.mean) / self._deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Map normalised latents [B, T', D] to log-mels [B, T' * frames, M]."""
        return self.expand(latents * self._deviation + self.mean)

    @torch.no_grad()
    def observe(self, latents: Tensor, valid: Tensor) -> None:
        """Move the channels' statistics towards those of latents [B, T', D] before normalisation, of which `valid` count."""
        seen = latents.detach().float()[valid]  # [N, D]
        self.mean.lerp_(seen.mean(0), MOMENTUM)
        self.variance.lerp_((seen - self.mean).square().mean(0), MOMENTUM)

    @property
    def _deviation(self) -> Tensor:
        return self.variance.clamp(min=1e-6).sqrt()
