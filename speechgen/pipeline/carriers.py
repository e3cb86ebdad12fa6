"""What goes into a pipeline and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechgen.core.config import StrictModel
from speechgen.core.types import CodecTokens, Mel, SemanticTokens
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.matching import VoiceMatch

__all__ = ["Chunk", "Options", "Reference", "Speech"]


@dataclass(frozen=True)
class Reference:
    """A prepared prompt: the voice, as the models see it.

    Attributes:
        mel: of the recording.
        seconds: its length.
        warnings: what the user should know about it.
        tokens: what it says and how, for models that read tokens.
        transcript: what it says, for models that read text; empty for one that needs none.
        match: moves what the acoustic model makes closer to the voice.
        symbols: phoneme symbols [S] of what it says, for models that read them.
        pace: phones a second, if that is known.
        codes: of the recording, for models that make codes.
    """

    mel: Mel
    seconds: float
    warnings: tuple[str, ...]
    tokens: SemanticTokens | None = None
    transcript: str | None = None
    match: VoiceMatch | None = None
    symbols: Tensor | None = None
    pace: float | None = None
    codes: CodecTokens | None = None

    def matched(self, mel: Mel) -> Mel:
        """What the acoustic model made for this voice, moved closer to it."""
        return mel if self.match is None else self.match(mel)

    def to(self, device: torch.device | str) -> Reference:
        """Return the same prompt on `device`; its symbols stay."""
        moved = {name: getattr(self, name) for name in ("tokens", "match", "codes") if getattr(self, name) is not None}
        return replace(self, mel=self.mel.to(device), **{name: value.to(device) for name, value in moved.items()})

    @property
    def needed_tokens(self) -> SemanticTokens:
        """The tokens of a reference that was made by stages of tokens."""
        assert self.tokens is not None
        return self.tokens

    @property
    def needed_codes(self) -> CodecTokens:
        """The codes of a reference that was made by stages of codes."""
        assert self.codes is not None
        return self.codes


@dataclass(frozen=True)
class Options:
    """Options of the models, checked, and those of the pipeline itself.

    Attributes:
        models: of each model that has any, by its slot.
        candidates: how often each piece is spoken, the one that fits its text best being kept.
        pitch: semitones that the voice is moved by, formants too; the tempo stays. 0 where the vocoder moves it.
        seconds: how long all pieces together shall last; None: as long as they take.
    """

    models: Mapping[str, StrictModel]
    candidates: int = 1
    pitch: float = 0.0
    seconds: float | None = None

    @property
    def ratio(self) -> float:
        """What `pitch` multiplies frequencies by."""
        return float(2 ** (self.pitch / 12))

    @property
    def speed(self) -> float:
        """The tempo that was asked for; 1 where no model has one."""
        return next((float(options.speed) for options in self.models.values() if hasattr(options, "speed")), 1.0)


@dataclass(frozen=True)
class Chunk:
    """Finished sound, to be played behind the chunk before it.

    Attributes:
        samples: [L].
        rate: samples per second.
        piece: number of the piece of text that it belongs to, from 0.
        pieces: how many there are; of a text that is still being read while it is streamed, about how many, but for the last.
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
