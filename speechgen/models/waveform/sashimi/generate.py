"""SaShiMi as a WaveformModel: compiled steps, and the same ones layer by layer to compare them with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.audio.quantize import LEVELS, SILENCE
from speechgen.models.waveform.sashimi.config import SashimiConfig
from speechgen.models.waveform.sashimi.model import Sashimi
from speechgen.sampling.levels import AutoregressiveGenerator, Sampler


def sashimi_generator(network: Sashimi, config: SashimiConfig) -> AutoregressiveGenerator:
    """Return what generates with these weights."""

    def sampler(engine: str, rows: int) -> Sampler:
        if engine == "eager":
            return EagerSampler(network, rows)
        # Compiled code is loaded when it is needed.
        from speechgen.nn.fused_multiscale import fused_backbone

        return fused_backbone(network.embedding, network.backbone, network.head, rows)

    return AutoregressiveGenerator(sampler, config.sample_rate, config.quantizer)


class EagerSampler:
    """`rows` rows by `Backbone.step`."""

    @torch.inference_mode()
    def __init__(self, network: Sashimi, rows: int) -> None:
        self.network, self.rows, self.bits = network, rows, np.zeros(rows)
        self._recurrences, self._state = network.backbone.recurrences(), network.backbone.start(rows)
        self._past = torch.full((rows,), SILENCE)

    @torch.inference_mode()
    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by the levels [L, B]; negative ones are drawn and filled in."""
        from speechgen.nn.fused_draw import draw

        scratch = np.zeros(LEVELS, np.float32)
        for levels, numbers in zip(known, uniform, strict=True):
            x = self.network.embedding(self._past)
            logits = self.network.head(self.network.backbone.step(x, self._state, self._recurrences))
            draw(logits.float().numpy(), numbers, np.float32(temperature), np.float32(top_p), scratch, levels, self.bits)
            self._past = torch.from_numpy(levels.copy())
