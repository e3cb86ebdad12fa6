"""WaveGrad as a Vocoder.

The noise of a step at a place of the utterance depends on the seed, the step and the place alone, so that parts of a mel
give the samples that the whole would: each step looks one reach further, all of them `steps` reaches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.audio.spectrogram import colour, corrected, corrected_frames, whiten
from speechgen.core.protocols import Part, Progress
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig, WaveGradOptions
from speechgen.models.vocoders.wavegrad.model import WaveGrad, reach_samples
from speechgen.nn.windows import in_windows
from speechgen.sampling.diffusion import geometric_betas, named_betas
from speechgen.sampling.placed import render_rows, sample_placed

LIMIT = 1.0
"""Full scale."""
CHUNK_FRAMES = 256
"""Frames that are rendered at once: what a longer mel needs of memory is its audio."""
WHITE_LEVEL = 0.1
"""Standard deviation that a whitened signal is given: that of speech, which the published schedules are made for."""

SPECTRAL_FIRST, SPECTRAL_TOTAL = 1e-4, 0.45
"""First beta, and sum of the betas, where noise has the signal's own colour: those of best PESQ with the bundled weights."""


def betas_of(options: WaveGradOptions, config: WaveGradConfig) -> Tensor:
    """The schedule [N] that a request asks for: its own, the fitted one of so many steps, or a ready-made one.

    Raises:
        ValueError: there is no schedule of so many steps; with a spectral prior there is of any.
    """
    if options.betas is not None:
        return torch.tensor(options.betas, dtype=torch.float64)
    if config.fitted_betas is not None and len(config.fitted_betas) == options.steps:
        return torch.tensor(config.fitted_betas, dtype=torch.float64)
    if config.prior == "spectral":  # noise that the signal hides needs no steps so fine as the published ones
        return geometric_betas(SPECTRAL_FIRST, SPECTRAL_TOTAL, options.steps)
    return named_betas(options.steps)


def whitened(audio: Tensor, mel: Tensor, config: WaveGradConfig) -> Tensor:
    """The signal that is diffused: audio [B, (T - 1) * hop], or, with a spectral prior, audio without its mel's envelope."""
    if config.prior == "white":
        return audio
    # Differs from paper: noise of the signal's own colour (SpecGrad, Koizumi et al., 2022, section 3). A short training
    # leaves noise behind, which the speech then hides, and few steps are enough.
    return WHITE_LEVEL * whiten(audio, mel, config.mel)


def coloured(signal: Tensor, mel: Tensor, config: WaveGradConfig) -> Tensor:
    """The audio that `whitened` made `signal` of, nearly."""
    if config.prior == "white":
        return signal
    return colour(signal / WHITE_LEVEL, mel, config.mel)


class WaveGradGenerator:
    """Renders mels of the settings it was trained with, in as many steps as asked for."""

    def __init__(self, network: WaveGrad, config: WaveGradConfig) -> None:
        self.network, self.config, self.mel = network, config, config.mel
        self._step_reach = -(-reach_samples(config) // config.mel.hop_samples) + 1  # frames
        self._filter_reach = -(-config.mel.n_fft // config.mel.hop_samples) + 1 if config.prior == "spectral" else 0
        self._last_reach = self._filter_reach + corrected_frames(config.mel, config.corrections)
        # With the default number of steps; more of them look further, at what hardly matters.
        self.reach_frames = WaveGradOptions().steps * self._step_reach + self._last_reach

    def schedule(self, steps: int) -> tuple[float, ...]:
        """Betas of a request for so many steps.

        Raises:
            ValueError: there are none.
        """
        return tuple(betas_of(WaveGradOptions(steps=steps), self.config).tolist())

    @torch.inference_mode()
    def generate(
        self,
        mel: Mel,
        *,
        options: WaveGradOptions,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return (T - 1) * hop samples for T frames, which for one frame is none.

        Raises:
            ValueError: the mel is defined differently or not finite, or there is no schedule of so many steps.
        """
        mel.require(self.mel)
        betas = betas_of(options, self.config)
        first = part.start if part else 0

        def render(row: Tensor, told: Progress) -> Tensor:
            return self._render(row, betas, options, rng, first, told)

        return render_rows(mel, len(betas), render, progress)

    def _render(
        self,
        mel: Tensor,
        betas: Tensor,
        options: WaveGradOptions,
        rng: torch.Generator,
        first: int,
        told: Progress,
    ) -> Tensor:
        """Samples [L] of one row [1, T, M] whose frames count from `first`."""
        hop, frames = self.mel.hop_samples, mel.shape[1] - 1
        condition = self.network.condition(mel)

        def predict(noisy: Tensor, level: float, low: int, high: int) -> Tensor:
            return self.network.denoise(noisy, condition[..., low:high], noisy.new_full((1,), level))

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
            temperature=options.temperature,
            limit=LIMIT if options.clamp else None,
            progress=told,
        )

        def finished(low: int, high: int) -> Tensor:
            part = mel[:, low : high + 1]
            sound = coloured(made[:, low * hop : high * hop], part, self.config)
            return corrected(sound, part, self.mel, self.config.corrections)

        return in_windows(finished, frames, step=CHUNK_FRAMES, reach=self._last_reach, hop=hop)[0]
