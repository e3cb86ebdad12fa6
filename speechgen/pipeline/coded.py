"""A vocoder behind an autoencoder: what a mel loses in latents can be heard, and measured as vocoders are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from speechgen.core.protocols import Autoencoder, Part, Progress, Vocoder
from speechgen.core.types import Mel, Waveform

__all__ = ["CodedVocoder"]


class CodedVocoder:
    """Renders what is left of a whole mel when it has been encoded and decoded.

    Raises:
        ValueError: the vocoder does not render what the autoencoder decodes to.
    """

    def __init__(self, autoencoder: Autoencoder, vocoder: Vocoder) -> None:
        if autoencoder.mel != vocoder.mel:
            given = vocoder.mel.differences(autoencoder.mel)
            raise ValueError(f"this vocoder renders {vocoder.mel}, the autoencoder's mel has {given}: choose another vocoder")
        self._autoencoder, self._vocoder = autoencoder, vocoder
        self.mel, self.reach_frames = vocoder.mel, vocoder.reach_frames

    def generate(
        self, mel: Mel, *, options: Any, rng: torch.Generator, part: Part | None = None, progress: Progress | None = None
    ) -> Waveform:
        """Return the sound of the mel's latents, as long as that of the mel."""
        decoded = self._autoencoder.decode(self._autoencoder.encode(mel)).values[:, : mel.values.shape[1]]
        return self._vocoder.generate(replace(mel, values=decoded), options=options, rng=rng, part=part, progress=progress)
