"""A model that makes codes and a codec for them, small enough to follow by hand: for tests of what is around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field

from speechgen.core.config import StrictModel
from speechgen.core.protocols import Progress
from speechgen.core.types import CodecTokens, Waveform
from speechgen.pipeline.music import MusicStages
from speechgen.service.music import MusicMaker

RATE, HOP, SIZE = 24000, 480, 64


class Options(StrictModel):
    temperature: float = Field(1.0, ge=0, le=4)


class Counting:
    """Codes that count on from the last of the prompt; from a random one if there is none. Notes what it was asked for."""

    rate, size, num_codebooks = RATE / HOP, SIZE, 2

    def __init__(self, max_frames: int = 100) -> None:
        self.max_frames = max_frames
        self.asked: list[tuple[str, int, int]] = []

    def generate(
        self,
        descriptions: Sequence[str],
        frames: int,
        prompt: CodecTokens,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> CodecTokens:
        known = prompt.ids.shape[-1]
        assert known + frames <= self.max_frames and len(descriptions) == len(prompt.ids)
        if "cannot" in descriptions[0]:
            raise RuntimeError("this one cannot be made")
        self.asked.append((descriptions[0], known, frames))
        first = prompt.ids[:, :, -1:] + 1 if known else torch.randint(SIZE, (1, 2, 1), generator=rng)
        if progress:
            progress(1, 2)
            progress(2, 2)
        ids = (first + torch.arange(frames)) % SIZE
        return CodecTokens(ids, torch.tensor([frames]), prompt.rate, SIZE, prompt.codec)


class Tones:
    """Each frame is a stretch of a tone, louder by its code; as long as its neighbours, it knows nothing of them."""

    identity, sample_rate, rate, size, num_codebooks = "tones", RATE, RATE / HOP, SIZE, 2

    def __init__(self) -> None:
        self.longest = 0

    def encode(self, audio: Waveform) -> CodecTokens:
        raise NotImplementedError

    def decode(self, tokens: CodecTokens) -> Waveform:
        assert tokens.codec == self.identity
        self.longest = max(self.longest, tokens.ids.shape[-1])
        level = (tokens.ids[:, 0] + 1).float() / SIZE  # [B, T]
        wave = 0.1 * torch.sin(2 * math.pi * 1000 / RATE * torch.arange(HOP))
        return Waveform((level[..., None] * wave).flatten(1), tokens.lengths * HOP, RATE)


def counting_maker(max_frames: int = 100) -> MusicMaker:
    """The two of them."""
    return MusicMaker("counting", MusicStages(Counting(max_frames), Tones()), Options)
