"""Text to phoneme symbols, by espeak-ng through the phonemizer library.

English is spelled out first. Text is cut at its punctuation; espeak-ng reads the clauses between, each phone and each stress
mark becomes one symbol of the vocabulary, and the punctuation is put back: `the cat.` -> ^ ð ə ␠ k ˈ æ t . $. Apostrophes
belong to their words; [[phonemes]] are taken as they are.
"""

from __future__ import annotations

import difflib
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from speechgen.core.errors import UserError
from speechgen.text.english import EnglishReader
from speechgen.text.normalize import normalize, speakable
from speechgen.text.spans import SPAN, read_span
from speechgen.text.split import ends_abbreviated
from speechgen.text.vocabulary import END, ENGLISH, GAP, PUNCTUATION, START, Spelling, Vocabulary

__all__ = ["Phonemizer", "language_warning"]

# Changes whenever the same text in words would give other symbols, so that prepared features are made anew.
_REVISION = 1
# Marks inside numbers and words (1,000 12:30 3.14 example.com) are for espeak-ng to read.
_MARK = re.compile(SPAN.pattern + r"|[—…\"()!?;]|[,:](?!\d)|\.(?!\w)")
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
        self._reader = EnglishReader(american=language.startswith("en-us")) if _is_english(language) else None
        self.language = language
        self.vocabulary = vocabulary
        self.dropped: Counter[str] = Counter()

    def __reduce__(self) -> tuple[type[Phonemizer], tuple[str, Vocabulary]]:
        return Phonemizer, (self.language, self.vocabulary)

    def spoken(self, text: str) -> str:
        """Return `text` as it will be read: in canonical form, English with its numbers and symbols spelled out.

        Split long text after this, for `$1.05` is many times longer in words. Paragraphs stay apart by an empty line.
        """
        read = self._reader or normalize
        return "\n\n".join(filter(None, map(read, re.split(r"\n[^\S\n]*+\n\s*", text))))

    def __call__(self, text: str) -> list[str]:
        """Return the symbols of `text`, from `^` to `$`.

        Raises:
            UserError: nothing in `text` can be spoken, it is in a script that the language cannot read, or [[…]] in it holds
                something that is no phoneme.
        """
        normal = self.spoken(text).replace("\n\n", " ")
        if self._reader and _is_mostly_foreign(SPAN.sub("", normal)):
            raise UserError(
                f"cannot read {_excerpt(text)} as {self.language}: most of its letters are not Latin; "
                "choose the language it is written in, or transliterate it"
            )
        with self._lock:
            symbols = [symbol for piece in _pieces(normal) for symbol in self._read(piece)] if speakable(normal) else []
        if set(symbols) <= {GAP, *PUNCTUATION}:
            raise UserError(f"nothing to speak in {_excerpt(text)}: give text with at least one letter or digit")
        return [START, *_tidy_gaps(symbols), END]

    def ids(self, text: str) -> list[int]:
        """Return the ids of the symbols of `text`, as the vocabulary numbers them.

        Raises:
            UserError: as for the symbols.
        """
        return self.vocabulary.encode(self(text))

    def batch(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the symbols of each text.

        Raises:
            UserError: as for a single text; names the text's position.
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

    def _read(self, piece: str) -> Iterator[str]:
        """Symbols of one piece: a mark itself, or the phones, stress marks and gaps of a clause."""
        if SPAN.fullmatch(piece):
            yield from read_span(piece, self.vocabulary)
            return
        if _MARK.fullmatch(piece):
            yield piece
            return
        if piece[0].isspace():
            yield GAP
        phonemes = self._espeak.text_to_phonemes(piece.strip())
        for index, word in enumerate(_LANGUAGE_FLAG.sub("", phonemes).split()):
            if index:
                yield GAP
            for phone in filter(None, word.split("_")):
                yield from self._spell(phone)
        if piece[-1].isspace():
            yield GAP

    def _spell(self, phone: str) -> tuple[str, ...]:
        spelling = self._spellings.get(phone)
        if spelling is None:
            spelling = self._spellings[phone] = self.vocabulary.spell(phone)
        if spelling.dropped:
            self.dropped.update(spelling.dropped)
        return spelling.symbols


def language_warning(language: str) -> str | None:
    """Return what to tell a user whose text is not English, which the bundled voices were trained on; None for English."""
    if language.partition("-")[0].lower() == "en":
        return None
    return f"the bundled voice was trained on English: in {language!r} expect an accent, and words that are hard to understand"


def _pieces(text: str) -> Iterator[str]:
    """Cut into marks and the clauses between them; the point of an abbreviation stays in its clause."""
    start = 0
    for match in _MARK.finditer(text):
        if match.group() == "." and match.end() < len(text) and ends_abbreviated(text, match.start()):
            continue
        if match.start() > start:
            yield text[start : match.start()]
        yield match.group()
        start = match.end()
    if start < len(text):
        yield text[start:]


def _is_english(language: str) -> bool:
    """Tell whether the language is English in Latin letters, not in those of Shaw."""
    return language.partition("-")[0] == "en" and language != "en-shaw"


def _tidy_gaps(symbols: list[str]) -> Iterator[str]:
    """Drop a gap that follows another or stands at an end, as happens around a word that has no sound."""
    previous = GAP
    last = max(index for index, symbol in enumerate(symbols) if symbol != GAP)
    for symbol in symbols[: last + 1]:
        if symbol != GAP or previous != GAP:
            yield symbol
        previous = symbol


def _is_mostly_foreign(text: str) -> bool:
    """Tell whether the letters of other scripts, which English voices can only spell by name, outnumber the Latin."""
    letters = [char for char in text if char.isalpha()]
    foreign = sum("LATIN" not in unicodedata.name(char, "") for char in letters)
    return 2 * foreign > len(letters) > 0


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…") if text.strip() else "an empty text"


def _unknown_language(language: str, languages: list[str]) -> UserError:
    root = re.split("[-_]", language.lower())[0]
    near = [name for name in languages if name.split("-")[0] == root]
    near += difflib.get_close_matches(language.lower(), languages, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return UserError(f"unknown language {language!r}: {hint}espeak-ng knows {', '.join(languages)}")
