"""Fractional max pooling: windows at pseudo-random places, so that a size shrinks by any factor between 1 and 2.

Source: Graham, "Fractional Max-Pooling", 2014 (arXiv:1412.6071), section 2, with overlapping windows. The random
numbers are an operand, so that the op itself is a plain function: the same numbers give the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ErrorSample, Sample, SettingError, ShapeError, op, ops

_LINE = [[[3.0, 1.0, -4.0, 2.0, 6.0, -5.0, 9.0]]]
_GRID = [
    [
        [[1.0, 5.0, 2.0, -4.0, 0.0], [3.0, -2.0, 8.0, 7.0, -1.0], [-6.0, 9.0, 4.0, -3.0, 6.0]],
        [[0.5, -1.5, 2.5, 3.5, -2.5], [4.5, 1.5, -0.5, 5.5, -3.5], [6.5, -4.5, 7.5, -5.5, 8.5]],
    ]
]
_ERRORS = [
    ErrorSample(
        [1.0, 2.0], [0.5], size=1, output_size=1, error=ShapeError, match="(batch, channels, *spatial)"
    ),
    ErrorSample(_LINE, [[0.5]], size=2, output_size=3, error=ShapeError, match="(1, 1, 1)"),
    ErrorSample(_LINE, [[[1.0]]], size=2, output_size=3, error=SettingError, match="below 1"),
    ErrorSample(_LINE, [[[0.5]]], size=(2, 2), output_size=3, error=SettingError, match="size"),
    ErrorSample(_LINE, [[[0.5]]], size=2, output_size=0, error=SettingError, match="output_size"),
    ErrorSample(_LINE, [[[0.5]]], size=4, output_size=5, error=ShapeError, match="at most 4"),
    ErrorSample([[[1 + 2j]]], [[[0.5]]], size=1, output_size=1, error=DTypeError, match="complex128"),
]


@op(
    kind="pooling",
    nondifferentiable="samples",
    samples=[
        # alpha = 5 / 2, so windows of 2 start at floor(2.5 i + 1.25) - 1 = 0, 2, and the last at 5
        Sample(_LINE, [[[0.5]]], size=2, output_size=3, expected=[[[3.0, 2.0, 9.0]]]),
        Sample(_LINE, [[[0.4]]], size=3, output_size=1, expected=[[[9.0]]]),
        Sample(_GRID, [[[0.4, 0.25], [0.9, 0.4]]], size=2, output_size=(2, 3)),
        Sample(_GRID, [[[0.4, 0.25], [0.9, 0.4]]], size=(1, 3), output_size=2),
        Sample(np.repeat(_LINE, 2, axis=0), [[[0.3]], [[0.5]]], size=2, output_size=3),
        Sample([[[1.0, 1.0]]], [[[0.5]]], size=2, output_size=1, expected=[[[1.0]]], smooth=False),
    ],
    error_samples=_ERRORS,
)
def fractional_max_pool(x: Any, samples: Any, *, size: Any, output_size: Any) -> Any:
    """out[n, c, i] = max of x[n, c, s(i) ... s(i) + size - 1], s(i) = floor(α(i + u)) - floor(αu);  d/dx = 1 there.

    α = (length - size) / (output_size - 1) and u is the sample of that channel and dimension; the last window ends
    with x.

    Args:
        x: (batch, channels, *spatial).
        samples: (batch, channels, dimensions), uniform in [0, 1).
        size: of the windows: an int, or one for each spatial dimension; as `output_size`.
        output_size: how many windows lie along each dimension.

    Returns:
        (batch, channels, *output_size).

    Raises:
        ShapeError: samples of another shape, or more windows than places.
        SettingError: sizes below 1, or samples outside [0, 1).
        DTypeError: complex x, which has no order.

    >>> import numpy as np
    >>> fractional_max_pool(np.array([[[1.0, 4.0, 2.0, 3.0]]]), np.array([[[0.5]]]), size=2, output_size=2)
    array([[[4., 3.]]])
    """
    values, _, first = _largest(x, samples, size, output_size)
    return np.take_along_axis(values, first[..., None], axis=-1)[..., 0]


@op(
    kind="pooling",
    nondifferentiable=("x", "samples"),
    samples=[
        Sample(_LINE, [[[0.5]]], size=2, output_size=3, expected=[[[0, 3, 6]]]),
        Sample(_LINE, [[[0.4]]], size=3, output_size=1, expected=[[[6]]]),
        Sample(_GRID, [[[0.4, 0.25], [0.9, 0.4]]], size=2, output_size=(2, 3)),
        Sample([[[1.0, 1.0]]], [[[0.5]]], size=2, output_size=1, expected=[[[0]]], smooth=False),
    ],
    error_samples=_ERRORS,
)
def fractional_max_pool_index(x: Any, samples: Any, *, size: Any, output_size: Any) -> Any:
    """out[n, c, i] = the flat position in the spatial dimensions of x of the first maximum of window i.

    Operands, settings and errors are those of `fractional_max_pool`.
    """
    _, places, first = _largest(x, samples, size, output_size)
    return np.take_along_axis(places, first[..., None], axis=-1)[..., 0]


def _largest(x: Any, samples: Any, size: Any, output_size: Any) -> tuple[Any, Any, Any]:
    """The elements of each window, their flat positions, and which of them is the first maximum."""
    shape = fractional_max_pool_types(x, samples, size=size, output_size=output_size).shape
    spatial = x.shape[2:]
    size, output_size = _each(size, len(spatial)), _each(output_size, len(spatial))
    if not ((samples >= 0) & (samples < 1)).all():
        raise SettingError("samples must be at least 0 and below 1")
    places = np.zeros((1,) * (2 + 2 * len(spatial)), np.intp)
    for axis, length in enumerate(spatial):
        starts = _starts(samples[..., axis], length, size[axis], output_size[axis])
        along = starts[..., None] + np.arange(size[axis])  # (batch, channels, output, size)
        spread = [1] * (2 * len(spatial))
        spread[axis], spread[len(spatial) + axis] = along.shape[2:]
        places = places * length + along.reshape(*shape[:2], *spread)
    places = places.reshape(*shape, prod(size))
    flat = np.reshape(x, (*shape[:2], prod(spatial)))
    values = np.take_along_axis(flat, places.reshape(*shape[:2], -1 if places.size else 0), axis=-1)
    values = values.reshape(places.shape)
    return values, places, np.argmax(values, axis=-1)


def _starts(sample: Any, length: int, size: int, count: int) -> Any:
    """Where `count` windows start: (*sample.shape, count)."""
    alpha = (length - size) / max(count - 1, 1)
    sample = sample[..., None].astype(float)
    starts = (np.floor(alpha * (np.arange(count) + sample)) - np.floor(alpha * sample)).astype(np.intp)
    starts[..., -1] = length - size
    return starts


def _each(setting: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    return (setting,) * dimensions if isinstance(setting, int) else tuple(setting)


@fractional_max_pool.types
def fractional_max_pool_types(x: ArrayType, samples: ArrayType, *, size: Any, output_size: Any) -> ArrayType:
    shape = getattr(x, "shape", ())
    dimensions = len(shape) - 2
    if dimensions < 1:
        raise ShapeError(f"x must be (batch, channels, *spatial); it has the shape {shape}")
    if x.dtype.kind == "c":
        raise DTypeError(f"x is {x.dtype}; complex numbers have no maximum")
    if getattr(samples, "shape", ()) != (*shape[:2], dimensions):
        raise ShapeError(
            f"samples has the shape {getattr(samples, 'shape', ())}; for x of shape {shape} it must be "
            f"(batch, channels, dimensions) = {(*shape[:2], dimensions)}"
        )
    for name, setting in (("size", size), ("output_size", output_size)):
        each = _each(setting, dimensions)
        if len(each) != dimensions or min(each) < 1:
            raise SettingError(f"{name} is {setting}; it must be an int above 0, or {dimensions} of them")
    sizes, counts = _each(size, dimensions), _each(output_size, dimensions)
    for axis, (length, one, count) in enumerate(zip(shape[2:], sizes, counts, strict=True)):
        if count > length - one + 1:
            raise ShapeError(
                f"{count} windows of {one} do not fit along spatial dimension {axis} of length {length}; "
                f"at most {max(length - one + 1, 0)} do"
            )
    return ArrayType((*shape[:2], *counts), x.dtype)


@fractional_max_pool_index.types
def fractional_max_pool_index_types(
    x: ArrayType, samples: ArrayType, *, size: Any, output_size: Any
) -> ArrayType:
    pooled = fractional_max_pool_types(x, samples, size=size, output_size=output_size)
    return ArrayType(pooled.shape, np.dtype(np.intp))


@fractional_max_pool.vjp("x")
def fractional_max_pool_wrt_x(g: Any, x: Any, samples: Any, size: Any, output_size: Any) -> Any:
    index = fractional_max_pool_index(x, samples, size=size, output_size=output_size)
    return ops.scatter_windows(g, index, spatial_shape=x.shape[2:])


@fractional_max_pool.jvp("x")
def fractional_max_pool_along_x(t: Any, x: Any, samples: Any, size: Any, output_size: Any) -> Any:
    index = fractional_max_pool_index(x, samples, size=size, output_size=output_size)
    return ops.gather_windows(t, index)
