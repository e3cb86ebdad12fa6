"""Conditional flow matching with straight paths (Lipman et al., 2023; Le et al., Voicebox, 2023, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from speechgen.core.protocols import Progress

__all__ = ["Method", "integrate", "interpolate"]

Method = Literal["euler", "midpoint"]


def interpolate(noise: Tensor, data: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point at time `t [B]` on the straight path and its velocity (t=0 noise, t=1 data)."""
    t = t.view(-1, *[1] * (data.dim() - 1))
    return (1 - t) * noise + t * data, data - noise


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    times: Tensor,
    *,
    method: Method = "euler",
    progress: Progress | None = None,
) -> Tensor:
    """Follow dx/dt = velocity(x, t) from `noise` at times[0] to times[-1].

    Args:
        velocity: maps x [B, ...] and t [B] to a tensor shaped like x.
        noise: [B, ...], the state at times[0]; the state stays in its dtype.
        times: [N + 1] increasing, float32 or float64 on any device.
        method: "euler" calls `velocity` once per step, "midpoint" twice.
        progress: called after each step.
    """
    x = noise
    grid = times.tolist()
    for index, (now, after) in enumerate(zip(grid, grid[1:], strict=False)):
        step = after - now
        v = velocity(x, x.new_full((len(x),), now))
        if method == "midpoint":
            v = velocity(x + v * (step / 2), x.new_full((len(x),), now + step / 2))
        x = x + v * step
        if progress is not None:
            progress(index + 1, len(grid) - 1)
    return x
