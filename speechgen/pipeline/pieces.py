"""Text cut into pieces that the models speak in one go, and the silence around each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from speechgen.pipeline.longform import LAST_PAUSE, pause_after
from speechgen.text.markup import parse
from speechgen.text.normalize import normalize, speakable
from speechgen.text.split import split

__all__ = ["Piece", "cut"]

BLOCK_CHARACTERS = 2000
"""As much of a text as is written out, numbers and all, before its first piece is known."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text.

    Attributes:
        text: normalised, with something to speak in it.
        index: from 0; also tells its randomness from that of other pieces.
        pause: seconds of silence behind it.
        lead: seconds of silence before it, where the text begins with a pause.
        paused: whether the pause behind it is written in the text.
    """

    text: str
    index: int
    pause: float
    lead: float = 0.0
    paused: bool = False

    @property
    def written(self) -> float:
        """Seconds of silence around it that are written in the text."""
        return self.lead + self.pause * self.paused


def cut(text: str, max_characters: int, spoken: Callable[[str], str] = normalize) -> Iterator[Piece]:
    """Cut at written pauses, then at sentences; what has no sound is left out, its pauses are kept.

    Of a long text the first pieces are known long before the last has been read.

    Args:
        text: of any length, with markup.
        max_characters: of a piece.
        spoken: writes out numbers, abbreviations and the like, before lengths are counted.

    Raises:
        UserError: unknown markup.
    """
    passages = parse(text)
    held: Piece | None = None  # until what follows it is known
    lead, number = 0.0, 0
    for passage in passages:
        first = number
        for part in _parts(passage.text, max_characters, spoken):
            if held is not None:
                yield held
            held = Piece(part, number, pause_after(part), lead)
            lead, number = 0.0, number + 1
        if held is None:
            lead += passage.pause
        elif passage.pause:
            # A pause that follows another adds to it.
            own = held.pause if number == first else 0.0
            held = replace(held, pause=own + passage.pause, paused=True)
    if held is not None:
        yield held if passages[-1].pause else replace(held, pause=LAST_PAUSE)


def _parts(text: str, max_characters: int, spoken: Callable[[str], str]) -> Iterator[str]:
    """What can be spoken of a passage, in parts, block by block."""
    blocks = [text] if len(text) <= BLOCK_CHARACTERS else split(text, BLOCK_CHARACTERS, paragraphs=True)
    for block in blocks:
        yield from (part for part in split(spoken(block), max_characters) if speakable(part))
