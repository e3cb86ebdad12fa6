"""Brings text of any origin into one form before it is phonemised: Unicode, punctuation, case, spacing.

Numbers, dates and symbols such as % are left as written: espeak-ng reads them in the text's own language.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalize", "speakable"]

_CANONICAL = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»「」『』《》", '"'),
        **dict.fromkeys("–—―", "—"),
        **dict.fromkeys("‐‑−", "-"),
        **dict.fromkeys("[{<【〈", "("),
        **dict.fromkeys("]}>】〉", ")"),
        **dict.fromkeys("、،", ","),
        **dict.fromkeys("。।॥։።", "."),
        **dict.fromkeys("؟", "?"),
        **dict.fromkeys("؛", ";"),
        **dict.fromkeys("¡¿", ""),
        "⁄": "/",
        "\u200b": " ",
    }
)
_JOINERS = "\u200c\u200d"  # meaningful inside words of some scripts
_INVISIBLE_CATEGORIES = {"Cf", "Me"}
_SILENT_CATEGORIES = {"Cc", "Cn", "Co", "Cs", "Sk", "So", "Zl", "Zp"}
_KEPT = set(_JOINERS + "°")
_VARIATION_SELECTORS = set("\ufe0e\ufe0f")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"(?<!\S)[{_JOINERS}]+", ""),
        (r"\.(\s?\.)+", "…"),
        (r"(?<!-)--+(?!-)|(?<=\s)-+(?=\s|$)|---+", "—"),
        (r"\s*—[\s—]*", " — "),
        (r"([,!?;:…\"])\1+", r"\1"),
        (r"\s+([,!?;:…]|\.(?!\w))", r"\1"),
        (r"\s+", " "),
    )
)


def normalize(text: str) -> str:
    """Return `text` in canonical form; doing it twice changes nothing.

    Compatibility characters are resolved (NFKC), quotes, dashes and foreign punctuation become ASCII or one of — …,
    control characters and emoji go, whitespace is collapsed, and a text without any small letter is lower-cased if it
    has several words, because it is then not an acronym but a transcript in capitals.
    """
    text = unicodedata.normalize("NFKC", text).translate(_CANONICAL)
    text = "".join(map(_spoken, text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if text.isupper() and len(text.split()) > 1:
        text = text.lower()
    return text.strip()


def _spoken(char: str) -> str:
    """The character itself, nothing if it is invisible, a space if it has no sound."""
    category = unicodedata.category(char)
    if char in _KEPT:
        return char
    if category in _INVISIBLE_CATEGORIES or char in _VARIATION_SELECTORS:
        return ""
    return " " if category in _SILENT_CATEGORIES else char


def speakable(text: str) -> bool:
    """Tell whether anything in `text` has a sound: a letter or digit of any script."""
    return any(char.isalnum() for char in unicodedata.normalize("NFKC", text))
