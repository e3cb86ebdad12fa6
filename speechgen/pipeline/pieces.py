"""Text cut into pieces that the models speak in one go, and the silence around each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from speechgen.pipeline.longform import LAST_PAUSE, pause_after
from speechgen.text.markup import parse
from speechgen.text.normalize import normalize, speakable
from speechgen.text.split import split

__all__ = ["Piece", "cut"]


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


def cut(text: str, max_characters: int, spoken: Callable[[str], str] = normalize) -> list[Piece]:
    """Cut at written pauses, then at sentences; what has no sound is left out, its pauses are kept.

    Args:
        text: of any length, with markup.
        max_characters: of a piece.
        spoken: writes out numbers, abbreviations and the like, before lengths are counted.

    Raises:
        UserError: unknown markup.
    """
    passages = parse(text)
    pieces: list[Piece] = []
    lead = 0.0
    for passage in passages:
        parts = [part for part in split(spoken(passage.text), max_characters) if speakable(part)]
        for part in parts:
            pieces.append(Piece(part, len(pieces), pause_after(part), lead))
            lead = 0.0
        if pieces and passage.pause:
            # A pause that follows another adds to it.
            own = pieces[-1].pause if not parts else 0.0
            pieces[-1] = replace(pieces[-1], pause=own + passage.pause, paused=True)
        elif not pieces:
            lead += passage.pause
    if pieces and not passages[-1].pause:
        pieces[-1] = replace(pieces[-1], pause=LAST_PAUSE)
    return pieces
