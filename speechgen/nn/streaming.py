"""Convolutions and LSTMs that read a signal whole, or in chunks with the same result.

A causal layer remembers the end of what it has read in a `Stream`; whole signals need none. Chunks are whole multiples of
the strides that follow, but for the last one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LSTM", "PadMode", "Stream", "StreamingConv", "StreamingConvTranspose"]

PadMode = Literal["constant", "reflect"]
"""What lies beyond the ends of a signal: zeros, or its mirror image."""


@dataclass
class Stream:
    """Place in a signal: what each layer remembers of the chunks before, and whether the next chunk is the last."""

    memory: dict[nn.Module, Any] = field(default_factory=dict)
    last: bool = False


class StreamingConv(nn.Module):
    """Convolution padded so that L steps give ceil(L / stride), and its normalisation over time, if any.

    Causal padding lies before the signal. What fills up the last stride lies behind it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = True,
        pad_mode: PadMode = "constant",
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        if causal and group_norm:
            raise ValueError("a norm over all time is not causal: set causal to false, or take another norm")
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation)
        self.norm = nn.GroupNorm(1, outputs) if group_norm else nn.Identity()
        self.stride, self.causal, self.pad_mode = stride, causal, pad_mode
        self.padding = (kernel - 1) * dilation + 1 - stride

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Map [B, C, L] to [B, C', ceil(L / stride)].

        Args:
            x: the whole signal, or its next chunk.
            stream: of the signal; None: x is all of it.
        """
        last = stream is None or stream.last
        missing = -x.shape[-1] % self.stride if last else 0
        before = None if stream is None else stream.memory.get(self)
        behind = 0 if self.causal else self.padding // 2
        if before is None:
            x = _pad(x, self.padding - behind, behind + missing, self.pad_mode)
        else:
            x = _pad(torch.cat((before, x), dim=-1), 0, missing, self.pad_mode)
        if stream is not None:
            if not self.causal:
                raise ValueError("this network sees the future: give it the whole signal")
            stream.memory[self] = x[..., x.shape[-1] - self.padding :]
        normed: Tensor = self.norm(self.conv(x))
        return normed


class StreamingConvTranspose(nn.Module):
    """Transposed convolution whose windows are two strides long: T steps give T * stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, causal: bool = True, group_norm: bool = False) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride)
        self.norm = nn.GroupNorm(1, outputs) if group_norm else nn.Identity()
        self.stride, self.causal = stride, causal

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Map [B, C, T] to [B, C', T * stride]; arguments as of StreamingConv."""
        size = x.shape[-1] * self.stride
        before = None if stream is None else stream.memory.get(self)
        if stream is not None:
            stream.memory[self] = x[..., -1:]
        if before is not None:
            x = torch.cat((before, x), dim=-1)
        made = self.norm(self.conv(x))
        start = self.stride if before is not None else 0 if self.causal else self.stride - self.stride // 2
        return made[..., start : start + size]


class LSTM(nn.Module):
    """LSTM over time whose input is added to its output."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Map [B, C, T] to the same shape; arguments as of StreamingConv."""
        steps = x.permute(2, 0, 1)  # [T, B, C]
        made, state = self.lstm(steps, None if stream is None else stream.memory.get(self))
        if stream is not None:
            stream.memory[self] = state
        return (made + steps).permute(1, 2, 0)


def _pad(x: Tensor, left: int, right: int, mode: PadMode) -> Tensor:
    """Pad [B, C, L]; a signal too short for its mirror image is lengthened by zeros for that."""
    short = max(0, max(left, right) - x.shape[-1] + 1) if mode == "reflect" else 0
    padded = F.pad(F.pad(x, (0, short)), (left, right), mode)
    return padded[..., : padded.shape[-1] - short]
