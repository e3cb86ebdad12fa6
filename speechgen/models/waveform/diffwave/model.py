"""DiffWave's network with SaShiMi's backbone (Goel et al., 2022, section 5.3): speechgen.nn.diffwave without a mel."""

from __future__ import annotations

from torch import Tensor, nn

from speechgen.models.waveform.diffwave.config import DiffWaveConfig
from speechgen.nn.diffwave import NoisePredictor


class DiffWave(nn.Module):
    """(noisy audio, noise level) -> the noise in it."""

    def __init__(self, config: DiffWaveConfig) -> None:
        super().__init__()
        self.predictor = NoisePredictor(config.sizes, config.level_width)

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Map noisy [B, L] at levels [B] in (0, 1] to the noise [B, L]."""
        noise: Tensor = self.predictor(noisy, level)
        return noise
