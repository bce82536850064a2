"""Windows of any kind over images: maxima, their positions and means, and the ways back, in one to three dimensions.

Where windows lie is data: along each axis the positions that each window reads, clipped to the image. So padding,
windows that stick out and adaptive windows of different sizes are the same kernel. A way back reads, for each element
of the image, the windows that contain it: every element is written once, by one thread, in a fixed order of summation.

Vectors run along the channels where those are together in memory, or else along the columns of windows that are alike.
Sums are taken along a row of a window first, then over its rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.core.types import Array
from tinygraph.kernels.builder import Function, Offset, Value, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept

_AXES = 3  # spatial ones; those that images do not have are of one element
_UNROLLED = 8  # taps of a window along an axis that are written out
_SEGMENTS = 8  # runs of windows alike along the columns that get code of their own

Strides = tuple[int, ...]  # image, channel, and three spatial axes


class Along(NamedTuple):
    """The windows along one axis of an image.

    Attributes:
        first: the position that each window reads first.
        counts: how many it reads; none lies outside the image.
        step: from one to the next.
        shares: by how much a mean divides, along this axis.
    """

    first: tuple[int, ...]
    counts: tuple[int, ...]
    step: int
    shares: tuple[int, ...]


class _Alike(NamedTuple):
    """Windows alike: window `i` from `start` to `stop` reads `taps` positions from `first + (i - start) * stride`."""

    start: int
    stop: int
    first: int
    stride: int
    taps: int
    share: int


def counts_in(dtype: np.dtype[Any], positions: int) -> bool:
    """Whether so many positions are numbers of a floating-point dtype, exactly."""
    return bool(positions <= 2 ** np.finfo(dtype).nmant)


def means(windows: Sequence[Along], x: Array, out: Array) -> Bound:
    """A kernel that writes each window's mean.

    >>> halves = Along((0, 2), (2, 2), 1, (2, 2))
    >>> x, out = np.array([[[1.0, 3.0, 5.0, 9.0]]]), np.zeros((1, 1, 2))
    >>> means([halves], x, out)()
    >>> out
    array([[[2., 7.]]])
    """
    return _reduced("mean", windows, x, out)


def maxima(windows: Sequence[Along], x: Array, out: Array) -> Bound:
    """A kernel that writes each window's maximum; nan wins."""
    return _reduced("maximum", windows, x, out)


def positions(windows: Sequence[Along], x: Array, out: Array) -> Bound:
    """A kernel that writes the flat position in its image of each window's first maximum; nan wins.

    Args:
        out: of int64, or of the images' dtype where that counts so far (see `counts_in`).
    """
    return _reduced("position", windows, x, out)


def means_back(windows: Sequence[Along], spatial: Sequence[int], g: Array, out: Array) -> Bound:
    """A kernel that writes the gradient of `means` for images of this size; windows read neighbours (step 1)."""
    return _spread(windows, spatial, [g], out)


def maxima_back(
    windows: Sequence[Along], spatial: Sequence[int], g: Array, index: Array, out: Array
) -> Bound:
    """A kernel that writes each window's number at its position, found by `positions`; step 1."""
    return _spread(windows, spatial, [g, index], out)


def _reduced(what: str, windows: Sequence[Along], x: Array, out: Array) -> Bound:
    strides = strides_of(x), strides_of(out)
    sizes = tuple((1,) * (_AXES - len(windows)) + x.shape[2:])
    dtypes = x.dtype.name, out.dtype.name
    kernel = _windows(what, _padded(windows), sizes, x.shape[1], strides, dtypes, this_cpu())
    return kernel.bind(x, out, span=len(x))


def _spread(windows: Sequence[Along], spatial: Sequence[int], read: Sequence[Array], out: Array) -> Bound:
    readers = tuple(map(_readers, windows, spatial))
    shares = tuple(one.shares for one in _padded(windows))
    strides = tuple(map(strides_of, (*read, out)))
    dtypes = out.dtype.name, read[-1].dtype.name
    kernel = _back(_padded(readers), shares, out.shape[1], strides, dtypes, this_cpu())
    return kernel.bind(*read, out, span=len(out))


def _readers(windows: Along, size: int) -> Along:
    """Along one axis, for each element the windows that read it: neighbours, for windows begin and end in order."""
    ends = [first + count for first, count in zip(windows.first, windows.counts, strict=True)]
    first = np.searchsorted(ends, np.arange(size), side="right")
    stop = np.searchsorted(windows.first, np.arange(size), side="right")
    count = np.maximum(stop - first, 0)
    return Along(tuple(first.tolist()), tuple(count.tolist()), 1, (1,) * size)


def _padded(windows: Sequence[Along]) -> tuple[Along, ...]:
    return (Along((0,), (1,), 1, (1,)),) * (_AXES - len(windows)) + tuple(windows)


def strides_of(array: Array) -> Strides:
    """Elements from one image, channel, plane, row and column to the next."""
    image, channel, *spatial = (stride // array.dtype.itemsize for stride in array.strides)
    return (image, channel, *(0,) * (_AXES - len(spatial)), *spatial)


def _segments(along: Along) -> list[_Alike]:
    """The windows in runs of such that are alike, whose firsts are evenly spaced."""
    found: list[_Alike] = []
    for i, (first, count, share) in enumerate(zip(along.first, along.counts, along.shares, strict=True)):
        last = found[-1] if found else None
        if last is not None and (last.taps, last.share) == (count, share):
            gap = first - last.first
            if last.stop - last.start == 1:
                found[-1] = last._replace(stop=i + 1, stride=gap)
                continue
            if gap == (i - last.start) * last.stride:
                found[-1] = last._replace(stop=i + 1)
                continue
        found.append(_Alike(i, i + 1, first, 0, count, share))
    return found


class _Windowed:
    """Windows along one axis, as code: by numbers where they are all alike, by a table otherwise."""

    def __init__(self, code: Function, along: Along) -> None:
        self._code, self.along = code, along
        segments = _segments(along)
        self._alike = segments[0] if len(segments) == 1 else None
        if self._alike is None:
            self._first, self._count = code.table(along.first), code.table(along.counts)
        self._shares = shares(code, along.shares)

    def window(self, i: Offset) -> tuple[Offset, Offset, Offset]:
        """The first position that window i reads, how many it reads, and its share."""
        one = self._alike
        if one is not None:
            return self._code.offset((i, one.stride), one.first), one.taps, one.share
        return self._code.lookup(self._first, i), self._code.lookup(self._count, i), self._shares(i)


def shares(code: Function, numbers: Sequence[int]) -> Callable[[Offset], Offset]:
    """Numbers by index: the number itself, where there is only one."""
    if len(set(numbers)) == 1:
        return lambda i: numbers[0]
    table = code.table(numbers)
    return lambda i: code.lookup(table, i)


def _over(
    code: Function,
    count: Offset,
    body: Callable[[Offset, list[Value]], Sequence[Value]],
    carried: Sequence[Value],
) -> list[Value]:
    """A loop over the taps of a window, written out if they are few."""
    if not isinstance(count, int) or count > _UNROLLED:
        return code.loop(0, count, 1, body, carried)
    values = list(carried)
    for tap in range(count):
        values = list(body(tap, values))
    return values


@kept
def _windows(
    what: str,
    windows: tuple[Along, ...],
    sizes: tuple[int, ...],
    channels: int,
    strides: tuple[Strides, Strides],
    dtypes: tuple[str, str],
    cpu: Cpu,
) -> Kernel:
    (x, out), (dtype, _) = strides, dtypes
    depth, rows, columns = (len(one.first) for one in windows)
    lanes = cpu.lanes(dtype)
    segments = _segments(windows[2])
    along = out[1] == 1 and x[1] == 1 and (channels >= lanes or out[4] != 1)

    def write(code: Function) -> None:
        axes = [_Windowed(code, one) for one in windows]

        def unit(number: Offset) -> None:
            n, inside = code.divide_index(number, depth * rows)
            z, y = code.divide_index(inside, rows)
            outer = axes[0].window(z), axes[1].window(y)
            source = code.at(code.pointers["x"], code.offset((n, x[0])), dtype)
            row = code.offset((n, out[0]), (z, out[2]), (y, out[3]))

            def windows_at(
                c: Offset, i: Offset, last: tuple[Offset, Offset, Offset], gap: int, width: int
            ) -> None:
                step = x[1] if along else gap * x[4]
                start = code.offset((c, x[1]))
                apart = step, 0 if along else gap
                window = *outer, last
                value = _of_window(code, what, source, start, window, windows, sizes, x, dtypes, apart, width)
                code.store(value, code.pointers["out"], code.offset(row, (c, out[1]), (i, out[4])))

            def in_channels() -> None:
                def column(i: Offset, _: list[Value]) -> None:
                    last = axes[2].window(i)
                    _vectors(code, 0, channels, lanes, lambda c, width: windows_at(c, i, last, 0, width))

                code.loop(0, columns, 1, column)

            def in_columns(c: Offset, _: list[Value]) -> None:
                if len(segments) > _SEGMENTS:
                    code.loop(0, columns, 1, lambda i, _: windows_at(c, i, axes[2].window(i), 0, 1))
                    return
                for one in segments:

                    def some(i: Offset, width: int, one: _Alike = one) -> None:
                        first = code.offset((i, one.stride), one.first - one.start * one.stride)
                        windows_at(c, i, (first, one.taps, one.share), one.stride, width)

                    _vectors(code, one.start, one.stop, lanes if out[4] == 1 else 1, some)

            if along:
                in_channels()
            else:
                code.loop(0, channels, 1, in_columns)

        code.units(unit)

    return compile_kernel(f"window {what}s", ["x", "out"], write, splits=depth * rows, distinct=True, cpu=cpu)


def _vectors(code: Function, start: int, stop: int, lanes: int, body: Callable[[Offset, int], None]) -> None:
    """All of a range, in vectors and one shorter one."""
    whole = start + (stop - start) // lanes * lanes

    def vector(i: Offset, _: list[Value]) -> None:
        body(i, lanes)

    code.loop(start, whole, lanes, vector)
    if whole < stop:
        body(whole, stop - whole)


def _of_window(
    code: Function,
    what: str,
    source: Value,
    start: Offset,
    window: Sequence[tuple[Offset, Offset, Offset]],
    windows: Sequence[Along],
    sizes: Sequence[int],
    strides: Strides,
    dtypes: tuple[str, str],
    apart: tuple[int, int],
    width: int,
) -> Value:
    """What is made of one window, or of several, so many elements and columns apart."""
    (step, gap), (dtype, made) = apart, dtypes
    steps = [one.step for one in windows]
    mean = what == "mean"
    nothing = splat(0.0 if mean else -math.inf, dtype, width)

    def at(taps: Sequence[Offset]) -> list[Offset]:
        pairs = zip(window, taps, steps, strict=True)
        return [code.offset(first, (tap, apart)) for (first, _, _), tap, apart in pairs]

    def flat(place: Sequence[Offset]) -> Value:
        z, y, x = place
        number = code.offset((z, sizes[1] * sizes[2]), (y, sizes[2]), x)
        return _number(code, number, gap, made, width)

    begin = [nothing] if mean else [nothing, flat(at([0, 0, 0]))]

    def tap(i: Offset, held: list[Value], outer: Sequence[Offset]) -> list[Value]:
        place = at([*outer, i])
        offset = code.offset(start, *zip(place, strides[2:], strict=True))
        value = code.load_strided(source, offset, step, dtype, width)
        if mean:
            return [code.add(held[0], value)]
        best, where = held
        # larger, or the first nan
        wins = code.ir.and_(code.ir.not_(code.compare("<=", value, best)), code.compare("==", best, best))
        best = code.select(wins, value, best)
        return [best, code.select(wins, flat(place), where) if what == "position" else where]

    def row(i: Offset, held: list[Value], outer: Sequence[Offset]) -> list[Value]:
        given = [nothing] if mean else held
        found = _over(code, window[2][1], lambda j, now: tap(j, now, [*outer, i]), given)
        return [code.add(held[0], found[0])] if mean else found

    def plane(i: Offset, held: list[Value]) -> list[Value]:
        return _over(code, window[1][1], lambda j, now: row(j, now, [i]), held)

    found = _over(code, window[0][1], plane, begin)
    if mean:
        return code.divide(found[0], _as_lanes(code, code.product([one[2] for one in window]), dtype, width))
    return found[what == "position"]


def _number(code: Function, number: Offset, gap: int, dtype: str, width: int) -> Value:
    """number, number + gap, number + 2 gap ..."""
    if dtype == "int64":
        return code.ramp(number, gap, width)
    first = _as_lanes(code, number, dtype, width)
    steps = [float(lane * gap) for lane in range(width)]
    return code.add(first, ir.Constant(first.type, steps if width > 1 else 0.0)) if gap else first


def _as_lanes(code: Function, number: Offset, dtype: str, width: int) -> Value:
    return code.broadcast(code.as_float(number, dtype), width)


@kept
def _back(
    readers: tuple[Along, ...],
    divisors: tuple[tuple[int, ...], ...],
    channels: int,
    strides: tuple[Strides, ...],
    dtypes: tuple[str, str],
    cpu: Cpu,
) -> Kernel:
    (*read, out), (dtype, counted) = strides, dtypes
    depth, rows, columns = (len(one.first) for one in readers)
    lanes = cpu.lanes(dtype) if all(one[1] == 1 for one in strides) else 1
    mean = len(read) == 1
    alike = all(len(set(one)) == 1 for one in divisors)

    def write(code: Function) -> None:
        axes = [_Windowed(code, one) for one in readers]
        share_of = [shares(code, one) for one in divisors]
        pointers = code.pointers

        def unit(number: Offset) -> None:
            n, inside = code.divide_index(number, depth * rows)
            z, y = code.divide_index(inside, rows)

            def element(c: Offset, i: Offset, width: int) -> None:
                window = axes[0].window(z), axes[1].window(y), axes[2].window(i)
                zero = splat(0, dtype, width)
                mine = _number(code, code.offset((z, rows * columns), (y, columns), i), 0, counted, width)

                def one(taps: Sequence[Offset], held: list[Value]) -> list[Value]:
                    place = [code.offset(first, tap) for (first, _, _), tap in zip(window, taps, strict=True)]

                    def load(name: str, strides: Strides, kind: str) -> Value:
                        at = code.offset(
                            (n, strides[0]), (c, strides[1]), *zip(place, strides[2:], strict=True)
                        )
                        return code.load(pointers[name], at, kind, width)

                    value = load("g", read[0], dtype)
                    if not mean:
                        hit = code.compare("==", load("index", read[1], counted), mine)
                        value = code.select(hit, value, zero)
                    elif not alike:
                        share = code.product([of(at) for of, at in zip(share_of, place, strict=True)])
                        value = code.divide(value, _as_lanes(code, share, dtype, width))
                    return [code.add(held[0], value)]

                def level(taps: list[Offset], held: list[Value]) -> list[Value]:
                    if len(taps) == _AXES:
                        return one(taps, held)
                    return _over(code, window[len(taps)][1], lambda i, now: level([*taps, i], now), held)

                (total,) = level([], [zero])
                if mean and alike:
                    total = code.divide(total, splat(math.prod(one[0] for one in divisors), dtype, width))
                at = code.offset((n, out[0]), (c, out[1]), (z, out[2]), (y, out[3]), (i, out[4]))
                code.store(total, pointers["out"], at)

            def of_columns(c: Offset, width: int) -> None:
                code.loop(0, columns, 1, lambda i, _: element(c, i, width))

            if lanes == 1:
                code.loop(0, channels, 1, lambda c, _: of_columns(c, 1))
            else:

                def column(i: Offset, _: list[Value]) -> None:
                    _vectors(code, 0, channels, lanes, lambda c, width: element(c, i, width))

                code.loop(0, columns, 1, column)

        code.units(unit)

    names = ["g", "out"] if mean else ["g", "index", "out"]
    return compile_kernel("windows back", names, write, splits=depth * rows, distinct=True, cpu=cpu)
