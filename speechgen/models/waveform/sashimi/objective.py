"""Training of SaShiMi: bits per sample of whole recordings or crops, all samples at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from speechgen.audio.quantize import bits_per_sample, read_levels
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import MelSettings, Waveform
from speechgen.models.waveform.sashimi.config import SashimiConfig, SashimiObjectiveConfig
from speechgen.models.waveform.sashimi.generate import sashimi_generator
from speechgen.models.waveform.sashimi.model import Sashimi
from speechgen.sampling.levels import SamplingOptions

AUDIO_RATE = MelSettings().sample_rate
"""Of the audio in a batch."""
SAMPLE_SECONDS = 1.0


class SashimiObjective:
    """One update a step."""

    fields = ("audio",)

    def __init__(self, network: Sashimi, config: SashimiConfig, objective: SashimiObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.parts: dict[str, torch.nn.Module] = {"network": network}
        self._generator = sashimi_generator(network, config)

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Each sample given those before it."""
        loss = self._bits(batch)
        yield Update("network", loss, {"bits": loss.detach()})

    def _bits(self, batch: Batch) -> Tensor:
        audio = Waveform(batch["audio"], batch.lengths["audio"], AUDIO_RATE)
        settings = self.config.sample_rate, self.config.quantizer, self.settings.tail_seconds
        levels, lengths = read_levels(audio, *settings)
        return bits_per_sample(self.parts["network"](levels), levels, lengths)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Bits per sample."""
        return {"loss": self._bits(batch)}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """A second of sound from nothing."""
        made = self._generator.generate(
            1, round(SAMPLE_SECONDS * self.config.sample_rate), None, options=SamplingOptions(), rng=rng
        )
        return Sample(audio=made.samples[0], rate=made.rate)
