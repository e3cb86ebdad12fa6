"""Training of the codec: mean absolute error of the decoded mel, and commitment to the codebooks. The Vocos stays as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.codecs.mel_codec.config import MelCodecConfig, MelCodecObjectiveConfig
from speechgen.models.codecs.mel_codec.model import CodedMel, MelCodec
from speechgen.nn.masks import masked_mean, whole_patches
from speechgen.nn.quantize import draw_codebooks, perplexity


class MelCodecObjective:
    """One update per step."""

    fields = ("mel",)

    def __init__(self, network: nn.Module, config: MelCodecConfig, objective: MelCodecObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.plain = cast(MelCodec, network)
        self.plain.quantizer.decay = objective.codebook_decay
        self.plain.backbone.requires_grad_(False)
        self.plain.head.requires_grad_(False)
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Code the crops with as many codebooks as are drawn for each, and let the codebooks follow what they were given."""
        mel, valid = self._inputs(batch)
        mel = self._at_random_level(mel, rng)
        quantizer = self.plain.quantizer
        if quantizer.updates == 0:
            with torch.no_grad():
                quantizer.learn(self.plain.encode(mel), valid=valid, rng=rng)
        levels = draw_codebooks(len(mel), self.config.num_codebooks, self.settings.fewer_codebooks, rng).to(mel.device)
        coded: CodedMel = self.parts["network"](mel, levels, valid)
        error = self._error(coded, mel, valid)
        loss = error / self.config.mel_scale + self.settings.commitment_weight * coded.commitment
        used = perplexity(coded.codes, self.config.codebook_size, valid).mean()
        yield Update("network", loss, {"l1": error.detach(), "commitment": coded.commitment.detach(), "perplexity": used})
        quantizer.learn(coded.latent, levels, valid, rng=rng)

    def _at_random_level(self, mel: Tensor, rng: torch.Generator) -> Tensor:
        """Make log-mels [B, T, M] louder or softer; what is silent stays so."""
        decibels = self.settings.gain_db * (2 * torch.rand(len(mel), 1, 1, generator=rng, device=rng.device) - 1)
        return (mel + decibels.to(mel.device) * math.log(10) / 20).clamp(min=math.log(self.config.mel.floor))

    def _error(self, coded: CodedMel, mel: Tensor, valid: Tensor) -> Tensor:
        """Mean absolute error in units of the log-mel."""
        return masked_mean((coded.mel.float() - mel).abs(), valid.repeat_interleave(self.config.frames, dim=1))

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mels [B, T, M] of whole frames of codes, and which of those [B, T'] are real."""
        return whole_patches(batch["mel"], batch.lengths["mel"], self.config.frames)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Distance of the decoded mel with all codebooks, and without codes, and how much of each codebook is used."""
        mel, valid = self._inputs(batch)
        coded: CodedMel = self.parts["network"](mel)
        free: CodedMel = self.parts["network"](mel, quantized=False)
        used = perplexity(coded.codes, self.config.codebook_size, valid)
        return {
            "loss": self._error(coded, mel, valid),
            "unquantized": self._error(free, mel, valid),
            "perplexity": used.mean(),
            "least_perplexity": used.min(),
        }

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The first utterance, decoded."""
        size = max(self.config.frames, int(batch.lengths["mel"][0]) // self.config.frames * self.config.frames)
        coded: CodedMel = self.parts["network"](batch["mel"][:1, :size])
        return Sample(mel=coded.mel[0])
