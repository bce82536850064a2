"""Pooling: maxima, means and norms of windows, and the way back from maxima."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn.functional.settings import batched

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Padding, Sizes


def max_pool(
    dimensions: int,
    input: Numeric,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also its flat position in the spatial dimensions."""
    settings: dict[str, Any] = {
        "size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode,
    }  # fmt: skip
    out = batched(dimensions, input, lambda x: ops.max_pool(x, **settings))
    if not return_indices:
        return out
    return out, batched(dimensions, input, lambda x: ops.max_pool_index(x, **settings))


def avg_pool(
    dimensions: int,
    input: Numeric,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window, or its sum over `divisor_override`."""
    settings: dict[str, Any] = {
        "size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    if divisor_override is None:
        return batched(
            dimensions, input, lambda x: ops.average_pool(x, **settings, count_include_pad=count_include_pad)
        )
    if divisor_override == 0:
        raise SettingError("avg_pool: divisor_override=0 would divide by zero")

    def summed(x: Numeric) -> Any:
        # a window's mean over its share of elements: both from one op, so that windows that stick out agree
        means = ops.average_pool(x, **settings, count_include_pad=False)
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        sizes = kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,) * dimensions
        whole = ops.average_pool(ones, **{**settings, "ceil_mode": ceil_mode}, count_include_pad=True)
        return means * (_counts(x.shape[2:], sizes, settings, whole) / divisor_override).astype(x.dtype)

    return batched(dimensions, input, summed)


def _counts(spatial: tuple[int, ...], sizes: Any, settings: dict[str, Any], whole: Any) -> Any:
    """How many elements of the input each window holds."""
    dimensions = len(spatial)
    strides, pads = (
        tuple(given) if isinstance(given, tuple | list) else (given,) * dimensions
        for given in (sizes if settings["stride"] is None else settings["stride"], settings["padding"])
    )
    counts = np.ones((1, 1, *[1] * dimensions))
    for axis in range(dimensions):
        first = np.arange(whole.shape[axis + 2]) * strides[axis] - pads[axis]
        inside = np.minimum(first + sizes[axis], spatial[axis]) - np.maximum(first, 0)
        counts = counts * inside.reshape((1, 1, *(-1 if i == axis else 1 for i in range(dimensions))))
    return counts


def lp_pool(
    dimensions: int,
    input: Numeric,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Any:
    """The `norm_type`-norm of each window, sum(x ** p) ** (1 / p); its gradient is taken as 0 where the sum is 0."""
    count = prod(kernel_size) if isinstance(kernel_size, Sequence) else kernel_size**dimensions
    means = avg_pool(dimensions, input**norm_type, kernel_size, stride, 0, ceil_mode)
    some = means != 0
    return ops.where(some, (ops.where(some, means, 1) * count) ** (1 / norm_type), 0)


def adaptive_avg_pool(dimensions: int, input: Numeric, output_size: Sizes) -> Any:
    """Means of windows that divide each spatial dimension into `output_size` parts."""
    return batched(dimensions, input, lambda x: ops.adaptive_average_pool(x, size=output_size))


def adaptive_max_pool(
    dimensions: int, input: Numeric, output_size: Sizes, return_indices: bool = False
) -> Any:
    """Maxima of windows that divide each spatial dimension into `output_size` parts; None keeps a size.

    With `return_indices` also their flat positions in the spatial dimensions.
    """
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * dimensions

    def pooled(x: Numeric) -> Any:
        spatial = x.shape[2:]
        parts = [_parts(size, size if n is None else n) for size, n in zip(spatial, sizes, strict=True)]
        widths = [part.shape[1] for part in parts]
        # positions (*outputs, *window) of each window's elements; those that a shorter window lacks repeat one
        flat = np.zeros((1,) * (2 * dimensions), np.intp)
        for axis, part in enumerate(parts):
            shape = [1] * (2 * dimensions)
            shape[axis], shape[dimensions + axis] = part.shape
            flat = flat * spatial[axis] + part.reshape(shape)
        outputs = flat.shape[:dimensions]
        flat = flat.reshape(*outputs, prod(widths))
        values = ops.reshape(x, shape=(*x.shape[:2], prod(spatial)))[:, :, flat]
        first = ops.argmax(values, axis=-1)
        chosen = ops.expand_dims(first, axis=-1)
        maxima = ops.take_along_axis(values, chosen, axis=-1)[..., 0]
        if not return_indices:
            return maxima
        where = ops.take_along_axis(np.broadcast_to(flat, values.shape), chosen, axis=-1)[..., 0]
        return maxima, where

    if input.ndim != dimensions + 1:
        return batched(dimensions, input, pooled)
    out = pooled(ops.expand_dims(input, axis=0))
    return tuple(one[0] for one in out) if isinstance(out, tuple) else out[0]


def _parts(size: int, count: int) -> np.ndarray[Any, Any]:
    """The positions (count, longest) in each of `count` parts of an axis, the last one repeated in shorter parts."""
    starts = np.arange(count) * size // count
    ends = -(-(np.arange(count) + 1) * size // count)
    steps = np.arange(max(1, int((ends - starts).max(initial=1))))
    positions: np.ndarray[Any, Any] = np.minimum(starts[:, None] + steps, ends[:, None] - 1)
    return positions


def max_unpool(
    dimensions: int,
    input: Numeric,
    indices: Numeric,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    output_size: Any = None,
) -> Any:
    """Maxima put back at their positions, zeros elsewhere.

    Args:
        input, indices: what a max pool with `return_indices=True` gave.
        output_size: the spatial sizes of the result, or its whole shape; by default the smallest that pool to `input`.
    """
    kernel, steps, pads = (
        tuple(given) if isinstance(given, tuple | list) else (given,) * dimensions
        for given in (kernel_size, kernel_size if stride is None else stride, padding)
    )
    if output_size is None:
        spatial = tuple(
            (size - 1) * step - 2 * pad + width
            for size, step, pad, width in zip(input.shape[-dimensions:], steps, pads, kernel, strict=True)
        )
    else:
        spatial = tuple(output_size)[-dimensions:]
    if indices.shape != input.shape:
        raise ShapeError(f"max_unpool: indices of shape {indices.shape} do not belong to input {input.shape}")
    if input.ndim == dimensions + 1:
        return max_unpool(dimensions, input[None], indices[None], kernel, steps, pads, spatial)[0]
    counts = ops.scatter_windows(np.ones(input.shape, input.dtype), indices, spatial_shape=spatial)
    # a maximum of several windows is there several times
    return ops.scatter_windows(input, indices, spatial_shape=spatial) / ops.maximum(counts, 1)


def fractional_max_pool(
    dimensions: int,
    input: Numeric,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Numeric | None = None,
) -> Any:
    """Maxima of windows at places that are spread over each axis by a random number (Graham, 2014).

    Args:
        output_size, output_ratio: one of them: the spatial sizes of the result, or their shares of the input's.
        return_indices: return the flat positions of the maxima, too.
        _random_samples: (batch, channels, dimensions) numbers from 0 to 1; drawn if not given.
    """
    if (output_size is None) == (output_ratio is None):
        raise SettingError("fractional_max_pool takes either output_size or output_ratio")
    if input.ndim == dimensions + 1:
        out = fractional_max_pool(
            dimensions, input[None], kernel_size, output_size, output_ratio, return_indices, _random_samples
        )
        return tuple(one[0] for one in out) if return_indices else out[0]
    spatial = input.shape[2:]
    kernel = tuple(kernel_size) if isinstance(kernel_size, Sequence) else (kernel_size,) * dimensions
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * dimensions
        sizes = tuple(int(n * ratio) for n, ratio in zip(spatial, ratios, strict=True))  # type: ignore[operator]
    else:
        sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * dimensions
    shape = (*input.shape[:2], dimensions)
    samples = default_generator.uniform(shape) if _random_samples is None else _random_samples
    samples = samples[: shape[0]]
    places: Any = 0
    for axis, (n, width, count) in enumerate(zip(spatial, kernel, sizes, strict=True)):
        # of images PyTorch takes the first number for the width
        sample = samples[:, :, dimensions - 1 - axis if dimensions == 2 else axis]
        first = ops.expand_dims(_starts(sample, n, width, count), axis=-1) + np.arange(width)
        outer, inner = [1] * dimensions, [1] * dimensions
        outer[axis], inner[axis] = count, width
        places = places * n + ops.reshape(first, shape=(*first.shape[:2], *outer, *inner))
    whole = (*input.shape[:2], -1)
    positions = ops.reshape(places, shape=(*input.shape[:2], prod(sizes), prod(kernel)))
    flat = ops.reshape(positions, shape=whole)
    values = ops.take_along_axis(ops.reshape(input, shape=whole), flat, axis=-1)
    values = ops.reshape(values, shape=positions.shape)
    best = ops.argmax(values, axis=-1, keepdims=True)
    found = ops.reshape(ops.take_along_axis(values, best, axis=-1), shape=(*input.shape[:2], *sizes))
    if not return_indices:
        return found
    where = ops.take_along_axis(positions, best, axis=-1)
    return found, ops.reshape(where, shape=(*input.shape[:2], *sizes))


def _starts(sample: Numeric, size: int, width: int, count: int) -> Any:
    """Where the windows along one axis begin, (batch, channels, count); the last one ends with the axis."""
    if count == 1:
        return ops.cast(sample[..., None] * 0, dtype=np.int64) + (size - width)
    step = (size - width) / (count - 1)
    sample = sample[..., None]
    first = ops.floor((np.arange(count) + sample) * step) - ops.floor(sample * step)
    return ops.where(np.arange(count) == count - 1, size - width, ops.cast(first, dtype=np.int64))


fractional_max_pool2d, fractional_max_pool3d = (partial(fractional_max_pool, n) for n in (2, 3))
max_pool1d, max_pool2d, max_pool3d = (partial(max_pool, n) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (partial(avg_pool, n) for n in (1, 2, 3))
lp_pool1d, lp_pool2d, lp_pool3d = (partial(lp_pool, n) for n in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    partial(adaptive_avg_pool, n) for n in (1, 2, 3)
)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    partial(adaptive_max_pool, n) for n in (1, 2, 3)
)
max_unpool1d, max_unpool2d, max_unpool3d = (partial(max_unpool, n) for n in (1, 2, 3))
