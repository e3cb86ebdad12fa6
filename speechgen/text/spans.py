"""`[[həlˈoʊ]]`: phonemes written within text. Here is how they are found, guarded while text is rewritten, and read."""

from __future__ import annotations

import re
from collections.abc import Callable

from speechgen.core.errors import UserError
from speechgen.text.vocabulary import GAP, Vocabulary

__all__ = ["SPAN", "guard", "read_span"]

SPAN = re.compile(r"\[\[[^\[\]]*+\]\]")
STAND_IN = "\ue000"
"""A character of private use, which has no sound, for a span."""
# Syllable breaks and tie bars are read past.
_IGNORED = str.maketrans("", "", "\u0361\u035c")


def guard(rewrite: Callable[[str], str], text: str) -> str:
    """Return `rewrite(text)` with every span as it was; `rewrite` sees `STAND_IN` in its place and must keep it."""
    spans = SPAN.findall(text)
    text = text.replace(STAND_IN, " ")
    if not spans:
        return rewrite(text)
    remaining = iter(spans)
    return re.sub(STAND_IN, lambda _: next(remaining), rewrite(SPAN.sub(STAND_IN, text)))


def read_span(span: str, vocabulary: Vocabulary) -> list[str]:
    """Return the symbols of `[[…]]`: IPA letters, stress marks and gaps between words; "." parts syllables.

    Raises:
        UserError: it holds something that the vocabulary has no symbol for, or nothing to speak.
    """
    symbols: list[str] = []
    for word in span[2:-2].translate(_IGNORED).split():
        symbols += [GAP] if symbols else []
        for syllable in word.split("."):
            spelling = vocabulary.spell(syllable)
            if spelling.dropped:
                raise UserError(
                    f"cannot speak {spelling.dropped[0]!r} in {_excerpt(span)}: allowed are letters of the International "
                    "Phonetic Alphabet, the stress marks ˈ and ˌ, and spaces between words"
                )
            symbols += spelling.symbols
    if not any(vocabulary.ids[symbol] in vocabulary.phone_ids for symbol in symbols):
        raise UserError(f"no phoneme in {_excerpt(span)}: write some, such as [[həlˈoʊ]], or leave the brackets out")
    return symbols


def _excerpt(span: str) -> str:
    return span if len(span) <= 40 else span[:40] + "…]]"
