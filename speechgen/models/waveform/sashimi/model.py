"""SaShiMi network: levels so far -> logits of the next (Goel et al., 2022).

`forward` shifts its input by one, so logits[t] depend on levels before t alone. The backbone is speechgen.nn.multiscale.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.quantize import LEVELS, SILENCE
from speechgen.models.waveform.sashimi.config import SashimiConfig
from speechgen.nn.multiscale import Backbone


class Sashimi(nn.Module):
    """Embedding, backbone, linear head."""

    def __init__(self, config: SashimiConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(LEVELS, config.width)
        self.backbone = Backbone(config.sizes)
        self.head = nn.Linear(config.width, LEVELS)

    def forward(self, levels: Tensor) -> Tensor:
        """Map levels [B, L] int64 to the logits [B, L, 256] of each, given those before it; before the first is silence."""
        before = F.pad(levels[:, :-1], (1, 0), value=SILENCE)
        logits: Tensor = self.head(self.backbone(self.embedding(before)))
        return logits
