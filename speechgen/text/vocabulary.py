"""The closed set of symbols that models read: specials, punctuation, stress marks and phones, each with a fixed id.

A symbol's kind follows from the symbol itself, so a vocabulary is fully described by its tuple of symbols; a checkpoint
stores that tuple. Ids are what networks learn, so symbols are only ever added at the end of `ENGLISH`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from speechgen.core.errors import UserError

__all__ = ["ARPABET", "END", "ENGLISH", "GAP", "PAD", "PUNCTUATION", "START", "STRESS", "Spelling", "Vocabulary"]

PAD, START, END, GAP = "<pad>", "^", "$", " "
PUNCTUATION = (",", ".", "!", "?", ";", ":", "—", "…", '"', "'", "(", ")")
STRESS = ("ˈ", "ˌ")
# Qualify the phone before them and are no phones: length, half length, aspiration, palatalisation, labialisation,
# velarisation, pharyngealisation, nasalisation.
MODIFIERS = ("ː", "ˑ", "ʰ", "ʲ", "ʷ", "ˠ", "ˤ", "\u0303")

# What espeak-ng speaks as en-us, counted over the LJSpeech and LibriSpeech transcripts.
_ENGLISH_PHONES = (
    "n t ɪ ə s d ɹ ð k z æ l ɛ ʌ m p w v f ɚ b eɪ iː h ᵻ i aɪ ɐ oʊ ɑː uː ʃ ŋ ɾ ɜː əl ɔːɹ ɡ dʒ tʃ ɔː aʊ j ʊ θ ɑːɹ ɔ ɛɹ iə "
    "ɪɹ ɔɪ ʊɹ aɪɚ ʒ n̩ aɪə ʔ r x ç oːɹ m̩ l̩"
)
# Remaining letters of the International Phonetic Alphabet, for words of other languages.
_OTHER_PHONES = (
    "a e o u y ɑ ɜ ɒ ø œ ɶ ɨ ʉ ɯ ɤ ɘ ɵ ɞ ʏ c q ɟ ɢ ɖ ʈ ɲ ɳ ɴ ɱ ʙ ʀ ʁ ɽ "
    "ɸ β ʂ ʐ ɕ ʑ ʝ ɣ χ ħ ʕ ɦ ɬ ɮ ʋ ɻ ɰ ɭ ʎ ʟ ɫ ɺ ɧ ʍ ɥ ɓ ɗ ɠ ɝ"
)

ARPABET = {
    "aa": "ɑː", "ae": "æ", "ah": "ʌ", "ao": "ɔː", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "b": "b", "ch": "tʃ", "d": "d",
    "dh": "ð", "eh": "ɛ", "er": "ɜː", "ey": "eɪ", "f": "f", "g": "ɡ", "hh": "h", "ih": "ɪ", "iy": "iː", "jh": "dʒ",
    "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "pau": PAD, "r": "ɹ", "s": "s",
    "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "uː", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
}  # fmt: skip
"""The phones of the CMU dictionary, as flite prints them, to the symbol most like each; `pau` is silence."""


@dataclass(frozen=True)
class Spelling:
    """A phone written with the symbols of a vocabulary, and the characters it has no symbol for."""

    symbols: tuple[str, ...]
    dropped: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """Symbols by id.

    Attributes:
        symbols: each once; the first is `<pad>`, which is also the CTC blank and, as a frame label, silence.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols or self.symbols[0] != PAD:
            raise ValueError(f"the first symbol of a vocabulary must be {PAD!r}, got {self.symbols[:1]}")
        if repeated := [symbol for symbol, times in Counter(self.symbols).items() if times > 1]:
            raise ValueError(f"a vocabulary holds each symbol once, got twice: {sorted(repeated)}")

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def size(self) -> int:
        """Number of symbols V; ids are in [0, V)."""
        return len(self.symbols)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id of each symbol."""
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def phone_ids(self) -> frozenset[int]:
        """Ids of phones: everything but specials, word gap, punctuation, stress marks and modifiers."""
        others = {PAD, START, END, GAP, *PUNCTUATION, *STRESS, *MODIFIERS}
        return frozenset(index for index, symbol in enumerate(self.symbols) if symbol not in others)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that identify the symbols and their order."""
        return hashlib.sha256("\n".join(self.symbols).encode()).hexdigest()[:16]

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Return the id of each symbol.

        Raises:
            UserError: a symbol is not in the vocabulary.
        """
        symbols = list(symbols)
        try:
            return [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise UserError(
                f"unknown phoneme symbol {error.args[0]!r}: it is not among the {self.size} of this vocabulary; "
                "take symbols from a Phonemizer with the same vocabulary"
            ) from None

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Return the symbol of each id.

        Raises:
            UserError: an id is outside [0, size).
        """
        for index in ids:
            if not 0 <= index < self.size:
                raise UserError(f"unknown phoneme id {index}: this vocabulary has ids 0 to {self.size - 1}")
        return [self.symbols[index] for index in ids]

    def spell(self, phone: str) -> Spelling:
        """Write a phone, perhaps of another language, with the longest known symbols; drop what remains.

        Args:
            phone: IPA, with or without stress marks.
        """
        phone = unicodedata.normalize("NFC", phone).replace("g", "ɡ")
        symbols: list[str] = []
        dropped = ""
        position = 0
        while position < len(phone):
            match = self._longest.match(phone, position)
            if match:
                symbols.append(match.group())
                position = match.end()
                continue
            base, *marks = list(unicodedata.normalize("NFD", phone[position]))
            if marks:  # a precomposed letter: look at its parts
                phone = phone[:position] + base + "".join(marks) + phone[position + 1 :]
                continue
            dropped += base
            position += 1
        return Spelling(tuple(symbols), dropped)

    @cached_property
    def _longest(self) -> re.Pattern[str]:
        """Matches the longest phone, stress mark or modifier."""
        spoken = [symbol for index, symbol in enumerate(self.symbols) if index in self.phone_ids]
        spoken += [symbol for symbol in (*STRESS, *MODIFIERS) if symbol in self.ids]
        return re.compile("|".join(map(re.escape, sorted(spoken, key=len, reverse=True))))


ENGLISH = Vocabulary(
    (PAD, START, END, GAP, *PUNCTUATION, *STRESS, *_ENGLISH_PHONES.split(), *MODIFIERS, *_OTHER_PHONES.split())
)
"""American English, with what other languages need to be readable in it."""
