"""SaShiMi's backbone: stacks of state-space and feed-forward blocks at several rates (Goel et al., 2022, section 4).

Going down, `pool` samples become one of more channels; going up, the reverse, shifted by one low-rate step, so that no sample
sees what comes after it. `Backbone.forward` runs all samples at once, `Backbone.step` one after another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.state_space import Initial, Recurrence, StateSpace

__all__ = ["Backbone", "BackboneState", "FeedForwardBlock", "Scale", "Sizes", "StateSpaceBlock"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a backbone is made of.

    Attributes:
        width: channels at the full rate.
        depth: pairs of a state-space and a feed-forward block in each stack.
        pools: how many samples become one, from the full rate downwards.
        expand: factor of the channels at each pool.
        hidden: factor of the feed-forward blocks' inner channels.
        state_size: N of each channel's system.
        kernel: "s4", or what S4D begins with.
        shared: channels of a layer have their system in common.
        glu: gated linear unit behind each state space.
        unet: stacks on the way down too, each block of the way up sees its partner's output.
        bidirectional: kernels from both sides and no shift: for models that are not autoregressive.
        taps: kernels end after so many steps of their rate; 0: never.
    """

    width: int
    depth: int
    pools: tuple[int, ...]
    expand: int
    hidden: int
    state_size: int
    kernel: Initial | Literal["s4"]
    shared: bool
    glu: bool
    unet: bool
    bidirectional: bool = False
    taps: int = 0

    @property
    def strides(self) -> list[int]:
        """Samples of a step at each rate."""
        return [math.prod(self.pools[:level]) for level in range(len(self.pools) + 1)]

    @property
    def reach(self) -> int:
        """How many samples away from one another input and output can be, if the kernels end."""
        stacks = [2 if self.unet else 1] * len(self.pools) + [1]
        steps = sum(count * self.depth * self.taps * stride for count, stride in zip(stacks, self.strides, strict=True))
        return steps + self.strides[-1]


class StateSpaceBlock(nn.Module):
    """x + out(gelu(state space(norm(x))))."""

    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = StateSpace(
            width,
            sizes.state_size,
            sizes.kernel,
            shared=sizes.shared,
            bidirectional=sizes.bidirectional,
            taps=sizes.taps,
        )
        self.glu = sizes.glu
        self.out = nn.Linear(width, 2 * width if sizes.glu else width)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Map x [B, L, H] to the same; `shift` [B, 1 or L, H] is added behind the norm."""
        y = self.norm(x) if shift is None else self.norm(x) + shift
        return x + self._out(self.mix(y))

    def step(self, x: Tensor, recurrence: Recurrence, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map one sample x [B, H] and the state [B, H, N]."""
        u = self.norm(x)
        y, state = recurrence.step(u, state)
        return x + self._out(y + self.mix.skip * u), state

    def _out(self, y: Tensor) -> Tensor:
        z = self.out(F.gelu(y))
        return F.glu(z, -1) if self.glu else z


class FeedForwardBlock(nn.Module):
    """x + down(gelu(up(norm(x))))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * hidden)
        self.down = nn.Linear(width * hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., H] to the same."""
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Scale(nn.Module):
    """The way down to the next rate, and back up.

    `before` holds the blocks of the way down (a U-Net has some), `after` those of the way up.
    """

    def __init__(self, width: int, pool: int, sizes: Sizes) -> None:
        super().__init__()
        self.size, self.causal = pool, not sizes.bidirectional
        self.pool = nn.Linear(width * pool, width * sizes.expand)
        self.unpool = nn.Linear(width * sizes.expand, width * pool)
        self.before = _stack(width, sizes) if sizes.unet else nn.ModuleList()
        self.after = _stack(width, sizes)

    def down(self, x: Tensor) -> Tensor:
        """[B, L, H] to [B, L / pool, H']; a channel's samples lie side by side."""
        batch, length, width = x.shape
        return self.pool(x.view(batch, length // self.size, self.size, width).transpose(2, 3).flatten(2))

    def up(self, x: Tensor) -> Tensor:
        """[B, L / pool, H'] to [B, L, H], one low-rate step later if it is causal."""
        y = self.unpool(x).unflatten(-1, (-1, self.size)).transpose(2, 3).flatten(1, 2)
        return F.pad(y, (0, 0, self.size, 0))[:, : y.shape[1]] if self.causal else y


@dataclass
class BackboneState:
    """Where stepping has come to.

    Attributes:
        states: [B, H, N] of each state-space block, by its number.
        waiting: samples [B, H] of each scale that wait for the next pool.
        ready: [B, pool, H] of each scale: what comes up beside the next samples.
    """

    states: list[Tensor]
    waiting: list[list[Tensor]] = field(default_factory=list)
    ready: list[Tensor] = field(default_factory=list)


class Backbone(nn.Module):
    """The stack of scales, and a norm at the end."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.unet = sizes.unet
        widths = [sizes.width * sizes.expand**level for level in range(len(sizes.pools) + 1)]
        self.scales = nn.ModuleList(Scale(width, pool, sizes) for width, pool in zip(widths, sizes.pools, strict=False))
        self.centre = _stack(widths[-1], sizes)
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor, shifts: list[Tensor] | None = None) -> Tensor:
        """Map x [B, L, H] to the same.

        Args:
            x: of any length.
            shifts: what is added behind the first norm of each state-space block, in the order in which they run.
        """
        length = x.shape[1]
        pool = 1
        for scale in self.scales:
            pool *= scale.size
        x = F.pad(x, (0, 0, 0, -length % pool))
        y: Tensor = self.norm(self._level(0, x, iter(shifts) if shifts is not None else None)[:, :length])
        return y

    def _level(self, level: int, x: Tensor, shifts) -> Tensor:  # type: ignore[no-untyped-def]
        """What the scales from `level` on make of x."""

        def run(block: nn.Module, value: Tensor) -> Tensor:
            if shifts is not None and isinstance(block, StateSpaceBlock):
                return block(value, next(shifts))
            made: Tensor = block(value)
            return made

        if level == len(self.scales):
            y = x
            for block in self.centre:
                y = run(block, y)
            return y + x
        scale, skips = self.scales[level], [x]
        for block in scale.before:
            x = run(block, x)
            skips.append(x)
        y = scale.up(self._level(level + 1, scale.down(x), shifts)) + skips.pop()
        start = y
        for block in scale.after:
            y = run(block, y) + (skips.pop() if self.unet else 0)
        return y if self.unet else y + start

    def blocks(self) -> list[StateSpaceBlock]:
        """Every state-space block, in the order in which their states are numbered: down, centre, up."""
        levels = list(self.scales)
        stacks = [*(scale.before for scale in levels), self.centre, *(scale.after for scale in reversed(levels))]
        return [block for stack in stacks for block in stack if isinstance(block, StateSpaceBlock)]

    def recurrences(self) -> dict[StateSpaceBlock, Recurrence]:
        """The recurrence of each state-space block, to be computed once before stepping."""
        return {block: block.mix.recurrence() for block in self.blocks()}

    def start(self, batch: int) -> BackboneState:
        """The state before the first sample of `batch` rows."""
        blocks = self.blocks()
        like = blocks[0].mix.skip
        states = []
        for block in blocks:
            recurrence = block.mix.recurrence()
            states.append(torch.zeros(batch, *recurrence.a.shape, dtype=recurrence.a.dtype, device=like.device))
        widths = [(scale.size, scale.unpool.out_features // scale.size) for scale in self.scales]
        ready = [torch.zeros(batch, size, width, dtype=like.dtype, device=like.device) for size, width in widths]
        return BackboneState(states, [[] for _ in widths], ready)

    def step(self, x: Tensor, state: BackboneState, recurrences: dict[StateSpaceBlock, Recurrence]) -> Tensor:
        """Take one sample x [B, H] to [B, H], and `state` along with it."""
        places = {block: place for place, block in enumerate(recurrences)}

        def run(block: nn.Module, value: Tensor) -> Tensor:
            if isinstance(block, StateSpaceBlock):
                place = places[block]
                value, state.states[place] = block.step(value, recurrences[block], state.states[place])
                return value
            made: Tensor = block(value)
            return made

        y: Tensor = self.norm(self._step_level(0, x, state, run))
        return y

    def _step_level(self, level: int, x: Tensor, state: BackboneState, run) -> Tensor:  # type: ignore[no-untyped-def]
        """`_level` for one sample: what comes up was made when the last pool was full."""
        if level == len(self.scales):
            y = x
            for block in self.centre:
                y = run(block, y)
            return y + x
        scale, skips = self.scales[level], [x]
        for block in scale.before:
            x = run(block, x)
            skips.append(x)
        waiting = state.waiting[level]
        y = state.ready[level][:, len(waiting)] + skips.pop()
        waiting.append(x)
        if len(waiting) == scale.size:
            low = self._step_level(level + 1, scale.down(torch.stack(waiting, 1))[:, 0], state, run)
            state.ready[level] = scale.unpool(low).unflatten(-1, (-1, scale.size)).transpose(1, 2)  # [B, pool, H]
            waiting.clear()
        start = y
        for block in scale.after:
            y = run(block, y) + (skips.pop() if self.unet else 0)
        return y if self.unet else y + start


def _stack(width: int, sizes: Sizes) -> nn.ModuleList:
    blocks: list[nn.Module] = []
    for _ in range(sizes.depth):
        blocks += [StateSpaceBlock(width, sizes), FeedForwardBlock(width, sizes.hidden)]
    return nn.ModuleList(blocks)
