"""Windows of speech to feature vectors, for distances between sets. What encodes is named beside every figure.

content   hidden states of a speech recogniser, averaged over windows of two seconds, as in GAN-TTS with DeepSpeech 2
voice     Resemblyzer's speaker encoder on its own windows of 1.6 s, for a Fréchet audio distance that hears the voice
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from speechgen.audio.loudness import normalize_level
from speechgen.core.types import Waveform
from speechgen.evaluation.frechet import Features
from speechgen.evaluation.speaker import SpeakerSimilarity

__all__ = ["WINDOW_SECONDS", "Encoder", "content_encoder", "voice_encoder"]

WINDOW_SECONDS = 2.0

HiddenStates = Callable[[Waveform], tuple[Tensor, Tensor]]
"""Audio of several rows to hidden states [B, T, D] and their lengths [B]."""


@dataclass(frozen=True)
class Encoder:
    """Maps one row of audio to features [N, D] of its windows; a clip shorter than a window may have none.

    Attributes:
        name: what the figures are to be called after, with the kind of windows.
        embed: encodes.
    """

    name: str
    embed: Callable[[Waveform], Features]


def content_encoder(name: str, hidden_states: HiddenStates) -> Encoder:
    """Return an encoder of windows that stand side by side; what is left at the end of a clip is not counted."""

    def embed(audio: Waveform) -> Features:
        size = round(WINDOW_SECONDS * audio.rate)
        samples = audio.samples[0, : int(audio.lengths[0])]
        if len(samples) < size:
            return np.zeros((0, 0))
        windows = normalize_level(samples, audio.rate).unfold(0, size, size)  # [N, L]
        hidden, lengths = hidden_states(Waveform(windows, torch.full((len(windows),), size), audio.rate))
        means = [row[: int(length)].double().mean(dim=0) for row, length in zip(hidden, lengths, strict=True)]
        return torch.stack(means).cpu().numpy()

    return Encoder(f"{name}, mean over windows of {WINDOW_SECONDS:g} s", embed)


def voice_encoder() -> Encoder:
    """Return Resemblyzer's encoder.

    Raises:
        UserError: resemblyzer or one of its requirements is missing.
    """
    similarity = SpeakerSimilarity()

    def embed(audio: Waveform) -> Features:
        samples = normalize_level(audio.samples[0, : int(audio.lengths[0])], audio.rate)
        return similarity.embed_windows(Waveform.single(samples, audio.rate))

    return Encoder(f"speaker encoder of resemblyzer {version('resemblyzer')}, windows of 1.6 s", embed)
