"""Pauses that are written into text: `[pause:0.8]` and `<break time="800ms"/>`. Anything else like it is refused by name.

Prose keeps its brackets: [sic], [1], [Note: so], a < b. [[phonemes]] stay in the text for the Phonemizer. Linear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from speechgen.core.errors import UserError

__all__ = ["LONGEST_PAUSE", "Passage", "parse"]

LONGEST_PAUSE = 10.0
"""Seconds; what is longer is cut to it."""

_ALLOWED = """allowed are [pause:0.8], [pause:800ms], <break time="800ms"/> and [[həlˈoʊ]]"""
_LENGTH = r"\s*+(?P<{0}>[+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+(?P<{0}_unit>m?s)?\s*+"
_ATTRIBUTE = r"\s++[A-Za-z][\w:.-]*+\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=]++)"
_MARKUP = re.compile(
    rf"""
    (?P<span>\[\[[^\[\]]*+\]\])
    | \[\s*+pause\s*+:{_LENGTH.format("pause")}\]
    | <break\s++time\s*+=\s*+(?P<quote>["']){_LENGTH.format("rest")}(?P=quote)\s*+/?>
    | (?P<unclosed>\[\[)
    # A pause gone wrong, or another [word:value]; [Note: so] and [https://…] are prose.
    | (?P<unknown>\[\s*+pause(?:\s*+[:=\d.][^\[\]]*+|\s*+)\]
    | \[/?[A-Za-z][\w-]*+[:=](?!//)[^\s\[\]][^\[\]]*+\]
    # A tag, whole, or begun with a name of SSML
    | <[/!?]?[A-Za-z][\w:.-]*+(?:{_ATTRIBUTE})*+\s*+[/?]?>
    | <!--
    | </?(?:speak|break|prosody|emphasis|say-as|phoneme|voice|audio|lang|express-as)\b[^<>]*+>?)
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Passage:
    """A stretch of text and the silence after it.

    Attributes:
        text: without markup of pauses; empty if a pause comes first, or follows another.
        pause: seconds in [0, 10]; 0 where none was asked for.
    """

    text: str
    pause: float = 0.0


def parse(text: str) -> list[Passage]:
    """Cut `text` at its pauses; none for text of nothing but space.

    Raises:
        UserError: there is other markup in it, a pause without a length, or [[ without ]].
    """
    passages = []
    start = 0
    for match in _MARKUP.finditer(text):
        kind = match.lastgroup
        if kind == "span":
            continue
        if match["unclosed"]:
            raise UserError(f"[[ without ]] in {_excerpt(text[match.start() :])}: close it, as in [[həlˈoʊ]]")
        if match["unknown"]:
            raise UserError(f"unknown markup {_excerpt(match.group())}: {_ALLOWED}; take it out of the text")
        name = "pause" if match["pause"] else "rest"
        seconds = float(match[name]) / (1000 if (match[f"{name}_unit"] or "").lower() == "ms" else 1)
        passages.append(Passage(text[start : match.start()].strip(), min(max(seconds, 0.0), LONGEST_PAUSE)))
        start = match.end()
    rest = text[start:].strip()
    return passages + [Passage(rest)] * bool(rest)


def _excerpt(markup: str) -> str:
    line = " ".join(markup[:60].split())
    return repr(line if len(line) <= 40 else line[:40] + "…")
