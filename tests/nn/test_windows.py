"""A signal in windows against the signal at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.nn.windows import in_windows, num_windows

HOP, REACH = 4, 2


def upsampled(frames: Tensor, weight: Tensor) -> Tensor:
    """Samples [B, T * HOP] of frames [B, T], each of which depends on REACH frames on either side."""
    return F.conv1d(frames[:, None], weight, padding=REACH).transpose(1, 2).flatten(1)


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 23])
def test_windows_join_to_the_whole(frames: int):
    values = torch.randn(2, frames, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(HOP, 1, 2 * REACH + 1, generator=torch.Generator().manual_seed(1))
    told: list[int] = []
    made = in_windows(
        lambda low, high: upsampled(values[:, low:high], weight),
        frames,
        step=6,
        reach=REACH,
        hop=HOP,
        told=lambda: told.append(len(told)),
    )
    torch.testing.assert_close(made, upsampled(values, weight))
    assert len(told) == num_windows(frames, 6) == (frames + 5) // 6


def test_a_reach_that_is_too_short_shows():
    values = torch.ones(1, 12)
    weight = torch.ones(HOP, 1, 2 * REACH + 1)
    made = in_windows(lambda low, high: upsampled(values[:, low:high], weight), 12, step=6, reach=0, hop=HOP)
    assert not torch.allclose(made, upsampled(values, weight))
