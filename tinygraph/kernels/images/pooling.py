"""Numbers scattered over images: to the maxima of windows that lie side by side, and to any positions.

What windows hold, and the way back from windows that overlap, is in `window_tables.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.types import Array, Shape
from tinygraph.errors import ShapeError
from tinygraph.kernels.builder import Function, Offset, Value, splat, width_of
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program
from tinygraph.kernels.emission import Code
from tinygraph.kernels.images.window_tables import strides_of
from tinygraph.kernels.lowering import Check, Run, in_order
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

Place = tuple[Offset, Offset, Offset, Offset]  # image, channel, row, column


class Windows(NamedTuple):
    """Windows of one size side by side on images of `height` x `width`, in `rows` and `columns`."""

    height: int
    width: int
    size: tuple[int, int]
    dtype: str
    rows: int
    columns: int


class Strides(NamedTuple):
    """Elements from one image, channel, row and column of an array to the next."""

    image: int
    channel: int
    row: int
    column: int


def side_by_side(x: Shape, out: Shape, dtype: DTypeLike, size: Sequence[int]) -> Windows:
    """The windows of images (N, C, H, W) or (N, C, W) that make results of shape `out`."""
    flat = (1,) * (4 - len(x))
    (height, width), (rows, columns), (a, b) = ((*flat, *one) for one in (x[2:], out[2:], size))
    return Windows(height, width, (a, b), np.dtype(dtype).name, rows, columns)


def scatter_windows(values: Array, index: Array, out: Array) -> Run:
    """A call that fills `out` (N, C, *spatial) with zeros and adds values (N, C, *output) at flat int64 positions.

    The call raises ShapeError if a position is out of range.
    """
    spatial = tuple((1, 1, 1, *out.shape[2:])[-3:])
    size = len(values), values.shape[1], *(1, 1, 1, *values.shape[2:])[-3:]
    strays = np.zeros(1, np.int64)
    strides = tuple(map(strides_of, (values, index, out)))
    kernel = _scatter(size, spatial, values.dtype.name, strides, this_cpu())

    def complain() -> None:
        outside = np.count_nonzero((index < 0) | (index >= math.prod(spatial)))
        raise ShapeError(f"{outside} positions of the index are not from 0 to {math.prod(spatial) - 1}")

    return in_order(kernel.bind(values, index, out, strays), Check(strays, complain))


def scatter_to_maxima(
    made: Windows, inputs: Sequence[Any], outputs: Sequence[Array], program: Program | None = None
) -> Run:
    """A call that writes each window's number at its first maximum, and zeros elsewhere: the gradient of `max_pool`.

    Args:
        made: windows side by side.
        inputs: numbers of windows, the images, and what an epilogue reads.
        outputs: what it writes; without a program, the result alone.
        program: an epilogue, of the number that reaches an element of the images and of elements of further inputs.
    """
    out = outputs[0]
    program = program or Program((made.dtype,), (), (0,))
    arrays = [inputs[0], *(np.broadcast_to(one, out.shape) for one in inputs[1:]), *outputs]
    strides = tuple(map(_strides, arrays))
    together = all(one.channel == 1 for one in (strides[1], *strides[-len(outputs) :]))
    kernel = _scatter_to_maxima(made, out.shape[1], strides, together, program, this_cpu())
    return kernel.bind(*inputs, *outputs, span=len(out))


def _strides(array: Array) -> Strides:
    image, channel, *spatial = (stride // array.dtype.itemsize for stride in array.strides)
    return Strides(image, channel, *(0, *spatial)[-2:])


@kept
def _scatter_to_maxima(
    made: Windows, channels: int, strides: tuple[Strides, ...], together: bool, program: Program, cpu: Cpu
) -> Kernel:
    # vectors of channels where these are together in the images and in what is written, or else single elements
    lanes = cpu.lanes(made.dtype) if together else 1
    read = ("values", "x", *(f"operand{i}" for i in range(len(program.inputs) - 1)))
    written = tuple(f"out{i}" for i in range(len(program.outputs)))
    names = (*read, *written)
    dtypes = (made.dtype, made.dtype, *program.inputs[1:], *[made.dtype] * len(written))
    height, width = made.size

    def write(code: Code) -> None:
        def place(name: str, at: Place) -> tuple[Value, Offset, int, str]:
            i = names.index(name)
            return (
                code.pointers[name],
                code.offset(*zip(at, strides[i], strict=True)),
                strides[i].channel,
                dtypes[i],
            )

        def read_at(name: str, at: Place, lanes: int) -> Value:
            array, offset, step, dtype = place(name, at)
            return code.load_strided(array, offset, step, dtype, lanes)

        def finish(value: Value, at: Place, lanes: int) -> None:
            operands = [read_at(name, at, lanes) for name in read[2:]]
            results = emit_program(code, program, [value, *operands], lanes)
            for name, one in zip(written, results, strict=True):
                code.store(one, *place(name, at)[:2])

        def image(n: Offset) -> None:
            def window(c: Offset, y: Offset, x: Offset, lanes: int) -> None:
                corner = code.offset((y, height)), code.offset((x, width))
                taps = [
                    (code.offset(corner[0], i), code.offset(corner[1], j))
                    for i, j in np.ndindex(height, width)
                ]
                seen = [read_at("x", (n, c, *tap), lanes) for tap in taps]
                value = read_at("values", (n, c, y, x), lanes)
                for tap, mine in zip(taps, _first_of(code, seen), strict=True):
                    finish(code.select(mine, value, splat(0, made.dtype, lanes)), (n, c, *tap), lanes)

            def outside(c: Offset, y: Offset, x: Offset, lanes: int) -> None:
                finish(splat(0, made.dtype, lanes), (n, c, y, x), lanes)

            def all_channels(body: Callable[..., None], y: Offset, x: Offset) -> None:
                whole = channels // lanes * lanes
                code.loop(0, whole, lanes, lambda c, _: body(c, y, x, lanes))
                if whole < channels:
                    body(whole, y, x, channels - whole)

            bottom, right = made.rows * height, made.columns * width
            code.nest([made.rows, made.columns], lambda at, _: all_channels(window, *at))
            code.nest(
                [made.height - bottom, made.width],
                lambda at, _: all_channels(outside, code.offset(at[0], bottom), at[1]),
            )
            code.nest(
                [bottom, made.width - right],
                lambda at, _: all_channels(outside, at[0], code.offset(at[1], right)),
            )

        code.units(image)

    return compile_kernel("scatter to maxima", names, write, splits=1, cpu=cpu)


def _first_of(code: Code, seen: Sequence[Value]) -> list[Value]:
    """For each of some vectors, in which lanes it is the first maximum; the first nan wins."""
    best, mine = seen[0], [splat(True, "bool", width_of(seen[0]))]
    for value in seen[1:]:
        wins = code.ir.and_(code.ir.not_(code.compare("<=", value, best)), code.compare("==", best, best))
        best = code.select(wins, value, best)
        mine = [*(code.ir.and_(one, code.ir.not_(wins)) for one in mine), wins]
    return mine


@kept
def _scatter(
    size: tuple[int, ...],
    spatial: tuple[int, ...],
    dtype: str,
    strides: tuple[tuple[int, ...], ...],
    cpu: Cpu,
) -> Kernel:
    values, index, out = strides
    # single elements, in the order in which the index lies in memory
    order = sorted(range(5), key=lambda axis: -index[axis])
    sizes = (*size[:2], *spatial)
    cleared = sorted(range(5), key=lambda axis: -out[axis])

    def write(code: Function) -> None:
        pointers = code.pointers
        zero = splat(0, "int64", 1)

        def clear(indices: list[Offset], _: list[Value]) -> None:
            at = code.offset(*((i, out[axis]) for i, axis in zip(indices, cleared, strict=False)))
            last = cleared[-1]
            if out[last] == 1:
                code.clear(pointers["out"], at, sizes[last], dtype)
                return
            code.loop(
                0,
                sizes[last],
                1,
                lambda i, _: code.store(splat(0, dtype, 1), pointers["out"], code.offset(at, (i, out[last]))),
            )

        def one(indices: list[Offset], strays: list[Value]) -> list[Value]:
            at = [indices[order.index(axis)] for axis in range(5)]
            place, value = (
                code.load(pointers[name], code.offset(*zip(at, strides, strict=True)), kind)
                for name, strides, kind in (("index", index, "int64"), ("values", values, dtype))
            )
            inside = code.ir.icmp_unsigned("<", place, splat(math.prod(spatial), "int64", 1))
            plane, column = code.divide_index(code.select(inside, place, zero), spatial[2])
            depth, row = code.divide_index(plane, spatial[1])
            target = code.offset(*zip((*at[:2], depth, row, column), out, strict=True))
            value = code.select(inside, value, splat(0, dtype, 1))
            code.store(code.add(code.load(pointers["out"], target, dtype), value), pointers["out"], target)
            return [code.ir.add(strays[0], code.select(inside, zero, splat(1, "int64", 1)))]

        code.nest([sizes[axis] for axis in cleared[:-1]], clear)
        (total,) = code.nest([size[axis] for axis in order], one, [zero])
        code.store(total, pointers["strays"])

    names = ["values", "index", "out", "strays"]
    return compile_kernel("scatter windows", names, write, distinct=True, cpu=cpu)
