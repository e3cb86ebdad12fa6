"""Training of the mel vocoder by diffusion: squared error of the noise, at a level of its own for each crop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import Mel
from speechgen.models.vocoders.diffwave_mel.config import DiffWaveMelConfig, DiffWaveMelObjectiveConfig, DiffWaveMelOptions
from speechgen.models.vocoders.diffwave_mel.generate import DiffWaveMelGenerator, training_levels
from speechgen.models.vocoders.diffwave_mel.model import DiffWaveMel
from speechgen.sampling.diffusion import prediction_error


class DiffWaveMelObjective:
    """One update a step."""

    fields = ("audio",)

    def __init__(self, network: DiffWaveMel, config: DiffWaveMelConfig, objective: DiffWaveMelObjectiveConfig) -> None:
        self.config = config
        self.parts: dict[str, nn.Module] = {"network": network}
        self.levels = training_levels(config)
        self._generator = DiffWaveMelGenerator(network, config)

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Predict the noise of each crop."""
        yield Update("network", self._loss(batch["audio"], rng))

    def _loss(self, audio: Tensor, rng: torch.Generator) -> Tensor:
        """Of crops [B, L]. Half a window at their ends has a mirrored mel, and is learnt like the ends of a recording."""
        mel = log_mel(audio, self.config.mel)  # [B, T, M]
        data = audio[:, : (mel.shape[1] - 1) * self.config.mel.hop_samples] / self.config.scale
        network = self.parts["network"]
        return prediction_error(lambda noisy, level: network(noisy, mel, level), data, self.levels, rng).square().mean()

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss, at as many levels as there are crops."""
        return {"loss": self._loss(batch["audio"], rng)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Copy synthesis of the first crop."""
        values = log_mel(batch["audio"][:1], self.config.mel)
        mel = Mel(values, torch.tensor([values.shape[1]]), self.config.mel)
        made = self._generator.generate(mel, options=DiffWaveMelOptions(), rng=rng)
        return Sample(audio=made.samples[0], mel=values[0], rate=made.rate)
