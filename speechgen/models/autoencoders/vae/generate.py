"""The autoencoder as an Autoencoder: mels to normalised latents and back."""

from __future__ import annotations

import torch

from speechgen.core.types import Latents, Mel
from speechgen.models.autoencoders.vae.config import VAEConfig
from speechgen.models.autoencoders.vae.model import VAE


class VAEGenerator:
    """Encodes and decodes rows of any lengths; padding of one row is not seen by another."""

    def __init__(self, network: VAE, config: VAEConfig) -> None:
        self.network, self.mel, self.rate = network, config.mel, config.rate
        self.width, self.frames, self.reach = config.latent_width, config.frames, network.reach

    @torch.inference_mode()
    def encode(self, mel: Mel) -> Latents:
        """Return the latents of mels, one for every `frames`; a last one that is not whole repeats the last frame.

        Raises:
            ValueError: the mel is defined differently.
        """
        if mel.settings != self.mel:
            raise ValueError(f"this autoencoder encodes {self.mel}, the mel is {mel.settings}")
        lengths = -(-mel.lengths // self.frames)
        # A row that ends inside a latent repeats its own last frame, whatever pads it.
        last = (mel.lengths - 1).clamp(min=0)[:, None]
        index = torch.minimum(torch.arange(mel.values.shape[1], device=last.device)[None], last)
        values = mel.values.gather(1, index[..., None].expand_as(mel.values))
        return Latents(self.network.encode(values), lengths, self.rate)

    @torch.inference_mode()
    def decode(self, latents: Latents) -> Mel:
        """Return the mels of latents, `frames` for each."""
        return Mel(self.network.decode(latents.values), latents.lengths * self.frames, self.mel)
