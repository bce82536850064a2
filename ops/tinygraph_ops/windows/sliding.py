"""Sliding windows over NumPy arrays: the array functions of N-D convolution and pooling.

Convolution is bilinear, so three maps say everything: `convolve` and its two adjoints, each a matrix product
per block of unfolded windows. Pooling is a selection, or a mean, and its transpose. The ops, their rules and
drawings live elsewhere, and so does the checking of shapes and settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygraph.plugin import Array, Shape
from tinygraph_ops.windows.geometry import Geometry as Geometry
from tinygraph_ops.windows.geometry import adaptive_output_shape as adaptive_output_shape
from tinygraph_ops.windows.geometry import convolution_geometry as convolution_geometry
from tinygraph_ops.windows.geometry import convolution_transpose_geometry as convolution_transpose_geometry
from tinygraph_ops.windows.geometry import pool_geometry as pool_geometry

Index: TypeAlias = tuple[Any, ...]

BLOCK_BYTES = 1_500_000
"""Unfolded windows held at a time: few enough to be in cache still when multiplied."""


class Scratch:
    """Arrays that the blocks of one call use in turn: fresh memory costs as much as copying into it."""

    def __init__(self, dtype: np.dtype[Any], buffers: Mapping[str, Array] | None = None) -> None:
        self.dtype = dtype
        self.buffers = dict(buffers or {})

    def array(self, use: str, shape: Shape) -> Array:
        """An uninitialised array, in the memory of the last one for the same use."""
        size = prod(shape)
        if use not in self.buffers or self.buffers[use].size < size:
            self.buffers[use] = np.empty(size, self.dtype)
        return self.buffers[use][:size].reshape(shape)

    def rows(self, use: str, value: Array, shape: Shape) -> Array:
        """The elements of an array in another shape, where they are if they lie in rows."""
        if value.flags.c_contiguous:
            return value.reshape(shape)
        out = self.array(use, value.shape)
        np.copyto(out, value)
        return out.reshape(shape)


def convolve(
    x: Array, kernel: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """Cross-correlation: x (batch, in, *spatial), kernel (out, in/groups, *size) -> (batch, out, *output).

    Here and in the adjoints, memory for the result and for what is between may be given.
    """
    scratch = scratch or Scratch(np.result_type(x, kernel))
    matrix = _kernel_matrix(kernel, geometry, scratch)
    out = np.empty(geometry.output_shape, scratch.dtype) if out is None else out
    for block, reads, writes in _blocks(geometry, scratch.dtype.itemsize):
        columns = _unfold(x[reads], block, scratch)
        out[writes] = _batch_first(_matmul(matrix, columns, scratch), block.output_shape)
    return out


def convolve_input_gradient(
    g: Array, kernel: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """Adjoint of `convolve` in x: g (batch, out, *output) and kernel -> (batch, in, *spatial).

    Stride 1 is a convolution of `g` with the mirrored kernel; else each block's columns are folded back onto
    x.
    """
    if _mirrors_well(geometry):
        return convolve(g, mirrored_kernel(kernel, geometry), mirrored(geometry), out, scratch)
    return _fold_back(g, kernel, geometry, out, scratch)


def _fold_back(
    g: Array, kernel: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    scratch = scratch or Scratch(np.result_type(g, kernel))
    matrix = _kernel_matrix(kernel, geometry, scratch).swapaxes(1, 2)
    out = np.empty(geometry.x_shape, scratch.dtype) if out is None else out
    out.fill(0)
    for block, reads, writes in _blocks(geometry, scratch.dtype.itemsize):
        inside, reached = _overlap(block)
        columns = _matmul(matrix, _channel_first(g[writes], block, scratch), scratch)
        out[reads][reached] += _fold(columns, block, scratch)[inside]
    return out


def convolve_kernel_gradient(
    g: Array, x: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """Adjoint of `convolve` in kernel: g (batch, out, *output) and x -> (out, in/groups, *size)."""
    scratch = scratch or Scratch(np.result_type(g, x))
    out_channels, in_channels, *size = geometry.kernel_shape
    per_group = out_channels // geometry.groups
    total = scratch.array("total", (geometry.groups, in_channels * prod(size), per_group))
    total.fill(0)
    for block, reads, writes in _blocks(geometry, scratch.dtype.itemsize):
        # In this order, and not transposed, because BLAS is 1.7 times faster on a tall left operand.
        transposed_g = _channel_first(g[writes], block, scratch).swapaxes(1, 2)
        total += _matmul(_unfold(x[reads], block, scratch), transposed_g, scratch)
    # the taps of `total` come before its input channels, and its output channels last
    taps_first = total.reshape(geometry.groups, *size, in_channels, per_group)
    out = np.empty(geometry.kernel_shape, scratch.dtype) if out is None else out
    grouped = out.reshape(geometry.groups, per_group, in_channels, *size)
    np.copyto(grouped, taps_first.transpose(0, -1, -2, *range(1, len(size) + 1)))
    return out


@lru_cache(maxsize=256)
def scratch_sizes(function: Callable[..., Array], geometry: Geometry, dtype: np.dtype[Any]) -> dict[str, int]:
    """The elements of each scratch array that `convolve` or an adjoint uses, found by running a block on zeros."""
    if function is convolve_input_gradient:
        mirrors = _mirrors_well(geometry)
        function, geometry = (convolve, mirrored(geometry)) if mirrors else (_fold_back, geometry)
    block = next((block for block, _, _ in _blocks(geometry, dtype.itemsize)), geometry)  # none is larger
    shapes = {
        convolve: (block.x_shape, block.kernel_shape),
        _fold_back: (block.output_shape, block.kernel_shape),
        convolve_kernel_gradient: (block.output_shape, block.x_shape),
    }
    scratch = Scratch(dtype)
    function(*(np.broadcast_to(dtype.type(0), shape) for shape in shapes[function]), block, None, scratch)
    return {use: buffer.size for use, buffer in scratch.buffers.items()}


def max_pool(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.intp]]:
    """Maximum of each window of x (batch, channels, *spatial) and its index, both (batch, channels, *output).

    The index is a flat position in the spatial dimensions of x, the first one where there are ties. Padding
    never wins; a NaN always does.
    """
    values, positions = _filled(x, geometry)
    out = _window_maxima(values, geometry)
    return out, _first_match(values, positions, out, geometry)


def window_maxima(x: Array, geometry: Geometry) -> Array:
    """Maximum of each window alone: several times faster than with its index."""
    return _window_maxima(_filled(x, geometry)[0], geometry)


def scatter_windows(g: Array, index: NDArray[np.intp], x_spatial_shape: Shape) -> Array:
    """Adjoint of `gather_windows`: g (batch, channels, *output) -> (batch, channels, *spatial), added up."""
    out = np.zeros((*g.shape[:2], *x_spatial_shape), g.dtype)
    np.add.at(out.reshape(-1), _flat_index(index, prod(x_spatial_shape)), g.reshape(-1))
    return out


def gather_windows(x: Array, index: NDArray[np.intp]) -> Array:
    """Elements of x (batch, channels, *spatial) at flat positions `index` (batch, channels, *output)."""
    return x.reshape(-1).take(_flat_index(index, prod(x.shape[2:]))).reshape(index.shape)


def average_pool(x: Array, geometry: Geometry, count_include_pad: bool = True) -> Array:
    """Mean of each window of x (batch, channels, *spatial); integers give float64.

    With `count_include_pad`, padding counts as zeros. What sticks out of the padding (ceil mode) never
    counts.
    """
    x = _averageable(x)
    total = _fit(x, geometry, Scratch(x.dtype))
    for axis in reversed(range(len(geometry.size))):
        total = _sum(_taps(total, geometry, axis))
    return total / divisor(geometry, count_include_pad, total.dtype)


def average_pool_input_gradient(g: Array, geometry: Geometry, count_include_pad: bool = True) -> Array:
    """Adjoint of `average_pool`: g (batch, channels, *output) -> (batch, channels, *spatial)."""
    g = _averageable(g)
    spread = g / divisor(geometry, count_include_pad, g.dtype)
    for axis in range(len(geometry.size)):
        position = axis + 2
        shape = (*spread.shape[:position], geometry.reach[axis], *spread.shape[position + 1 :])
        wider = np.zeros(shape, spread.dtype)
        for tap in _taps(wider, geometry, axis):
            tap += spread
        spread = wider
    inside, reached = _overlap(geometry)
    out = np.zeros((*g.shape[:2], *geometry.x_shape[2:]), g.dtype)
    out[reached] = spread[inside]
    return out


def adaptive_average_pool(x: Array, output_spatial_shape: Shape) -> Array:
    """Mean over windows that divide each spatial dimension of x evenly; integers give float64.

    Output `o` of n averages from floor(o * length / n) up to, not including, ceil((o + 1) * length / n).
    """
    x = _averageable(x)
    divisor = _adaptive_divisor(x.shape[2:], output_spatial_shape, x.dtype)
    return _adaptive_sum(x, output_spatial_shape) / divisor


def adaptive_average_pool_input_gradient(g: Array, x_spatial_shape: Shape) -> Array:
    """Adjoint of `adaptive_average_pool`: g (batch, channels, *output) -> (batch, channels, *spatial)."""
    g = _averageable(g)
    return _adaptive_sum(g / _adaptive_divisor(x_spatial_shape, g.shape[2:], g.dtype), x_spatial_shape)


# Unfolding and folding. Columns are (groups, taps * in/groups, batch * positions), taps kernel positions.


@lru_cache(maxsize=512)
def _tap_slices(geometry: Geometry, axis: int) -> tuple[slice, ...]:
    """For each tap along spatial `axis`, what the windows read there of their reach."""
    stride, dilation = geometry.stride[axis], geometry.dilation[axis]
    length = (geometry.output_shape[axis + 2] - 1) * stride + 1
    return tuple(slice(tap * dilation, tap * dilation + length, stride) for tap in range(geometry.size[axis]))


def _taps(x: Array, geometry: Geometry, axis: int) -> Iterator[Array]:
    """For each tap along spatial `axis`, the view of x (..., *spatial) that the windows read there."""
    return (x[index] for index in _tap_indices(geometry, axis))


@lru_cache(maxsize=512)
def _tap_indices(geometry: Geometry, axis: int) -> tuple[Index, ...]:
    later = (slice(None),) * (len(geometry.size) - axis - 1)
    return tuple((..., tap, *later) for tap in _tap_slices(geometry, axis))


@lru_cache(maxsize=512)
def _overlap(geometry: Geometry) -> tuple[Index, Index]:
    """Where the windows' reach and the input overlap, as an index into the reach and as one into x."""
    inside, reached = [], []
    for reach, (before, _), length in zip(
        geometry.reach, geometry.padding, geometry.x_shape[2:], strict=True
    ):
        start, stop = max(0, before), max(0, before, min(reach, before + length))
        inside.append(slice(start, stop))
        reached.append(slice(start - before, stop - before))
    return (..., *inside), (..., *reached)


def _fit(x: Array, geometry: Geometry, scratch: Scratch) -> Array:
    """x cropped to the windows' reach, and padded with zeros where they reach beyond it."""
    inside, reached = _overlap(geometry)
    visible = x[reached]
    if visible.shape[2:] == geometry.reach:
        return visible
    out = scratch.array("fit", (*x.shape[:2], *geometry.reach))
    out.fill(0)
    out[inside] = visible
    return out


def _unfold(x: Array, geometry: Geometry, scratch: Scratch) -> Array:
    """Columns of x (batch, in, *spatial), one axis at a time: sum(size) copies instead of prod(size)."""
    _, in_channels, *size = geometry.kernel_shape
    x = _fit(x, geometry, scratch)
    columns = x.reshape(len(x), geometry.groups, 1, in_channels, *x.shape[2:])
    columns = columns.transpose(1, 2, 3, 0, *range(4, columns.ndim))
    for axis in reversed(range(len(size))):
        columns, *others = taps = list(_taps(columns, geometry, axis))
        if others:
            groups, rows, *rest = columns.shape
            out = scratch.array(f"unfold {axis}", (groups, len(taps) * rows, *rest))
            columns = np.concatenate(taps, axis=1, out=out)
    shape = (geometry.groups, prod(size) * in_channels, len(x) * prod(geometry.output_shape[2:]))
    return scratch.rows("columns", columns, shape)


def _fold(columns: Array, geometry: Geometry, scratch: Scratch) -> Array:
    """Adjoint of `_unfold` without the fit: columns -> (batch, in, *reach), overlapping windows added up."""
    _, in_channels, *size = geometry.kernel_shape
    batch, spatial = geometry.x_shape[0], list(geometry.output_shape[2:])
    for axis, count in enumerate(size):
        remaining = prod(size[axis + 1 :])
        columns = columns.reshape(geometry.groups, count, remaining, in_channels, batch, *spatial)
        spatial[axis] = geometry.reach[axis]
        wider = scratch.array(f"fold {axis}", (geometry.groups, remaining, in_channels, batch, *spatial))
        wider[...] = 0
        for number, tap in enumerate(_taps(wider, geometry, axis)):
            tap += columns[:, number]
        columns = wider
    return columns.reshape(geometry.groups * in_channels, batch, *spatial).swapaxes(0, 1)


def _blocks(geometry: Geometry, itemsize: int) -> tuple[tuple[Geometry, Index, Index], ...]:
    return _blocks_of(geometry, BLOCK_BYTES // itemsize)


@lru_cache(maxsize=512)
def _blocks_of(geometry: Geometry, elements: int) -> tuple[tuple[Geometry, Index, Index], ...]:
    """The output cut into blocks of images, or of rows of one, whose columns and output fit that many elements.

    A block is a convolution too: here with its geometry, the index of what it reads of x and of what it writes.
    """
    found: list[tuple[Geometry, Index, Index]] = []
    batch, rows = geometry.output_shape[0], geometry.output_shape[2]
    per_position = max(prod(geometry.size) * geometry.x_shape[1], geometry.output_shape[1])
    per_row = per_position * prod(geometry.output_shape[3:])
    affordable = max(1, elements // max(1, per_row))
    images, band = max(1, affordable // rows), min(rows, affordable)
    every = slice(None)
    for image, row in product(range(0, batch, images), range(0, rows, band)):
        read_images = slice(image, min(image + images, batch))
        written_rows = slice(row, min(row + band, rows))
        block, read_rows = _rows(geometry, read_images.stop - image, written_rows)
        found.append((block, (read_images, every, read_rows), (read_images, every, written_rows)))
    return tuple(found)


def _rows(geometry: Geometry, batch: int, written: slice) -> tuple[Geometry, slice]:
    """Geometry of the convolution that makes rows `written` of `batch` images, and the rows of x it reads."""
    count = written.stop - written.start
    start = written.start * geometry.stride[0] - geometry.padding[0][0]
    stop = start + (count - 1) * geometry.stride[0] + geometry.span[0]
    length = geometry.x_shape[2]
    read = slice(min(max(start, 0), length), min(max(stop, 0), length))
    block = replace(
        geometry,
        x_shape=(batch, geometry.x_shape[1], read.stop - read.start, *geometry.x_shape[3:]),
        output_shape=(batch, geometry.output_shape[1], count, *geometry.output_shape[3:]),
        padding=((max(0, -start), max(0, stop - length)), *geometry.padding[1:]),
    )
    return block, read


def _kernel_matrix(kernel: Array, geometry: Geometry, scratch: Scratch) -> Array:
    """Kernel (out, in/groups, *size) as (groups, out/groups, taps * in/groups), in the order of columns."""
    out_channels, in_channels, *size = geometry.kernel_shape
    shape = (geometry.groups, out_channels // geometry.groups, prod(size) * in_channels)
    return scratch.rows("kernel", np.moveaxis(kernel, 1, -1), shape)


def _matmul(left: Array, right: Array, scratch: Scratch) -> Array:
    """left @ right; elementwise, much faster, for the outer products of one output channel per group."""
    out = scratch.array("product", (len(right), left.shape[-2], right.shape[-1]))
    return np.multiply(left, right, out=out) if left.shape[-1] == 1 else np.matmul(left, right, out=out)


def _channel_first(out: Array, geometry: Geometry, scratch: Scratch) -> Array:
    """(batch, out, *output) as (groups, out/groups, batch * positions)."""
    batch, channels, *spatial = geometry.output_shape
    shape = (geometry.groups, channels // geometry.groups, batch * prod(spatial))
    return scratch.rows("channels", out.swapaxes(0, 1), shape)


def _batch_first(columns: Array, shape: Shape) -> Array:
    """Inverse of `_channel_first`: back to (batch, out, *output)."""
    return columns.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)


@lru_cache(maxsize=512)
def _mirrors_well(geometry: Geometry) -> bool:
    """Whether the mirrored convolution gives the input gradient with little more arithmetic than folding."""
    positions, outputs = prod(geometry.x_shape[2:]), prod(geometry.output_shape[2:])
    return all(stride == 1 for stride in geometry.stride) and 0 < 2 * positions <= 3 * outputs


@lru_cache(maxsize=512)
def mirrored(geometry: Geometry) -> Geometry:
    """Geometry of the convolution from output to input; its padding is negative where the other's is wide."""
    windows = zip(geometry.span, geometry.padding, strict=True)
    pairs = tuple((span - 1 - before, span - 1 - after) for span, (before, after) in windows)
    return replace(geometry, x_shape=geometry.output_shape, output_shape=geometry.x_shape, padding=pairs)


def mirrored_kernel(kernel: Array, geometry: Geometry) -> Array:
    """Kernel (out, in/groups, *size) as (in, out/groups, *size), reversed along every spatial axis."""
    out_channels, in_channels, *size = geometry.kernel_shape
    flipped = np.flip(kernel, tuple(range(2, kernel.ndim)))
    grouped = flipped.reshape(geometry.groups, out_channels // geometry.groups, in_channels, *size)
    return grouped.swapaxes(1, 2).reshape(geometry.x_shape[1], out_channels // geometry.groups, *size)


# Pooling.


def _nearest_inside(geometry: Geometry, axis: int) -> NDArray[np.intp]:
    """For each position of the windows' reach along `axis`, the input position that stands for it.

    That is itself, or for padding the nearest one a whole number of dilations away: every window that holds
    the padding holds that one too.
    """
    dilation, length = geometry.dilation[axis], geometry.x_shape[axis + 2]
    position = np.arange(geometry.reach[axis]) - geometry.padding[axis][0]
    before, after = position % dilation, length - dilation + (position - length) % dilation
    nearest = np.where(position < 0, before, np.where(position >= length, after, position))
    return np.clip(nearest, 0, length - 1)


def _filled(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.intp]]:
    """x with its padding, and the flat spatial position that each of its elements stands for.

    A position in the padding stands for an element of its own window, so no dtype needs a smallest value.
    """
    values, positions = x, np.arange(prod(x.shape[2:])).reshape(x.shape[2:])
    for axis, reach in enumerate(geometry.reach):
        if geometry.padding[axis][0] or reach > x.shape[axis + 2]:
            nearest = _nearest_inside(geometry, axis)
            values, positions = values.take(nearest, axis=axis + 2), positions.take(nearest, axis=axis)
    return values, positions


def _window_maxima(values: Array, geometry: Geometry) -> Array:
    """One axis at a time: sum(size) comparisons of each element instead of prod(size)."""
    for axis in reversed(range(len(geometry.size))):
        taps = _taps(values, geometry, axis)
        values = next(taps).copy()
        for tap in taps:
            np.maximum(values, tap, out=values)
    return values


def _first_match(values: Array, positions: Array, out: Array, geometry: Geometry) -> NDArray[np.intp]:
    """The position of the first element of each window that equals `out` (or is NaN where `out` is)."""
    has_nan = bool((out != out).any())
    taps: list[Index] = list(product(*(_tap_slices(geometry, axis) for axis in range(len(geometry.size)))))
    # Arithmetic on tap numbers of a byte or two, where a masked copy would stumble over every other branch.
    first = np.zeros(out.shape, np.min_scalar_type(len(taps)))
    for number in reversed(range(len(taps))):
        value = values[(..., *taps[number])]
        match = value == out
        if has_nan:
            match |= value != value
        first *= ~match
        first += match * first.dtype.type(number)
    by_tap = np.stack([positions[tap] for tap in taps])
    entry = np.multiply(first, by_tap[0].size, dtype=np.intp)
    entry += np.arange(by_tap[0].size).reshape(by_tap[0].shape)
    index: NDArray[np.intp] = by_tap.reshape(-1).take(entry)
    return index


def _flat_index(index: NDArray[np.intp], positions: int) -> NDArray[np.intp]:
    """Positions within each plane (batch, channels, ...) as positions in the whole flattened array."""
    planes = np.arange(index.shape[0] * index.shape[1], dtype=np.intp)
    first = (planes * positions).reshape(*index.shape[:2], *[1] * (index.ndim - 2))
    flat: NDArray[np.intp] = (index + first).reshape(-1)
    return flat


def _averageable(x: Array) -> Array:
    """x itself, or as float64 if its dtype cannot hold a mean."""
    return x.astype(np.float64) if x.dtype.kind in "biu" else x


def _sum(arrays: Iterator[Array]) -> Array:
    total = next(arrays).copy()
    for array in arrays:
        total += array
    return total


def divisor(geometry: Geometry, count_include_pad: bool, dtype: np.dtype[Any]) -> Array:
    """How many elements each window (*output) averages over."""
    counts = [elements_counted(geometry, axis, count_include_pad) for axis in range(len(geometry.size))]
    return _outer_product(counts).astype(dtype)


def elements_counted(geometry: Geometry, axis: int, count_include_pad: bool) -> NDArray[np.intp]:
    """For each window along `axis`, how many of its positions lie in the input (or the padded input)."""
    before, after = geometry.padding[axis] if count_include_pad else (0, 0)
    first = np.arange(geometry.output_shape[axis + 2]) * geometry.stride[axis] - geometry.padding[axis][0]
    position = first[:, None] + np.arange(geometry.size[axis]) * geometry.dilation[axis]
    counted = (position >= -before) & (position < geometry.x_shape[axis + 2] + after)
    counts: NDArray[np.intp] = np.count_nonzero(counted, axis=1)
    return counts


def _outer_product(factors: Sequence[Array]) -> Array:
    """Of vectors of lengths a, b, ...: an array of shape (a, b, ...)."""
    out = np.ones((), factors[0].dtype)
    for factor in factors:
        out = np.multiply.outer(out, factor)
    return out


def adaptive_bounds(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First position, and the one after the last, of each of `count` windows that divide `length` evenly."""
    window = np.arange(count)
    return window * length // count, -(-(window + 1) * length // count)


def _adaptive_sum(x: Array, output_spatial_shape: Shape) -> Array:
    """Sum over adaptive windows.

    Output window o holds position i exactly if window i of the opposite division holds o, so this map from m
    to n positions is the adjoint of the one from n to m.
    """
    for axis, count in enumerate(output_spatial_shape, start=2):
        x = _adaptive_sum_along(x, axis, count)
    return x


def _adaptive_sum_along(x: Array, axis: int, count: int) -> Array:
    before, length, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if length % count == 0:  # windows side by side, all alike
        side_by_side: Array = x.reshape(*before, count, length // count, *after).sum(axis=axis + 1)
        return side_by_side
    first, stop = adaptive_bounds(length, count)
    position = first[:, None] + np.arange(int((stop - first).max()))
    elements = x.take(np.minimum(position, length - 1), axis=axis)
    counted = (position < stop[:, None]).reshape(*position.shape, *[1] * len(after))
    overlapping: Array = elements.sum(axis=axis + 1, where=counted, initial=0)
    return overlapping


def _adaptive_divisor(x_spatial_shape: Shape, output_spatial_shape: Shape, dtype: np.dtype[Any]) -> Array:
    """How many elements each adaptive window (*output) averages over."""
    bounds = [
        adaptive_bounds(*lengths) for lengths in zip(x_spatial_shape, output_spatial_shape, strict=True)
    ]
    return _outer_product([stop - first for first, stop in bounds]).astype(dtype)
