"""Codes one slot after another: how the codebooks are laid out in slots, and the loop that fills these.

In a `delay` layout codebook q is q slots late, so that all of a frame's codes are made in Q slots, while the codes of other
frames are made beside them (MusicGen, Copet et al., 2023, section 2.2). In a `flat` layout every code has its own slot
(AudioLM, Borsos et al., 2022, section III-C).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.sampling.masked import pick

__all__ = ["Arrangement", "arrange", "decode_slots", "inputs_of", "layout", "restore"]

Arrangement = Literal["delay", "flat"]


def layout(kind: Arrangement, frames: int, codebooks: int) -> Tensor:
    """Return [S, Q] int64: the frame that each codebook has in each slot, -1 where it has none."""
    books = torch.arange(codebooks)
    if kind == "delay":
        slots = torch.arange(frames + codebooks - 1)[:, None]
        frame = slots - books
        return torch.where((frame >= 0) & (frame < frames), frame, -1)
    slots = torch.arange(frames * codebooks)[:, None]
    return torch.where(slots % codebooks == books, slots // codebooks, -1)


def arrange(codes: Tensor, places: Tensor, filler: int) -> Tensor:
    """Put codes [B, Q, T] into the slots of `places [S, Q]`: [B, Q, S]; `filler` where there is none."""
    index = places.t().to(codes.device)  # [Q, S]
    found = codes.gather(2, index.clamp(min=0).expand(len(codes), -1, -1))
    return found.masked_fill(index < 0, filler)


def restore(slots: Tensor, places: Tensor) -> Tensor:
    """Undo `arrange`: [B, Q, S] to [B, Q, T]."""
    frames = int(places.max()) + 1
    made = slots.new_zeros(*slots.shape[:2], frames)
    slot, book = (places >= 0).nonzero(as_tuple=True)
    made[:, book, places[slot, book]] = slots[:, book, slot]
    return made


def inputs_of(slots: Tensor, filler: int) -> Tensor:
    """What a causal network is given: every slot [B, Q, S] one later, `filler` in the first."""
    return F.pad(slots, (1, 0), value=filler)[..., :-1]


def decode_slots(
    predict: Callable[[Tensor, list[int]], Tensor],
    prompt: Tensor,
    frames: int,
    kind: Arrangement,
    *,
    filler: int,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    rng: torch.Generator,
    progress: Progress | None = None,
) -> Tensor:
    """Continue a prompt.

    Args:
        predict: (inputs [B, Q, n] of the next n slots, codebooks) to logits [B, len(codebooks), C] of those codebooks in the
            last of these slots. Called with all slots of the prompt first, then with one slot at a time.
        prompt: [B, Q, T'] codes that are known, T' >= 0.
        frames: how many to add.
        kind: of the layout.
        filler: what stands for no code.
        temperature: 0 takes the likeliest code.
        top_k: codes kept when sampling; 0 = all.
        top_p: the likeliest codes are kept up to this probability together.
        rng: source of samples.
        progress: called after each slot.

    Returns:
        [B, Q, frames], without the prompt.
    """
    rows, books, known = prompt.shape
    places = layout(kind, known + frames, books)
    slots = arrange(F.pad(prompt, (0, frames), value=filler), places, filler)
    inputs = F.pad(slots, (1, 0), value=filler)
    first = int((places >= known).any(1).nonzero()[0]) if frames else len(places)
    begin = 0
    for slot in range(first, len(places)):
        wanted = [book for book, frame in enumerate(places[slot].tolist()) if frame >= known]
        logits = predict(inputs[:, :, begin : slot + 1], wanted).float()
        picked = pick(logits.flatten(0, 1), temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)
        inputs[:, wanted, slot + 1] = picked.view(rows, -1)
        begin = slot + 1
        if progress is not None:
            progress(slot + 1 - first, len(places) - first)
    return restore(inputs[..., 1:], places)[..., known:]
