"""Training of DiTAR (paper, section 3.4): the velocity of each patch given the patches before it, and where the end is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings
from speechgen.models.text_to_latents.ditar.config import DiTARConfig, DiTARObjectiveConfig
from speechgen.models.text_to_latents.ditar.model import DiTAR, Draws, Made, Spoken
from speechgen.nn.masks import masked_mean, valid_mask
from speechgen.nn.patches import fold, widened
from speechgen.sampling.context_noise import disturbed
from speechgen.sampling.variance_preserving import interpolate


class DiTARObjective:
    """One update per step."""

    def __init__(self, network: nn.Module, config: DiTARConfig, objective: DiTARObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.plain = cast(DiTAR, network)
        self.parts: dict[str, nn.Module] = {"network": network}
        wanted = {"reference_latents": config.untold_prompt, "tokens": config.num_tokens > 0}
        self.fields: tuple[str, ...] = ("phonemes", "latents", *(name for name, needed in wanted.items() if needed))

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """The sum of all losses, each told apart."""
        losses = self._losses(batch, rng, training=True)
        yield Update("network", self._sum(losses), {name: loss.detach() for name, loss in losses.items()})

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        weights = {"velocity": 1.0, "stop": self.settings.stop_weight, "token": self.settings.token_weight}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _losses(self, batch: Batch, rng: torch.Generator, *, training: bool) -> dict[str, Tensor]:
        patches, lengths = fold(batch["latents"], batch.lengths["latents"], self.config.patch)
        valid = valid_mask(lengths, patches.shape[1])
        draws, velocity = self._draws(patches, valid, rng, training=training)
        read = disturbed(patches, self.settings.context_noise if training else 0.0, rng, self.settings.mix)
        made: Made = self.parts["network"](self._spoken(batch, lengths, rng, training=training), read, draws)
        losses = {
            "velocity": (made.velocity.float() - velocity).square().mean(),
            "stop": self._stop(made.stop.float(), valid, lengths),
        }
        if made.tokens is not None:
            losses["token"] = self._token(made.tokens.float(), batch, valid)
        return losses

    def _draws(self, patches: Tensor, valid: Tensor, rng: torch.Generator, *, training: bool) -> tuple[Draws, Tensor]:
        """Several times and noises for each real patch: the head is cheap, what leads up to it is not."""
        rows, places = (index.repeat(self.settings.draws) for index in valid.nonzero(as_tuple=True))
        device = patches.device
        chance = torch.rand(2, len(rows), generator=rng, device=rng.device).to(device)
        data = patches[rows, places]  # [N, P, C]
        noise = torch.randn(data.shape, generator=rng, device=rng.device).to(device)
        noisy, velocity = interpolate(noise, data, chance[0])
        return Draws(rows, places, noisy, chance[0], (chance[1] < self.settings.drop) & training), velocity

    def _spoken(self, batch: Batch, lengths: Tensor, rng: torch.Generator, *, training: bool) -> Spoken:
        symbols = batch.lengths["phonemes"]
        wrong = torch.rand(len(lengths), generator=rng, device=rng.device).to(lengths.device)
        jitter = self.settings.pace_jitter * (2 * wrong - 1) if training else 0 * wrong
        if self.config.untold_prompt:
            reference, shown = fold(batch["reference_latents"], batch.lengths["reference_latents"], self.config.patch)
        else:
            reference = batch["latents"].new_zeros(len(lengths), 0, self.config.patch, self.config.latent_width)
            shown = torch.zeros_like(lengths)
        return Spoken(batch["phonemes"], symbols, reference, shown, symbols / lengths * jitter.exp())

    def _stop(self, logits: Tensor, valid: Tensor, lengths: Tensor) -> Tensor:
        """Cross-entropy of the end, which is with the last patch alone."""
        last = F.one_hot(lengths - 1, logits.shape[1]).to(logits)
        weight = torch.tensor(self.settings.stop_balance, device=logits.device)
        return masked_mean(F.binary_cross_entropy_with_logits(logits, last, reduction="none", pos_weight=weight), valid)

    def _token(self, logits: Tensor, batch: Batch, valid: Tensor) -> Tensor:
        """Cross-entropy of the semantic tokens that sound while a patch does."""
        count = self.config.tokens_per_patch
        size = valid.shape[1] * count
        # The last patch may reach beyond the tokens by less than a patch.
        ids = F.pad(batch["tokens"], (0, max(0, size - batch["tokens"].shape[1])))[:, :size]
        known = valid_mask(batch.lengths["tokens"], size) & valid.repeat_interleave(count, dim=1)
        logits = logits.unflatten(2, (count, -1)).flatten(1, 2)  # [B, M n, K]
        return masked_mean(F.cross_entropy(logits.transpose(1, 2), ids, reduction="none"), known)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """All losses on held-out speech with nothing hidden or disturbed; "loss" is their weighted sum."""
        losses = self._losses(batch, rng, training=False)
        return {"loss": self._sum(losses), **losses}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Latents can be looked at: those of the first utterance, their channels as the bins of a mel."""
        return Sample(mel=widened(batch["latents"][0, : int(batch.lengths["latents"][0])], MelSettings().num_bins))
