"""Text to the symbols of a model that reads characters, and phonemes written among them.

A vocabulary with brackets and the letters of the International Phonetic Alphabet reads `[[təˈmeɪtoʊ]]` as such a word
(E2 TTS X2, section 2.4): between one bracket of each kind, one symbol for each letter. Published E2 and F5 learned from text
that was cut into segments, which `segmented` does to ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from speechgen.core.errors import UserError
from speechgen.text.spans import SPAN, read_span
from speechgen.text.vocabulary import END, ENGLISH, GAP, MODIFIERS, PUNCTUATION, START, STRESS

__all__ = ["CLOSE", "IPA", "OPEN", "CharacterReader", "Written", "respell", "segmented", "spoken_bytes"]

OPEN, CLOSE = "[", "]"
_LETTERS = sorted({letter for index in ENGLISH.phone_ids for letter in ENGLISH.symbols[index]})
IPA = (*STRESS, *MODIFIERS, *(letter for letter in _LETTERS if not letter.isascii() and letter not in MODIFIERS))
"""Every letter of a phoneme that is no letter of English."""
_BETWEEN = {START, END, GAP, *PUNCTUATION}
_WORD = re.compile(r"[^\W_](?:[\w'’.-]*[^\W_])?")
_INSTEAD = {";": ",", ":": ",", "—": "-", "–": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"'}
"""What is written for a mark that a vocabulary lacks."""
_ALWAYS_INSTEAD = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_SEGMENT = re.compile(r"AT&T|[Cc](?:\+\+|#)|[A-Za-z0-9]+(?:\.[0-9]+)?%?|[+#&._%-]+")
"""What jieba 0.42, which cut the text that was learned from, keeps in one piece of what is not Chinese."""


@dataclass(frozen=True)
class Written:
    """Ids of the symbols of a text, and what was left out because nothing stands for it."""

    ids: tuple[int, ...]
    missing: str = ""


class CharacterReader:
    """Reads text with the symbols of one vocabulary; `segments`: as published E2 and F5 do (see `segmented`)."""

    def __init__(self, vocabulary: Sequence[str], *, segments: bool = False) -> None:
        self._segments = segments
        self._ids = {symbol: index for index, symbol in enumerate(vocabulary)}
        self.reads_phonemes = OPEN in self._ids and all(letter in self._ids for letter in IPA)

    def __call__(self, text: str) -> Written:
        """Return the symbols of `text`; a letter that is missing is written without its accents or in the other case.

        Raises:
            UserError: there are [[phonemes]] in it that are none, or the vocabulary has no phonemes.
        """
        ids: list[int] = []
        missing: dict[str, None] = {}
        start = 0
        for match in SPAN.finditer(text):
            self._read(text[start : match.start()], ids, missing)
            ids += self._span(match.group())
            start = match.end()
        self._read(text[start:], ids, missing)
        return Written(tuple(ids), "".join(missing))

    def _read(self, text: str, ids: list[int], missing: dict[str, None]) -> None:
        for letter in segmented(text) if self._segments else text:
            found = self._find(letter)
            ids += found
            if not found and not letter.isspace():
                missing[letter] = None

    def _find(self, letter: str) -> list[int]:
        bare = unicodedata.normalize("NFD", letter)[:1]
        for tried in (letter, _INSTEAD.get(letter, letter), bare, letter.swapcase(), bare.swapcase()):
            if all(symbol in self._ids for symbol in tried):
                return [self._ids[symbol] for symbol in tried]
        return []

    def _span(self, span: str) -> list[int]:
        symbols = read_span(span, ENGLISH)
        if not self.reads_phonemes:
            raise UserError(
                f"{span} cannot be spoken: this model reads characters and has no phonemes; write the word as it sounds, or "
                "choose another --pipeline"
            )
        return [self._ids[letter] for letter in (OPEN, *"".join(symbols), CLOSE)]


def segmented(text: str) -> str:
    """Write text as the front end of published E2 and F5 does (`convert_char_to_pinyin` of SWivid/F5-TTS), but for Chinese.

    A semicolon is a comma and quotes are straight. A word, number or run of marks gets a space before it where it has several
    characters and follows neither a space nor one of `:'"`: (well-known) is ( well- known).
    """

    def spaced(segment: re.Match[str]) -> str:
        written, before = segment.group(), segment.string[max(0, segment.start() - 1) : segment.start()]
        return written if len(written) == 1 or before in {"", *" :'\""} else f" {written}"

    return _SEGMENT.sub(spaced, text.translate(_ALWAYS_INSTEAD))


def spoken_bytes(symbols: Sequence[str]) -> int:
    """Return how many bytes of text `symbols` are worth, the measure by which durations are told (as in the published F5).

    A letter of a phoneme counts once, brackets, stress and length marks do not.
    """
    silent = {OPEN, CLOSE, *STRESS, *MODIFIERS}
    return sum(0 if symbol in silent else 1 if symbol in IPA else len(symbol.encode()) for symbol in symbols)


def respell(text: str, phonemes: Sequence[str], draws: Sequence[float], share: float) -> str:
    """Write words of `text` by their phonemes in brackets, those whose draw in [0, 1) is below `share`.

    A text is left alone if the words that are seen in it are not as many as those that are heard.

    Args:
        text: as it is written.
        phonemes: its symbols, from `^` to `$`.
        draws: at least one for each word.
        share: of the words.
    """
    words = list(_WORD.finditer(text))
    heard: list[str] = []
    inside = False
    for symbol in phonemes:
        if symbol in _BETWEEN:
            inside = False
        elif inside:
            heard[-1] += symbol
        else:
            heard, inside = [*heard, symbol], True
    if len(words) != len(heard):
        return text
    parts, start = [], 0
    for word, sound, draw in zip(words, heard, draws, strict=False):
        if draw < share:
            parts += [text[start : word.start()], OPEN, sound, CLOSE]
            start = word.end()
    return "".join((*parts, text[start:]))
