"""Training of EnCodec: waveform, mel and adversarial losses, balanced (paper, section 3.4), and commitment to the codebooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings
from speechgen.losses.adversarial import feature_matching_loss, generator_loss, judged_pairs
from speechgen.losses.balance import balanced
from speechgen.losses.spectral import multi_resolution_stft_loss, multi_scale_mel_loss
from speechgen.models.codecs.encodec.config import EncodecConfig, EncodecObjectiveConfig
from speechgen.models.codecs.encodec.model import Coded
from speechgen.nn.discriminators import MultiScaleStftDiscriminator
from speechgen.nn.quantize import ResidualQuantizer, draw_codebooks, perplexity


class EncodecObjective:
    """Discriminators, then the codec; before `adversarial_start` the codec alone, before `quantize_start` without codes."""

    fields = ("audio",)

    def __init__(self, network: nn.Module, config: EncodecConfig, objective: EncodecObjectiveConfig) -> None:
        self.config, self.weights = config, objective
        self.quantizer = cast(ResidualQuantizer, network.quantizer)
        self.quantizer.decay = objective.codebook_decay
        judge = MultiScaleStftDiscriminator(objective.n_ffts, objective.channels)
        self.parts: dict[str, nn.Module] = {"network": network, "discriminator": judge}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Code the crops with as many codebooks as are drawn for each, and let the codebooks follow what they were given."""
        real = self._at_random_level(batch["audio"], rng)  # [B, L]
        levels = draw_codebooks(len(real), self.config.num_codebooks, self.weights.fewer_codebooks, rng).to(real.device)
        quantized = step >= self.weights.quantize_start
        if quantized and self.quantizer.updates == 0:
            with torch.no_grad():
                self.quantizer.learn(self.parts["network"](real).latent, rng=rng)
        coded: Coded = self.parts["network"](real, levels, quantized)
        start = self.weights.adversarial_start
        if step >= start:
            judged = self.parts["discriminator"](torch.cat((real, coded.samples.detach())))
            loss = judged_pairs(judged)
            yield Update("discriminator", loss, {"discriminator": loss.detach()})
        yield self._codec_update(real, coded, quantized, step >= start + self.weights.adversarial_lead)
        if quantized:
            self.quantizer.learn(coded.latent, levels, rng=rng)

    def _at_random_level(self, audio: Tensor, rng: torch.Generator) -> Tensor:
        decibels = self.weights.gain_db * (2 * torch.rand(len(audio), 1, generator=rng, device=rng.device) - 1)
        return (audio * 10 ** (decibels.to(audio.device) / 20)).clamp(-1, 1)

    def _codec_update(self, real: Tensor, coded: Coded, quantized: bool, adversarial: bool) -> Update:
        weights = {"wave": self.weights.wave_weight, "mel": self.weights.mel_weight, "stft": self.weights.stft_weight}
        weights |= {"adversarial": self.weights.adversarial_weight} if adversarial else {}
        shares = {name: weight for name, weight in weights.items() if weight}
        copies = dict(zip(shares, balanced(coded.samples, *shares.values()), strict=True))
        losses: dict[str, Tensor] = {}
        if "wave" in copies:
            losses["wave"] = (copies["wave"] - real).abs().mean()
        if "mel" in copies:
            losses["mel"] = multi_scale_mel_loss(copies["mel"], real, self.config.sample_rate)
        if "stft" in copies:
            losses["stft"] = multi_resolution_stft_loss(copies["stft"], real)
        if "adversarial" in copies:
            losses["adversarial"] = self._judged(copies["adversarial"], real)
        loss = torch.stack(list(losses.values())).sum()
        told = {name: value.detach() for name, value in losses.items()}
        if quantized:
            loss = loss + self.weights.commitment_weight * coded.commitment
            told["commitment"] = coded.commitment.detach()
            told["perplexity"] = perplexity(coded.codes, self.config.codebook_size).mean()
        return Update("network", loss, told)

    def _judged(self, fake: Tensor, real: Tensor) -> Tensor:
        """What the discriminators say of decoded audio, and how far their features are from those of the original."""
        # Differs from paper: balanced as one loss, which halves the passes through the discriminators.
        with torch.no_grad():
            known = self.parts["discriminator"](real)
        judged = self.parts["discriminator"](fake)
        matching = feature_matching_loss([each.features for each in known], [each.features for each in judged])
        return generator_loss([each.scores for each in judged]) + self.weights.matching_weight * matching

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Distances of decoded from given audio with all codebooks, and how much of each codebook is used."""
        real = batch["audio"]
        coded: Coded = self.parts["network"](real, None, bool(self.quantizer.updates))
        mel = multi_scale_mel_loss(coded.samples, real, self.config.sample_rate)
        stft = multi_resolution_stft_loss(coded.samples, real)
        error = (coded.samples - real).square().sum(-1)
        used = perplexity(coded.codes, self.config.codebook_size)
        return {
            "loss": mel + stft,
            "mel": mel,
            "stft": stft,
            "snr_db": 10 * (real.square().sum(-1) / error.clamp(min=1e-9)).clamp(min=1e-9).log10().mean(),
            "perplexity": used.mean(),
            "least_perplexity": used.min(),
        }

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The first crop, decoded."""
        coded: Coded = self.parts["network"](batch["audio"][:1], None, bool(self.quantizer.updates))
        settings = MelSettings(sample_rate=self.config.sample_rate)
        return Sample(audio=coded.samples[0], mel=log_mel(coded.samples, settings)[0], rate=self.config.sample_rate)
