"""DiffWave as a WaveformModel: whole waveforms out of noise, or behind a known beginning, which is put back in every step."""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.audio.resample import resample
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.models.waveform.diffwave.config import DiffWaveConfig, DiffWaveOptions
from speechgen.models.waveform.diffwave.model import DiffWave
from speechgen.sampling.diffusion import noise_levels, sample, spaced_betas, thinned_betas

MOST_ROWS = 16
"""Rows that are made side by side."""
LIMIT_DEVIATIONS = 10.0
"""Full scale is so many standard deviations of the audio at most."""


def training_levels(config: DiffWaveConfig) -> Tensor:
    """Noise levels [N + 1] of the schedule that is learnt (DiffWave, section 5)."""
    return noise_levels(spaced_betas(config.first_beta, config.last_beta, config.training_steps))


class DiffWaveGenerator:
    """Generates at the rate that it was trained with."""

    def __init__(self, network: DiffWave, config: DiffWaveConfig) -> None:
        self.network, self.config, self.sample_rate = network, config, config.sample_rate

    @torch.inference_mode()
    def generate(
        self,
        count: int,
        samples: int,
        prime: Waveform | None,
        *,
        options: DiffWaveOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return `count` waveforms of `samples` samples, behind `prime`, a single row, if it is given.

        Raises:
            UserError: nothing is asked for.
        """
        if count < 1 or samples < 1:
            raise UserError(f"{count} clips of {samples} samples are nothing to generate: give at least one of each")
        known = None if prime is None else resample(prime, self.sample_rate).samples[:1] / self.config.scale  # [1, P]
        made: list[Tensor] = []
        for first in range(0, count, MOST_ROWS):
            rows = min(MOST_ROWS, count - first)
            report = None if progress is None else _among(progress, first, rows, count)
            made.append(self._render(rows, samples, known, options, rng, report))
        drawn = torch.cat(made).mul(self.config.scale).clamp(-1, 1)
        return Waveform(drawn, torch.full((count,), samples), self.sample_rate)

    def _render(
        self,
        rows: int,
        samples: int,
        known: Tensor | None,
        options: DiffWaveOptions,
        rng: torch.Generator,
        progress: Progress | None,
    ) -> Tensor:
        """[B, L] in standard deviations."""
        like = self.network.predictor.input.weight
        length = samples + (0 if known is None else known.shape[1])

        def draw(_: int) -> Tensor:
            return torch.randn(rows, length, generator=rng, device=rng.device).to(like)

        beginning = None if known is None else draw(0)[:, : known.shape[1]]  # one noise for all steps

        def predict(state: Tensor, level: float) -> Tensor:
            if known is not None and beginning is not None:
                state[:, : known.shape[1]] = level * known.to(like) + (1 - level**2) ** 0.5 * beginning
            noise: Tensor = self.network(state, state.new_full((rows,), level))
            return noise

        betas = thinned_betas(training_levels(self.config), options.steps)
        made = sample(predict, betas, draw, temperature=options.temperature, limit=LIMIT_DEVIATIONS, progress=progress)
        return made[:, length - samples :]


def _among(progress: Progress, first: int, rows: int, count: int) -> Progress:
    """Progress of some rows among all."""
    return lambda done, total: progress(first * total + done * rows, count * total)
