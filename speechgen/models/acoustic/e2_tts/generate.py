"""E2 TTS as an InfillingModel: what is known of the mel stays visible, the rest is filled in (paper, section 2.2).

To speak, the prompt is known and what follows it is not; to edit, both sides of a gap are known. Training hides spans at any
place, so to the network these are one task.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.types import Mel, SemanticTokens
from speechgen.models.acoustic.e2_tts.config import E2Config, E2Options
from speechgen.models.acoustic.e2_tts.model import E2TTS
from speechgen.sampling.flow_matching import integrate
from speechgen.sampling.guidance import guide
from speechgen.sampling.schedules import flow_times


class E2Generator:
    """Fills in the mel of one utterance behind one prompt, or between the two sides of a gap."""

    def __init__(self, network: E2TTS, config: E2Config) -> None:
        self.network, self.config, self.mel = network, config, config.mel
        self.patch_frames = config.patch_frames

    def generate(
        self,
        tokens: SemanticTokens,
        prompt: Mel,
        prompt_tokens: SemanticTokens,
        *,
        options: E2Options,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `tokens` alone, in the prompt's voice: `infill` with nothing on the right."""
        nothing = Mel(prompt.values[:, :0], torch.zeros_like(prompt.lengths), prompt.settings)
        silent = replace(prompt_tokens, ids=prompt_tokens.ids[:, :0], lengths=torch.zeros_like(prompt_tokens.lengths))
        return self.infill(tokens, prompt, prompt_tokens, nothing, silent, options=options, rng=rng, progress=progress)

    @torch.inference_mode()
    def infill(
        self,
        tokens: SemanticTokens,
        left: Mel,
        left_tokens: SemanticTokens,
        right: Mel,
        right_tokens: SemanticTokens,
        *,
        options: E2Options,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `tokens` alone, in the voice of both sides.

        Args:
            tokens: one row, to be spoken.
            left: one row, the mel before it; a last patch that is not whole repeats its last frame.
            left_tokens: one row, its tokens.
            right: one row, the mel behind it, likewise.
            right_tokens: one row, its tokens.
            options: steps, guidance and the like.
            rng: source of the noise; the same state gives the same mel.
            progress: called after each step.

        Raises:
            ValueError: a mel is defined differently.
        """
        for known in (left, right):
            if known.settings != self.mel:
                raise ValueError(f"this model generates {self.mel}, the prompt is {known.settings}")
        before, behind = self.network.patches(left.values), self.network.patches(right.values)  # [1, N, P] each
        rate = self.mel.frame_rate / self.patch_frames
        sides = (left_tokens.at(rate, before.shape[1]), right_tokens.at(rate, behind.shape[1]))
        own = tokens.at(rate)
        ids = torch.cat((sides[0], own, sides[1]), dim=1)  # [1, N]
        start, stop = before.shape[1], before.shape[1] + own.shape[1]
        visible = torch.cat((before, before.new_zeros(1, stop - start, before.shape[2]), behind), dim=1)
        noise = torch.randn(visible.shape, generator=rng, device=rng.device).to(visible)
        # Both branches of guidance in one batch: with what is known and the tokens, and without.
        branches = torch.cat((visible, torch.zeros_like(visible)))
        labels = torch.cat((ids, torch.full_like(ids, self.network.filler)))
        lengths = torch.full((2,), ids.shape[1], device=visible.device)
        voices = self.network.hear(branches, lengths)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            count = 1 if options.guidance == 0 or float(t[0]) >= options.guided_until else 2
            voice = None if voices is None else voices[:count]
            x, t = x.repeat(count, 1, 1), t.repeat(count)
            made = self.network(x, branches[:count], labels[:count], t, lengths[:count], voice)
            return made if count == 1 else guide(*made.chunk(2), options.guidance)

        made = integrate(velocity, noise, flow_times(options.steps, options.sway), method=options.method, progress=progress)
        frames = self.network.frames(made[:, start:stop])  # [1, T, M]
        return Mel(frames, torch.full((1,), frames.shape[1], device=frames.device), self.mel)
