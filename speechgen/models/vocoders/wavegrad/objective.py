"""Training of WaveGrad: the mean absolute error of the predicted noise at a random level (paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig, WaveGradObjectiveConfig, WaveGradOptions
from speechgen.models.vocoders.wavegrad.generate import LIMIT, betas_of, coloured, whitened
from speechgen.sampling.diffusion import noise_levels, prediction_error, sample, spaced_betas


class WaveGradObjective:
    """One update per step. The mel is that of the whole crop; what its edges disturb is not learnt from."""

    fields = ("audio",)

    def __init__(self, network: nn.Module, config: WaveGradConfig, objective: WaveGradObjectiveConfig) -> None:
        self.config = config
        self.parts: dict[str, nn.Module] = {"network": network}
        betas = spaced_betas(objective.first_beta, objective.last_beta, objective.steps, geometric=objective.geometric)
        self.levels, self.crop_frames = noise_levels(betas), objective.crop_frames

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Predict the noise of each crop at a level of its own."""
        yield Update("network", self._loss(batch["audio"], rng))

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss, at as many levels as there are crops."""
        return {"loss": self._loss(batch["audio"], rng)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Copy synthesis of the first crop."""
        audio = batch["audio"][:1]
        mel = log_mel(audio, self.config.mel)  # [1, T, M]
        predict = partial(self._predict, mel)
        shape = (1, (mel.shape[1] - 1) * self.config.mel.hop_samples)
        made = sample(
            predict,
            betas_of(WaveGradOptions(), self.config),
            lambda _: torch.randn(shape, generator=rng, device=rng.device).to(audio.device),
            limit=LIMIT,
        )
        return Sample(audio=coloured(made, mel, self.config)[0], mel=mel[0], rate=self.config.mel.sample_rate)

    def _predict(self, mel: Tensor, noisy: Tensor, level: float) -> Tensor:
        noise: Tensor = self.parts["network"](noisy, mel, noisy.new_full((len(noisy),), level))
        return noise

    def _loss(self, audio: Tensor, rng: torch.Generator) -> Tensor:
        """Mean absolute error of the noise in crops [B, L]."""
        data, mel = self._learnt(audio, rng)
        network = self.parts["network"]
        return prediction_error(lambda noisy, level: network(noisy, mel, level), data, self.levels, rng).abs().mean()

    def _learnt(self, audio: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """What the network is to make, and the mel that tells it: the same frames of each crop, away from its edges.

        Returns:
            signal [B, F * hop] and mel [B, F + 1, M].
        """
        settings = self.config.mel
        hop = settings.hop_samples
        audio = audio[:, : audio.shape[-1] // hop * hop]
        mel = log_mel(audio, settings)  # [B, T, M]
        signal = whitened(audio, mel, self.config)
        # Half a window for the mel, and another half for the filter that is made of it.
        margin = -(-settings.n_fft // (2 * hop)) * (2 if self.config.prior == "spectral" else 1)
        frames = mel.shape[1] - 1 - 2 * margin
        if frames < 1:
            raise UserError(
                f"crops of {audio.shape[-1]} samples leave nothing to learn from between edges of {margin} frames: "
                "raise data.crop_seconds"
            )
        count = min(frames, self.crop_frames or frames)
        start = margin + int(torch.randint(frames - count + 1, (), generator=rng, device=rng.device))
        return signal[:, start * hop : (start + count) * hop], mel[:, start : start + count + 1]
