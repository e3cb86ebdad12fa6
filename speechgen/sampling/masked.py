"""Masked parallel decoding of residual codes: level by level, each in a few passes that fill in all that is masked.

One process for two systems, which differ in their passes alone. SoundStorm (Borsos et al., 2023, section 3.3) keeps after
each pass the frames it is surest of, with noise on what "sure" is, and takes the likeliest code in the last pass of a level.
MAGNeT (Ziv et al., 2024, section 3) masks spans instead of frames and lets temperature and guidance fall. What was kept once
is never masked again. A code that is masked is `mask_id`, one past the codebook.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.core.protocols import Progress

__all__ = [
    "Masking",
    "Pass",
    "Predict",
    "Rescoring",
    "confidence_passes",
    "decode_masked",
    "masked_share",
    "pick",
    "span_passes",
    "span_starts",
]

COLDEST = 0.01
"""The lowest temperature of MAGNeT."""


@dataclass(frozen=True)
class Pass:
    """One evaluation of the network.

    Attributes:
        level: codebook that is filled in.
        share: part of that level's free units that is masked, in (0, 1]; 1 in the first pass of a level.
        temperature: of sampling; 0 takes the likeliest.
        score_temperature: of the probabilities that tell how sure a choice was.
        noise: scale of the Gumbel noise on their logarithms.
        guidance: strength of classifier-free guidance, for whoever predicts; 0 = none.
    """

    level: int
    share: float
    temperature: float
    score_temperature: float = 1.0
    noise: float = 0.0
    guidance: float = 0.0


@dataclass(frozen=True)
class Masking:
    """What is masked and kept as one.

    Attributes:
        span: frames of a unit.
        scoring: a unit is as sure as its surest frame ("max"), or as all of them together ("prod").
        overlapping: units may begin at every frame ("stride1"), instead of every `span` frames.
    """

    span: int = 1
    scoring: Literal["max", "prod"] = "prod"
    overlapping: bool = False


Predict = Callable[[Tensor, Tensor, Pass], Tensor]
"""(codes [B, Q, T], masked [B, T], pass) to logits [M, C] of that pass's level at the M masked frames, row by row."""


@dataclass(frozen=True)
class Rescoring:
    """Another model has a say in how sure a choice was (MAGNeT, section 3.4).

    Attributes:
        predict: as Predict, but of codes in which nothing of the level is masked.
        weight: its part of the probability, in [0, 1].
    """

    predict: Predict
    weight: float = 0.7


def masked_share(progress: float) -> float:
    """Cosine schedule: what is still masked when `progress` in [0, 1] of the passes are done."""
    return math.cos(math.pi / 2 * progress)


def confidence_passes(steps: Sequence[int], *, temperature: float = 1.0, noise: float = 1.0) -> list[Pass]:
    """SoundStorm's passes: `steps` for each level; temperature and noise fall to 0 in the last of each."""
    return [
        Pass(level, masked_share(i / count), temperature * (1 - (i + 1) / count), noise=noise * (1 - (i + 1) / count))
        for level, count in enumerate(steps)
        for i in range(count)
    ]


def span_passes(
    steps: Sequence[int], *, temperature: float = 3.0, most_guidance: float = 9.0, least_guidance: float = 0.0
) -> list[Pass]:
    """MAGNeT's passes: `steps` for each level, temperature and guidance falling with what is masked.

    A coefficient w of the paper, which multiplies the conditional branch, is a guidance of w - 1 here.
    """
    passes = []
    for level, count in enumerate(steps):
        for i in range(count):
            share = masked_share(i / max(1, count - 1))
            heat = max(COLDEST, temperature * (count - 1 - i) / count)
            guidance = share * most_guidance + (1 - share) * least_guidance
            passes.append(Pass(level, share, heat, heat, guidance=guidance))
    return passes


def span_starts(size: int, span: int, rate: float) -> int:
    """How many spans to begin at random among `size` frames so that about `rate` of them is masked; at least one.

    A frame stays visible if none of the `span` places at which a span would cover it is drawn: with u of them drawn that is
    C(size - span, u) / C(size, u). Spans overlap, so that u = rate * size / span would mask too few.
    """
    draws = torch.arange(size + 1, dtype=torch.float64)
    shown = torch.ones_like(draws)
    for place in range(min(span, size)):
        shown *= ((size - place - draws) / (size - place)).clamp(min=0)
    return max(1, int((1 - shown - rate).abs().argmin()))


def decode_masked(
    predict: Predict,
    codes: Tensor,
    free: Tensor,
    passes: Sequence[Pass],
    *,
    mask_id: int,
    masking: Masking | None = None,
    top_k: int = 0,
    top_p: float = 1.0,
    rescoring: Rescoring | None = None,
    rng: torch.Generator,
    progress: Progress | None = None,
) -> Tensor:
    """Fill in the free frames of every level that has passes.

    Args:
        predict: the network; called once a pass.
        codes: [B, Q, T]; free frames of levels that have passes are overwritten, the rest stays as it is.
        free: [B, T], True = to be filled in. Padding and prompts are not free.
        passes: in order; levels may not come back.
        mask_id: what stands for a masked code.
        masking: units of masking; default: single frames.
        top_k: codes kept when sampling; 0 = all.
        top_p: the likeliest codes are kept up to this probability together.
        rescoring: another model's say.
        rng: source of samples and noise.
        progress: called after each pass.

    Returns:
        [B, Q, T], another tensor.
    """
    codes, units = codes.clone(), masking or Masking()
    levels = sorted({step.level for step in passes})
    codes[:, levels] = codes[:, levels].masked_fill(free[:, None], mask_id)
    doubt, open_frames = torch.zeros(free.shape, device=codes.device), free
    for done, step in enumerate(passes):
        if done == 0 or step.level != passes[done - 1].level:
            doubt, open_frames = torch.zeros(free.shape, device=codes.device), free
        masked = _choose(doubt, open_frames, free, step, units)
        level = codes[:, step.level]  # a view: what is written to it is in `codes`
        level[masked] = mask_id
        logits = predict(codes, masked, step).float()
        picked = pick(logits, temperature=step.temperature, top_k=top_k, top_p=top_p, rng=rng)  # [M]
        level[masked] = picked
        sure = _probability(logits / max(step.score_temperature, COLDEST), picked)
        if rescoring is not None:
            other = _probability(rescoring.predict(codes, masked, step).float(), picked)
            sure = rescoring.weight * other + (1 - rescoring.weight) * sure
        each = torch.zeros(free.shape, device=codes.device)
        each[masked] = -sure.clamp(min=1e-38).log()
        doubt, open_frames = _noisy(each, masked, step.noise, units, rng), masked
        if progress is not None:
            progress(done + 1, len(passes))
    return codes


def pick(logits: Tensor, *, temperature: float, top_k: int = 0, top_p: float = 1.0, rng: torch.Generator) -> Tensor:
    """Choose one code for each row of `logits [M, C]`, float32: the likeliest at temperature 0, else a sample. Returns [M]."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ordered, index = probabilities.sort(dim=-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered > top_p] = 0  # what comes before is enough
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, ordered)
    if not len(probabilities):
        return logits.new_zeros(0, dtype=torch.long)
    return torch.multinomial(probabilities, 1, generator=rng)[:, 0]


def _probability(logits: Tensor, picked: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, picked[:, None])[:, 0]


def _noisy(doubt: Tensor, masked: Tensor, scale: float, units: Masking, rng: torch.Generator) -> Tensor:
    """Doubt of each unit by its masked frames, with noise on it: [B, U] (units overlap: [B, T], of single frames)."""
    if units.overlapping or units.span == 1:
        each = doubt
    elif units.scoring == "prod":
        each = _framed(doubt, units.span).sum(-1)
    else:
        each = _framed(doubt.masked_fill(~masked, torch.inf), units.span, torch.inf).amin(-1)
    if scale == 0:
        return each
    uniform = torch.rand(each.shape, generator=rng, device=rng.device).to(each.device).clamp(1e-9, 1 - 1e-7)
    return each + scale * (-uniform.log()).log()  # doubt less Gumbel noise


def _framed(values: Tensor, span: int, filling: float = 0) -> Tensor:
    """Cut [B, T] into units [B, U, span]; the last is filled up."""
    return F.pad(values, (0, -values.shape[1] % span), value=filling).unflatten(1, (-1, span))


def _choose(doubt: Tensor, open_frames: Tensor, free: Tensor, step: Pass, units: Masking) -> Tensor:
    """The frames [B, T] to mask: the units with most doubt among those that were masked before, by the count of each row."""
    if step.share == 1:
        return open_frames
    if units.overlapping and units.span > 1:
        counts = (step.share * free.sum(1)).long()
        rows = zip(doubt, open_frames, counts.tolist(), strict=True)
        return torch.stack([_overlapping(row, open_row, max(units.span, count), units.span) for row, open_row, count in rows])
    every, still = (_framed(frames, units.span).any(-1) for frames in (free, open_frames))  # [B, U]
    counts = (step.share * every.sum(1)).long().clamp(min=1)
    order = doubt.masked_fill(~still, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    chosen = still & (rank < counts[:, None])
    return chosen.repeat_interleave(units.span, dim=1)[:, : free.shape[1]] & free


def _overlapping(doubt: Tensor, open_frames: Tensor, target: int, span: int) -> Tensor:
    """Mask the spans [T] with most doubt together, as many as cover no more than `target` open frames, found by bisection.

    A span ends at the last frame at most, so that the union is made of whole spans.
    """
    total = doubt.masked_fill(~open_frames, -1e4).unfold(0, span, 1).sum(-1)  # [T - span + 1]
    order = total.argsort(descending=True)

    def union(count: int) -> Tensor:
        starts = torch.zeros_like(total, dtype=torch.bool)
        starts[order[:count]] = True
        return F.pad(starts, (span - 1, span - 1)).unfold(0, span, 1).any(-1) & open_frames

    low, high = 1, len(order) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if int(union(middle).sum()) <= target else (low, middle)
    return union(low)
