"""Summary of a stretch of speech as one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ReferenceEncoder"]


class ReferenceEncoder(nn.Module):
    """Strided convolutions, then attentive statistics pooling (Okabe et al., 2018): one vector for voice, pace and manner."""

    def __init__(self, num_bins: int, width: int) -> None:
        super().__init__()
        widths = (num_bins, width, width, width)
        pairs = zip(widths, widths[1:], strict=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 5, stride=2, padding=2) for a, b in pairs)
        self.attention = nn.Conv1d(width, 1, 1, bias=False)
        self.out = nn.Linear(2 * width, width)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Map frames [B, T, M], of which valid [B, T] count, to [B, R]; zeros for a row without a valid frame."""
        x = frames.transpose(1, 2)
        valid = valid[:, None]
        for convolution in self.convolutions:
            x = F.silu(convolution(x * valid))
            valid = valid[..., ::2]
        # A finite score, so that a row without valid frames has gradients.
        weights = self.attention(x).float().masked_fill(~valid, -1e4).softmax(-1)  # [B, 1, T']
        mean = (weights * x).sum(-1)
        deviation = ((weights * (x - mean[..., None]).square()).sum(-1) + 1e-5).sqrt()
        vector: Tensor = self.out(torch.cat((mean, deviation), dim=-1).to(x.dtype))
        return vector * valid.any(-1)
