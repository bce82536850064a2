"""Pooling of images in any layout: window maxima, their positions, and the way back for gradients.

Vectors run along the output's columns, or along the channels where those are together in memory. Windows lie inside
the image: with padding, or a last window that sticks out, there is no kernel and the caller computes otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.types import Array
from tinygraph.errors import ShapeError
from tinygraph.kernels.builder import Function, Offset, Value, splat, width_of
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

Run = Callable[[], Any]
Place = tuple[Offset, Offset, Offset, Offset]  # image, channel, row, column


class Windows(NamedTuple):
    """Windows over images of `height` x `width`; all pairs are vertical and horizontal."""

    height: int
    width: int
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    dtype: str
    rows: int
    columns: int


class Strides(NamedTuple):
    """Elements from one image, channel, row and column of an array to the next."""

    image: int
    channel: int
    row: int
    column: int


def windows(
    x: tuple[int, ...],
    out: tuple[int, ...],
    dtype: DTypeLike,
    *,
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Windows | None:
    """The windows of images (N, C, H, W) or (N, C, W) that make results of shape `out`, or None if not supported.

    Supported are float32 and float64, and windows without padding.
    """
    if len(x) not in (3, 4) or np.dtype(dtype).name not in ("float32", "float64") or not math.prod(out):
        return None
    flat = (1,) * (4 - len(x))
    (height, width), (rows, columns) = ((*flat, *shape[2:]) for shape in (x, out))
    (a, b), (down, right), (dy, dx) = ((*flat, *numbers) for numbers in (size, stride, dilation))
    if (rows - 1) * down + (a - 1) * dy >= height or (columns - 1) * right + (b - 1) * dx >= width:
        return None
    return Windows(height, width, (a, b), (down, right), (dy, dx), np.dtype(dtype).name, rows, columns)


def max_pool(made: Windows, x: Array, out: Array) -> Run | None:
    """A call that writes each window's maximum; nan wins. None for results with strides that vectors do not fit."""
    return _bound_maxima(made, False, x, out)


def max_pool_index(made: Windows, x: Array, out: Array) -> Run | None:
    """A call that writes, as int64, the flat position in its image of each window's first maximum; nan wins."""
    return _bound_maxima(made, True, x, out)


def _bound_maxima(made: Windows, positions: bool, x: Array, out: Array) -> Run | None:
    strides, result = _strides(x), _strides(out)
    if result.channel != 1 and result.column != 1:
        return None
    kernel = _maxima(made, positions, out.shape[1], strides, result, this_cpu())
    return kernel.bind(x, out, span=len(x))


def scatter_windows(values: Array, index: Array, out: Array) -> Run:
    """A call that adds values (N, C, *output) at flat int64 positions of each channel of `out` (N, C, *spatial).

    The call raises ShapeError if a position is out of range.
    """
    spatial = (1, 1, *out.shape[2:])[-2:]
    size = len(values), values.shape[1], *(1, 1, *values.shape[2:])[-2:]
    strays = np.zeros(1, np.int64)
    strides = _strides(values), _strides(index), _strides(out)
    kernel = _scatter(size, spatial, values.dtype.name, *strides, this_cpu())
    scatter = kernel.bind(values, index, out, strays).run

    def run() -> None:
        out.fill(0)
        scatter()
        if strays[0]:
            raise ShapeError(f"{strays[0]} positions of the index are not from 0 to {math.prod(spatial) - 1}")

    return run


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
def _maxima(made: Windows, positions: bool, channels: int, x: Strides, out: Strides, cpu: Cpu) -> Kernel:
    lanes = cpu.lanes(made.dtype)
    along = out.channel == 1 and (channels >= lanes or out.column != 1)  # vectors run along the channels
    size = channels if along else made.columns
    outer = (made.rows, made.columns) if along else (channels, made.rows)
    whole = size // lanes * lanes

    def write(code: Function) -> None:
        def image(n: Offset) -> None:
            source = code.at(code.pointers["x"], code.offset((n, x.image)), made.dtype)
            result = code.at(
                code.pointers["out"], code.offset((n, out.image)), "int64" if positions else made.dtype
            )

            def windows(indices: list[Offset], _: list[Value]) -> None:
                def vector(i: Offset, width: int) -> None:
                    c, y, column = (i, *indices) if along else (*indices, i)
                    best, where = _first_maximum(code, made, source, x, (c, y, column), along, width)
                    place = code.offset((c, out.channel), (y, out.row), (column, out.column))
                    code.store(where if positions else best, result, place)

                code.loop(0, whole, lanes, lambda i, _: vector(i, lanes))
                if whole < size:
                    vector(whole, size - whole)

            code.nest(outer, windows)

        code.units(image)

    name = "max pool index" if positions else "max pool"
    return compile_kernel(name, ["x", "out"], write, splits=1, distinct=True, cpu=cpu)


def _first_maximum(
    code: Function,
    made: Windows,
    source: Value,
    strides: Strides,
    window: tuple[Offset, Offset, Offset],
    along: bool,
    width: int,
) -> tuple[Value, Value]:
    """The maxima of neighbouring windows, in channels or in columns, and their flat positions."""
    c, y, column = window
    (down, right), (dy, dx) = made.stride, made.dilation
    first = code.offset((c, strides.channel), (y, down * strides.row), (column, right * strides.column))
    step = strides.channel if along else right * strides.column
    corners = code.ramp(code.offset((y, down * made.width), (column, right)), 0 if along else right, width)
    best = where = None
    for i in range(made.size[0]):
        for j in range(made.size[1]):
            offset = code.offset(first, i * dy * strides.row + j * dx * strides.column)
            value = code.load_strided(source, offset, step, made.dtype, width)
            place = code.ir.add(corners, splat(i * dy * made.width + j * dx, "int64", width))
            if best is None:
                best, where = value, place
                continue
            # larger, or the first nan
            wins = code.ir.and_(code.ir.not_(code.compare("<=", value, best)), code.compare("==", best, best))
            best, where = code.select(wins, value, best), code.select(wins, place, where)
    return best, where


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
    size: tuple[int, int, int, int],
    spatial: tuple[int, int],
    dtype: str,
    values: Strides,
    index: Strides,
    out: Strides,
    cpu: Cpu,
) -> Kernel:
    # single elements, in the order in which the index lies in memory
    order = sorted(range(4), key=lambda axis: -index[axis])

    def write(code: Function) -> None:
        pointers = code.pointers
        zero = splat(0, "int64", 1)

        def one(indices: list[Offset], strays: list[Value]) -> list[Value]:
            at = [indices[order.index(axis)] for axis in range(4)]
            place, value = (
                code.load(pointers[name], code.offset(*zip(at, strides, strict=True)), kind)
                for name, strides, kind in (("index", index, "int64"), ("values", values, dtype))
            )
            inside = code.ir.icmp_unsigned("<", place, splat(math.prod(spatial), "int64", 1))
            row, column = code.divide_index(code.select(inside, place, zero), spatial[1])
            target_place = code.offset(
                (at[0], out.image), (at[1], out.channel), (row, out.row), (column, out.column)
            )
            value = code.select(inside, value, splat(0, dtype, 1))
            code.store(
                code.add(code.load(pointers["out"], target_place, dtype), value),
                pointers["out"],
                target_place,
            )
            return [code.ir.add(strays[0], code.select(inside, zero, splat(1, "int64", 1)))]

        start = [zero]
        (total,) = code.nest([size[axis] for axis in order], one, start) if math.prod(spatial) else start
        code.store(total, pointers["strays"])

    names = ["values", "index", "out", "strays"]
    return compile_kernel("scatter windows", names, write, distinct=True, cpu=cpu)
