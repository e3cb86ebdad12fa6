"""Embedding of continuous scalars (flow time, noise level)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["TimeEmbedding"]


class TimeEmbedding(nn.Module):
    """Sinusoid of 1000 t, then a two-layer SiLU perceptron."""

    def __init__(self, width: int, num_frequencies: int = 128) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.perceptron = nn.Sequential(nn.Linear(2 * num_frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Map t [B] in [0, 1] to [B, D]."""
        steps = torch.arange(self.num_frequencies, device=t.device) / (self.num_frequencies - 1)
        angles = 1000 * t[:, None].float() * torch.exp(-math.log(10000) * steps)
        waves = torch.cat((angles.sin(), angles.cos()), dim=-1)
        first = self.perceptron[0]
        embedded: Tensor = self.perceptron(waves.to(first.weight.dtype) if isinstance(first, nn.Linear) else waves)
        return embedded
