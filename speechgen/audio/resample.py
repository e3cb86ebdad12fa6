"""Change of sampling rate (torchaudio's windowed sinc)."""

from __future__ import annotations

from torchaudio.functional import resample as _sinc_resample

from speechgen.core.types import Waveform

__all__ = ["resample"]


def resample(audio: Waveform, rate: int) -> Waveform:
    """Return `audio` at `rate` samples per second; the same object if it has that rate already."""
    if audio.rate == rate:
        return audio
    samples = _sinc_resample(audio.samples, audio.rate, rate)
    return Waveform(samples, -(-audio.lengths * rate // audio.rate), rate)
