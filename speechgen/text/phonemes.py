"""Text to phoneme symbols, by espeak-ng through the phonemizer library.

Text is cut at its punctuation; espeak-ng reads the clauses between, each phone and each stress mark becomes one symbol of
the vocabulary, and the punctuation is put back: `the cat.` -> ^ ð ə ␠ k ˈ æ t . $. Apostrophes belong to their words.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from speechgen.core.errors import UserError
from speechgen.text.normalize import normalize, speakable
from speechgen.text.split import ABBREVIATION
from speechgen.text.vocabulary import END, ENGLISH, GAP, START, Spelling, Vocabulary

__all__ = ["Phonemizer"]

# Changes whenever the same text would give other symbols, so that prepared features are made anew.
_REVISION = 1
# A mark inside a word or number (3.14, 12:30) is read by espeak-ng.
_MARK = re.compile(r"[—…\"()]|[,.!?;:](?!\w)")
_LANGUAGE_FLAG = re.compile(r"\(.+?\)")


class Phonemizer:
    """Turns text of one language into symbols of a vocabulary. Safe to share between threads and to pickle.

    Attributes:
        language: espeak-ng's code, such as "en-us".
        dropped: how often each character of a phone had no symbol and was left out, since construction.
    """

    def __init__(self, language: str = "en-us", vocabulary: Vocabulary = ENGLISH) -> None:
        """Load espeak-ng and the language's voice.

        Raises:
            UserError: espeak-ng has no such language.
        """
        # Imported here: it takes a second, and loads a native library.
        import espeakng_loader
        from phonemizer.backend.espeak.wrapper import EspeakWrapper

        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        self._espeak = EspeakWrapper()
        languages = sorted({voice.language for voice in self._espeak.available_voices()})
        if language not in languages:
            raise _unknown_language(language, languages)
        self._espeak.set_voice(language)
        self._lock = threading.Lock()  # espeak-ng keeps its state in globals
        self._spellings: dict[str, Spelling] = {}
        self.language = language
        self.vocabulary = vocabulary
        self.dropped: Counter[str] = Counter()

    def __reduce__(self) -> tuple[type[Phonemizer], tuple[str, Vocabulary]]:
        return Phonemizer, (self.language, self.vocabulary)

    def __call__(self, text: str) -> list[str]:
        """Return the symbols of `text`, from `^` to `$`.

        Raises:
            UserError: nothing in `text` can be spoken.
        """
        symbols: list[str] = []
        spoken = False
        normal = normalize(text)
        if speakable(normal):
            for piece, is_mark in _pieces(normal):
                found = [piece] if is_mark else list(self._clause(piece))
                spoken = spoken or (bool(found) and not is_mark)
                symbols += found
        if not spoken:
            raise UserError(f"nothing to speak in {_excerpt(text)}: give text with at least one letter or digit")
        return [START, *_tidy_gaps(symbols), END]

    def batch(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the symbols of each text.

        Raises:
            UserError: nothing in one of them can be spoken; names its position.
        """
        results = []
        for index, text in enumerate(texts):
            try:
                results.append(self(text))
            except UserError as error:
                raise UserError(f"text {index + 1} of {len(texts)}: {error}") from None
        return results

    def producer(self) -> dict[str, str | int]:
        """Return what the symbols of a text depend on, for naming stored features."""
        return {
            "producer": "phonemes",
            "revision": _REVISION,
            "language": self.language,
            "vocabulary": self.vocabulary.fingerprint,
            "espeak": ".".join(map(str, self._espeak.version)),
        }

    def _clause(self, clause: str) -> Iterator[str]:
        """Phones, stress marks and word gaps of a text without punctuation; its outer spaces become gaps."""
        with self._lock:
            phonemes = self._espeak.text_to_phonemes(clause.strip())
        if clause[:1].isspace():
            yield GAP
        for index, word in enumerate(_LANGUAGE_FLAG.sub("", phonemes).split()):
            if index:
                yield GAP
            for phone in filter(None, word.split("_")):
                yield from self._spell(phone)
        if clause[-1:].isspace():
            yield GAP

    def _spell(self, phone: str) -> tuple[str, ...]:
        spelling = self._spellings.get(phone)
        if spelling is None:
            spelling = self._spellings[phone] = self.vocabulary.spell(phone)
        if spelling.dropped:
            self.dropped.update(spelling.dropped)
        return spelling.symbols


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Cut at punctuation; yield (piece, is it a mark). The point of an abbreviation stays in its clause."""
    start = 0
    for match in _MARK.finditer(text):
        is_abbreviated = match.group() == "." and match.end() < len(text) and ABBREVIATION.search(text, start, match.start())
        if is_abbreviated:
            continue
        if match.start() > start:
            yield text[start : match.start()], False
        yield match.group(), True
        start = match.end()
    if start < len(text):
        yield text[start:], False


def _tidy_gaps(symbols: list[str]) -> Iterator[str]:
    """Drop a gap that follows another or stands at an end, as happens around a word that has no sound."""
    previous = GAP
    last = max(index for index, symbol in enumerate(symbols) if symbol != GAP)
    for symbol in symbols[: last + 1]:
        if symbol != GAP or previous != GAP:
            yield symbol
        previous = symbol


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…") if text.strip() else "an empty text"


def _unknown_language(language: str, languages: list[str]) -> UserError:
    root = re.split("[-_]", language.lower())[0]
    near = [name for name in languages if name.split("-")[0] == root]
    near += difflib.get_close_matches(language.lower(), languages, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return UserError(f"unknown language {language!r}: {hint}espeak-ng knows {', '.join(languages)}")
