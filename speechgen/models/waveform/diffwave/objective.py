"""Training of DiffWave: squared error of the noise, at a level of its own for each row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from speechgen.audio.resample import resample
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings, Waveform
from speechgen.models.waveform.diffwave.config import DiffWaveConfig, DiffWaveObjectiveConfig, DiffWaveOptions
from speechgen.models.waveform.diffwave.generate import DiffWaveGenerator, training_levels
from speechgen.models.waveform.diffwave.model import DiffWave
from speechgen.sampling.diffusion import prediction_error

AUDIO_RATE = MelSettings().sample_rate
"""Of the audio in a batch."""
SAMPLE_SECONDS, SAMPLE_STEPS = 0.5, 8


class DiffWaveObjective:
    """One update a step."""

    fields = ("audio",)

    def __init__(self, network: DiffWave, config: DiffWaveConfig, objective: DiffWaveObjectiveConfig) -> None:
        self.config = config
        self.parts: dict[str, torch.nn.Module] = {"network": network}
        self.levels = training_levels(config)
        self._generator = DiffWaveGenerator(network, config)

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Predict the noise of each row."""
        yield Update("network", self._loss(batch, rng))

    def _loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean squared error over real samples."""
        audio = resample(Waveform(batch["audio"], batch.lengths["audio"], AUDIO_RATE), self.config.sample_rate)
        data = audio.samples / self.config.scale
        error = prediction_error(self.parts["network"], data, self.levels, rng).square()
        real = torch.arange(data.shape[1], device=data.device) < audio.lengths.to(data.device)[:, None]
        return (error * real).sum() / real.sum()

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss, at as many levels as there are rows."""
        return {"loss": self._loss(batch, rng)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Half a second of sound from noise."""
        samples = round(SAMPLE_SECONDS * self.config.sample_rate)
        made = self._generator.generate(1, samples, None, options=DiffWaveOptions(steps=SAMPLE_STEPS), rng=rng)
        return Sample(audio=made.samples[0], rate=made.rate)
