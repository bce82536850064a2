"""Kernels of pools and their ways back: windows in the kernel language; without it NumPy, one tap after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.plugin import Array, ArrayType, Layouts, Lowering, Shape, Sizes, Types
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering, same_float
from tinygraph_ops.pooling.ops import (
    adaptive_average_pool,
    adaptive_average_pool_input_gradient,
    average_pool,
    average_pool_input_gradient,
    max_pool,
    max_pool_index,
    scatter_to_maxima,
    scatter_windows,
)
from tinygraph_ops.windows.geometry import Geometry, pool_geometry
from tinygraph_ops.windows.sliding import adaptive_bounds, divisor, elements_counted

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu
    from tinygraph.kernels.images.window_tables import Along

Index = tuple[Any, ...]


def overlaps(geometry: Geometry) -> list[tuple[Index, Index]]:
    """For each tap, in order, the windows that it lies in the input for, and what it reads there."""
    return [
        ((..., *windows), (..., *reads))
        for windows, reads in (
            zip(*along, strict=True)
            for along in product(*map(partial(_overlaps_along, geometry), range(len(geometry.size))))
        )
    ]


def _overlaps_along(geometry: Geometry, axis: int) -> list[tuple[slice, slice]]:
    stride, (before, _) = geometry.stride[axis], geometry.padding[axis]
    length, count = geometry.x_shape[axis + 2], geometry.output_shape[axis + 2]
    found = []
    for tap in range(geometry.size[axis]):
        offset = tap * geometry.dilation[axis] - before
        first = max(0, -(offset // stride))
        stop = max(first, min(count, (length - 1 - offset) // stride + 1))
        start = first * stride + offset
        found.append((slice(first, stop), slice(start, start + (stop - first) * stride, stride)))
    return found


# -- the maximum ---------------------------------------------------------------------------------------------------


def _lowered(positions: bool, on_numpy: Callable[..., Lowering | None]) -> Callable[..., Lowering | None]:
    """Windows are read where the images lie; results lie as the images do."""

    def lowered(types: Types, layouts: Layouts, cpu: Cpu, **settings: Any) -> Lowering | None:
        x, out = types.inputs[0], types.outputs[0]
        geometry = pool_geometry(x.shape, **settings)
        if not _generated(x, out):
            return on_numpy(x, out, geometry, settings)
        from tinygraph.kernels.images import window_tables

        maxima = window_tables.positions if positions else window_tables.maxima
        found = _along(geometry)

        def bind(inputs: Sequence[Array], outputs: Sequence[Array], scratch: object) -> Run:
            return maxima(found, inputs[0], outputs[0])

        name = "max pool index" if positions else "max pool"
        return Lowering(bind, Layouts((None,), (_like(layouts.inputs[0]),)), name=name)

    return lowered


def _generated(x: ArrayType, out: ArrayType) -> bool:
    """Whether a kernel is generated for windows over these images."""
    return kernels.available() and x.dtype.name in _FLOATS and len(x.shape) <= 5 and bool(x.size and out.size)


def _along(geometry: Geometry, count_include_pad: bool = True) -> list[Along]:
    """What the windows read along each axis, and by how much a mean divides."""
    from tinygraph.kernels.images.window_tables import Along

    found = []
    for axis, step in enumerate(geometry.dilation):
        first = np.arange(geometry.output_shape[axis + 2]) * geometry.stride[axis] - geometry.padding[axis][0]
        first += np.maximum(-(first // step), 0) * step  # past the padding
        count, shares = (elements_counted(geometry, axis, padding) for padding in (False, count_include_pad))
        found.append(Along(tuple(first.tolist()), tuple(count.tolist()), step, tuple(shares.tolist())))
    return found


def _adaptive_along(lengths: Shape, counts: Shape) -> list[Along]:
    """The same of adaptive windows."""
    from tinygraph.kernels.images.window_tables import Along

    found = []
    for length, count in zip(lengths, counts, strict=True):
        first, stop = (tuple(one.tolist()) for one in adaptive_bounds(length, count))
        sizes = tuple(b - a for a, b in zip(first, stop, strict=True))
        found.append(Along(first, sizes, 1, sizes))
    return found


def _like(layout: Any) -> Any:
    return layout and layout.without_halo()


def make_maxima(inputs: Sequence[Any], outputs: Sequence[Array], *, geometry: Geometry) -> Run:
    """Padding is minus infinity: it never wins, for every window holds an element of the input."""
    return _over_taps(np.maximum, -np.inf, inputs[0], outputs[0], geometry)


def _over_taps(ufunc: np.ufunc, start: float, x: Array, out: Array, geometry: Geometry) -> Run:
    """Combine the taps of each window; the first is copied if it lies in the input everywhere."""
    (first, tap), *others = pairs = [(out[windows], x[reads]) for windows, reads in overlaps(geometry)]
    whole = first.shape == out.shape
    begin = partial(np.copyto, out, tap) if whole else partial(out.fill, start)
    remaining = others if whole else pairs
    return in_order(begin, *(partial(ufunc, part, tap, out=part) for part, tap in remaining))


def _maxima(x: ArrayType, out: ArrayType, geometry: Geometry, settings: object) -> Lowering | None:
    if x.dtype.name not in _FLOATS:
        return None
    return numpy_lowering(make_maxima, "NumPy max pool", geometry=geometry)


def make_positions(
    inputs: Sequence[Any], outputs: Sequence[Array], best: Array, wins: Array, offset: Array, mine: Array,
    *, geometry: Geometry, settings: Any,
) -> Run:  # fmt: skip
    """The offset of the tap that exceeds all before it, and of the last such: offsets grow from tap to tap.

    No branch, no masked copy: both would stumble over every other window. NaNs, which exceed nothing, take the op's
    own forward.
    """
    (x,), (out,) = inputs, outputs
    steps = [prod(geometry.x_shape[axis + 1 :]) for axis in range(2, x.ndim)]
    places = np.ix_(*(np.arange(n) * s for n, s in zip(out.shape[2:], geometry.stride, strict=True)))
    first = sum(place * step for place, step in zip(places, steps, strict=True))
    (_, reads), *others = overlaps(geometry)
    calls = [partial(np.copyto, best, x[reads]), partial(offset.fill, 0)]
    for taps, (_, reads) in zip(list(product(*map(range, geometry.size)))[1:], others, strict=True):
        moved = sum(tap * gap * step for tap, gap, step in zip(taps, geometry.dilation, steps, strict=True))
        calls += [
            partial(np.greater, x[reads], best, wins),
            partial(np.maximum, best, x[reads], out=best),
            partial(np.multiply, wins, offset.dtype.type(moved), mine),
            partial(np.maximum, offset, mine, out=offset),
        ]
    find = in_order(*calls, partial(np.add, offset, first, out))

    def run() -> None:
        find()
        if np.isnan(best.max()):
            np.copyto(out, max_pool_index.forward(x, **settings))

    return run


def _positions(x: ArrayType, out: ArrayType, geometry: Geometry, settings: object) -> Lowering | None:
    fits = all(reach <= length for reach, length in zip(geometry.reach, x.shape[2:], strict=True))
    padded = any(before for before, _ in geometry.padding)
    if x.dtype.name not in _FLOATS or padded or not fits or not out.size:
        return None
    offset = ArrayType(out.shape, np.min_scalar_type(prod(x.shape[2:])))
    scratch = (ArrayType(out.shape, x.dtype), ArrayType(out.shape, np.dtype(bool)), offset, offset)
    return numpy_lowering(
        make_positions, "NumPy max pool index", *scratch, geometry=geometry, settings=settings
    )


_FLOATS = ("float32", "float64")
max_pool.lower(_lowered(False, _maxima))
max_pool_index.lower(_lowered(True, _positions))


@scatter_windows.lower
def scatter_windows_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, spatial_shape: Shape
) -> Lowering | None:
    """The generated scatter, or NumPy's `add.at`."""
    (values, index), out = types.inputs, types.outputs[0]
    if out.dtype.name not in _FLOATS or out.dtype != values.dtype:
        return None
    if index.dtype.name != "int64" or index.shape != values.shape or not out.size:
        return None
    if not _generated(values, out):
        return numpy_lowering(make_scatter, "NumPy scatter windows", index, spatial_shape=spatial_shape)
    from tinygraph.kernels.images import pooling

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], scratch: object) -> Run:
        values, index = inputs
        return pooling.scatter_windows(values, index, outputs[0])

    return Lowering(bind, Layouts((None, None), (_like(layouts.inputs[1]),)), name="scatter windows")


@scatter_to_maxima.lower
def scatter_to_maxima_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, spatial_shape: Shape, **settings: Any
) -> Lowering | None:
    """The generated gradient of maxima: in one kernel where windows lie side by side, which takes epilogues."""
    values, x = types.inputs
    if values.dtype != x.dtype or x.shape[2:] != tuple(spatial_shape) or not _generated(values, x):
        return None
    geometry = pool_geometry(x.shape, **settings)
    if values.shape != geometry.output_shape:
        return None
    wanted = Layouts((None, None), (_like(layouts.inputs[1]),))
    beside = geometry.stride == geometry.size and not any(map(any, geometry.padding)) and len(x.shape) < 5
    if not beside or set(geometry.dilation) != {1} or not _lie_inside(geometry):
        return _by_positions(geometry, x.dtype, wanted) if set(geometry.dilation) == {1} else None
    from tinygraph.kernels.images import pooling

    made = pooling.side_by_side(x.shape, values.shape, x.dtype, geometry.size)

    def bind(inputs: Any, outputs: Any, scratch: object, program: Any = None) -> Any:
        return pooling.scatter_to_maxima(made, inputs, outputs, program)

    def with_epilogue(epilogue: Any) -> Lowering:
        return lowering._replace(bind=partial(bind, program=epilogue.program), with_epilogue=None)

    lowering = Lowering(bind, wanted, name="scatter to maxima", with_epilogue=with_epilogue)
    return lowering


def _lie_inside(geometry: Geometry) -> bool:
    return all(reach <= length for reach, length in zip(geometry.reach, geometry.x_shape[2:], strict=True))


def _by_positions(geometry: Geometry, dtype: np.dtype[Any], layouts: Layouts) -> Lowering:
    """The gradient of maxima in windows that overlap: positions first, then each element reads its windows.

    Where vectors of channels cannot be read, numbers are added at the positions, one by one.
    """
    from tinygraph.kernels.images import pooling, window_tables

    found, spatial = _along(geometry), geometry.x_shape[2:]
    small = window_tables.counts_in(dtype, prod(spatial))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        (values, x), (out,) = inputs, outputs
        n, c, *places = values.shape
        if values.strides[1] == out.strides[1] == out.itemsize:
            memory = scratch[0].view(dtype if small else np.int64)[: values.size]
            index = np.moveaxis(memory.reshape(n, *places, c), -1, 1)
            return in_order(
                window_tables.positions(found, x, index),
                window_tables.maxima_back(found, spatial, values, index, out),
            )
        index = scratch[0].view(np.int64).reshape(values.shape)
        return in_order(window_tables.positions(found, x, index), pooling.scatter_windows(values, index, out))

    return Lowering(bind, layouts, (8 * prod(geometry.output_shape),), "scatter to maxima")


def make_scatter(
    inputs: Sequence[Any], outputs: Sequence[Array], flat: Array, *, spatial_shape: Shape
) -> Run | None:
    """Flat positions, then `np.add.at`; positions out of range are reported by the op itself."""
    (values, index), (out,) = inputs, outputs
    if not (values.flags.c_contiguous and out.flags.c_contiguous and values.size):
        return None
    positions = prod(spatial_shape)
    planes = np.arange(prod(index.shape[:2])).reshape(*index.shape[:2], *[1] * len(spatial_shape)) * positions

    def run() -> None:
        if index.min() < 0 or index.max() >= positions:
            scatter_windows.forward(values, index, spatial_shape=spatial_shape)  # raises
        np.add(index, planes, flat)
        out.fill(0)
        np.add.at(out.reshape(-1), flat.reshape(-1), values.reshape(-1))

    return run


# -- the mean ------------------------------------------------------------------------------------------------------


def _means(found: list[Along], layouts: Layouts, name: str) -> Lowering:
    """Means of windows, lying as the images do; of whole images they are a reduction."""

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], scratch: object) -> Run:
        (x,), (out,) = inputs, outputs
        if all(one.counts == (length,) == one.shares for one, length in zip(found, x.shape[2:], strict=True)):
            from tinygraph.kernels import elementwise
            from tinygraph.kernels.program import Program

            program = Program((x.dtype.name,), (), (0,))
            return elementwise.bind(program, [x], [out], reductions=["mean"], axes=tuple(range(2, x.ndim)))
        from tinygraph.kernels.images import window_tables

        return window_tables.means(found, x, out)

    return Lowering(bind, Layouts((None,), (_like(layouts.inputs[0]),)), name=name)


def _means_back(found: list[Along], spatial: Shape, layouts: Layouts, name: str) -> Lowering:
    from tinygraph.kernels.images import window_tables

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], scratch: object) -> Run:
        return window_tables.means_back(found, spatial, inputs[0], outputs[0])

    return Lowering(bind, Layouts((None,), (_like(layouts.inputs[0]),)), name=name)


def make_mean(inputs: Sequence[Any], outputs: Sequence[Array], *, geometry: Geometry, padding: bool) -> Run:
    """Sums over taps, divided by the number of elements of each window."""
    (x,), (out,) = inputs, outputs
    sums = _over_taps(np.add, 0.0, x, out, geometry)
    return in_order(sums, partial(np.divide, out, divisor(geometry, padding, out.dtype), out))


@average_pool.lower
def average_pool_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, count_include_pad: bool, **settings: Any
) -> Lowering | None:
    """Sums over windows, or NumPy's over taps, for one floating-point dtype."""
    geometry = pool_geometry(types.inputs[0].shape, **settings)
    if not same_float(types):
        return None
    if _generated(types.inputs[0], types.outputs[0]):
        return _means(_along(geometry, count_include_pad), layouts, "average pool")
    return numpy_lowering(make_mean, "NumPy average pool", geometry=geometry, padding=count_include_pad)


def make_mean_gradient(
    inputs: Sequence[Any], outputs: Sequence[Array], spread: Array, *, geometry: Geometry, padding: bool
) -> Run:
    """g over each window's divisor, added tap by tap to what the windows read."""
    (g,), (out,) = inputs, outputs
    pairs = [(out[reads], spread[windows]) for windows, reads in overlaps(geometry)]
    return in_order(
        partial(np.divide, g, divisor(geometry, padding, out.dtype), spread),
        partial(out.fill, 0),
        *(partial(np.add, part, tap, part) for part, tap in pairs),
    )


@average_pool_input_gradient.lower
def average_pool_input_gradient_kernel(
    types: Types,
    layouts: Layouts,
    cpu: Cpu,
    *,
    spatial_shape: Any,
    count_include_pad: bool,
    **settings: Any,
) -> Lowering | None:
    """Shares of the windows around each element, or NumPy's sums over taps, for one floating-point dtype."""
    g = types.inputs[0]
    geometry = pool_geometry((*g.shape[:2], *spatial_shape), **settings)
    if not same_float(types):
        return None
    if _generated(g, types.outputs[0]):
        name = "average pool input gradient"
        return _means_back(_along(geometry, count_include_pad), spatial_shape, layouts, name)
    return numpy_lowering(
        make_mean_gradient,
        "NumPy average pool input gradient",
        g,
        geometry=geometry,
        padding=count_include_pad,
    )


def make_adaptive(inputs: Sequence[Any], outputs: Sequence[Array], *, lengths: tuple[int, ...]) -> Run:
    """Means over tiles, for windows of one size that divide the input."""
    (x,), (out,) = inputs, outputs
    tiles = x.reshape(_tiled(out.shape, lengths))
    within = tuple(range(3, tiles.ndim, 2))
    return in_order(
        partial(np.add.reduce, tiles, within, None, out), partial(np.divide, out, prod(lengths), out)
    )


def make_adaptive_gradient(
    inputs: Sequence[Any], outputs: Sequence[Array], *, lengths: tuple[int, ...]
) -> Run:
    """g over the size of a tile, spread over the tiles."""
    (g,), (out,) = inputs, outputs
    shape = _tiled(g.shape, lengths)
    each = g.reshape(_tiled(g.shape, (1,) * len(lengths)))
    return partial(np.divide, each, np.asarray(prod(lengths), out.dtype), out.reshape(shape))


def _tiled(shape: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Each spatial axis as two, of the windows and within them: always a view."""
    return (*shape[:2], *(size for pair in zip(shape[2:], lengths, strict=True) for size in pair))


def _adaptive(
    make: Callable[..., Any], name: str, types: Types, large: ArrayType, small: ArrayType
) -> Lowering | None:
    """A kernel for windows that are all alike."""
    pairs = list(zip(large.shape[2:], small.shape[2:], strict=True))
    if not same_float(types) or not large.size or any(length % count for length, count in pairs):
        return None
    return numpy_lowering(make, name, lengths=tuple(length // count for length, count in pairs))


@adaptive_average_pool.lower
def adaptive_average_pool_kernel(types: Types, layouts: Layouts, cpu: Cpu, *, size: Sizes) -> Lowering | None:
    """Means over windows; NumPy's over tiles where the windows are tiles, else None."""
    x, out = types.inputs[0], types.outputs[0]
    if same_float(types) and _generated(x, out):
        return _means(_adaptive_along(x.shape[2:], out.shape[2:]), layouts, "adaptive average pool")
    return _adaptive(make_adaptive, "NumPy adaptive average pool", types, x, out)


@adaptive_average_pool_input_gradient.lower
def adaptive_average_pool_input_gradient_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, spatial_shape: Shape
) -> Lowering | None:
    """Shares of the windows around each element; NumPy's over tiles where the windows are tiles, else None."""
    g, out = types.inputs[0], types.outputs[0]
    if same_float(types) and _generated(g, out):
        name = "adaptive average pool input gradient"
        return _means_back(_adaptive_along(spatial_shape, g.shape[2:]), spatial_shape, layouts, name)
    name = "NumPy adaptive average pool input gradient"
    return _adaptive(make_adaptive_gradient, name, types, out, g)
