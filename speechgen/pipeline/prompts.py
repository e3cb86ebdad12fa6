"""Reference recordings: what is accepted, and how one becomes the prompt of the models.

checked (length, silence) -> resampled -> edges trimmed -> level normalised -> shortened at a pause
"""

from __future__ import annotations

from dataclasses import dataclass

from speechgen.audio.loudness import active_level, normalize_level
from speechgen.audio.resample import resample
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.pipeline.longform import fade_edges
from speechgen.pipeline.silence import latest_pause, speech_span

__all__ = ["MAX_SECONDS", "MIN_SECONDS", "PreparedPrompt", "prepare_prompt"]

MIN_SECONDS = 1.0
MAX_SECONDS = 30.0
MIN_SOUND_SECONDS = 0.7
"""What must be left of the shortest recording when the silence at its edges is cut."""
SILENT_DBFS = -60.0
MARGIN_SECONDS = 0.05
"""Silence left at each edge: a prompt that ends inside a sound makes the models finish that sound."""


@dataclass(frozen=True)
class PreparedPrompt:
    """A recording for the models: one row, at their rate and level.

    Attributes:
        audio: the prompt.
        whole: all of the recording's speech, of which the prompt is the beginning.
        warnings: what the user should know about it.
        share: how much of the recording's speech the prompt is, 1 if nothing was cut.
    """

    audio: Waveform
    whole: Waveform
    warnings: tuple[str, ...]
    share: float = 1.0


def prepare_prompt(audio: Waveform, *, rate: int, prompt_seconds: float, name: str) -> PreparedPrompt:
    """Check a reference recording and bring it into the form that the models were trained on.

    Args:
        audio: one row at any rate.
        rate: samples per second of the models.
        prompt_seconds: how much of it to use at most.
        name: what to call it in messages.

    Raises:
        UserError: it is silent, or holds less than MIN_SOUND_SECONDS of sound.
    """
    warnings = []
    if audio.seconds < MIN_SECONDS:
        raise UserError(f"{name} lasts {audio.seconds:.2f} s: give {MIN_SECONDS:g} to {MAX_SECONDS:g} s of one voice")
    samples = audio.samples[0, : int(MAX_SECONDS * audio.rate)]
    if audio.seconds > MAX_SECONDS + 0.01:
        warnings.append(f"{name} lasts {audio.seconds:.0f} s: only its first {MAX_SECONDS:g} s were considered")
    if audio.rate < 16000:
        warnings.append(f"{name} has only {audio.rate} samples per second: the voice may sound dull")
    if active_level(samples, audio.rate) < SILENT_DBFS:
        raise UserError(f"{name} is silent: give {MIN_SECONDS:g} to {MAX_SECONDS:g} s of one voice")

    samples = resample(Waveform.single(samples, audio.rate), rate).samples[0]
    span = speech_span(samples, rate)
    if span.stop - span.start < int(MIN_SOUND_SECONDS * rate):
        seconds = (span.stop - span.start) / rate
        raise UserError(f"{name} holds only {seconds:.2f} s of sound: give {MIN_SECONDS:g} to {MAX_SECONDS:g} s of one voice")
    margin = int(MARGIN_SECONDS * rate)
    samples = normalize_level(samples[max(0, span.start - margin) : span.stop + margin], rate)

    whole = Waveform.single(fade_edges(samples, rate), rate)
    size = samples.shape[-1] * max(1.0, audio.seconds / MAX_SECONDS)
    limit = int(prompt_seconds * rate)
    if samples.shape[-1] > limit:
        samples = samples[: latest_pause(samples, rate, int(0.6 * limit), limit)]
    share = samples.shape[-1] / size
    return PreparedPrompt(Waveform.single(fade_edges(samples, rate), rate), whole, tuple(warnings), share)
