"""RNN-T loss (Graves, 2012) for text-to-token models, exact and pruned (Kuang et al., 2022).

Text is the time axis and tokens, which are many more, are the labels. Three numbers a cell are enough for the lattice, and
its recursion over labels is one cumulative sum, so the loop runs over the few phonemes. Pruning: a cheap additive joiner
(`additive_loss`) tells where each phoneme is likely to speak; the full joiner is evaluated in a window there alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["AdditiveLattice", "additive_loss", "choose_windows", "transducer_loss"]

_NEVER = -1e9  # a log probability that no path survives, finite so that gradients stay finite


def transducer_loss(
    logits: Tensor, tokens: Tensor, text_lengths: Tensor, token_lengths: Tensor, starts: Tensor | None = None
) -> Tensor:
    """Negative log likelihood of the tokens over all monotonic alignments inside the windows, per token.

    Args:
        logits: [B, S, R, K + 1] unnormalised scores of cells (s, starts[s] + r); the last class is blank.
        tokens: [B, U] int64 in [0, K).
        text_lengths: [B] in [1, S].
        token_lengths: [B] in [0, U].
        starts: [B, S] first label position of each window; None: all 0, and with R = U + 1 the loss is exact.

    Returns:
        Scalar: sum of the utterances' losses over the sum of their token counts.
    """
    if starts is None:
        starts = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    position = starts[..., None] + torch.arange(logits.shape[2], device=logits.device)  # [B, S, R]
    target = F.pad(tokens, (0, 1)).gather(1, position.clamp(max=tokens.shape[1]).flatten(1)).view_as(position)
    blank, emit = _CellScores.apply(logits, target)
    likelihood = _log_likelihood(blank, emit, starts, text_lengths, token_lengths)
    return -likelihood.sum().to(logits.dtype) / token_lengths.sum().clamp(min=1)


class _CellScores(torch.autograd.Function):
    """Log probabilities of blank and of the target, with one pass over the classes in each direction."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        normaliser = logits.logsumexp(-1)  # [B, S, R]
        ctx.save_for_backward(logits, target, normaliser)
        return logits[..., -1] - normaliser, logits.gather(-1, target[..., None]).squeeze(-1) - normaliser

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        to_blank, to_emit = gradients
        logits, target, normaliser = ctx.saved_tensors
        gradient = (logits - normaliser[..., None]).exp_().mul_(-(to_blank + to_emit)[..., None])
        gradient[..., -1] += to_blank
        return gradient.scatter_add_(-1, target[..., None], to_emit[..., None]), None


def _log_likelihood(blank: Tensor, emit: Tensor, starts: Tensor, text_lengths: Tensor, token_lengths: Tensor) -> Tensor:
    """Sum over alignments, in float64.

    With E(s, u) the sum of emissions at s before u, the forward variable of a row is
    alpha(s, u) = E(s, u) + log cumsum_u exp(alpha(s - 1, u) + blank(s - 1, u) - E(s, u)).

    Args:
        blank, emit: [B, S, R] log probabilities at cells (s, starts[s] + r).
        starts: [B, S] non-decreasing.
        text_lengths, token_lengths: [B].

    Returns:
        [B].
    """
    blank = blank.double()
    emitted = F.pad(emit.double()[..., :-1].cumsum(-1), (1, 0))  # E, [B, S, R]
    width = blank.shape[2]
    column = torch.arange(width, device=blank.device)
    alpha = emitted[:, 0] + _NEVER * (starts[:, :1] > 0)
    rows = [alpha]
    for s in range(1, blank.shape[1]):
        source = column + (starts[:, s] - starts[:, s - 1])[:, None]  # where this row's cells lie in the row before
        arriving = (alpha + blank[:, s - 1]).gather(1, source.clamp(max=width - 1))
        arriving = torch.where(source < width, arriving, _NEVER)
        alpha = emitted[:, s] + torch.logcumsumexp(arriving - emitted[:, s], dim=-1)
        rows.append(alpha)
    batch, last = torch.arange(len(blank), device=blank.device), text_lengths - 1
    end = token_lengths - starts[batch, last]
    inside = (end >= 0) & (end < width)
    end = end.clamp(0, width - 1)
    final = torch.stack(rows, dim=1)[batch, last, end] + blank[batch, last, end]
    return torch.where(inside, final, _NEVER)


@dataclass(frozen=True)
class AdditiveLattice:
    """Loss of the additive joiner and how likely each cell is to be visited."""

    loss: Tensor  # []
    occupation: Tensor  # [B, S, U + 1], no gradient


def additive_loss(
    text_scores: Tensor, token_scores: Tensor, tokens: Tensor, text_lengths: Tensor, token_lengths: Tensor
) -> AdditiveLattice:
    """RNN-T loss of the joiner `text_scores + token_scores`, whose normaliser is a matrix product.

    Args:
        text_scores: [B, S, K + 1], the last class is blank.
        token_scores: [B, U + 1, K + 1].
        tokens, text_lengths, token_lengths: as in `transducer_loss`.
    """
    text_scores, token_scores = text_scores.float(), token_scores.float()
    text_peak, token_peak = text_scores.detach().amax(-1, keepdim=True), token_scores.detach().amax(-1, keepdim=True)
    with torch.autocast(text_scores.device.type, enabled=False):  # it would round the product to bf16
        product = (text_scores - text_peak).exp() @ (token_scores - token_peak).exp().transpose(1, 2)  # [B, S, U + 1]
    normaliser = product.clamp(min=1e-30).log() + text_peak + token_peak.transpose(1, 2)
    target = F.pad(tokens, (0, 1))  # [B, U + 1]
    emit = text_scores.gather(2, target[:, None].expand(-1, text_scores.shape[1], -1))
    emit = emit + token_scores.gather(2, target[..., None]).transpose(1, 2) - normaliser
    blank = text_scores[..., -1:] + token_scores[..., -1][:, None] - normaliser
    starts = torch.zeros(blank.shape[:2], dtype=torch.long, device=blank.device)
    # Posteriors of the moves are the gradients of the likelihood with respect to their log probabilities.
    with torch.enable_grad():
        moves = [blank.detach().requires_grad_(), emit.detach().requires_grad_()]
        likelihood = _log_likelihood(moves[0], moves[1], starts, text_lengths, token_lengths).sum()
        left, up = torch.autograd.grad(likelihood, moves)
    loss = likelihood.detach() + ((blank - blank.detach()) * left + (emit - emit.detach()) * up).sum()
    return AdditiveLattice(-loss.to(text_scores.dtype) / token_lengths.sum().clamp(min=1), left + up)


def choose_windows(occupation: Tensor, text_lengths: Tensor, token_lengths: Tensor, width: int) -> Tensor:
    """Place a window of `width` label positions over the most visited cells of each phoneme.

    The first window starts at 0, the last reaches the last label, neighbours overlap; so some path always survives
    if width > U / S + 1.

    Args:
        occupation: [B, S, U + 1].
        text_lengths, token_lengths: [B].
        width: R.

    Returns:
        [B, S] starts, non-decreasing.
    """
    size, rows = occupation.shape[2], occupation.shape[1]
    if width >= size:
        return torch.zeros(occupation.shape[:2], dtype=torch.long, device=occupation.device)
    mass = F.pad(occupation.double().cumsum(-1), (1, 0))
    starts = (mass[..., width:] - mass[..., :-width]).argmax(-1)  # [B, S]
    last_start = (token_lengths + 1 - width).clamp(min=0)[:, None]
    # No two neighbours may be further apart than width - 1, counted back from the last label and forward from the first.
    row = torch.arange(rows, device=starts.device)
    slope = row * (width - 1)
    starts = torch.where(row < text_lengths[:, None] - 1, torch.minimum(starts, last_start), last_start)
    starts = starts.cummax(1).values
    starts = (starts - slope).flip(1).cummax(1).values.flip(1) + slope
    return torch.minimum(torch.minimum(starts, slope[None]), last_start)
