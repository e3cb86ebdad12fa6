"""Brings text of any origin into one form before it is phonemised: Unicode, punctuation, case, spacing.

Numbers, dates and symbols such as % are left as written: `english` spells them out, espeak-ng in other languages.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from speechgen.text.spans import STAND_IN, guard

__all__ = ["canonical", "normalize", "speakable"]

_CANONICAL = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»「」『』《》", '"'),
        **dict.fromkeys("–—―", "—"),
        **dict.fromkeys("‐‑−", "-"),
        **dict.fromkeys("[{<【〈", "("),
        **dict.fromkeys("]}>】〉", ")"),
        **dict.fromkeys("、،", ","),
        **dict.fromkeys("。।॥։", "."),
        **dict.fromkeys("¡¿™℠", ""),
        "؟": "?",
        "؛": ";",
        "\u200b": " ",
    }
)
# Compatibility forms that would change what is read: 2½ is not 21/2, nor 10² 102.
_RESOLVABLE = re.compile("[^¼-¾⅐-⅞²³¹⁰-₉]+")
_JOINERS = "\u200c\u200d"  # meaningful inside words of some scripts
_KEPT = set(_JOINERS + "°" + STAND_IN)
_INVISIBLE_CATEGORIES = {"Cf", "Me"}
_VARIATION_SELECTORS = set("\ufe0e\ufe0f")
_SILENT_CATEGORIES = {"Cc", "Cn", "Co", "Cs", "Sk", "So", "Zl", "Zp"}
# In this order: the later ones count on single spaces, and so take linear time.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"(?<![^\s—…,.!?;:\"'()-])[{_JOINERS}]+", ""),
        (r"\s+", " "),
        (r"\.(?: ?\.)+", "…"),
        (r"--+|(?<!\S)-+(?!\S)", "—"),
        (r"[ —-]*—[ —-]*", " — "),
        (r" +([,!?;:…]|\.(?!\w))", r"\1"),
        (r"([,!?;:…\"])\1+", r"\1"),
        (r"([,;!?])(?=[^\W\d_])", r"\1 "),
        (r" +", " "),
    )
)


def normalize(text: str) -> str:
    """Return `text` in canonical form; doing it twice changes nothing.

    Compatibility characters are resolved (NFKC), quotes, dashes and foreign punctuation become ASCII or one of — …,
    control characters and emoji go, whitespace is collapsed, and a text without any small letter is lower-cased if it
    has several words, because it is then not an acronym but a transcript in capitals. [[phonemes]] stay as they are.
    """
    return guard(canonical, text)


def canonical(text: str) -> str:
    """Normalise a text without [[phonemes]]."""
    text = _RESOLVABLE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text.translate(_CANONICAL))
    text = "".join(map(_spoken, text.translate(_CANONICAL)))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if text.isupper() and sum(any(map(str.isalpha, word)) for word in text.split()) > 1:
        text = text.lower()
    return text.strip()


def speakable(text: str) -> bool:
    """Tell whether anything in `text` has a sound: a letter or digit of any script."""
    return any(char.isalnum() for char in text)


@lru_cache(maxsize=4096)
def _spoken(char: str) -> str:
    """The character itself, nothing if it is invisible, a space if it has no sound."""
    if char in _KEPT:
        return char
    category = unicodedata.category(char)
    if category in _INVISIBLE_CATEGORIES or char in _VARIATION_SELECTORS:
        return ""
    return " " if category in _SILENT_CATEGORIES else char
