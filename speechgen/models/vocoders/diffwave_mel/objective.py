"""Training of the mel vocoder by diffusion: squared error of the noise, at a level of its own for each crop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel, whiten
from speechgen.core.errors import UserError
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
        """Mean over crops [B, L] without their ends, where half a window disturbs the mel, and another half its filter."""
        settings, network = self.config.mel, self.parts["network"]
        hop, margin = settings.hop_samples, 2 * -(-settings.n_fft // (2 * settings.hop_samples))
        audio = audio[:, : audio.shape[1] // hop * hop]
        mel = log_mel(audio, settings)  # [B, T, M]
        if mel.shape[1] - 1 <= 2 * margin:
            raise UserError(
                f"crops of {audio.shape[1]} samples leave nothing to learn from between edges of {margin} frames: "
                "raise data.crop_seconds"
            )
        # Differs from paper: noise of the signal's own colour (SpecGrad, Koizumi et al., 2022, section 3). A short training
        # leaves noise behind, which the speech then hides, and few steps are enough.
        data = whiten(audio, mel, settings)[:, margin * hop : -margin * hop]
        told = mel[:, margin:-margin]
        return prediction_error(lambda noisy, level: network(noisy, told, level), data, self.levels, rng).square().mean()

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
