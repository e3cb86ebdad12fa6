"""Vocos as a Vocoder."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.protocols import Part, Progress
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosOptions
from speechgen.models.vocoders.vocos.model import Vocos


class VocosGenerator:
    """Renders mels of the settings it was trained with; deterministic: it uses neither `rng` nor `part`."""

    def __init__(self, network: Vocos, config: VocosConfig) -> None:
        self.network, self.mel = network, config.mel
        # Three frames for each convolution of width 7, the STFT windows that overlap a sample, and theirs at the edge.
        self.reach_frames = 3 * (config.depth + 1) + config.mel.n_fft // config.mel.hop_samples

    @torch.inference_mode()
    def generate(
        self,
        mel: Mel,
        *,
        options: VocosOptions,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return (T - 1) * hop samples for T frames.

        Raises:
            ValueError: the mel is defined differently.
        """
        if mel.settings != self.mel:
            raise ValueError(f"this vocoder renders {self.mel}, the mel given is {mel.settings}: choose another vocoder")
        # Row by row: the convolutions of a short row must not see what pads it.
        rows = [self.network(row[None, :size])[0] for row, size in zip(mel.values, mel.lengths.tolist(), strict=True)]
        samples = pad_sequence(rows, batch_first=True)  # [B, L]
        if progress is not None:
            progress(1, 1)
        return Waveform(samples.clamp(-1, 1), (mel.lengths - 1) * self.mel.hop_samples, self.mel.sample_rate)
