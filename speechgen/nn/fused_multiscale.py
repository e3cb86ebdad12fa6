"""SaShiMi's backbone sample by sample, compiled: what `nn.multiscale` computes, for a few rows at a time.

`FusedBackbone` lays the weights out once; `run` then takes any number of samples, known ones or drawn ones.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechgen.nn.fused import compiled, draw, gelu, inlined, inner, normalize, product, sigmoid
from speechgen.nn.multiscale import Backbone, FeedForwardBlock, StateSpaceBlock

__all__ = ["FusedBackbone"]

F = np.float32
Stack = namedtuple("Stack", "norm system gain skip out out_bias up up_bias down down_bias")
"""Blocks of one width, arrays over the blocks: norm [n, 4, H], system [n, 10, N, H] (a, b, c, h, f of the recurrence, real and
imaginary part), gain and skip [n, H], products [n, I, O]."""
Pool = namedtuple("Pool", "down down_bias up up_bias")
Scratch = namedtuple("Scratch", "x u y out inner low")
"""Of one width: [B, H], and the outputs of the products, contiguous so that loops over them are vectorised."""


class FusedBackbone:
    """A backbone between an embedding and a head, as a sampler of `rows` rows.

    Args:
        embedding: of the levels.
        backbone: causal.
        head: to logits.
        rows: B, generated side by side.
    """

    def __init__(self, embedding: nn.Embedding, backbone: Backbone, head: nn.Linear, rows: int) -> None:
        scales = list(backbone.scales)
        widths = [int(scale.unpool.out_features) // int(scale.size) for scale in scales]
        widths.append(int(backbone.centre[0].norm.weight.numel()))
        down = [_stack(list(scale.before), width) for scale, width in zip(scales, widths, strict=False)]
        up = [_stack(list(scale.after), width) for scale, width in zip(scales, widths, strict=False)]
        self._stacks = (*down, _stack(list(backbone.centre), widths[-1]), *reversed(up))
        self._pools = tuple(Pool(*_linear(scale.pool), *_linear(scale.unpool)) for scale in scales)
        self._ends = (_array(embedding.weight), _array(backbone.norm.weight), _array(backbone.norm.bias), *_linear(head))
        self._unet = backbone.unet
        self._low_rank = any(each.system[:, 6].any() for each in self._stacks)
        self._sizes, self._widths = [int(scale.size) for scale in scales], widths
        self.rows = rows
        self.reset()

    def reset(self) -> None:
        """Go back to before the first sample."""
        rows, widths = self.rows, self._widths
        shapes = [(len(each.norm), rows, 2, *each.system.shape[2:]) for each in self._stacks]
        self._states = tuple(np.zeros(shape, F) for shape in shapes)
        self._waiting = tuple(np.zeros((rows, size * width), F) for size, width in zip(self._sizes, widths, strict=False))
        self._ready = tuple(np.zeros((rows, size * width), F) for size, width in zip(self._sizes, widths, strict=False))
        self._saved = tuple(np.zeros((2 * len(self._stacks[-1].norm) + 1, rows, width), F) for width in widths)
        stacks = self._stacks[: len(self._sizes) - 1 : -1]  # one of each width, from the full rate downwards
        sizes = [(w, w, w, each.out.shape[2], each.up.shape[2], w) for w, each in zip(widths, stacks, strict=True)]
        self._work = tuple(Scratch(*(np.zeros((rows, size), F) for size in each)) for each in sizes)
        self._counts = np.zeros(len(self._sizes), np.int64)
        self._past = np.full(rows, 128, np.int64)
        self._integers = np.zeros(self._ends[3].shape[1], np.int32)
        self.bits = np.zeros(rows, np.float64)

    def run(self, known: NDArray[np.int64], uniform: NDArray[np.float32], temperature: float, top_p: float) -> None:
        """Go on by L samples; `bits` grows by their information.

        Args:
            known: [L, B] levels, negative where one is to be drawn; filled in.
            uniform: [L, B] in [0, 1), what is drawn with.
            temperature: divides the logits.
            top_p: share of the probability that may be drawn from.
        """
        states = (self._states, self._waiting, self._ready, self._saved, self._counts, self._past)
        work = (self._work, self._integers)
        _run(self._stacks, self._pools, self._ends, self._unet, self._low_rank, states, work, known, uniform,
             (F(temperature), F(top_p)), self.bits)  # fmt: skip


def _array(value: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(value.detach().cpu().float().numpy())


def _linear(layer: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [I, O] and bias [O]."""
    return _array(layer.weight.t()), _array(layer.bias)  # type: ignore[operator, arg-type]


def _stack(blocks: list[nn.Module], width: int) -> Stack:
    """Lay out alternating state-space and feed-forward blocks."""
    if not blocks:
        empty = [(0, 4, width), (0, 10, 1, width), *[(0, width)] * 2, *[(0, width, width), (0, width)] * 3]
        return Stack(*(np.zeros(shape, F) for shape in empty))
    rows: list[list[NDArray[np.float32]]] = []
    for mix, forward in zip(blocks[::2], blocks[1::2], strict=True):
        assert isinstance(mix, StateSpaceBlock) and isinstance(forward, FeedForwardBlock)
        norms = [mix.norm.weight, mix.norm.bias, forward.norm.weight, forward.norm.bias]
        r = mix.mix.recurrence()
        zero = torch.zeros_like(r.a)
        parts = (r.a, r.b, r.c[0], zero if r.h is None else r.h, zero if r.f is None else r.f)
        system = torch.stack([half.t() for part in parts for half in (part.real, part.imag)])  # [10, N, H]
        gain = torch.zeros(width) if r.g is None else r.g
        rows.append([_array(torch.stack(norms)), _array(system), _array(gain), _array(mix.mix.skip), *_linear(mix.out),
                     *_linear(forward.up), *_linear(forward.down)])  # fmt: skip
    return Stack(*(np.stack(column) for column in zip(*rows, strict=True)))


@inner
def _system(system, gain, state, u, y, low_rank):  # type: ignore[no-untyped-def]
    """One step of all channels: u [B, H] and state [B, 2, N, H] to y [B, H], to which the result is added."""
    size, width = system.shape[1:]
    for b in range(u.shape[0]):
        ub, yb = u[b], y[b]
        w = np.zeros(width if low_rank else 1, F)
        if low_rank:
            for h in range(width):
                w[h] = gain[h] * ub[h]
            for n in range(size):
                fr, fi, sr, si = system[8, n], system[9, n], state[b, 0, n], state[b, 1, n]
                for h in range(width):
                    w[h] += fr[h] * sr[h] - fi[h] * si[h]
        for n in range(size):
            sr, si = state[b, 0, n], state[b, 1, n]
            ar, ai, br, bi, cr, ci = system[0, n], system[1, n], system[2, n], system[3, n], system[4, n], system[5, n]
            if low_rank:
                hr, hi = system[6, n], system[7, n]
                for h in range(width):
                    real = ar[h] * sr[h] - ai[h] * si[h] + br[h] * ub[h] - hr[h] * w[h]
                    imaginary = ar[h] * si[h] + ai[h] * sr[h] + bi[h] * ub[h] - hi[h] * w[h]
                    sr[h], si[h] = real, imaginary
                    yb[h] += cr[h] * real - ci[h] * imaginary
            else:  # b is 1
                for h in range(width):
                    real = ar[h] * sr[h] - ai[h] * si[h] + ub[h]
                    imaginary = ar[h] * si[h] + ai[h] * sr[h]
                    sr[h], si[h] = real, imaginary
                    yb[h] += cr[h] * real - ci[h] * imaginary


@inlined
def _mix(stack, k, state, x, work, low_rank):  # type: ignore[no-untyped-def]
    """A state-space block: x [B, H] in place."""
    width = x.shape[1]
    normalize(x, stack.norm[k, 0], stack.norm[k, 1], work.u)
    for b in range(x.shape[0]):
        for h in range(width):
            work.y[b, h] = stack.skip[k, h] * work.u[b, h]
    _system(stack.system[k], stack.gain[k], state, work.u, work.y, low_rank)
    gelu(work.y)
    out = work.out
    product(work.y, stack.out[k], stack.out_bias[k], out)
    if stack.out.shape[2] == width:
        for b in range(x.shape[0]):
            for h in range(width):
                x[b, h] += out[b, h]
    else:
        for b in range(x.shape[0]):
            for h in range(width):
                x[b, h] += out[b, h] * sigmoid(out[b, width + h])


@inlined
def _feed(stack, k, x, work):  # type: ignore[no-untyped-def]
    """A feed-forward block: x [B, H] in place."""
    normalize(x, stack.norm[k, 2], stack.norm[k, 3], work.u)
    hidden = work.inner
    product(work.u, stack.up[k], stack.up_bias[k], hidden)
    gelu(hidden)
    product(hidden, stack.down[k], stack.down_bias[k], work.y)
    for b in range(x.shape[0]):
        for h in range(x.shape[1]):
            x[b, h] += work.y[b, h]


@inlined
def _blocks(stack, states, x, saved, how, work, low_rank):  # type: ignore[no-untyped-def]
    """All blocks of a stack; how: 1 saves what each block made for its partner of a U-Net, 2 adds what the partner saved."""
    count = stack.norm.shape[0]
    for k in range(count):
        _mix(stack, k, states[k], x, work, low_rank)
        if how == 1:
            saved[2 * k + 1] = x
        elif how == 2:
            x += saved[2 * count - 1 - 2 * k]
        _feed(stack, k, x, work)
        if how == 1:
            saved[2 * k + 2] = x
        elif how == 2:
            x += saved[2 * count - 2 - 2 * k]


@inlined
def _advance(stacks, pools, unet, low_rank, states, work):  # type: ignore[no-untyped-def]
    """Take the sample in work[0].x down as far as pools are full, and back up to work[0].low.

    Turn by turn: stack `turn` of the way down, the centre, the way up; in one place, because `_blocks` is compiled there.
    """
    systems, waiting, ready, saved, counts, _ = states
    levels = len(pools)
    turn = 0
    while turn <= 2 * levels:
        level = min(turn, 2 * levels - turn)
        here, kept = work[level], saved[level]
        value, how = here.low, 0
        if turn < levels:
            value, how = here.x, 1
            kept[0] = value
        elif turn == levels:
            value[:] = here.x
        else:
            how = 2 if unet else 0
            _come_up(
                pools[level],
                ready[level],
                kept[2 * stacks[turn].norm.shape[0] if unet else 0],
                counts,
                level,
                work[level + 1].low,
                value,
            )
            if not unet:
                kept[1] = value
        if turn >= levels or unet:
            _blocks(stacks[turn], systems[turn], value, kept, how, here, low_rank)
        if turn == levels:
            value += here.x
        elif turn > levels and not unet:
            value += kept[1]
        if turn < levels and not _go_down(pools[level], waiting[level], counts, level, value, work[level + 1].x):
            turn = 2 * levels - turn - 1  # this pool is not full: turn round below it
        turn += 1


@inlined
def _go_down(pool, waiting, counts, level, x, lower):  # type: ignore[no-untyped-def]
    """Let x [B, H] wait for the pool; say whether it is full, which makes `lower`."""
    size = waiting.shape[1] // x.shape[1]
    for b in range(x.shape[0]):
        for h in range(x.shape[1]):
            waiting[b, h * size + counts[level]] = x[b, h]
    counts[level] += 1
    if counts[level] < size:
        return False
    product(waiting, pool.down, pool.down_bias, lower)
    return True


@inlined
def _come_up(pool, ready, beside, counts, level, lower, y):  # type: ignore[no-untyped-def]
    """Y [B, H] from what is ready for this sample; if `lower` is new, it is what comes up beside the next ones."""
    size = ready.shape[1] // y.shape[1]
    for b in range(y.shape[0]):
        for h in range(y.shape[1]):
            y[b, h] = ready[b, h * size + counts[level] - 1] + beside[b, h]
    if counts[level] == size:
        product(lower, pool.up, pool.up_bias, ready)
        counts[level] = 0


@compiled
def _run(stacks, pools, ends, unet, low_rank, states, scratch, known, uniform, settings, bits):  # type: ignore[no-untyped-def]
    """The loop over samples."""
    embedding, gain, bias, head, head_bias = ends
    work, integers = scratch
    past = states[5]
    logits = np.empty((past.shape[0], head.shape[1]), F)
    for t in range(known.shape[0]):
        for b in range(past.shape[0]):
            work[0].x[b] = embedding[past[b]]
        _advance(stacks, pools, unet, low_rank, states, work)
        normalize(work[0].low, gain, bias, work[0].u)
        product(work[0].u, head, head_bias, logits)
        draw(logits, uniform[t], settings[0], settings[1], integers, known[t], bits)
        past[:] = known[t]
