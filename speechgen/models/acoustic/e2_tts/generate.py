"""E2 TTS as an AcousticModel: the prompt's mel stays visible, the mel behind it is filled in (paper, section 2.2)."""

from __future__ import annotations

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
    """Fills in the mel of one utterance behind one prompt."""

    def __init__(self, network: E2TTS, config: E2Config) -> None:
        self.network, self.config, self.mel = network, config, config.mel

    @torch.inference_mode()
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
        """Return the mel of `tokens` alone, in the prompt's voice.

        Args:
            tokens: one row, to be spoken.
            prompt: one row, the reference's mel.
            prompt_tokens: one row, the reference's tokens.
            options: steps, guidance and the like.
            rng: source of the noise; the same state gives the same mel.
            progress: called after each step.

        Raises:
            ValueError: the mel is defined differently.
        """
        if prompt.settings != self.mel:
            raise ValueError(f"this model generates {self.mel}, the prompt is {prompt.settings}")
        known = self.network.patches(prompt.values)  # [1, N1, P]
        ids = torch.cat((self._per_patch(prompt_tokens, known.shape[1]), self._per_patch(tokens, None)), dim=1)  # [1, N]
        start, size = known.shape[1], ids.shape[1]
        visible = known.new_zeros(1, size, known.shape[2])
        visible[:, :start] = known
        noise = torch.randn(visible.shape, generator=rng, device=rng.device).to(visible)
        # Both branches of guidance in one batch: with the prompt and the tokens, and without.
        branches = torch.cat((visible, torch.zeros_like(visible)))
        labels = torch.cat((ids, torch.full_like(ids, self.network.filler)))
        lengths = torch.full((2,), size, device=visible.device)
        voices = self.network.hear(branches, lengths)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            count = 1 if options.guidance == 0 or float(t[0]) >= options.guided_until else 2
            voice = None if voices is None else voices[:count]
            x, t = x.repeat(count, 1, 1), t.repeat(count)
            made = self.network(x, branches[:count], labels[:count], t, lengths[:count], voice)
            return made if count == 1 else guide(*made.chunk(2), options.guidance)

        made = integrate(velocity, noise, flow_times(options.steps, options.sway), method=options.method, progress=progress)
        frames = self.network.frames(made[:, start:])  # [1, T, M]
        return Mel(frames, torch.full((1,), frames.shape[1], device=frames.device), self.mel)

    def _per_patch(self, tokens: SemanticTokens, size: int | None) -> Tensor:
        """One token per patch, whatever the tokens' rate: each patch takes the token that is sounding at its centre."""
        patch_rate = self.mel.frame_rate / self.config.patch_frames
        count = size or max(1, round(tokens.ids.shape[1] * patch_rate / tokens.rate))
        centres = (torch.arange(count, device=tokens.ids.device) + 0.5) * (tokens.rate / patch_rate)
        return tokens.ids[:, centres.long().clamp(max=tokens.ids.shape[1] - 1)]
