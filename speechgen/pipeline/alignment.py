"""Where the symbols, the words and the tokens of one spoken piece of text lie in the output."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import END, GAP, MODIFIERS, PUNCTUATION, START, STRESS

__all__ = ["MARKS", "Alignment", "Segment"]

BETWEEN = {START, END, GAP, *PUNCTUATION}
"""Symbols that no word contains."""
SILENT = {*BETWEEN, *STRESS}
MARKS = ".,;:!?…—–-\"'()[]“”‘’«»"


@dataclass(frozen=True)
class Segment:
    """A stretch of the output, in seconds; `label` is what is spoken there, empty where nothing is."""

    label: str
    start: float
    stop: float


@dataclass(frozen=True)
class Alignment:
    """One piece of text, symbol by symbol.

    Attributes:
        text: as it was spoken.
        language: espeak-ng's code of its phonemes.
        symbols: S phoneme symbols, from `^` to `$`.
        durations: how many tokens each symbol lasts, [S] int64 on the CPU.
        tokens: the semantic tokens, [T] int64 on the CPU.
        size: how many different tokens there are.
        rate: tokens per second.
        start: where in the output the first token begins, in seconds; negative if its silence was cut.
    """

    text: str
    language: str
    symbols: tuple[str, ...]
    durations: Tensor
    tokens: Tensor
    size: int
    rate: float
    start: float

    @property
    def seconds(self) -> float:
        """Length of all tokens."""
        return len(self.tokens) / self.rate

    def phones(self) -> list[Segment]:
        """Every phone that lasts, with the stress mark before it and the modifiers behind it, and the pauses between."""
        edges = self._edges()
        segments: list[Segment] = []
        label, start = "", edges[0]
        for symbol, stop in zip(self.symbols, edges[1:], strict=True):
            before = segments[-1] if segments else None
            if symbol in STRESS:
                label = symbol
                continue
            shown = "" if symbol in BETWEEN else label + symbol
            if before is not None and (symbol in MODIFIERS or shown == before.label == ""):
                segments[-1] = Segment(before.label + shown, before.start, stop)
            elif stop > start:
                segments.append(Segment(shown, start, stop))
            label, start = "", stop
        return segments

    def words(self, phonemizer: Phonemizer) -> list[Segment]:
        """Every word that lasts. Words end where the text up to there has had its phones, even if two are spoken as one."""
        edges = self._edges()
        phones = [index for index, symbol in enumerate(self.symbols) if symbol not in SILENT]
        segments, done = [], 0
        for match in re.finditer(r"\S+", self.text):
            count = min(len(phones), _count_phones(self.text[: match.end()], phonemizer))
            if count > done:
                first, last = phones[done], phones[count - 1]
                while self.symbols[first - 1] in STRESS:
                    first -= 1
                if edges[last + 1] > edges[first]:
                    segments.append(Segment(match.group().strip(MARKS), edges[first], edges[last + 1]))
                done = count
        return segments

    def _edges(self) -> list[float]:
        """Seconds at which each symbol begins, and the last one ends: S + 1 values."""
        return [self.start + count / self.rate for count in [0, *self.durations.cumsum(0).tolist()]]


def _count_phones(text: str, phonemizer: Phonemizer) -> int:
    try:
        return sum(symbol not in SILENT for symbol in phonemizer(text))
    except UserError:  # nothing in it has a sound
        return 0
