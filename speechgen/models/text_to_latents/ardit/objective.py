"""Training of ARDiT: flow matching of all blocks at once (section 3.2), and distillation to one step (section 3.4).

Times run from noise at 0 to data at 1 here; the paper's velocities have the other sign.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings
from speechgen.models.text_to_latents.ardit.config import ARDiTConfig, ARDiTObjectiveConfig
from speechgen.models.text_to_latents.ardit.model import CONTEXT, ARDiT, Field, Layout
from speechgen.nn.masks import masked_mean, valid_mask
from speechgen.nn.patches import fold, widened
from speechgen.sampling.context_noise import disturbed
from speechgen.sampling.guidance import guide

CLOSEST = 0.98
"""Share of noise beyond which the student is not compared with its teacher: scores say little there."""


def build_objective(network: nn.Module, config: ARDiTConfig, objective: ARDiTObjectiveConfig) -> ARDiTObjective | Distillation:
    """Return the objective that the recipe asks for."""
    return (Distillation if objective.distill else ARDiTObjective)(network, config, objective)


class ARDiTObjective:
    """Flow matching: one update per step."""

    def __init__(self, network: nn.Module, config: ARDiTConfig, objective: ARDiTObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.parts: dict[str, nn.Module] = {"network": network}
        wanted = {"reference_latents": config.untold_prompt, "tokens": config.num_tokens > 0 and not objective.distill}
        self.fields: tuple[str, ...] = ("phonemes", "latents", *(name for name, needed in wanted.items() if needed))

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Mean squared error of the velocity, and cross-entropy of the tokens."""
        losses = self._losses(batch, rng, training=True)
        yield Update("network", self._sum(losses), {name: loss.detach() for name, loss in losses.items()})

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        weights = {"velocity": 1.0, "token": self.settings.token_weight}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _losses(self, batch: Batch, rng: torch.Generator, *, training: bool) -> dict[str, Tensor]:
        layout, data = lay_out(batch, self.config, self.settings, rng, training=training)
        noisy, velocity, t = noised(layout, data, rng, power=self.settings.noisier if training else 1.0)
        made: Field = self.parts["network"](layout, noisy, t)
        wanted = middle(layout)
        losses = {"velocity": masked_mean((made.velocity.float() - velocity).square(), wanted)}
        if made.tokens is not None and "tokens" in batch.fields:
            losses["token"] = self._token(made.tokens.float(), batch, wanted)
        return losses

    def _token(self, logits: Tensor, batch: Batch, wanted: Tensor) -> Tensor:
        """Cross-entropy of the semantic tokens that sound while a latent does."""
        count, size = self.config.tokens_per_latent, wanted.shape[1] * self.config.tokens_per_latent
        ids = F.pad(batch["tokens"], (0, max(0, size - batch["tokens"].shape[1])))[:, :size]
        known = valid_mask(batch.lengths["tokens"], size) & wanted.repeat_interleave(count, dim=1)
        logits = logits.unflatten(2, (count, -1)).flatten(1, 2)  # [B, N n, K]
        return masked_mean(F.cross_entropy(logits.transpose(1, 2), ids, reduction="none"), known)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The losses on held-out speech, nothing hidden or disturbed; "loss" is their weighted sum."""
        losses = self._losses(batch, rng, training=False)
        return {"loss": self._sum(losses), **losses}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Latents can be looked at: those of the first utterance, their channels as the bins of a mel."""
        return Sample(mel=widened(batch["latents"][0, : int(batch.lengths["latents"][0])], MelSettings().num_bins))


class Critic(nn.Module):
    """The two models that a student is compared by: the teacher, which stays as it is, and that of what the student makes.

    They are one part, so that a run that is resumed finds its teacher again.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.teacher, self.fake = copy.deepcopy(network), copy.deepcopy(network)
        self.teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> Critic:
        """The teacher drops nothing out."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, which: Literal["teacher", "fake"], layout: Layout, noisy: Tensor, t: Tensor) -> Tensor:
        """Velocity [B, N, C] by one of them."""
        field: Field = (self.teacher if which == "teacher" else self.fake)(layout, noisy, t)
        return field.velocity


class Distillation:
    """Distribution matching (Yin et al., 2024; integral KL of Luo et al., 2023): parts "network", the student, and "critic"."""

    def __init__(self, network: nn.Module, config: ARDiTConfig, objective: ARDiTObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        tokens = cast(ARDiT, network).tokens
        if tokens is not None:
            tokens.requires_grad_(False)  # they are not learnt here
        self.parts: dict[str, nn.Module] = {"network": network, "critic": Critic(network)}
        self.fields: tuple[str, ...] = ("phonemes", "latents", *(["reference_latents"] if config.untold_prompt else []))

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """The student moves to where the teacher's data are and its own are not; then the model of its own follows it."""
        layout, _ = lay_out(batch, self.config, self.settings, rng, training=True)
        wanted = middle(layout)
        noise = self._noise(layout, rng)
        made = self._student(layout, noise)
        loss = masked_mean((made + (self._difference(layout, made, rng) - made).detach()).square(), wanted)
        metrics = {"difference": loss.detach()}
        if self.settings.regression and step % self.settings.regression_every == 0:
            distance = masked_mean((made - self._teach(layout, noise)).square(), wanted)
            loss = loss + self.settings.regression * distance
            metrics["regression"] = distance.detach()
        yield Update("network", loss, metrics)
        with torch.no_grad():
            made = self._student(layout, noise)
        for _ in range(self.settings.fake_updates):
            noisy, velocity, t = noised(layout, made, rng)
            found = self.parts["critic"]("fake", layout, noisy, t).float()
            yield Update("critic", masked_mean((found - velocity).square(), wanted))

    def _student(self, layout: Layout, noise: Tensor) -> Tensor:
        """What the student makes of noise [B, N, C] in one step."""
        made: Field = self.parts["network"](layout, noise, torch.zeros(noise.shape[:2], device=noise.device))
        return noise + made.velocity.float()

    @torch.no_grad()
    def _difference(self, layout: Layout, made: Tensor, rng: torch.Generator) -> Tensor:
        """Velocity by the model of the student's own data less that by the teacher, where both have noise in them.

        The velocity of a Gaussian mixture with noise is a multiple of its score, so this is the gradient of the divergence
        between both, weighed by 2 t / (1 - t) in the paper's time.
        """
        noisy, _, t = noised(layout, made.detach(), rng, least=1 - CLOSEST)
        fake = self.parts["critic"]("fake", layout, noisy, t).float()
        return fake - self._guided(layout, noisy, t)

    @torch.no_grad()
    def _guided(self, layout: Layout, noisy: Tensor, t: Tensor) -> Tensor:
        """The teacher's velocity, guided by the text if that is asked for."""
        found: Tensor = self.parts["critic"]("teacher", layout, noisy, t).float()
        if self.settings.teacher_guidance:
            silent = layout._replace(hidden=torch.ones_like(layout.hidden))
            plain = self.parts["critic"]("teacher", silent, noisy, t).float()
            found = guide(found, plain, self.settings.teacher_guidance)
        return found

    @torch.no_grad()
    def _teach(self, layout: Layout, noise: Tensor) -> Tensor:
        """What the teacher makes of noise in many steps, all blocks at once behind what is known of the data."""
        x, steps = noise, self.settings.teacher_steps
        for index in range(steps):
            x = x + self._guided(layout, x, torch.full(x.shape[:2], index / steps, device=x.device)) / steps
        return x

    def _noise(self, layout: Layout, rng: torch.Generator) -> Tensor:
        return torch.randn(layout.clean.shape, generator=rng, device=rng.device).to(layout.clean)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Distance of the student from what the teacher makes of the same noise."""
        layout, _ = lay_out(batch, self.config, self.settings, rng, training=False)
        noise = self._noise(layout, rng)
        return {"loss": masked_mean((self._student(layout, noise) - self._teach(layout, noise)).square(), middle(layout))}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """What the student makes of the first utterance."""
        with torch.no_grad():
            layout, _ = lay_out(batch, self.config, self.settings, rng, training=False)
            made = self._student(layout, self._noise(layout, rng))
        return Sample(mel=widened(made[0, : int(layout.lengths[0])], MelSettings().num_bins))


def lay_out(
    batch: Batch, config: ARDiTConfig, settings: ARDiTObjectiveConfig, rng: torch.Generator, *, training: bool
) -> tuple[Layout, Tensor]:
    """Return what is known of a batch and its latents [B, N, C].

    Blocks begin at a random place, one of each row; in some rows what lies around a stretch is known (fill in the middle).
    """
    data, lengths = fold(batch["latents"], batch.lengths["latents"], 1)
    data, rows = data[:, :, 0], len(data)
    device, size = data.device, data.shape[1]
    draw = torch.rand(6, rows, generator=rng, device=rng.device).to(device)
    width = settings.blocks[int(draw[5, 0] * len(settings.blocks))]
    number = torch.arange(size, device=device)[None]
    shift = (draw[0] * width).long()
    count = torch.where(draw[1] < settings.infill, (draw[2] * lengths).ceil().clamp(min=1), lengths)
    start = ((lengths - count + 1) * draw[3]).floor().long()[:, None]
    inside = (number >= start) & (number < start + count[:, None])
    blocks = ((number - start + shift[:, None]) // width).masked_fill(~inside, CONTEXT)
    if config.untold_prompt:
        reference, shown = batch["reference_latents"], batch.lengths["reference_latents"]
        reference = reference[:, : int(shown.max())]
    else:
        reference, shown = data[:, :0], torch.zeros_like(lengths)
    layout = Layout(
        text=batch["phonemes"],
        text_lengths=batch.lengths["phonemes"],
        hidden=(draw[4] < settings.drop_text) & training,
        reference=reference,
        reference_lengths=shown,
        clean=disturbed(data, settings.context_noise if training else 0.0, rng, settings.mix),
        lengths=lengths,
        blocks=blocks,
    )
    return layout, data


def middle(layout: Layout) -> Tensor:
    """Which latents [B, N] are to be made."""
    return valid_mask(layout.lengths, layout.blocks.shape[1]) & (layout.blocks != CONTEXT)


def noised(
    layout: Layout, data: Tensor, rng: torch.Generator, least: float = 0.0, power: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return data [B, N, C] with noise, the velocities, and times [B, N] of at least `least`, one for each block.

    Times are even draws to the `power`: above 1 more of them are near 0, which is noise.
    """
    # Blocks are numbered from 0, or from 1 behind a shift: never more than there are latents and one.
    times = torch.rand(len(data), data.shape[1] + 2, generator=rng, device=rng.device).to(data.device)
    t = least + (1 - least) * times.gather(1, layout.blocks.clamp(min=0)) ** power
    noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data)
    return (1 - t[..., None]) * noise + t[..., None] * data, data - noise, t
