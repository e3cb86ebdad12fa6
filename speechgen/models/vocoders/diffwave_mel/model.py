"""The network of a mel vocoder by diffusion: speechgen.nn.diffwave, told by a mel (Kong et al., 2021, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from speechgen.models.vocoders.diffwave_mel.config import DiffWaveMelConfig
from speechgen.nn.diffwave import NoisePredictor

MEL_MEAN, MEL_DEVIATION = -4.5, 3.0
"""About those of the log-mel of speech: the network is told numbers near 0."""


class DiffWaveMel(nn.Module):
    """(noisy audio, mel, noise level) -> the noise in it."""

    def __init__(self, config: DiffWaveMelConfig) -> None:
        super().__init__()
        self.predictor = NoisePredictor(config.sizes, config.level_width, config.mel.num_bins, config.mel.hop_samples)

    def forward(self, noisy: Tensor, mel: Tensor, level: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            noisy: [B, L].
            mel: [B, T, M] natural-log mel, T hop >= L; a frame belongs to the hop of samples behind its middle.
            level: [B] in (0, 1].

        Returns:
            [B, L].
        """
        noise: Tensor = self.predictor(noisy, level, (mel - MEL_MEAN) / MEL_DEVIATION)
        return noise
