"""Sixteen float32 numbers as one value of compiled code (numba), and products of matrices that keep their sums in registers.

Compilers vectorise loops when they can prove enough about them; here it is said which numbers are computed together: sixteen
channels of one row, or one channel of sixteen rows. A machine with narrower registers takes several for one vector.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import lower_builtin, models, register_model, type_callable
from numpy.typing import NDArray

__all__ = [
    "LANES",
    "WIDTH",
    "at_most",
    "compiled",
    "entry",
    "floor",
    "greatest",
    "inner",
    "load",
    "maximum",
    "minimum",
    "panels",
    "power_of_two",
    "product",
    "repeat_product",
    "root",
    "splat",
    "spread",
    "store",
    "total",
]

WIDTH = 16
"""Numbers of a vector: a register of AVX-512."""
LANES = 32
"""Rows that are computed together when there are many: two vectors, so that a weight is read once for two multiplications, and
the recurrent states of a group stay near to the processor."""

PANEL = 4 * WIDTH
"""Outputs of a product for a single row that are summed at once."""

_OPTIONS = {"fastmath": True, "nogil": True, "error_model": "numpy"}
# Nothing is allocated in there, so nothing has to be counted: references cost more than some of the work.
compiled: Any = numba.njit(**_OPTIONS, _nrt=False, cache=True)
"""Decorator of what Python calls; compiled code is kept beside the source, or in the user's cache."""
inner: Any = numba.njit(**_OPTIONS, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of what compiled code alone calls: it needs no way in from Python."""

_intrinsic: Any = numba.extending.intrinsic

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_FLAGS = ("contract", "nsz", "arcp")
"""A product and a sum may become one operation; sums keep their order, so that they are the same wherever they are taken."""


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__("Vector")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: _Vector) -> None:
        super().__init__(manager, kind, _VECTOR)


def _binary(operation: Callable[..., Any], method: str) -> None:
    @type_callable(operation)
    def typed(context: Any) -> Callable[..., Any]:
        return lambda a, b: _vector if a is _vector and b is _vector else None

    @lower_builtin(operation, _Vector, _Vector)
    def lowered(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return getattr(builder, method)(*given, flags=_FLAGS)


for _name, _method in (("add", "fadd"), ("iadd", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _binary(getattr(operator, _name), _method)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Where a contiguous array has its entry `place`, counted through all of it."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


def _read(builder: Any, pointer: Any, kind: Any) -> Any:
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    value.align = 4
    return value


def _write(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 4


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of one number many times."""
    none = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(none, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(_INT, kind.count), [0] * kind.count))


@_intrinsic
def load(typing: Any, array: Any, place: Any) -> Any:
    """The vector that begins at entry `place` of a contiguous float32 array."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _read(builder, _pointer(context, builder, array, *given), _VECTOR)

    return _vector(array, types.intp), generate


@_intrinsic
def entry(typing: Any, array: Any, place: Any) -> Any:
    """Entry `place` of a contiguous float32 array, counted through all of it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_pointer(context, builder, array, *given))

    return types.float32(array, types.intp), generate


@_intrinsic
def spread(typing: Any, array: Any, place: Any) -> Any:
    """A vector of entry `place` of a contiguous float32 array, many times."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _spread(builder, builder.load(_pointer(context, builder, array, *given)), _VECTOR)

    return _vector(array, types.intp), generate


@_intrinsic
def store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Write a vector to entry `place` of a contiguous float32 array, and to the 15 behind it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _write(builder, given[2], _pointer(context, builder, array, *given[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@_intrinsic
def splat(typing: Any, value: Any) -> Any:
    """A vector of one number."""
    return _vector(types.float32), lambda context, builder, signature, given: _spread(builder, given[0], _VECTOR)


def _selecting(comparison: str) -> Any:
    @_intrinsic
    def chosen(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.select(builder.fcmp_ordered(comparison, *given), *given)

        return _vector(a, b), generate

    return chosen


minimum, maximum = _selecting("<"), _selecting(">")
"""The smaller, the larger numbers of two vectors."""


@_intrinsic
def at_most(typing: Any, a: Any, b: Any) -> Any:
    """1 where a <= b, 0 elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        yes, no = (ir.Constant(_VECTOR, [value] * WIDTH) for value in (1.0, 0.0))
        return builder.select(builder.fcmp_ordered("<=", *given), yes, no)

    return _vector(a, b), generate


def _function(name: str, result: Any, *, start: float | None = None) -> Any:
    """A function of LLVM's of one vector; `start` is what a sum begins with."""

    @_intrinsic
    def called(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            before = [] if start is None else [ir.Constant(_FLOAT, start)]
            llvm = ir.FunctionType(context.get_value_type(result), [each.type for each in (*before, *given)])
            function = cgutils.get_or_insert_function(builder.module, llvm, name)
            flags = () if start is None else ("reassoc",)
            return builder.call(function, [*before, *given], fastmath=flags)

        return result(value), generate

    return called


floor = _function("llvm.floor.v16f32", _vector)
"""The whole numbers not above."""
root = _function("llvm.sqrt.v16f32", _vector)
"""Square roots."""
greatest = _function("llvm.vector.reduce.fmax.v16f32", types.float32)
"""The largest number of a vector."""
total = _function("llvm.vector.reduce.fadd.v16f32", types.float32, start=0.0)
"""The sum of a vector."""


@_intrinsic
def power_of_two(typing: Any, value: Any) -> Any:
    """2 to the power of whole numbers from -126 to 127."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        whole = ir.VectorType(_INT, WIDTH)
        biased = builder.add(builder.fptosi(given[0], whole), ir.Constant(whole, [127] * WIDTH))
        return builder.bitcast(builder.shl(biased, ir.Constant(whole, [23] * WIDTH)), _VECTOR)

    return _vector(value), generate


def _tile(many: int, width: int, chains: int) -> Any:
    """A part of a product of matrices: `many` sums of `width` numbers that stay in registers while the inputs go by.

    Returns:
        What adds up, over the inputs i, number i of each of `many` columns times the vector i, and writes that to y. With
        many = 1 the columns are a row of activations and the vectors are weights, and so is the bias; otherwise the columns are
        weights and the vectors activations. `chains` inputs are taken at once: sums that wait for one another less.
    """
    wide = ir.VectorType(_FLOAT, width)

    @_intrinsic
    def tile(typing: Any, column: Any, at: Any, stride: Any, vector: Any, where: Any, step: Any, bias: Any, first: Any, y: Any,
             out: Any, apart: Any, inputs: Any) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            pointers = [_pointer(context, builder, signature.args[n], *given[n : n + 2]) for n in (0, 3, 6, 8)]
            columns, vectors, biases, results = pointers
            one = [ir.Constant(_INDEX, r) for r in range(many)]
            zero = ir.Constant(wide, [0.0] * width)
            if many == 1:
                begin = [_read(builder, biases, wide)]
            else:
                begin = [_spread(builder, builder.load(builder.gep(biases, [r])), wide) for r in one]
            before, body = builder.block, builder.append_basic_block("inputs")
            builder.branch(body)
            builder.position_at_end(body)
            index = builder.phi(_INDEX)
            sums = [[builder.phi(wide) for _ in one] for _ in range(chains)]
            for chain, held in enumerate(sums):
                i = builder.add(index, ir.Constant(_INDEX, chain))
                values = _read(builder, builder.gep(vectors, [builder.mul(i, given[5])]), wide)
                row = builder.gep(columns, [builder.mul(i, given[2])])
                for r, (each, initial) in enumerate(zip(held, begin if chain == 0 else [zero] * many, strict=True)):
                    factor = _spread(builder, builder.load(builder.gep(row, [one[r]])), wide)
                    each.add_incoming(initial, before)
                    each.add_incoming(builder.fadd(builder.fmul(factor, values, flags=_FLAGS), each, flags=_FLAGS), body)
            following = builder.add(index, ir.Constant(_INDEX, chains))
            index.add_incoming(ir.Constant(_INDEX, 0), before)
            index.add_incoming(following, body)
            behind = builder.append_basic_block("results")
            builder.cbranch(builder.icmp_signed("<", following, given[11]), body, behind)
            builder.position_at_end(behind)
            for r in range(many):
                result = sums[0][r].incomings[1][0]
                for chain in range(1, chains):
                    result = builder.fadd(result, sums[chain][r].incomings[1][0], flags=_FLAGS)
                _write(builder, result, builder.gep(results, [builder.mul(given[10], one[r])]))
            return context.get_dummy_value()

        return types.void(*(column, at, stride, vector, where, step, bias, first, y, out, apart, inputs)), generate

    return tile


_OUTPUTS = 8
_together = _tile(_OUTPUTS, LANES, 1)
_long, _short = _tile(1, PANEL, 4), _tile(1, WIDTH, 8)


@inner
def product(x, weight, bias, y):  # type: ignore[no-untyped-def]
    """Y [O, B] = bias [O] + weight [I, O] transposed @ x [I, B].

    B is 1 or LANES, I and O are multiples of WIDTH, and the entries of `weight` lie in `panels`.
    """
    inputs, outputs = weight.shape
    long = outputs - outputs % PANEL
    if x.shape[1] == 1:
        for o in range(0, long, PANEL):
            _long(x, 0, 1, weight, o * inputs, PANEL, bias, o, y, o, 0, inputs)
        for o in range(long, outputs, WIDTH):
            _short(x, 0, 1, weight, o * inputs, WIDTH, bias, o, y, o, 0, inputs)
    else:
        for o in range(0, outputs, _OUTPUTS):
            width = PANEL if o < long else WIDTH
            at = (o - o % width) * inputs + o % width
            _together(weight, at, width, x, 0, LANES, bias, o, y, o * LANES, LANES, inputs)


@compiled
def repeat_product(x, weight, bias, y, times):  # type: ignore[no-untyped-def]
    """The same product so many times: what the machine can do at most."""
    for _ in range(times):
        product(x, weight, bias, y)


def panels(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Order weights [..., I, O] as a product reads them: PANEL outputs of all inputs, and so on, the last ones WIDTH by WIDTH.

    Memory far from the processor is read about twice as fast in order.

    Returns:
        An array of the same shape.
    """
    outputs = weight.shape[-1]
    bounds = [*range(0, outputs - outputs % PANEL, PANEL), *range(outputs - outputs % PANEL, outputs, WIDTH), outputs]
    parts = [weight[..., a:b].reshape(*weight.shape[:-2], -1) for a, b in zip(bounds, bounds[1:], strict=False)]
    return np.ascontiguousarray(np.concatenate(parts, -1).reshape(weight.shape))
