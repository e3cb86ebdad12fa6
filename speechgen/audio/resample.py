"""Change of sampling rate (torchaudio's windowed sinc)."""

from __future__ import annotations

from fractions import Fraction

from torchaudio.functional import resample as _sinc_resample

from speechgen.core.types import Waveform

__all__ = ["resample"]

_LARGEST_KERNEL = 2**24
"""The filter's size is the product of the reduced ratio's terms: 22051 to 24000 Hz would take ten gigabytes."""


def resample(audio: Waveform, rate: int) -> Waveform:
    """Return `audio` at `rate` samples per second; the same object if it has that rate already.

    A ratio of large terms is replaced by one within a few millionths of it, far below what can be heard.
    """
    if audio.rate == rate:
        return audio
    ratio = Fraction(rate, audio.rate)
    if ratio.numerator * ratio.denominator > _LARGEST_KERNEL:
        ratio = ratio.limit_denominator(512)
    samples = _sinc_resample(audio.samples, ratio.denominator, ratio.numerator)
    return Waveform(samples, -(-audio.lengths * ratio.numerator // ratio.denominator), rate)
