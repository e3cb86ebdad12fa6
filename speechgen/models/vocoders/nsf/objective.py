"""Training of NSF: distance of log spectra (Wang et al., 2020, section III-D); if asked for, discriminators and a mel loss.

The source follows the measured pitch; the pitch predictor learns it beside.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.losses.adversarial import judged_fake, judged_pairs
from speechgen.losses.spectral import log_spectral_loss, multi_resolution_stft_loss
from speechgen.models.vocoders.nsf.config import NSFConfig, NSFObjectiveConfig
from speechgen.models.vocoders.nsf.model import Draws, Rendering, decode_pitch, pitch_loss
from speechgen.nn.discriminators import WaveformDiscriminator

WRONG_PITCH = 0.2
"""A predicted pitch is wrong if it is further off than this share of the measured one."""


class NSFObjective:
    """One update a step; two, the discriminators' first, from `adversarial_start` on."""

    fields = ("audio", "pitch")

    def __init__(self, network: nn.Module, config: NSFConfig, objective: NSFObjectiveConfig) -> None:
        self.config, self.weights = config, objective
        self.parts: dict[str, nn.Module] = {"network": network}
        if objective.adversarial_start is not None:
            self.parts["discriminator"] = WaveformDiscriminator(
                objective.periods, objective.period_channels, objective.n_ffts, objective.resolution_channels
            )

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Render the mel of each crop and compare it with the crop."""
        real = batch["audio"]  # [B, L]
        if self.weights.gain_db:
            decibels = self.weights.gain_db * (2 * torch.rand(len(real), 1, generator=rng, device=rng.device) - 1)
            real = (real * 10 ** (decibels.to(real.device) / 20)).clamp(-1, 1)
        mel, pitch = self._given(real, batch["pitch"])
        own = torch.rand(len(real), generator=rng, device=rng.device).to(real.device) < self.weights.own_pitch_share
        made: Rendering = self.parts["network"](mel, pitch, self._draws(mel, rng), own)
        real = real[..., : made.samples.shape[-1]]
        start = self.weights.adversarial_start
        adversarial = start is not None and step >= start
        if adversarial:
            loss = self._discriminator_loss(real, made.samples.detach())
            yield Update("discriminator", loss, {"discriminator": loss.detach()})
        loss, metrics = self._spectral_losses(made.samples, real, mel)
        if adversarial:
            more, judged = self._adversarial_losses(made.samples, real)
            loss, metrics = loss + more, metrics | judged
        if self.weights.pitch_weight:
            away = pitch_loss(made.pitch_scores, made.voicing, pitch)
            loss, metrics["pitch"] = loss + self.weights.pitch_weight * away, away.detach()
        yield Update("network", loss, metrics)

    def _given(self, real: Tensor, pitch: Tensor) -> tuple[Tensor, Tensor]:
        """Mel [B, T, M] of audio, and the pitch [B, T]: a crop lacks the frame at its very end, which repeats the last."""
        mel = log_mel(real, self.config.mel)
        missing = mel.shape[1] - pitch.shape[1]
        return mel, F.pad(pitch, (0, max(0, missing)), mode="replicate")[:, : mel.shape[1]]

    def _draws(self, mel: Tensor, rng: torch.Generator) -> Draws:
        shape = (len(mel), (mel.shape[1] - 1) * self.config.mel.hop_samples)
        offsets = torch.rand(len(mel), self.config.harmonics, generator=rng, device=rng.device)
        offsets[:, 0] = 0
        source, noise = (torch.randn(shape, generator=rng, device=rng.device) for _ in range(2))
        return Draws(offsets.to(mel.device), source.to(mel.device), noise.to(mel.device))

    def _discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        # One pass: DistributedDataParallel allows one forward per backward.
        by_period, by_resolution = self.parts["discriminator"](torch.cat((real, fake)))
        return judged_pairs(by_period) + self.weights.resolution_weight * judged_pairs(by_resolution)

    def _spectral_losses(self, fake: Tensor, real: Tensor, mel: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.weights
        terms: dict[str, tuple[float, Tensor]] = {}
        if weights.spectral_weight:
            terms["spectral"] = weights.spectral_weight, log_spectral_loss(fake, real, weights.resolutions)
        if weights.mel_weight:
            terms["mel"] = weights.mel_weight, (log_mel(fake, self.config.mel) - mel).abs().mean()
        if weights.stft_weight:
            terms["stft"] = weights.stft_weight, multi_resolution_stft_loss(fake, real)
        loss = sum((weight * value for weight, value in terms.values()), fake.new_zeros(()))
        return loss, {name: value.detach() for name, (_, value) in terms.items()}

    def _adversarial_losses(self, fake: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        by_period, by_resolution = map(judged_fake, self.parts["discriminator"](torch.cat((real, fake))))
        fooled, matching = (p + self.weights.resolution_weight * r for p, r in zip(by_period, by_resolution, strict=True))
        return fooled + matching, {"adversarial": fooled.detach(), "matching": matching.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Distances of copy synthesis from the mel alone, and how well its pitch is predicted."""
        mel, pitch = self._given(batch["audio"], batch["pitch"])
        made: Rendering = self.parts["network"](mel, None, self._draws(mel, rng))
        real = batch["audio"][..., : made.samples.shape[-1]]
        mel_distance = (log_mel(made.samples, self.config.mel) - mel).abs().mean()
        stft = multi_resolution_stft_loss(made.samples, real)
        found = decode_pitch(made.pitch_scores, made.voicing)
        both = (found > 0) & (pitch > 0)
        wrong = ((found - pitch).abs() > WRONG_PITCH * pitch) & both
        return {
            "loss": mel_distance + stft,
            "mel": mel_distance,
            "stft": stft,
            "spectral": log_spectral_loss(made.samples, real, self.weights.resolutions),
            "wrong_pitch": wrong.sum() / both.sum().clamp(min=1),
            "wrong_voicing": ((found > 0) != (pitch > 0)).float().mean(),
        }

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Copy synthesis of the first crop from its mel alone."""
        mel = log_mel(batch["audio"][:1], self.config.mel)
        made: Rendering = self.parts["network"](mel, None, self._draws(mel, rng))
        return Sample(audio=made.samples[0], mel=mel[0], rate=self.config.mel.sample_rate)
