"""Vocos network: mel -> ConvNeXt backbone -> complex spectrum -> waveform (Siuzdak, 2023, sections 3.1 and 3.2).

Module and parameter names are the published ones, so `charactr/vocos-mel-24khz` loads without a key map
(its `feature_extractor.*` and `head.istft.window` buffers are constants and left out).
"""

from __future__ import annotations

from torch import Tensor, nn

from speechgen.models.vocoders.vocos.config import VocosConfig
from speechgen.nn.vocos import Backbone, SpectrumHead


class Vocos(nn.Module):
    """The whole generator."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.mel.num_bins, config.width, config.hidden_width, config.depth)
        self.head = SpectrumHead(config.width, config.mel.n_fft, config.mel.hop_samples)

    def forward(self, mel: Tensor) -> Tensor:
        """Render a waveform.

        Args:
            mel: [B, T, M] natural-log mel, T >= 2.

        Returns:
            [B, (T - 1) * hop] samples.
        """
        samples: Tensor = self.head(self.backbone(mel))
        return samples
