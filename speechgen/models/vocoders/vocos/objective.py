"""Training of Vocos: hinge adversarial losses, feature matching and log-mel distance (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.losses.adversarial import judged_fake, judged_pairs
from speechgen.losses.spectral import multi_resolution_stft_loss
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosObjectiveConfig
from speechgen.nn.discriminators import WaveformDiscriminator


class VocosObjective:
    """Two updates per step: discriminators, then generator; before `adversarial_start` the generator alone."""

    fields = ("audio",)

    def __init__(self, network: nn.Module, config: VocosConfig, objective: VocosObjectiveConfig) -> None:
        self.config, self.weights = config, objective
        self.parts: dict[str, nn.Module] = {
            "network": network,
            "discriminator": WaveformDiscriminator(
                objective.periods, objective.period_channels, objective.n_ffts, objective.resolution_channels
            ),
        }

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Peak-normalise each crop to a random level in [-6, -1] dB, then render its mel and judge the result."""
        real = batch["audio"]  # [B, L]
        decibels = -6 + 5 * torch.rand(len(real), 1, generator=rng, device=rng.device).to(real.device)
        real = real / real.abs().amax(-1, keepdim=True).clamp(min=1e-3) * 10 ** (decibels / 20)
        mel = log_mel(real, self.config.mel)  # [B, T, M]
        fake = self.parts["network"](mel)  # [B, (T - 1) * hop]
        real = real[..., : fake.shape[-1]]
        adversarial = step >= self.weights.adversarial_start
        if adversarial:
            loss = self._discriminator_loss(real, fake.detach())
            yield Update("discriminator", loss, {"discriminator": loss.detach()})
        yield self._generator_update(real, fake, mel, adversarial)

    def _discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        judge = self.parts["discriminator"]
        both = torch.cat((real, fake))  # one pass: DistributedDataParallel allows one forward per backward
        by_period, by_resolution = judge(both)
        return judged_pairs(by_period) + self.weights.resolution_weight * judged_pairs(by_resolution)

    def _generator_update(self, real: Tensor, fake: Tensor, mel: Tensor, adversarial: bool) -> Update:
        mel_distance = (log_mel(fake, self.config.mel) - mel).abs().mean()
        loss = self.weights.mel_weight * mel_distance
        metrics = {"mel": mel_distance.detach()}
        if self.weights.stft_weight:
            stft = multi_resolution_stft_loss(fake, real)
            loss = loss + self.weights.stft_weight * stft
            metrics["stft"] = stft.detach()
        if adversarial:
            families = self.parts["discriminator"](torch.cat((real, fake)))
            for weight, family in zip((1.0, self.weights.resolution_weight), families, strict=True):
                fooled, matching = judged_fake(family)
                loss = loss + weight * (fooled + matching)
                metrics["adversarial"] = metrics.get("adversarial", fooled.new_zeros(())) + fooled.detach()
                metrics["matching"] = metrics.get("matching", fooled.new_zeros(())) + matching.detach()
        return Update("network", loss, metrics)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Log-mel and multi-resolution STFT distance of copy synthesis."""
        mel = log_mel(batch["audio"], self.config.mel)
        fake = self.parts["network"](mel)
        real = batch["audio"][..., : fake.shape[-1]]
        mel_distance = (log_mel(fake, self.config.mel) - mel).abs().mean()
        stft = multi_resolution_stft_loss(fake, real)
        return {"loss": mel_distance + stft, "mel": mel_distance, "stft": stft}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Copy synthesis of the first crop."""
        mel = log_mel(batch["audio"][:1], self.config.mel)
        return Sample(audio=self.parts["network"](mel)[0], mel=mel[0], rate=self.config.mel.sample_rate)
