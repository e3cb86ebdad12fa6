"""SaShiMi's backbone sample by sample, compiled: what `nn.multiscale` computes, for one row or for many at a time.

Weights are laid out once, channels filled up with zeros to whole vectors; states lie as they are gone through.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from speechgen.nn.fused import BEGINNING, FusedSampler, add, copy, gelu, normalize, padded, sigmoid
from speechgen.nn.fused_draw import draw_next
from speechgen.nn.fused_vector import WIDTH, compiled, inner, load, panels, product, splat, spread, store
from speechgen.nn.multiscale import Backbone, FeedForwardBlock, Scale, StateSpaceBlock

__all__ = ["fused_backbone"]

F = np.float32
Stack = namedtuple("Stack", "norm system gain skip out out_bias up up_bias down down_bias")
"""Blocks of one width, arrays over the blocks: norm [n, 4, P], gain and skip [n, P], products [n, I, O]; system
[n, J, N, K, w], the K numbers of a step of the recurrence: for a single row J vectors of w = WIDTH channels, otherwise J
channels."""
Pool = namedtuple("Pool", "down down_bias up up_bias")
Scratch = namedtuple("Scratch", "x u y out inner low")
"""Of one width: [P, B], and the outputs of the products."""
State = namedtuple("State", "systems waiting ready saved counts past work logits chances")


def fused_backbone(embedding: nn.Embedding, backbone: Backbone, head: nn.Linear, rows: int) -> FusedSampler:
    """A sampler of `rows` rows.

    Args:
        embedding: of the levels.
        backbone: causal.
        head: to logits.
        rows: B, generated side by side.
    """
    scales = [scale for scale in backbone.scales if isinstance(scale, Scale)]
    widths = [int(scale.unpool.out_features) // int(scale.size) for scale in scales]
    widths.append(int(backbone.centre[0].norm.weight.numel()))
    sizes, unet = [int(scale.size) for scale in scales], backbone.unet
    lists = [list(scale.before) for scale in scales]
    lists += [list(backbone.centre), *(list(scale.after) for scale in reversed(scales))]
    levels = [*range(len(scales)), *range(len(scales), -1, -1)]
    low_rank = any(block.mix.recurrence().h is not None for block in backbone.blocks())
    pools = tuple(_pool(scale, width) for scale, width in zip(scales, widths, strict=False))
    ends = (padded(embedding.weight, 1), *(padded(each, 1) for each in (backbone.norm.weight, backbone.norm.bias)),
            panels(padded(head.weight.t(), 1, 1)), padded(head.bias, 1))  # fmt: skip
    stacks: dict[int, tuple[Stack, ...]] = {}

    def start(lanes: int) -> tuple[tuple[Stack, ...], State]:
        if lanes not in stacks:
            made = (_stack(blocks, widths[level], low_rank, lanes) for blocks, level in zip(lists, levels, strict=True))
            stacks[lanes] = tuple(made)
        return stacks[lanes], _start(stacks[lanes], sizes, ends[3].shape[1], lanes)

    def advance(state: tuple[tuple[Stack, ...], State], *given: Any) -> None:
        _run(state[0], pools, ends, (unet, low_rank), np.array(widths), state[1], *given)

    strides = np.cumprod([1, *sizes])
    counted = sum(_multiplications(blocks) / strides[level] for blocks, level in zip(lists, levels, strict=True))
    counted += sum((pool.down.size + pool.up.size) / stride for pool, stride in zip(pools, strides[1:], strict=True))
    return FusedSampler(rows, start, advance, float(counted) + head.weight.numel())


def _multiplications(blocks: list[nn.Module]) -> int:
    """Of all blocks for one sample: weights of products, and six for each complex state of a diagonal system."""
    found = 0
    for block in blocks:
        if isinstance(block, StateSpaceBlock):
            found += block.out.weight.numel() + 6 * block.mix.recurrence().c[0].numel()
        elif isinstance(block, FeedForwardBlock):
            found += block.up.weight.numel() + block.down.weight.numel()
    return found


def _start(stacks: tuple[Stack, ...], sizes: list[int], levels: int, lanes: int) -> State:
    """The state before the first sample."""
    places = stacks[len(sizes) :]  # one stack of each width, the lowest rate first
    work = []
    for each in reversed(places):
        width = each.norm.shape[2]
        shapes = (width, width, width, each.out.shape[2], each.up.shape[2], width)
        work.append(Scratch(*(np.zeros((size, lanes), F) for size in shapes)))
    groups = max(1, lanes // WIDTH)
    systems = tuple(np.zeros((*each.system.shape[:2], groups, each.system.shape[2], 2, WIDTH), F) for each in stacks)
    waiting, ready = (
        tuple(np.zeros((size, *each.x.shape), F) for size, each in zip(sizes, work, strict=False)) for _ in range(2)
    )
    saved = tuple(np.zeros((2 * len(stacks[-1].norm) + 1, *each.x.shape), F) for each in work)
    logits, chances = (np.zeros((levels, lanes), F) for _ in range(2))
    counts = np.zeros(len(sizes), np.int64)
    return State(systems, waiting, ready, saved, counts, np.full(lanes, BEGINNING), tuple(work), logits, chances)


def _pool(scale: Scale, width: int) -> Pool:
    """Weights for samples that lie one behind the other; in torch a channel's samples lie side by side."""
    size = int(scale.size)
    down = scale.pool.weight.t().unflatten(0, (width, size)).transpose(0, 1).flatten(0, 1)
    up = scale.unpool.weight.t().unflatten(1, (width, size)).transpose(1, 2).flatten(1, 2)
    up_bias = scale.unpool.bias.view(width, size).t().flatten()
    return Pool(panels(padded(down, size, 1)), padded(scale.pool.bias, 1), panels(padded(up, 1, size)), padded(up_bias, size))


def _stack(blocks: list[nn.Module], width: int, low_rank: bool, lanes: int) -> Stack:
    """Lay out alternating state-space and feed-forward blocks."""
    rows: list[list[NDArray[np.float32]]] = []
    for mix, forward in zip(blocks[::2], blocks[1::2], strict=True):
        assert isinstance(mix, StateSpaceBlock) and isinstance(forward, FeedForwardBlock)
        norms = [mix.norm.weight, mix.norm.bias, forward.norm.weight, forward.norm.bias]
        gain = mix.mix.recurrence().g
        gain = torch.zeros(width) if gain is None else gain
        parts = 2 if mix.glu else 1
        rows.append([padded(torch.stack(norms), 1), _system(mix, low_rank, lanes), padded(gain, 1), padded(mix.mix.skip, 1),
                     panels(padded(mix.out.weight.t(), 1, parts)), padded(mix.out.bias, parts),
                     panels(padded(forward.up.weight.t(), 1, 1)), padded(forward.up.bias, 1),
                     panels(padded(forward.down.weight.t(), 1, 1)), padded(forward.down.bias, 1)])  # fmt: skip
    if not rows:
        w = width + -width % WIDTH
        empty = [(0, 4, w), (0, 1, 1, 1, 1), *[(0, w)] * 2, *[(0, w, w), (0, w)] * 3]
        return Stack(*(np.zeros(shape, F) for shape in empty))
    return Stack(*(np.stack(column) for column in zip(*rows, strict=True)))


def _system(block: StateSpaceBlock, low_rank: bool, lanes: int) -> NDArray[np.float32]:
    """[J, N, K, w]; of a, c, and, where A is not diagonal, b, h, f the real and the imaginary parts."""
    r = block.mix.recurrence()
    chosen = [r.a, r.c[0]]
    if low_rank:
        zero = torch.zeros_like(r.a)
        chosen += [r.b, zero if r.h is None else r.h, zero if r.f is None else r.f]
    numbers = torch.stack([half for part in chosen for half in (part.real, part.imag)], -1)  # [H, N, K]
    filled = np.moveaxis(padded(numbers.movedim(0, -1), 1), -1, 0)  # [P, N, K]
    wide = WIDTH if lanes == 1 else 1
    return np.ascontiguousarray(np.moveaxis(filled.reshape(-1, wide, *filled.shape[1:]), 1, -1))


def _stepping(coefficient: Any, wide: int) -> Any:
    """The step of all systems: `coefficient` reads the numbers, `wide` of them, that belong to the channels of a vector."""

    @inner
    def step(system, gain, skip, state, u, y, low_rank):  # type: ignore[no-untyped-def]
        """U [P, B] and state [J, groups, N, 2, WIDTH] to y [P, B] = gelu(Re(c s) + skip u)."""
        units, states, kinds = state.shape[0], system.shape[1], system.shape[2]
        groups = state.shape[1]
        for j in range(units):
            for g in range(groups):
                place = (j * groups + g) * WIDTH
                first = place * states * 2
                given = load(u, place)
                w, real_sum, imaginary_sum = splat(F(0)), coefficient(skip, j * wide) * given, splat(F(0))
                if low_rank:
                    w = coefficient(gain, j * wide) * given
                    for n in range(states):
                        at, s = (j * states + n) * kinds * wide, first + n * 2 * WIDTH
                        w += coefficient(system, at + 8 * wide) * load(state, s)
                        w += (splat(F(0)) - coefficient(system, at + 9 * wide)) * load(state, s + WIDTH)
                for n in range(states):
                    at, s = (j * states + n) * kinds * wide, first + n * 2 * WIDTH
                    ar, ai = coefficient(system, at), coefficient(system, at + wide)
                    sr, si = load(state, s), load(state, s + WIDTH)
                    real, imaginary = ar * sr - ai * si, ar * si + ai * sr
                    if low_rank:
                        real += coefficient(system, at + 4 * wide) * given - coefficient(system, at + 6 * wide) * w
                        imaginary += coefficient(system, at + 5 * wide) * given - coefficient(system, at + 7 * wide) * w
                    else:  # b is 1
                        real += given
                    store(state, s, real)
                    store(state, s + WIDTH, imaginary)
                    real_sum += coefficient(system, at + 2 * wide) * real
                    imaginary_sum += coefficient(system, at + 3 * wide) * imaginary
                store(y, place, gelu(real_sum - imaginary_sum))

    return step


_step_row, _step_group = _stepping(load, WIDTH), _stepping(spread, 1)


@inner
def _mix(stack, k, state, x, width, work, low_rank):  # type: ignore[no-untyped-def]
    """A state-space block: x [P, B] in place."""
    normalize(x, stack.norm[k, 0], stack.norm[k, 1], width, work.u)
    if x.shape[1] == 1:
        _step_row(stack.system[k], stack.gain[k], stack.skip[k], state, work.u, work.y, low_rank)
    else:
        _step_group(stack.system[k], stack.gain[k], stack.skip[k], state, work.u, work.y, low_rank)
    out = work.out
    product(work.y, stack.out[k], stack.out_bias[k], out)
    if out.size == x.size:
        add(x, out)
    else:
        for place in range(0, x.size, WIDTH):
            store(x, place, load(x, place) + load(out, place) * sigmoid(load(out, x.size + place)))


@inner
def _feed(stack, k, x, width, work):  # type: ignore[no-untyped-def]
    """A feed-forward block: x [P, B] in place."""
    normalize(x, stack.norm[k, 2], stack.norm[k, 3], width, work.u)
    hidden = work.inner
    product(work.u, stack.up[k], stack.up_bias[k], hidden)
    for place in range(0, hidden.size, WIDTH):
        store(hidden, place, gelu(load(hidden, place)))
    product(hidden, stack.down[k], stack.down_bias[k], work.y)
    add(x, work.y)


@inner
def _blocks(stack, states, x, saved, how, width, work, low_rank):  # type: ignore[no-untyped-def]
    """All blocks of a stack; how: 1 saves what each block made for its partner of a U-Net, 2 adds what the partner saved."""
    count = stack.norm.shape[0]
    for k in range(count):
        _mix(stack, k, states[k], x, width, work, low_rank)
        if how == 1:
            copy(x, saved[2 * k + 1])
        elif how == 2:
            add(x, saved[2 * count - 1 - 2 * k])
        _feed(stack, k, x, width, work)
        if how == 1:
            copy(x, saved[2 * k + 2])
        elif how == 2:
            add(x, saved[2 * count - 2 - 2 * k])


@inner
def _advance(stacks, pools, unet, low_rank, widths, state):  # type: ignore[no-untyped-def]
    """Take the sample in work[0].x down as far as pools are full, and back up to work[0].low.

    Turn by turn: stack `turn` of the way down, the centre, the way up; in one place, because `_blocks` is compiled there.
    """
    levels, counts = len(pools), state.counts
    turn = 0
    while turn <= 2 * levels:
        level = min(turn, 2 * levels - turn)
        here, kept = state.work[level], state.saved[level]
        value, how = here.low, 0
        if turn < levels:
            value, how = here.x, 1
            copy(value, kept[0])
        elif turn == levels:
            copy(here.x, value)
        else:
            how = 2 if unet else 0
            beside = kept[2 * stacks[turn].norm.shape[0] if unet else 0]
            _come_up(pools[level], state.ready[level], beside, counts, level, state.work[level + 1].low, value)
            if not unet:
                copy(value, kept[1])
        if turn >= levels or unet:
            _blocks(stacks[turn], state.systems[turn], value, kept, how, widths[level], here, low_rank)
        if turn == levels:
            add(value, here.x)
        elif turn > levels and not unet:
            add(value, kept[1])
        if turn < levels and not _go_down(pools[level], state.waiting[level], counts, level, value, state.work[level + 1].x):
            turn = 2 * levels - turn - 1  # this pool is not full: turn round below it
        turn += 1


@inner
def _go_down(pool, waiting, counts, level, x, lower):  # type: ignore[no-untyped-def]
    """Let x [P, B] wait for the pool; say whether it is full, which makes `lower`."""
    size, channels, rows = waiting.shape
    copy(x, waiting[counts[level]])
    counts[level] += 1
    if counts[level] < size:
        return False
    product(waiting.reshape(size * channels, rows), pool.down, pool.down_bias, lower)
    return True


@inner
def _come_up(pool, ready, beside, counts, level, lower, y):  # type: ignore[no-untyped-def]
    """Y [P, B] from what is ready for this sample; if `lower` is new, it is what comes up beside the next ones."""
    size, channels, rows = ready.shape
    copy(beside, y)
    add(y, ready[counts[level] - 1])
    if counts[level] == size:
        product(lower, pool.up, pool.up_bias, ready.reshape(size * channels, rows))
        counts[level] = 0


@compiled
def _run(stacks, pools, ends, kind, widths, state, known, uniform, settings, bits):  # type: ignore[no-untyped-def]
    """The loop over samples."""
    embedding, gain, bias, head, head_bias = ends
    x, past, work = state.work[0].x, state.past, state.work[0]
    for t in range(known.shape[0]):
        for b in range(past.shape[0]):
            for h in range(x.shape[0]):
                x[h, b] = embedding[past[b], h]
        _advance(stacks, pools, kind[0], kind[1], widths, state)
        normalize(work.low, gain, bias, widths[0], work.u)
        product(work.u, head, head_bias, state.logits)
        draw_next(state.logits, uniform[t], settings[0], settings[1], state.chances, known[t], bits)
        for b in range(past.shape[0]):
            past[b] = known[t, b]
