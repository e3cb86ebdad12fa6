"""Vocos as a Vocoder."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.protocols import Part, Progress
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosOptions
from speechgen.models.vocoders.vocos.model import Vocos

CHUNK_FRAMES = 2048
"""Frames that are rendered at once: what a longer mel needs of memory is its audio."""


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
        """Return (T - 1) * hop samples for T frames, which for one frame is none.

        Raises:
            ValueError: the mel is defined differently or not finite.
        """
        mel.require(self.mel)
        sizes, done = mel.lengths.tolist(), 0
        total = sum(-(-(size - 1) // CHUNK_FRAMES) for size in sizes)
        rows = []
        # Row by row: the convolutions of a short row must not see what pads it.
        for number, (row, size) in enumerate(zip(mel.values, sizes, strict=True)):
            if not row[:size].isfinite().all():
                raise ValueError(f"row {number} of the mel holds values that are not finite: make it again")
            pieces = [row.new_zeros(0)]
            for piece in self._chunks(row[:size]):
                pieces.append(piece)
                done += 1
                if progress is not None:
                    progress(done, total)
            rows.append(torch.cat(pieces))
        samples = pad_sequence(rows, batch_first=True)  # [B, L]
        return Waveform(samples.clamp(-1, 1), (mel.lengths - 1) * self.mel.hop_samples, self.mel.sample_rate)

    def _chunks(self, mel: Tensor) -> Iterator[Tensor]:
        """Samples of a row [T, M], CHUNK_FRAMES frames at a time, each chunk seeing as far as it would in the whole."""
        hop, last = self.mel.hop_samples, len(mel) - 1
        for start in range(0, last, CHUNK_FRAMES):
            stop = min(last, start + CHUNK_FRAMES)
            low = max(0, start - self.reach_frames)
            samples = self.network(mel[None, low : stop + 1 + self.reach_frames])[0]
            yield samples[(start - low) * hop : (stop - low) * hop]
