"""Masked conditional flow matching (paper, section 2.1): the loss counts inside the masked span alone.

At the end of training the network can learn to be what guidance makes of it (Tang et al., 2025, "Diffusion models without
classifier-free guidance", arXiv:2502.12154, equation 9), so that one evaluation for each step is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.acoustic.e2_tts.config import E2Config, E2ObjectiveConfig
from speechgen.models.acoustic.e2_tts.model import E2TTS
from speechgen.nn.masks import masked_mean, valid_mask
from speechgen.sampling.flow_matching import integrate, interpolate
from speechgen.sampling.schedules import flow_times


class E2Objective:
    """One update per step."""

    fields = ("mel", "tokens")

    def __init__(self, network: nn.Module, config: E2Config, objective: E2ObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.folding = cast(E2TTS, network)  # for the parameter-free patch functions
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Mean squared error of the velocity over the masked patches."""
        loss = self._loss(batch, rng)
        yield Update("network", loss, {"flow": loss.detach()})

    def _loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        data, tokens, lengths = self._inputs(batch)
        rows, size = data.shape[:2]
        draw = torch.rand(5, rows, generator=rng, device=rng.device).to(data.device)
        span = self.settings.mask_low + (self.settings.mask_high - self.settings.mask_low) * draw[0]
        masked_count = (span * lengths).ceil()
        start = ((lengths - masked_count + 1) * draw[1]).floor()
        position = torch.arange(size, device=data.device)[None]
        masked = (position >= start[:, None]) & (position < (start + masked_count)[:, None]) & valid_mask(lengths, size)
        drop_all = draw[2] < self.settings.drop_all
        drop_prompt = (draw[3] < self.settings.drop_prompt) | drop_all
        visible = data * (~masked & ~drop_prompt[:, None])[..., None]
        tokens = tokens.masked_fill(drop_all[:, None], self.config.num_tokens)
        noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data.device)
        noisy, velocity = interpolate(noise, data, draw[4])
        guided = ~drop_prompt & (draw[4] < self.settings.guided_until)
        if self.settings.guidance and guided.any():
            velocity[guided] += self._push(*(x[guided] for x in (noisy, visible, tokens, draw[4], lengths)))
        predicted = self.parts["network"](noisy, visible, tokens, draw[4], lengths)
        return masked_mean((predicted.float() - velocity).square(), masked)

    @torch.no_grad()
    def _push(self, noisy: Tensor, visible: Tensor, tokens: Tensor, t: Tensor, lengths: Tensor) -> Tensor:
        """What guidance adds to the velocity [B, N, P]. A network that has learnt it is pushed from where it then is.

        With data velocity u, guided c and unconditional v, c = u + s (c - v) has the solution c = u + s / (1 - s) (u - v).
        """
        strength = self.settings.guidance / (1 + self.settings.guidance)
        conditional = self.parts["network"](noisy, visible, tokens, t, lengths)
        nothing = torch.full_like(tokens, self.config.num_tokens)
        unconditional = self.parts["network"](noisy, torch.zeros_like(visible), nothing, t, lengths)
        return strength * (conditional - unconditional).float()

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Patches [B, N, P], tokens [B, N] and lengths [B] of equal size."""
        data = self.folding.patches(batch["mel"])
        # A patch that is only in part real is left out: what pads the batch would be learnt with it.
        lengths = torch.minimum(batch.lengths["mel"] // self.config.patch_frames, batch.lengths["tokens"]).clamp(min=1)
        size = int(lengths.max())
        return data[:, :size], batch["tokens"][:, :size], lengths

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The training loss on held-out speech with noise drawn from `rng`."""
        return {"loss": self._loss(batch, rng)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The second half of the first utterance, generated from its first half."""
        data, tokens, lengths = (value[:1, ...] for value in self._inputs(batch))
        size = int(lengths)
        data, tokens = data[:, :size], tokens[:, :size]
        visible = data.clone()
        visible[:, size // 2 :] = 0
        noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data.device)
        made = integrate(lambda x, t: self.parts["network"](x, visible, tokens, t, lengths).float(), noise, flow_times(12))
        made[:, : size // 2] = data[:, : size // 2]
        return Sample(mel=self.folding.frames(made)[0])
