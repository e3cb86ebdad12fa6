"""Vocos as a Vocoder."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from speechgen.audio.spectrogram import corrected, corrected_frames
from speechgen.core.protocols import Part, Progress
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosOptions
from speechgen.models.vocoders.vocos.model import Vocos
from speechgen.nn.windows import in_windows, num_windows

CHUNK_FRAMES = 2048
"""Frames that are rendered at once: what a longer mel needs of memory is its audio."""


class VocosGenerator:
    """Renders mels of the settings it was trained with; deterministic: it uses neither `rng` nor `part`."""

    def __init__(self, network: Vocos, config: VocosConfig) -> None:
        self.network, self.mel, self.corrections = network, config.mel, config.corrections
        # Three frames for each convolution of width 7, the STFT windows that overlap a sample, and theirs at the edge.
        synthesis = config.mel.n_fft // config.mel.hop_samples
        self.reach_frames = 3 * (config.depth + 1) + synthesis + corrected_frames(config.mel, config.corrections)

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
        sizes, done = (mel.lengths - 1).tolist(), count(1)
        total = sum(num_windows(size, CHUNK_FRAMES) for size in sizes)

        def told() -> None:
            if progress is not None:
                progress(next(done), total)

        # Row by row: the convolutions of a short row must not see what pads it.
        rows = [self._render(row[: size + 1], told) for row, size in zip(mel.values, sizes, strict=True)]
        return Waveform.from_rows(rows, self.mel.sample_rate)

    def _render(self, mel: Tensor, told: Callable[[], None]) -> Tensor:
        """Samples [(T - 1) * hop] of a row [T, M]."""
        if len(mel) == 1:
            return mel.new_zeros(0)

        def window(low: int, high: int) -> Tensor:
            part = mel[None, low : high + 1]
            return corrected(self.network(part), part, self.mel, self.corrections)[0]

        return in_windows(
            window,
            len(mel) - 1,
            step=CHUNK_FRAMES,
            reach=self.reach_frames,
            hop=self.mel.hop_samples,
            told=told,
        )
