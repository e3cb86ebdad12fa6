"""Training of the autoencoder: mean absolute error of the mel, and a small divergence of the latents from unit Gaussians."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.autoencoders.vae.config import VAEConfig, VAEObjectiveConfig
from speechgen.models.autoencoders.vae.model import VAE, Posterior
from speechgen.nn.masks import masked_mean, whole_patches


class VAEObjective:
    """One update per step."""

    fields = ("mel",)

    def __init__(self, network: nn.Module, config: VAEConfig, objective: VAEObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.plain = cast(VAE, network)  # for the statistics of its channels
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Decode a draw from the posterior with some more noise, which makes the decoder bear what others generate."""
        mel, valid = self._inputs(batch)
        draws = torch.randn(2, *valid.shape, self.config.latent_width, generator=rng, device=rng.device).to(mel.device)
        posterior, decoded = self.parts["network"](mel, draws, self.settings.noise)
        self.plain.observe(posterior.mean, valid)
        yield self._update(posterior, decoded, mel, valid)

    def _update(self, posterior: Posterior, decoded: Tensor, mel: Tensor, valid: Tensor) -> Update:
        error = self._error(decoded, mel, valid)
        nats = _divergence(posterior, valid)
        loss = error / self.config.mel_scale + self.settings.kl_weight * nats
        return Update("network", loss, {"l1": error.detach(), "nats": nats.detach()})

    def _error(self, decoded: Tensor, mel: Tensor, valid: Tensor) -> Tensor:
        """Mean absolute error in units of the log-mel."""
        return masked_mean((decoded.float() - mel).abs(), valid.repeat_interleave(self.config.frames, dim=1))

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mels [B, T, M] of whole latents, and which latents [B, T'] are real."""
        return whole_patches(batch["mel"], batch.lengths["mel"], self.config.frames)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """What is lost when means are decoded: the loss, the error in log-mel units, and nats for each channel."""
        mel, valid = self._inputs(batch)
        found = self._update(*self.parts["network"](mel), mel, valid)
        return {"loss": found.loss, **found.metrics}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The first utterance, decoded from its normalised latents."""
        mel = batch["mel"][:1, : int(batch.lengths["mel"][0])]
        return Sample(mel=self.plain.decode(self.plain.encode(mel))[0])


def _divergence(posterior: Posterior, valid: Tensor) -> Tensor:
    """Kullback-Leibler divergence from unit Gaussians: nats for each channel of a latent."""
    mean, log_variance = posterior.mean.float(), posterior.log_variance.float()
    return masked_mean(0.5 * (mean.square() + log_variance.exp() - 1 - log_variance), valid)
