"""Whose voice it is: cosine of Resemblyzer's speaker embeddings (Wan et al., 2018, GE2E; 256 numbers, 16 kHz).

Natural speech: about 0.88 for two clips of one speaker, 0.53 for two speakers. Other embeddings have other scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.optional import require
from speechgen.evaluation.signals import signal

__all__ = ["SHORTEST_SECONDS", "SpeakerSimilarity"]

SHORTEST_SECONDS = 0.5
"""Shorter clips say too little about a voice."""


class SpeakerSimilarity:
    """Compares voices. Loads its network (on the CPU) when made.

    Raises:
        UserError: resemblyzer or one of its requirements is missing.
    """

    def __init__(self) -> None:
        # Its declared requirements name a package that has to be compiled; webrtcvad-wheels, of the extra, replaces that.
        module = require("resemblyzer", install='"speechgen[eval]" and pip install --no-deps resemblyzer')
        self._encoder = module.VoiceEncoder("cpu", verbose=False)

    def embed(self, audio: Waveform) -> NDArray[np.float32]:
        """Return the embedding [256] of a clip, of length 1.

        Raises:
            UserError: the clip is not longer than SHORTEST_SECONDS.
        """
        if audio.seconds <= SHORTEST_SECONDS:
            raise UserError(f"{audio.seconds:.2f} s is too short to tell a voice: give more than {SHORTEST_SECONDS} s")
        embedding: NDArray[np.float32] = self._encoder.embed_utterance(signal(audio))
        return embedding

    def embed_windows(self, audio: Waveform) -> NDArray[np.float64]:
        """Return the embeddings [N, 256] of a clip's windows of 1.6 s, 1.3 of them a second, each of length 1."""
        windows = self._encoder.embed_utterance(signal(audio), return_partials=True)[1]
        return np.asarray(windows, np.float64)

    def __call__(self, first: Waveform, second: Waveform) -> float:
        """Return the cosine of two clips' voices; 1 = the same."""
        return float(self.embed(first) @ self.embed(second))
