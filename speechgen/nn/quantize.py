"""Residual vector quantisation with codebooks that follow the data (Zeghidour et al., 2021, SoundStream, section III-C).

Each level replaces what the levels before it left over by the nearest of its vectors. Codebooks are running k-means: they are
buffers that `learn` moves after a step of the optimiser; a forward pass changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from speechgen.nn.masks import masked_mean

__all__ = ["Quantized", "ResidualQuantizer", "draw_codebooks", "perplexity"]

_KMEANS_ITERATIONS = 20


class Quantized(NamedTuple):
    """A tuple, because Fabric maps over what a wrapped module returns."""

    values: Tensor  # [B, D, T], gradient passed straight through
    codes: Tensor  # [B, Q, T]
    commitment: Tensor  # []


class ResidualQuantizer(nn.Module):
    """Q codebooks of `size` vectors.

    Args:
        num_codebooks: Q.
        size: vectors of a codebook.
        width: D, of a vector.
        decay: of the running means, each `learn`; less in the first ones.
        dead_share: a code that is used less than this share of the mean is replaced by something from the batch.
    """

    vectors: Tensor  # [Q, size, D]
    counts: Tensor  # [Q, size] running mean of how often a batch uses a code
    updates: Tensor  # [] how often the codebooks have learnt; 0: they are random

    def __init__(self, num_codebooks: int, size: int, width: int, *, decay: float = 0.99, dead_share: float = 0.1) -> None:
        super().__init__()
        self.decay, self.dead_share = decay, dead_share
        self.register_buffer("vectors", torch.randn(num_codebooks, size, width) / width**0.5)
        self.register_buffer("counts", torch.ones(num_codebooks, size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def num_codebooks(self) -> int:
        """Q."""
        return len(self.vectors)

    def forward(self, latent: Tensor, levels: Tensor | None = None, valid: Tensor | None = None) -> Quantized:
        """Quantise.

        Args:
            latent: [B, D, T].
            levels: [B] how many codebooks each row uses, at least 1; None: all.
            valid: [B, T] which latents the commitment is of; None: all.

        Returns:
            The commitment is the mean squared distance of each level's input from its vector, averaged over the levels and
            rows that are used. Its gradient reaches the latent from all of them, because what a level has taken away is a
            constant to the next (in the `encodec` package it is not, and those past the first cancel).
        """
        latent = latent.float()
        with torch.autocast(latent.device.type, enabled=False):
            levels = latent.new_full((len(latent),), self.num_codebooks, dtype=torch.int64) if levels is None else levels
            total = torch.zeros_like(latent)
            counted = torch.ones_like(latent) if valid is None else valid[:, None].expand_as(latent)  # [B, D, T]
            commitment, codes = latent.new_zeros(()), []
            for level in range(self.num_codebooks):
                used = (level < levels).to(latent.dtype)[:, None, None]  # [B, 1, 1]
                nearest = self._nearest(latent.detach() - total, level)  # [B, T]
                taken = used * self.vectors[level][nearest].transpose(1, 2)  # [B, D, T]
                missed = (used * (latent - total - taken)).square()
                commitment = commitment + masked_mean(missed, counted) * len(latent)
                total = total + taken
                codes.append(nearest)
        straight = latent + (total - latent).detach()
        return Quantized(straight, torch.stack(codes, dim=1), commitment / levels.sum())

    def encode(self, latent: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return codes [B, Q, T] of a latent [B, D, T], of the first codebooks only if so many are asked for."""
        rest, codes = latent.float(), []
        for level in range(num_codebooks or self.num_codebooks):
            codes.append(self._nearest(rest, level))
            rest = rest - self.vectors[level][codes[-1]].transpose(1, 2)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latent [B, D, T] of codes [B, Q, T] of the first Q codebooks."""
        levels = torch.arange(codes.shape[1], device=codes.device)[:, None]
        return self.vectors[levels, codes].sum(1).transpose(1, 2)

    @torch.no_grad()
    def learn(self, latent: Tensor, levels: Tensor | None = None, valid: Tensor | None = None, *, rng: torch.Generator) -> None:
        """Move the codebooks towards a batch; the first time, make them from it. A latent that is not finite is passed over.

        Args:
            latent: [B, D, T] what the codebooks quantised.
            levels: [B] how many of them each row used; None: all.
            valid: [B, T] which latents to learn from; None: all.
            rng: draws the vectors that replace dead ones.
        """
        latent = latent.detach().float()
        if not latent.isfinite().all():
            return
        rest = latent.transpose(1, 2)  # [B, T, D]
        real = torch.ones(rest.shape[:2], dtype=torch.bool, device=rest.device) if valid is None else valid
        for level in range(self.num_codebooks):
            rows = real if levels is None else real & (level < levels)[:, None]
            points = rest[rows]  # [N, D]
            if self.updates == 0:
                self._start(level, rest[real], rng)
            elif len(points):
                self._move(level, points, rng)
            nearest = self._nearest(rest.transpose(1, 2), level)
            rest = rest - self.vectors[level][nearest]
        self.updates += 1

    def _nearest(self, x: Tensor, level: int) -> Tensor:
        """Codes [B, T] of the vectors nearest to x [B, D, T]."""
        vectors = self.vectors[level]
        return (vectors.square().sum(-1) - 2 * x.transpose(1, 2) @ vectors.T).argmin(-1)

    def _start(self, level: int, points: Tensor, rng: torch.Generator) -> None:
        """k-means of points [N, D], from a random choice of them."""
        size = self.vectors.shape[1]
        vectors = points[_draw(len(points), size, rng)]
        # Points that are chosen twice must not be one code.
        vectors = vectors + 1e-2 * points.std() * torch.randn(vectors.shape, generator=rng, device=rng.device).to(vectors)
        for _ in range(_KMEANS_ITERATIONS):
            self.vectors[level] = vectors
            counts, sums = self._gather(level, points)
            vectors = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), vectors)
        self.vectors[level], self.counts[level] = vectors, counts.mean()

    def _move(self, level: int, points: Tensor, rng: torch.Generator) -> None:
        """One step of the running means, and new vectors for codes that nothing uses."""
        counts, sums = self._gather(level, points)
        # Fast at first: the network that the first batch came from changes at every step.
        decay = min(self.decay, float(1 + self.updates) / float(10 + self.updates))
        old = self.counts[level]
        kept = decay * old + (1 - decay) * counts
        means = (decay * old[:, None] * self.vectors[level] + (1 - decay) * sums) / kept[:, None].clamp(min=1e-9)
        # Differs from paper: counted against the mean, not as 2 a batch, so that small batches of few frames can learn.
        dead = kept < self.dead_share * kept.mean()
        drawn = points[_draw(len(points), len(kept), rng)]
        self.vectors[level] = torch.where(dead[:, None], drawn, means)
        self.counts[level] = torch.where(dead, kept.mean(), kept)

    def _gather(self, level: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """How many points [N, D] each code is nearest to, and their sums, over all processes: [size] and [size, D]."""
        nearest = self._nearest(points.T[None], level)[0]  # [N]
        counts = torch.zeros_like(self.counts[level]).index_add_(0, nearest, torch.ones_like(points[:, 0]))
        sums = torch.zeros_like(self.vectors[level]).index_add_(0, nearest, points)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Replaced vectors differ between processes until DistributedDataParallel sends the buffers of the first one.
            torch.distributed.all_reduce(counts)
            torch.distributed.all_reduce(sums)
        return counts, sums


def _draw(available: int, wanted: int, rng: torch.Generator) -> Tensor:
    """Random places [wanted], each once as long as there are enough."""
    order = torch.randperm(available, generator=rng, device=rng.device)
    return order.repeat(-(-wanted // available))[:wanted]


def draw_codebooks(rows: int, most: int, fewer: float, rng: torch.Generator) -> Tensor:
    """How many codebooks [B] each row uses: `most`, or for a share `fewer` of rows any number (SoundStream, section III-C)."""
    drawn = torch.randint(1, most + 1, (rows,), generator=rng, device=rng.device)
    return torch.where(torch.rand(rows, generator=rng, device=rng.device) < fewer, drawn, torch.full_like(drawn, most))


def perplexity(codes: Tensor, size: int, valid: Tensor | None = None) -> Tensor:
    """Exponential of the entropy of each codebook's codes [B, Q, T], of the `valid` ones [B, T]: how many are in use, [Q]."""
    flat = codes.transpose(0, 1).flatten(1) if valid is None else codes.transpose(1, 2)[valid].T  # [Q, N]
    counts = torch.zeros(len(flat), size, device=codes.device).scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
    shares = counts / flat.shape[1]
    return torch.special.entr(shares).sum(-1).exp()
