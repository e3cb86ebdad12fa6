"""Training of SampleRNN: bits per sample by truncated backpropagation through time.

A recording, or a crop of one, is learnt chunk by chunk with an optimiser step after each (paper, section 2.3.1). The hidden
states go on from chunk to chunk of the same recording, their gradients do not; the next batch begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from speechgen.audio.quantize import bits_per_sample, read_levels
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings, Waveform
from speechgen.models.waveform.samplernn.config import SampleRnnConfig, SampleRnnObjectiveConfig
from speechgen.models.waveform.samplernn.generate import samplernn_generator
from speechgen.models.waveform.samplernn.model import SampleRnn
from speechgen.sampling.levels import SamplingOptions

AUDIO_RATE = MelSettings().sample_rate
"""Of the audio in a batch."""
SAMPLE_SECONDS = 1.0


class SampleRnnObjective:
    """One update a chunk."""

    fields = ("audio",)

    def __init__(self, network: SampleRnn, config: SampleRnnConfig, objective: SampleRnnObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.chunk = -(-objective.chunk_samples // config.lookback) * config.lookback
        self.parts: dict[str, torch.nn.Module] = {"network": network}
        self._generator = samplernn_generator(network, config)

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Each sample given those before it, chunk after chunk."""
        levels, lengths = self._levels(batch)
        state = None
        for start in range(0, int(lengths.max()), self.chunk):
            part = levels[:, start : start + self.chunk]
            logits, after = self.parts["network"](part, state)
            state = after.detached()
            loss = bits_per_sample(logits, part, lengths - start)
            yield Update("network", loss, {"bits": loss.detach()})

    def _levels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        audio = Waveform(batch["audio"], batch.lengths["audio"], AUDIO_RATE)
        return read_levels(audio, self.config.sample_rate, self.config.quantizer, self.settings.tail_seconds)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Bits per sample of whole rows."""
        levels, lengths = self._levels(batch)
        logits, _ = self.parts["network"](levels)
        return {"loss": bits_per_sample(logits, levels, lengths)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """A second of sound from nothing."""
        made = self._generator.generate(
            1, round(SAMPLE_SECONDS * self.config.sample_rate), None, options=SamplingOptions(), rng=rng
        )
        return Sample(audio=made.samples[0], rate=made.rate)
