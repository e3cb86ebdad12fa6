"""Cuts long text into pieces that a model can speak in one go.

At the ends of sentences where possible, else of clauses, else between words, else anywhere: no non-space character is
ever lost or repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["ABBREVIATION", "split"]

# To be searched with the position of the point as the end.
ABBREVIATION = re.compile(
    r"(?<!\w)(?:[^\W\d_I]|\w\.\w|Mrs?|Ms|Messrs|Dr|Prof|St|Capt|Col|Gen|Lt|Sgt|Gov|Hon|Rev|Sen|Rep|Jr|Sr|vs|e\.g|i\.e)$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?:[.!?…]+[\"')\]”’»]*(?=\s)|[。！？।]+[」』”]*)\s*|\n\s*\n\s*")
_CLAUSE_END = re.compile(r"[,;:)](?=\s)\s*|\s*—\s*|\s--+\s+|[，、；：]\s*")
_WORD_END = re.compile(r"\s+")


def split(text: str, max_characters: int = 300) -> list[str]:
    """Return consecutive pieces of `text`, stripped, none empty, each at most `max_characters` long.

    Pieces are filled with as many whole sentences as fit, so that they are few.

    Args:
        text: of any length.
        max_characters: at least 1.

    Raises:
        ValueError: `max_characters` is below 1.
    """
    if max_characters < 1:
        raise ValueError(f"max_characters must be at least 1, got {max_characters}")
    return list(_fit(text.strip(), max_characters, (_SENTENCE_END, _CLAUSE_END, _WORD_END)))


def _fit(text: str, limit: int, boundaries: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """Cut `text` at the first kind of boundary; parts that are still too long at the next kind."""
    if len(text) <= limit:
        if text:
            yield text
        return
    if not boundaries:
        for start in range(0, len(text), limit):
            if piece := text[start : start + limit].strip():
                yield piece
        return
    start = end = 0  # the piece being filled
    for cut in _cuts(text, boundaries[0]):
        if len(text[start:cut].strip()) > limit:
            yield from _fit(text[start:end].strip(), limit, boundaries[1:])
            start = end
        end = cut
    yield from _fit(text[start:end].strip(), limit, boundaries[1:])


def _cuts(text: str, boundary: re.Pattern[str]) -> Iterator[int]:
    """Positions just after each boundary, and the end; an abbreviation's point ends no sentence."""
    for match in boundary.finditer(text):
        if text[match.start()] == "." and ABBREVIATION.search(text, max(0, match.start() - 10), match.start()):
            continue
        yield match.end()
    yield len(text)
