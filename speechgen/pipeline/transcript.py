"""Where the words of a transcript lie in a recording.

The tokenizer's phone recogniser tells where each phone is certain, a point inside the phone; between the last phone of a word
and the first of the next lies either a pause, whose edges the short-time power tells, or one boundary for both.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torchaudio.functional import forced_align, merge_tokens

from speechgen.audio.loudness import active_level
from speechgen.core.errors import UserError
from speechgen.core.protocols import SemanticTokenizer
from speechgen.core.types import Waveform
from speechgen.pipeline.alignment import MARKS
from speechgen.text.phonemes import Phonemizer
from speechgen.text.spans import SPAN
from speechgen.text.split import split

__all__ = ["POOR_FIT", "Transcript", "Word", "align", "bare", "words_of"]

POOR_FIT = -2.5
"""Log probability by phone, below which a transcript may have mistakes: clear recordings have -0.4 to -2, noisy ones -3."""
WRONG_FIT = -4.5
"""Below this it is another text: those have -5.5 and less."""
FRAME_SECONDS = 0.01
PAUSE_SECONDS = 0.1
"""A shorter silence may belong to a stop consonant."""
MARGIN_SECONDS = 0.03
"""Of a pause, what is left to the words around it: their sound ends and begins softly."""
EDGE_SECONDS = 0.15
"""How long the first and the last phone of a recording without silence at its edges may last beyond where they are certain."""
SENTENCE_CHARACTERS = 200
PART_FRAMES, AROUND_FRAMES = 1024, 96
"""Frames of a long recording that are heard at once, and how many more on either side: attention grows quadratically."""


@dataclass(frozen=True)
class Word:
    """A word as it is spoken, with its punctuation; its sound lies between `start` and `stop`, in seconds."""

    text: str
    start: float
    stop: float


@dataclass(frozen=True)
class Transcript:
    """What a recording says, word by word; `fit` is the log probability by phone."""

    words: tuple[Word, ...]
    fit: float


def bare(word: str) -> str:
    """A word without case and punctuation, for comparing."""
    return word.lower().strip(MARKS)


def words_of(text: str, phonemizer: Phonemizer) -> list[tuple[str, int]]:
    """Return the words of a text as they are spoken, each with how many phones it has; marks belong to the word before them."""
    words: list[tuple[str, int]] = []
    for sentence in split(phonemizer.spoken(text), SENTENCE_CHARACTERS):
        done = 0
        for match in re.finditer(rf"(?:{SPAN.pattern}|\S)+", sentence):
            count = _count_phones(sentence[: match.end()], phonemizer)
            if count > done or not words:
                words.append((match.group(), count - done))
            else:
                words[-1] = (f"{words[-1][0]} {match.group()}", words[-1][1])
            done = max(done, count)
    return words


def align(text: str, audio: Waveform, tokenizer: SemanticTokenizer, phonemizer: Phonemizer) -> Transcript:
    """Find the words of `text` in one row of audio.

    Raises:
        UserError: the recording says something else, is too short for the text, or the tokenizer knows no phones.
    """
    words = words_of(text, phonemizer)
    spoken = " ".join(word for word, _ in words)
    known = phonemizer.vocabulary
    phones = torch.tensor([index for index in known.encode(phonemizer(spoken)) if index in known.phone_ids])  # [P]
    scores = _phone_scores(audio, tokenizer)  # [T', V]
    times = _times(scores, phones)
    if times is None:
        raise UserError(
            f"the recording lasts {audio.seconds:.1f} s, too short for its transcript of {len(words)} words: "
            "give the words that it says, no more"
        )
    fit = _fit(scores, phones)
    if fit < WRONG_FIT:
        raise UserError(
            f"the recording does not say {_excerpt(spoken)} (log probability {fit:.1f} by phone, at least {WRONG_FIT} is "
            "needed): give the words that it says, all of them"
        )
    certain = [(start / tokenizer.rate, stop / tokenizer.rate) for start, stop in times]
    levels = _Levels(audio.samples[0].cpu(), audio.rate)
    ends = torch.tensor([count for _, count in words]).cumsum(0).clamp(max=len(certain)).tolist()
    firsts = [min(first, len(certain) - 1) for first in [0, *ends[:-1]]]
    around = [(certain[first][0], certain[max(first, end - 1)][1]) for first, end in zip(firsts, ends, strict=True)]
    gaps = [levels.between(left[1], right[0]) for left, right in zip(around, around[1:], strict=False)]
    starts = [levels.onset(around[0][0]), *(gap[1] for gap in gaps)]
    stops = [*(gap[0] for gap in gaps), levels.end(around[-1][1])]
    return Transcript(tuple(Word(word, *place) for (word, _), *place in zip(words, starts, stops, strict=True)), fit)


def _phone_scores(audio: Waveform, tokenizer: SemanticTokenizer) -> Tensor:
    """Log probability of each symbol in each frame, [T', V] on the CPU; a long recording is heard part by part."""
    parts = []
    for start in range(0, math.ceil(audio.seconds * tokenizer.rate), PART_FRAMES):
        low, high = max(0, start - AROUND_FRAMES), start + PART_FRAMES + AROUND_FRAMES
        samples = audio.samples[:, round(low / tokenizer.rate * audio.rate) : round(high / tokenizer.rate * audio.rate)]
        scores = tokenizer.phone_scores(Waveform.single(samples[0], audio.rate))
        if scores is None:
            raise UserError("the tokenizer of this pipeline knows no phones to find words by: give the span in seconds instead")
        parts.append(scores.float().cpu()[start - low : start - low + PART_FRAMES])
    return torch.cat(parts)


def _times(scores: Tensor, phones: Tensor) -> list[tuple[int, int]] | None:
    """Frames [start, stop) in which each phone is certain, on the likeliest CTC path; None if there are too few frames."""
    repeated = int((phones[1:] == phones[:-1]).sum())  # a blank lies between equal phones
    if len(phones) == 0 or len(scores) < len(phones) + repeated:
        return None
    path, certain = forced_align(scores[None], phones[None].int(), blank=0)
    return [(span.start, span.end) for span in merge_tokens(path[0], certain[0], blank=0)]


def _fit(scores: Tensor, phones: Tensor) -> float:
    """Log probability of all paths, by phone."""
    sizes = torch.tensor([len(scores)]), torch.tensor([len(phones)])
    return -float(ctc_loss(scores[:, None], phones[None], *sizes, reduction="none")[0]) / len(phones)


class _Levels:
    """Short-time power of a recording, and which of it is quiet."""

    def __init__(self, samples: Tensor, rate: int) -> None:
        size = max(1, int(FRAME_SECONDS * rate))
        power = samples.float()[: len(samples) // size * size].view(-1, size).square().mean(1)
        self._levels = 10 * torch.log10(power.clamp(min=1e-12))  # [F] dB
        self._seconds, self._total = size / rate, len(samples) / rate
        floor, loud = float(self._levels.quantile(0.05)), active_level(samples, rate)
        self._threshold = min(floor + 0.35 * (loud - floor), loud - 15)

    def between(self, left: float, right: float) -> tuple[float, float]:
        """Where the word before ends and the next begins: the edges of a pause, or twice the same place."""
        low, high = self._frames(left, right)
        run = self._longest_quiet(low, high)
        if (run[1] - run[0]) * self._seconds >= PAUSE_SECONDS:
            return run[0] * self._seconds + MARGIN_SECONDS, run[1] * self._seconds - MARGIN_SECONDS
        if run[1] > run[0]:
            place = (run[0] + run[1]) / 2 * self._seconds
        else:
            place = (left + right) / 2
        return place, place

    def onset(self, certain: float) -> float:
        """Where the sound begins that is certain here."""
        low, high = self._frames(certain - EDGE_SECONDS, certain)
        quiet = (self._levels[low:high] < self._threshold).nonzero()
        return max(
            0.0, (low + int(quiet[-1]) + 1) * self._seconds - MARGIN_SECONDS if len(quiet) else certain - EDGE_SECONDS / 2
        )

    def end(self, certain: float) -> float:
        """Where the sound ends that is certain here."""
        low, high = self._frames(certain, certain + 2 * EDGE_SECONDS)
        quiet = (self._levels[low:high] < self._threshold).nonzero()
        place = (low + int(quiet[0])) * self._seconds + MARGIN_SECONDS if len(quiet) else certain + EDGE_SECONDS
        return min(self._total, place)

    def _frames(self, start: float, stop: float) -> tuple[int, int]:
        return max(0, round(start / self._seconds)), min(len(self._levels), round(stop / self._seconds))

    def _longest_quiet(self, low: int, high: int) -> tuple[int, int]:
        best, begun = (low, low), low
        for frame in range(low, high):
            if self._levels[frame] >= self._threshold:
                begun = frame + 1
            elif frame + 1 - begun > best[1] - best[0]:
                best = (begun, frame + 1)
        return best


def _count_phones(text: str, phonemizer: Phonemizer) -> int:
    vocabulary = phonemizer.vocabulary
    try:
        return sum(vocabulary.ids[symbol] in vocabulary.phone_ids for symbol in phonemizer(text))
    except UserError:  # nothing in it has a sound
        return 0


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
