"""A description to sound of any length: codes window by window, decoded in pieces, brought to one loudness.

A window continues what was made before it: its beginning is the end of that, as codes. Windows are made one after another and
decoded in pieces with a second of context on either side, so that an hour needs no more memory than a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from speechgen.audio.loudness import integrated_loudness
from speechgen.core.protocols import Codec, Progress, TextToCodes
from speechgen.core.random import generator
from speechgen.core.types import CodecTokens
from speechgen.pipeline.longform import fade_edges, limit_peaks

__all__ = ["LOUDNESS", "MusicStages", "decode_long", "generate_long", "master"]

LOUDNESS = -14.0
"""LUFS: what streaming services play music at."""
MAX_GAIN_DB = 30.0
PIECE_SECONDS, CONTEXT_SECONDS = 20.0, 1.0
PARTS = 100
"""Progress of each window is told in so many parts."""


@dataclass(frozen=True)
class MusicStages:
    """A model that makes codes of descriptions, and the codec that decodes them."""

    model: TextToCodes
    codec: Codec

    @property
    def window_seconds(self) -> float:
        """The longest sound that is made at once."""
        return self.model.max_frames / self.model.rate


@torch.inference_mode()
def generate_long(
    stages: MusicStages,
    description: str,
    frames: int,
    *,
    overlap: int,
    options: Any,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> CodecTokens:
    """Return `frames` frames of codes for a description; each window after the first continues the one before.

    Args:
        stages: who makes them.
        description: what is to be heard.
        frames: at least 1.
        overlap: frames of what was made that a window begins with, less than the model's window. The last window, which has
            less to add, begins with more.
        options: of the model.
        seed: same seed, same codes.
        device: of the model.
        progress: called with (done, total).
    """
    model = stages.model
    shape = (1, model.num_codebooks, 0)
    empty = torch.zeros(shape, dtype=torch.int64, device=device)
    made, window = empty, model.max_frames
    total = 1 + max(0, -(-(frames - window) // (window - overlap)))  # windows
    for number in range(total):
        wanted = min(frames - made.shape[-1], window - (overlap if number else 0))
        known = made[..., max(0, made.shape[-1] - (window - wanted)) :]
        prompt = CodecTokens(
            known, torch.tensor([known.shape[-1]], device=device), model.rate, model.size, stages.codec.identity
        )

        def tell(done: int, of: int, base: int = PARTS * number) -> None:
            if progress:
                progress(base + PARTS * done // max(1, of), PARTS * total)

        rng = generator(seed, "music", number, device=device)
        part = model.generate([description], wanted, prompt, options=options, rng=rng, progress=tell)
        made = torch.cat([made, part.ids[:1, :, :wanted]], dim=-1)
        tell(1, 1)
    return CodecTokens(made, torch.tensor([made.shape[-1]], device=device), model.rate, model.size, stages.codec.identity)


@torch.inference_mode()
def decode_long(codec: Codec, tokens: CodecTokens) -> Tensor:
    """Decode one row of codes in pieces: samples [L] on the CPU.

    Each piece is decoded with CONTEXT_SECONDS around it, which is cut off again: where a codec hears no further than that,
    the result is that of decoding all at once.
    """
    count, hop = tokens.ids.shape[-1], codec.sample_rate / tokens.rate
    piece, context = round(PIECE_SECONDS * tokens.rate), round(CONTEXT_SECONDS * tokens.rate)
    heard: list[Tensor] = []
    for start in range(0, count, piece):
        stop = min(start + piece, count)
        first, last = max(0, start - context), min(count, stop + context)
        ids = tokens.ids[:1, :, first:last]
        part = CodecTokens(ids, torch.tensor([last - first], device=ids.device), tokens.rate, tokens.size, tokens.codec)
        samples = codec.decode(part).samples[0]
        heard.append(samples[round((start - first) * hop) : round((stop - first) * hop)].float().cpu())
    return torch.cat(heard)


def master(samples: Tensor, rate: int, loudness: float = LOUDNESS) -> Tensor:
    """Bring `samples [L]` to a loudness in LUFS, with a true-peak limit and soft edges; silence stays as it is.

    The limiter takes away what it cuts off peaks, so the gain is found again with the limiter behind it, twice.
    """
    measured = integrated_loudness(samples, rate)
    if measured == float("-inf"):
        return samples
    gain, result = 0.0, samples
    for _ in range(3):
        gain = min(gain + loudness - measured, MAX_GAIN_DB)
        result = limit_peaks(samples * 10 ** (gain / 20), rate)
        measured = integrated_loudness(result, rate)
        if abs(measured - loudness) < 0.1:
            break
    return fade_edges(result, rate)
