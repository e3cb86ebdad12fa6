"""DiffWave with a mel as a Vocoder: parts of a mel give the samples that the whole would, beyond what it reaches."""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.audio.spectrogram import colour, corrected, corrected_frames
from speechgen.core.protocols import Part, Progress
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.diffwave_mel.config import DiffWaveMelConfig, DiffWaveMelOptions
from speechgen.models.vocoders.diffwave_mel.model import DiffWaveMel
from speechgen.nn.windows import in_windows
from speechgen.sampling.diffusion import noise_levels, spaced_betas, thinned_betas
from speechgen.sampling.placed import render_rows, sample_placed

CHUNK_FRAMES = 256
"""Frames that are rendered at once: what a longer mel needs of memory is its audio."""
LIMIT_DEVIATIONS = 10.0
"""Beyond this no whitened signal goes."""


def training_levels(config: DiffWaveMelConfig) -> Tensor:
    """Noise levels [N + 1] of the schedule that is learnt (DiffWave, section 5)."""
    return noise_levels(spaced_betas(config.first_beta, config.last_beta, config.training_steps))


class DiffWaveMelGenerator:
    """Renders mels of the settings it was trained with, in as many steps as asked for."""

    def __init__(self, network: DiffWaveMel, config: DiffWaveMelConfig) -> None:
        self.network, self.config, self.mel = network, config, config.mel
        self._step_reach = -(-config.sizes.reach // config.mel.hop_samples) + 1  # frames
        filter_frames = -(-config.mel.n_fft // config.mel.hop_samples) + 1
        self._last_reach = filter_frames + corrected_frames(config.mel, config.corrections)
        # With the default number of steps; more of them look further, at what hardly matters.
        self.reach_frames = DiffWaveMelOptions().steps * self._step_reach + self._last_reach

    @torch.inference_mode()
    def generate(
        self,
        mel: Mel,
        *,
        options: DiffWaveMelOptions,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return (T - 1) * hop samples for T frames, which for one frame is none.

        Raises:
            ValueError: the mel is defined differently or not finite.
            UserError: more steps are asked for than were learnt.
        """
        mel.require(self.mel)
        betas = thinned_betas(training_levels(self.config), options.steps)
        first = part.start if part else 0

        def render(row: Tensor, told: Progress) -> Tensor:
            return self._render(row, betas, options.temperature, rng, first, told)

        return render_rows(mel, options.steps, render, progress)

    def _render(
        self, mel: Tensor, betas: Tensor, temperature: float, rng: torch.Generator, first: int, told: Progress
    ) -> Tensor:
        """Samples [L] of one row [1, T, M] whose frames count from `first`."""
        hop, frames = self.mel.hop_samples, mel.shape[1] - 1

        def predict(noisy: Tensor, level: float, low: int, high: int) -> Tensor:
            noise: Tensor = self.network(noisy, mel[:, low:high], noisy.new_full((1,), level))
            return noise

        made = sample_placed(
            predict,
            betas,
            frames,
            mel,
            hop=hop,
            step=CHUNK_FRAMES,
            reach=self._step_reach,
            rng=rng,
            first=first,
            temperature=temperature,
            limit=LIMIT_DEVIATIONS,
            progress=told,
        )

        def finished(low: int, high: int) -> Tensor:
            part = mel[:, low : high + 1]
            sound = colour(made[:, low * hop : high * hop], part, self.mel)
            return corrected(sound, part, self.mel, self.config.corrections)

        return in_windows(finished, frames, step=CHUNK_FRAMES, reach=self._last_reach, hop=hop)[0]
