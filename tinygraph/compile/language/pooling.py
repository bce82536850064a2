"""Pooling of ordinary arrays (NCHW): window maxima, their positions, and the way back for gradients.

Vectors run along the output's columns. Windows lie inside the image: with padding, or a last window that sticks out,
there is no kernel and the caller computes otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compile.language.builder import Function, Offset, Value, splat
from tinygraph.compile.language.module import Kernel, compile_kernel, kept
from tinygraph.compile.language.target import Target, current_target
from tinygraph.errors import ShapeError

Array = np.ndarray[Any, Any]
Run = Callable[[], Any]


class Windows(NamedTuple):
    """Windows over planes of `height` x `width`; all pairs are vertical and horizontal."""

    height: int
    width: int
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    dtype: str
    rows: int
    columns: int


def windows(
    x: Array, out: Array, *, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Windows | None:
    """The windows of x (N, C, H, W) or (N, C, W) that make `out`, or None where that is not supported.

    Supported are float32 and float64, contiguous arrays and windows without padding.
    """
    if x.ndim not in (3, 4) or x.dtype.name not in ("float32", "float64") or not out.size:
        return None
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        return None
    flat = (1,) * (4 - x.ndim)
    (height, width), (rows, columns) = ((*flat, *array.shape[2:]) for array in (x, out))
    (a, b), (down, right), (dy, dx) = ((*flat, *numbers) for numbers in (size, stride, dilation))
    if (rows - 1) * down + (a - 1) * dy >= height or (columns - 1) * right + (b - 1) * dx >= width:
        return None
    return Windows(height, width, (a, b), (down, right), (dy, dx), x.dtype.name, rows, columns)


def max_pool(made: Windows, x: Array, out: Array) -> Run:
    """A call that writes each window's maximum; nan wins."""
    return _maxima(made, False, current_target()).bind(x, out, counts=[_planes(out)]).run


def max_pool_index(made: Windows, x: Array, out: Array) -> Run:
    """A call that writes, as int64, the flat position in its plane of each window's first maximum; nan wins."""
    return _maxima(made, True, current_target()).bind(x, out, counts=[_planes(out)]).run


def scatter_windows(values: Array, index: Array, out: Array) -> Run:
    """A call that adds values (N, C, *output) at flat int64 positions of each plane of `out` (N, C, *spatial).

    The call raises ShapeError if a position is out of range.
    """
    sizes = math.prod(values.shape[2:]), math.prod(out.shape[2:])
    strays = np.zeros(1, np.int64)
    kernel = _scatter(*sizes, values.dtype.name, current_target())
    scatter = kernel.bind(values, index, out, strays, counts=[_planes(out)]).run

    def run() -> None:
        scatter()
        if strays[0]:
            raise ShapeError(f"{strays[0]} positions of the index are not from 0 to {sizes[1] - 1}")

    return run


def _planes(array: Array) -> int:
    return int(array.shape[0] * array.shape[1])


@kept
def _maxima(made: Windows, positions: bool, target: Target) -> Kernel:
    lanes = target.lanes(made.dtype)
    whole = made.columns // lanes * lanes

    def write(code: Function) -> None:
        def plane(n: Offset, _: list[Value]) -> None:
            source = code.at(code.pointers["x"], code.offset((n, made.height * made.width)), made.dtype)
            start = code.offset((n, made.rows * made.columns))
            result = code.at(code.pointers["out"], start, "int64" if positions else made.dtype)

            def row(y: Offset, _: list[Value]) -> None:
                def vector(x: Offset, width: int) -> None:
                    best, where = _first_maximum(code, made, source, y, x, width)
                    code.store(where if positions else best, result, code.offset((y, made.columns), x))

                code.loop(0, whole, lanes, lambda x, _: vector(x, lanes))
                if whole < made.columns:
                    vector(whole, made.columns - whole)

            code.loop(0, made.rows, 1, row)

        code.loop(0, code.counts["planes"], 1, plane)

    name = "max pool index" if positions else "max pool"
    return compile_kernel(name, ["x", "out"], write, counts=["planes"], distinct=True, target=target)


def _first_maximum(
    code: Function, made: Windows, source: Value, y: Offset, x: Offset, width: int
) -> tuple[Value, Value]:
    """The maxima of neighbouring windows, and their flat positions."""
    first = code.offset((y, made.stride[0] * made.width), (x, made.stride[1]))
    corners = code.ramp(first, made.stride[1], width)
    best = where = None
    for i in range(made.size[0]):
        for j in range(made.size[1]):
            tap = i * made.dilation[0] * made.width + j * made.dilation[1]
            value = code.load_strided(source, code.offset(first, tap), made.stride[1], made.dtype, width)
            place = code.ir.add(corners, splat(tap, "int64", width))
            if best is None:
                best, where = value, place
                continue
            # larger, or the first nan
            wins = code.ir.and_(code.ir.not_(code.compare("<=", value, best)), code.compare("==", best, best))
            best, where = code.select(wins, value, best), code.select(wins, place, where)
    return best, where


@kept
def _scatter(values: int, places: int, dtype: str, target: Target) -> Kernel:
    def write(code: Function) -> None:
        pointers = code.pointers
        zero = splat(0, "int64", 1)

        def plane(n: Offset, strays: list[Value]) -> list[Value]:
            result = code.at(pointers["out"], code.offset((n, places)), dtype)
            code.clear(result, 0, places, dtype)

            def one(i: Offset, strays: list[Value]) -> list[Value]:
                at = code.offset((n, values), i)
                place, value = (
                    code.load(pointers["index"], at, "int64"),
                    code.load(pointers["values"], at, dtype),
                )
                inside = code.ir.icmp_unsigned("<", place, splat(places, "int64", 1))
                place = code.select(inside, place, zero)
                value = code.select(inside, value, splat(0, dtype, 1))
                code.store(code.add(code.load(result, place, dtype), value), result, place)
                return [code.ir.add(strays[0], code.select(inside, zero, splat(1, "int64", 1)))]

            return code.loop(0, values, 1, one, strays) if places else strays

        (total,) = code.loop(0, code.counts["planes"], 1, plane, [zero])
        code.store(total, pointers["strays"])

    names = ["values", "index", "out", "strays"]
    return compile_kernel("scatter windows", names, write, counts=["planes"], distinct=True, target=target)
