"""SampleRNN as a WaveformModel: compiled steps, and the same ones by whole frames in torch to compare them with."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from speechgen.audio.quantize import LEVELS, SILENCE
from speechgen.models.waveform.samplernn.config import SampleRnnConfig
from speechgen.models.waveform.samplernn.model import SampleRnn
from speechgen.sampling.levels import AutoregressiveGenerator, Sampler


def samplernn_generator(network: SampleRnn, config: SampleRnnConfig) -> AutoregressiveGenerator:
    """Return what generates with these weights."""

    def sampler(engine: str, rows: int) -> Sampler:
        if engine == "eager":
            return EagerSampler(network, rows)
        # Compiled code is loaded when it is needed.
        from speechgen.nn.fused_tiers import fused_tiers

        layers = (network.input, network.inner, network.head)
        return fused_tiers(list(network.tiers), network.frames, network.embedding, layers, rows)

    return AutoregressiveGenerator(sampler, config.sample_rate, config.quantizer)


class EagerSampler:
    """`rows` rows, each tier called when a frame of it has ended."""

    def __init__(self, network: SampleRnn, rows: int) -> None:
        self.network, self.rows, self.bits = network, rows, np.zeros(rows)
        self._past = torch.full((rows, network.lookback), SILENCE)
        self._told: list[Tensor | None] = [None] * len(network.tiers)
        self._hidden: list[Tensor | None] = [None] * len(network.tiers)
        self._clock = 0

    @torch.inference_mode()
    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by the levels [L, B]; negative ones are drawn and filled in."""
        from speechgen.nn.fused_draw import draw

        scratch = np.zeros(LEVELS, np.float32)
        for levels, numbers in zip(known, uniform, strict=True):
            logits = self._logits().numpy()
            draw(logits, numbers, np.float32(temperature), np.float32(top_p), scratch, levels, self.bits)
            self._past = torch.cat((self._past[:, 1:], torch.from_numpy(levels.copy())[:, None]), 1)
            self._clock += 1

    def _logits(self) -> Tensor:
        """Of the next level, [B, 256]."""
        network, frames = self.network, self.network.frames
        for number in reversed(range(len(frames))):
            if self._clock % frames[number] == 0:
                values = 2 * (self._past[:, None, -frames[number] :] - SILENCE).float() / SILENCE
                above = self._from_above(number + 1, frames[number])
                told, hidden = network.tiers[number](values, above, self._hidden[number])
                self._told[number], self._hidden[number] = told, hidden
        window = network.embedding(self._past[:, -network.window :]).transpose(1, 2)
        told = self._from_above(0, 1)
        assert told is not None
        y = F.relu(network.input(window)[..., 0] + told[:, 0])
        return network.head(F.relu(network.inner(y))).float()

    def _from_above(self, number: int, size: int) -> Tensor | None:
        """What a tier tells a frame of `size` levels that begins now, [B, 1, D]; None above the highest."""
        if number == len(self._told):
            return None
        place = self._clock % self.network.frames[number] // size
        told = self._told[number]
        assert told is not None
        return told[:, place : place + 1]
