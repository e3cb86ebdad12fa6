"""What goes into a pipeline and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from speechgen.core.config import StrictModel
from speechgen.core.types import Mel, SemanticTokens
from speechgen.pipeline.alignment import Alignment

__all__ = ["Chunk", "Options", "Reference", "Speech"]


@dataclass(frozen=True)
class Reference:
    """A prepared prompt: the voice, as the models see it."""

    mel: Mel
    tokens: SemanticTokens
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """Options of the three models, checked, and those of the pipeline itself.

    Attributes:
        semantic: of the semantic model.
        acoustic: of the acoustic model.
        vocoder: of the vocoder.
        candidates: how often each piece is spoken, the one that fits its text best being kept.
        pitch: semitones that the voice is moved by, formants too; the tempo stays. 0 where the vocoder moves it.
    """

    semantic: StrictModel
    acoustic: StrictModel
    vocoder: StrictModel
    candidates: int = 1
    pitch: float = 0.0


@dataclass(frozen=True)
class Chunk:
    """Finished sound, to be played behind the chunk before it.

    Attributes:
        samples: [L].
        rate: samples per second.
        piece: number of the piece of text that it belongs to, from 0.
        pieces: how many there are.
        text: of the piece.
        last: whether it ends the piece.
        warnings: what the user should know that was not said before.
        alignment: with the last chunk of a piece, where its phones lie, in seconds since its first chunk; if the models tell.
    """

    samples: Tensor
    rate: int
    piece: int
    pieces: int
    text: str
    last: bool
    warnings: tuple[str, ...] = ()
    alignment: Alignment | None = None


@dataclass(frozen=True)
class Speech:
    """What was spoken."""

    samples: Tensor  # [L]
    rate: int
    pieces: tuple[str, ...]
    warnings: tuple[str, ...]
    alignment: tuple[Alignment, ...] = ()
