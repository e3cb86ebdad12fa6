"""Cuts long text into pieces that a model can speak in one go.

At the ends of sentences where possible, else of clauses, else between words, else anywhere. No non-space character is
ever lost or repeated, and [[phonemes]] count as one word. Linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from speechgen.text.spans import SPAN, STAND_IN

__all__ = ["ends_abbreviated", "split"]

_ABBREVIATION = re.compile(
    r"(?<!\w)(?:[A-HJ-Z]|[^\W\d_]\.[^\W\d_]"
    r"|(?i:Mrs?|Ms|Messrs|Dr|Prof|St|Capt|Col|Gen|Lt|Sgt|Gov|Hon|Rev|Sen|Rep|Jr|Sr|vs))$"
)
_LONGEST_ABBREVIATION = 6
# Each boundary is a mark and the space after it. Possessive runs that start where the run does: no quadratic backtracking.
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++[\"')\]”’»]*+(?=\s)|[。！？।][」』”]?)\s?|\n\n")
_CLAUSE_END = re.compile(r"[,;:)](?=\s)\s|\s?—\s?|\s(?:--+\s)|[，、；：]\s?")
_HIDDEN = re.compile(f"{SPAN.pattern}|{STAND_IN}")
_WORD_END = re.compile(r"\s")


def split(text: str, max_characters: int = 300, *, paragraphs: bool = False) -> list[str]:
    """Return consecutive pieces of `text`, none empty, each at most `max_characters` long and with single spaces.

    Pieces are filled with as many whole sentences as fit, so that they are few.

    Args:
        text: of any length.
        max_characters: at least 1.
        paragraphs: leave an empty line between paragraphs.

    Raises:
        ValueError: `max_characters` is below 1.
    """
    if max_characters < 1:
        raise ValueError(f"max_characters must be at least 1, got {max_characters}")
    # A span becomes a word of its own length.
    spans = iter("".join(_HIDDEN.findall(text)))
    text = _HIDDEN.sub(lambda match: STAND_IN * len(match.group()), text)
    # One space between words, an empty line between paragraphs: what the boundaries count on.
    text = re.sub(r"\s+", lambda match: "\n\n" if match.group().count("\n") > 1 else " ", text.strip())
    pieces = _fit(text, max_characters, (_SENTENCE_END, _CLAUSE_END, _WORD_END))
    between = "\n\n" if paragraphs else " "
    return [re.sub(STAND_IN, lambda _: next(spans), piece.replace("\n\n", between)) for piece in pieces]


def ends_abbreviated(text: str, point: int) -> bool:
    """Tell whether the "." at position `point` of `text` belongs to an abbreviation such as Mr. or an initial."""
    return _ABBREVIATION.search(text, max(0, point - _LONGEST_ABBREVIATION), point) is not None


def _fit(text: str, limit: int, boundaries: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """Cut `text` at the first kind of boundary; parts that are still too long at the next kind."""
    text = text.strip()
    if len(text) <= limit:
        if text:
            yield text
        return
    if not boundaries:
        yield from (text[start : start + limit] for start in range(0, len(text), limit))
        return
    start = end = 0  # the piece being filled
    for cut in _cuts(text, boundaries[0]):
        if len(text[start:cut].rstrip()) > limit:
            yield from _fit(text[start:end], limit, boundaries[1:])
            start = end
        end = cut
    yield from _fit(text[start:end], limit, boundaries[1:])


def _cuts(text: str, boundary: re.Pattern[str]) -> Iterator[int]:
    """Positions just after each boundary, and the end; an abbreviation's point is no boundary."""
    for match in boundary.finditer(text):
        if not (text[match.start()] == "." and ends_abbreviated(text, match.start())):
            yield match.end()
    yield len(text)
