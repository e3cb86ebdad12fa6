"""One piece of text as chunks of sound, each handed on before the next is made.

tokens of the piece -> spans of tokens -> mel of a span, behind what was made before -> samples that no later frame changes

Each span's mel is generated with the mel before it visible, so that it continues it; some tokens behind the span are
generated with it and thrown away, so that it ends knowing what comes. The vocoder runs again over as many frames on either
side as it can see: what is handed on is, sample for sample, what it would make of the whole mel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from speechgen.audio.loudness import RunningLevel
from speechgen.core.config import StrictModel
from speechgen.core.protocols import Part, Vocoder
from speechgen.core.types import Mel, SemanticTokens
from speechgen.pipeline.longform import limit_peaks

__all__ = ["Span", "VocoderStream", "behind", "hurried", "spans", "take"]

FIRST_SECONDS = 0.9
"""The first chunk: longer than the vocoder's reach, as short as leaves a fast first sound."""
FIRST_STEPS = 5
"""Steps of an iterative acoustic model for the first chunk, at most: what comes later has the time of its playing."""
GROWTH = 2.0
LONGEST_SECONDS = 6.0
AHEAD_SECONDS = 0.3
VISIBLE_SECONDS = 2.0
"""How much of what was made stays visible to the next span."""
LIMITER_FRAMES = 4


@dataclass(frozen=True)
class Span:
    """Tokens [start, stop) of a piece are handed on, those up to `ahead` are generated too; `tokens` are all so far."""

    start: int
    stop: int
    ahead: int
    tokens: SemanticTokens
    last: bool


def spans(growing: Iterable[SemanticTokens]) -> Iterator[Span]:
    """Cut tokens into spans that grow, each as soon as it and what is ahead of it are known.

    The last is never shorter than half of the first. Nothing is yielded for no tokens.

    Args:
        growing: one row, more of it with every item.
    """
    start, seconds, tokens = 0, FIRST_SECONDS, None
    for tokens in growing:
        count, rate = tokens.ids.shape[1], tokens.rate
        stop = start + max(1, round(seconds * rate))
        ahead = stop + round(AHEAD_SECONDS * rate)
        if count >= max(ahead, stop + round(0.5 * FIRST_SECONDS * rate)):
            yield Span(start, stop, ahead, tokens, last=False)
            start, seconds = stop, min(LONGEST_SECONDS, GROWTH * seconds)
    while tokens is not None and start < tokens.ids.shape[1]:
        count, rate = tokens.ids.shape[1], tokens.rate
        stop = start + max(1, round(seconds * rate))
        if count - stop < round(0.5 * FIRST_SECONDS * rate):
            stop = count
        yield Span(start, stop, min(count, stop + round(AHEAD_SECONDS * rate)), tokens, last=stop == count)
        start, seconds = stop, min(LONGEST_SECONDS, GROWTH * seconds)


def hurried(options: StrictModel) -> StrictModel:
    """The options of the acoustic model for the first span."""
    steps = getattr(options, "steps", 0)
    return options.model_copy(update={"steps": FIRST_STEPS}) if steps > FIRST_STEPS else options


def take(tokens: SemanticTokens, start: int, stop: int) -> SemanticTokens:
    """Tokens [start, stop) of one row."""
    ids = tokens.ids[:, start:stop]
    return SemanticTokens(ids, torch.full_like(tokens.lengths, ids.shape[1]), tokens.rate, tokens.size)


def behind(
    reference: Mel, reference_tokens: SemanticTokens, made: Tensor, tokens: SemanticTokens
) -> tuple[Mel, SemanticTokens]:
    """The prompt of a span: the reference, then the last VISIBLE_SECONDS of what was made.

    Args:
        reference: the voice.
        reference_tokens: its tokens.
        made: [1, T, M] the piece's mel so far.
        tokens: the tokens of `made`.
    """
    rate = reference.settings.frame_rate / tokens.rate
    count = min(tokens.ids.shape[1], round(VISIBLE_SECONDS * tokens.rate))
    kept = take(tokens, tokens.ids.shape[1] - count, tokens.ids.shape[1])
    values = torch.cat((reference.values, made[:, made.shape[1] - round(count * rate) :]), dim=1)
    ids = torch.cat((reference_tokens.ids, kept.ids), dim=1)
    sizes = (torch.tensor([x.shape[1]], device=x.device) for x in (values, ids))
    return (
        Mel(values, next(sizes), reference.settings),
        SemanticTokens(ids, next(sizes), tokens.rate, tokens.size),
    )


class VocoderStream:
    """Renders a mel that grows. Peaks are limited, too, and equally independent of where the mel was cut.

    Args:
        vocoder: what renders.
        options: of the vocoder.
        rng: for the vocoder.
        level: what was heard of the speaker before, by which all of this mel is turned to the usual level; it goes on to hear.
    """

    def __init__(self, vocoder: Vocoder, options: StrictModel, rng: torch.Generator, level: RunningLevel | None = None) -> None:
        self._vocoder, self._options, self._rng, self._level = vocoder, options, rng, level
        self._gain = 1.0 if level is None else level.gain
        self._memory: dict[str, Tensor] = {}
        self._reach = vocoder.reach_frames + LIMITER_FRAMES
        self._frames: Tensor | None = None  # [1, T, M], from frame `_first` on
        self._first = self._done = 0  # frames: dropped, and rendered

    def push(self, frames: Tensor, *, last: bool) -> Tensor:
        """Add `frames [1, T, M]`; return the samples [L] that are now certain, which may be none."""
        self._frames = frames if self._frames is None else torch.cat((self._frames, frames), dim=1)
        total = self._first + self._frames.shape[1]
        ready = total - 1 if last else total - 1 - self._reach
        if ready <= self._done:
            return frames.new_zeros(0)
        low = max(self._first, self._done - self._reach)
        window = self._frames[:, low - self._first :]
        mel = Mel(window, torch.tensor([window.shape[1]], device=window.device), self._vocoder.mel)
        hop, part = self._vocoder.mel.hop_samples, Part(low, self._memory)
        audio = self._vocoder.generate(mel, options=self._options, rng=self._rng, part=part)
        samples, new = audio.samples[0].float().cpu(), slice((self._done - low) * hop, (ready - low) * hop)
        if self._level is not None:
            self._level.hear(samples[new])
        samples = limit_peaks(samples * self._gain, audio.rate)[new]
        self._done = ready
        drop = max(0, ready - self._reach - self._first)
        self._frames, self._first = self._frames[:, drop:], self._first + drop
        return samples
