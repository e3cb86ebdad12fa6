"""Neural filter block of NSF vocoders: dilated causal convolutions that shape a signal (Wang et al., 2020, section III-C)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NeuralFilterBlock"]

_SCALE = 0.1
"""Hidden values grow with every layer that is added; without this the tanh behind them saturates."""


class NeuralFilterBlock(nn.Module):
    """Widen, dilated convolutions that each add their output and a context, narrow, add to the signal.

    Args:
        fold: neighbouring samples that are channels of one step. More than 1 differs from the papers.
        width: hidden channels D.
        num_layers: convolutions of width 3, of dilation 1, 2, 4, ... steps.
        modulated: each convolution has a context of its own, which scales and shifts its output, instead of one context
            that is added behind each. Differs from the papers.
    """

    def __init__(self, fold: int, width: int, num_layers: int, modulated: bool) -> None:
        super().__init__()
        self.fold, self.width, self.modulated = fold, width, modulated
        narrow = max(width // 4, fold)
        self.enter = nn.Conv1d(fold, width, 1, bias=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**n, bias=False) for n in range(num_layers))
        self.narrow = nn.Conv1d(width, narrow, 1, bias=False)
        self.leave = nn.Conv1d(narrow, fold, 1, bias=False)

    @property
    def reach_samples(self) -> int:
        """Samples before it that a sample depends on."""
        reach: int = self.fold * (2 * (2 ** len(self.convolutions) - 1) + 1)
        return reach

    @property
    def context_width(self) -> int:
        """Channels C of the context."""
        return 2 * self.width * len(self.convolutions) if self.modulated else self.width

    def forward(self, signal: Tensor, context: Tensor) -> Tensor:
        """Shape a signal.

        Args:
            signal: [B, L], L a multiple of the fold.
            context: [B, C, K], each for as many neighbouring steps; K divides the L / fold steps.

        Returns:
            [B, L].
        """
        folded = signal.view(len(signal), -1, self.fold).transpose(1, 2)  # [B, fold, N]
        hidden = torch.tanh(self.enter(folded))  # [B, D, N]
        stairs = (len(signal), self.width, context.shape[-1], -1)
        context = context[..., None]  # [B, C, K, 1]
        own = context.chunk(len(self.convolutions), dim=1) if self.modulated else ()
        for number, convolution in enumerate(self.convolutions):
            shaped = convolution(F.pad(hidden, (2 * 2**number, 0))).view(stairs)  # [B, D, K, N / K]
            if self.modulated:
                scale, shift = own[number].chunk(2, dim=1)
                hidden = hidden + torch.tanh(torch.addcmul(shift, shaped, 1 + scale)).flatten(2)
            else:
                hidden = hidden + (torch.tanh(shaped) + context).flatten(2)
        made = torch.tanh(self.leave(torch.tanh(self.narrow(_SCALE * hidden))))  # [B, fold, N]
        return signal + made.transpose(1, 2).flatten(1)
