"""E2 TTS and F5-TTS as TextToMel: the prompt's mel stays visible, what the text says after the prompt's own is filled in."""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.types import Mel, Text
from speechgen.models.text_to_mel.f5_tts.config import F5Config, F5Options
from speechgen.models.text_to_mel.f5_tts.model import F5TTS, Timing
from speechgen.sampling.flow_matching import integrate
from speechgen.sampling.guidance import guide
from speechgen.sampling.schedules import flow_times
from speechgen.text.characters import spoken_bytes

SHORT_BYTES, SHORT_SPEED = 10, 0.3
"""A text of a word or two is given more time than its length tells (the published rule), or nothing is heard of it."""


class F5Generator:
    """Fills in the mel of one utterance behind one prompt."""

    def __init__(self, network: F5TTS, config: F5Config) -> None:
        self.network, self.config, self.mel, self.vocabulary = network, config, config.mel, config.vocabulary
        self.reads_prompt_text, self.segmented = not config.untold_prompt, config.segmented

    @torch.inference_mode()
    def generate(
        self,
        text: Text,
        prompt: Mel,
        prompt_text: Text,
        *,
        frames: int | None = None,
        options: F5Options,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `text` alone, in the prompt's voice.

        Args:
            text: one row, to be spoken; symbols of `vocabulary`.
            prompt: one row, the reference's mel.
            prompt_text: one row, what the prompt says, with the space between it and `text`; a model that was trained
                without it (E2 TTS X1) takes the pace from it, and may be given none.
            frames: how long `text` takes; None: as long as the prompt took for as many bytes (the published rule).
            options: steps, guidance and the like.
            rng: source of the noise; the same state gives the same mel.
            progress: called after each step.

        Raises:
            ValueError: the mel is defined differently.
        """
        if prompt.settings != self.mel:
            raise ValueError(f"this model generates {self.mel}, the prompt is {prompt.settings}")
        known = self.network.normalized(prompt.values)  # [1, N1, M]
        start = known.shape[1]
        symbols = torch.cat((prompt_text.ids, text.ids), dim=1) if self.reads_prompt_text else text.ids  # [1, S]
        made = frames or self._frames(text, prompt_text, start, options.speed)
        # Every symbol has a frame of its own.
        size = max(start + made, symbols.shape[1] + 1)
        visible = known.new_zeros(1, size, known.shape[2])
        visible[:, :start] = known
        noise = torch.randn(visible.shape, generator=rng, device=rng.device).to(visible)
        said = prompt_text.ids.shape[1] if self.reads_prompt_text else 0
        mel = self._integrate(noise, visible, symbols, (said, start), options, progress)
        values = self.network.log_mel(mel[:, start:])
        return Mel(values, torch.full((1,), size - start, device=values.device), self.mel)

    def _integrate(
        self,
        noise: Tensor,
        visible: Tensor,
        symbols: Tensor,
        prompt: tuple[int, int],
        options: F5Options,
        progress: Progress | None,
    ) -> Tensor:
        """Follow the guided velocity from noise [1, T, M], with both branches of guidance in one batch.

        `prompt`: how many of the symbols and of the frames are its own.
        """
        count = 1 if options.guidance == 0 else 2
        device, size = noise.device, noise.shape[1]
        branches = torch.cat((visible, torch.zeros_like(visible)))[:count]
        text, text_lengths = symbols.expand(count, -1), torch.full((count,), symbols.shape[1], device=device)
        hidden = torch.tensor([False, True], device=device)[:count]
        lengths = torch.full((count,), size, device=device)
        timing = Timing(*(torch.full((count,), each, device=device) for each in prompt))
        read = self.network.read(text, text_lengths, lengths, hidden, timing)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            # The flow time is that of all rows: what it modulates is computed once.
            made = self.network(x.repeat(count, 1, 1), branches, text, text_lengths, hidden, t, lengths, read).velocity
            return made if count == 1 else guide(*made.chunk(2), options.guidance)

        return integrate(velocity, noise, flow_times(options.steps, options.sway), method=options.method, progress=progress)

    def _frames(self, text: Text, prompt_text: Text, prompt_frames: int, speed: float) -> int:
        """Frames of `text` at the prompt's frames for each byte; without a text of the prompt at 15 bytes a second."""
        spoken, said = self._bytes(text), self._bytes(prompt_text)
        pace = prompt_frames / said if said else self.mel.frame_rate / 15
        slow = SHORT_SPEED if spoken < SHORT_BYTES else 1.0
        return max(1, int(pace * spoken / (speed * slow)))

    def _bytes(self, text: Text) -> int:
        return spoken_bytes([self.vocabulary[index] for index in text.ids[0].tolist()])
