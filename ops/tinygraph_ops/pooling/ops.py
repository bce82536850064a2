"""Pools: maximum, average and adaptive average over windows, and the ops that are their derivatives.

Where the windows lie is worked out in `window_geometry`, the array functions are in `windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    ErrorSample,
    Expansion,
    Numeric,
    Padding,
    Read,
    Sample,
    Shape,
    ShapeError,
    Sizes,
    indices,
    joined,
    op,
)
from tinygraph_ops.windows import sliding as windows
from tinygraph_ops.windows.geometry import Geometry, adaptive_output_shape, pool_geometry


def _shape(x: object) -> Shape:
    return x.shape if hasattr(x, "shape") else ()


def _mean_dtype(x: Any) -> np.dtype[Any]:
    """Integers and booleans average to float64."""
    return np.dtype(np.float64) if x.dtype.kind in "biu" else x.dtype


_GRID = [[[[1.0, 5.0, 2.0, -4.0, 0.0], [3.0, -2.0, 8.0, 7.0, -1.0], [-6.0, 9.0, 4.0, -3.0, 6.0]]]]
_LINE = [[[3.0, 1.0, -4.0, 2.0, 6.0, -5.0, 9.0]]]
_BOX = np.array([0.5, -1.0, 2.0, 3.5, -2.5, 1.5, 4.0, -0.5, 5.0, -3.0, 2.5, 0.0]).reshape(1, 1, 3, 2, 2)
_POOL_ERRORS = [
    ErrorSample([1.0, 2.0], size=2, error=ShapeError, match="batch, channel and at least one spatial"),
    ErrorSample(_LINE, size=0, error=ShapeError, match="size is 0"),
    ErrorSample(_LINE, size=(2, 2), error=ShapeError, match="2 entries"),
    ErrorSample(_LINE, size=2, stride=0, error=ShapeError, match="stride is 0"),
    ErrorSample(_LINE, size=2, padding=-1, error=ShapeError, match="padding is -1"),
    ErrorSample(_LINE, size=2, padding=2, error=ShapeError, match="more than half"),
    ErrorSample(_LINE, size=8, error=ShapeError, match="no output is left"),
    ErrorSample(np.zeros((1, 1, 0)), size=1, error=ShapeError, match="empty along"),
]


# -- the maximum ---------------------------------------------------------------------------------------------


@op(
    kind="pooling",
    samples=[
        Sample(_GRID, size=2, expected=[[[[5.0, 8.0]]]]),
        Sample(_GRID, size=2, ceil_mode=True, expected=[[[[5.0, 8.0, 0.0], [9.0, 4.0, 6.0]]]]),
        Sample(_GRID, size=(3, 2), stride=(1, 3), padding=1),
        Sample(_LINE, size=3, stride=1, dilation=2, padding=(1,), expected=[[[2.0, 6.0, 2.0, 9.0, 2.0]]]),
        Sample(np.array(_LINE).repeat(2, axis=0), size=2),
        Sample(_BOX, size=2, stride=1),
        Sample([[[1.0, 1.0, 0.0, 2.0]]], size=2, expected=[[[1.0, 2.0]]], smooth=False),
    ],
    error_samples=[
        *_POOL_ERRORS,
        ErrorSample(_LINE, size=2, dilation=0, error=ShapeError, match="dilation is 0"),
    ],
)
def max_pool(
    x: Any,
    *,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Numeric:
    """out[n, c, i] = max over p of x[n, c, i*stride + p*dilation - padding];  d/dx = 1 at the maximum.

    Where a window holds its maximum more than once, the first in row-major order gets the gradient. Padding
    never wins.

    Args:
        x: (batch, channels, *spatial).
        size: of the window: an int, or one for each spatial dimension, as `stride`, `padding` and `dilation`.
        stride: the window's size by default, so that windows lie side by side.
        padding: at both ends, at most half of the window.
        ceil_mode: whether a last window that sticks out of the padded input counts.

    Returns:
        (batch, channels, *output).

    Raises:
        ShapeError: windows that do not fit, with the dimension.

    >>> import numpy as np
    >>> max_pool(np.array([[[1.0, 3.0, 2.0]]]), size=2, ceil_mode=True)
    array([[[3., 2.]]])
    """
    return windows.window_maxima(x, pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode))


max_pool.batch(joined)


@max_pool.types
def max_pool_types(
    x: ArrayType,
    *,
    size: Sequence[int],
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> ArrayType:
    """(batch, channels, *positions) by the windows' geometry."""
    geometry = pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode)
    return ArrayType(geometry.output_shape, x.dtype)


@max_pool.expand
def max_pool_expansion(
    x: ArrayType, *, size: Sequence[int], stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Expansion:
    """The maximum over each window, padding left out."""
    return _windows(x, pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode), "max", None)


def _windows(x: ArrayType, geometry: Geometry, reduce: Any, padding: float | None) -> Expansion:
    """Each output element of a pool and its window."""
    (n, c, *at), tap = indices(x.ndim, len(geometry.size))
    steps = zip(at, tap, geometry.stride, geometry.dilation, geometry.padding, strict=True)
    places = [i * stride + p * dilation - before for i, p, stride, dilation, (before, _) in steps]
    return Expansion(
        geometry.output_shape,
        (Read(0, x.shape, (n, c, *places)),),
        over=geometry.size,
        reduce=reduce,
        padding=padding,
        planes=len(at),
    )


@max_pool.vjp("x")
def max_pool_wrt_x(
    g: Numeric,
    x: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Numeric:
    """g scattered to where each window's first maximum stands."""
    index = max_pool_index(
        x, size=size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return scatter_windows(g, index, spatial_shape=x.shape[2:])


@max_pool.jvp("x")
def max_pool_along_x(
    t: Numeric,
    x: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Numeric:
    """t gathered from where each window's first maximum stands."""
    index = max_pool_index(
        x, size=size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return gather_windows(t, index)


@op(
    kind="pooling",
    nondifferentiable="x",
    samples=[
        Sample(_GRID, size=2, expected=[[[[1, 7]]]]),
        Sample([[[1.0, 1.0, 0.0, 2.0]]], size=2, expected=[[[0, 3]]], smooth=False),
        Sample(_LINE, size=3, stride=2, dilation=2, padding=1, ceil_mode=True),
    ],
    error_samples=_POOL_ERRORS,
)
def max_pool_index(
    x: Any,
    *,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Numeric:
    """out[n, c, i] = the flat position in the spatial dimensions of x of the first maximum of window i.

    Settings and errors are those of `max_pool`.

    >>> import numpy as np
    >>> max_pool_index(np.array([[[1.0, 3.0, 2.0, 2.0]]]), size=2)
    array([[[1, 2]]])
    """
    return windows.max_pool(x, pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode))[1]


max_pool_index.batch(joined)


@max_pool_index.types
def max_pool_index_types(
    x: ArrayType,
    *,
    size: Sequence[int],
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> ArrayType:
    """Positions, (batch, channels, *positions) by the windows' geometry."""
    geometry = pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode)
    return ArrayType(geometry.output_shape, np.dtype(np.intp))


@op(kind="indexing", declare=False)
def scatter_to_maxima(
    values: Any,
    x: Any,
    *,
    spatial_shape: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Numeric:
    """scatter_windows of max_pool_index of x: what plans make of the gradient of a maximum, without the positions."""
    geometry = pool_geometry(_shape(x), size, stride, padding, dilation, ceil_mode)
    return scatter_windows(values, windows.max_pool(x, geometry)[1], spatial_shape=spatial_shape)


@scatter_to_maxima.types
def scatter_to_maxima_types(
    values: ArrayType, x: ArrayType, *, spatial_shape: Shape, **settings: object
) -> ArrayType:
    """(batch, channels, *spatial_shape), in the dtype of values."""
    return ArrayType((*values.shape[:2], *spatial_shape), values.dtype)


@op(
    kind="indexing",
    facts={"behind": {1: (max_pool_index, scatter_to_maxima)}},
    linear="values",
    nondifferentiable="index",
    samples=[
        Sample(
            [[[1.0, 2.0, 4.0]]], [[[3, 0, 3]]], spatial_shape=(5,), expected=[[[2.0, 0.0, 0.0, 5.0, 0.0]]]
        ),
        Sample([[[[1.0, 2.0]], [[3.0, 4.0]]]], [[[[0, 3]], [[3, 1]]]], spatial_shape=(2, 2)),
    ],
    error_samples=[
        ErrorSample([[[1.0]]], [[[0, 1]]], spatial_shape=(2,), error=ShapeError, match="index"),
        ErrorSample([[[1.0]]], [[[2]]], spatial_shape=(2,), error=ShapeError, match="0 to 1"),
    ],
)
def scatter_windows(values: Any, index: Any, *, spatial_shape: Shape) -> Numeric:
    """out[n, c, index[n, c, i]] += values[n, c, i], from zeros;  the transpose of `gather_windows`.

    Args:
        values: (batch, channels, *output).
        index: of the same shape: flat positions in the spatial dimensions of the result.
        spatial_shape: of the result (batch, channels, *spatial_shape).

    >>> import numpy as np
    >>> scatter_windows(np.array([[[5.0, 7.0]]]), np.array([[[0, 2]]]), spatial_shape=(4,))
    array([[[5., 0., 7., 0.]]])
    """
    _check_index(index, _shape(values), spatial_shape)
    return windows.scatter_windows(values, index, spatial_shape)


scatter_windows.batch(joined)


@scatter_windows.types
def scatter_windows_types(values: ArrayType, index: ArrayType, *, spatial_shape: Shape) -> ArrayType:
    """(batch, channels, *spatial_shape), in the dtype of values."""
    if values.shape != index.shape:
        raise ShapeError(f"values of shape {values.shape} need an index of that shape, not {index.shape}")
    return ArrayType((*values.shape[:2], *spatial_shape), values.dtype)


@scatter_windows.vjp("values")
def scatter_windows_wrt_values(g: Numeric, index: Numeric) -> Numeric:
    """g at the positions that values went to."""
    return gather_windows(g, index)


@scatter_windows.jvp("values")
def scatter_windows_along_values(t: Numeric, index: Numeric, *, spatial_shape: Shape) -> Numeric:
    """The scatter of t: it is linear."""
    return scatter_windows(t, index, spatial_shape=spatial_shape)


@op(
    kind="indexing",
    linear="x",
    nondifferentiable="index",
    samples=[
        Sample(_LINE, [[[6, 0, 6]]], expected=[[[9.0, 3.0, 9.0]]]),
        Sample(_GRID, [[[[1, 7]]]], expected=[[[[5.0, 8.0]]]]),
    ],
    error_samples=[
        ErrorSample(_LINE, [[[7]]], error=ShapeError, match="0 to 6"),
        ErrorSample(_LINE, [[0]], error=ShapeError, match="index"),
    ],
)
def gather_windows(x: Array, index: Array) -> Numeric:
    """out[n, c, i] = x[n, c, index[n, c, i]], with flat positions in the spatial dimensions of x.

    Args:
        x: (batch, channels, *spatial).
        index: (batch, channels, *output).

    >>> import numpy as np
    >>> gather_windows(np.array([[[5.0, 6.0, 7.0]]]), np.array([[[2, 0]]]))
    array([[[7., 5.]]])
    """
    _check_index(index, (*_shape(x)[:2], *_shape(index)[2:]), _shape(x)[2:])
    return windows.gather_windows(x, index)


gather_windows.batch(joined)


@gather_windows.types
def gather_windows_types(x: ArrayType, index: ArrayType) -> ArrayType:
    """The shape of the index, in the dtype of x."""
    return ArrayType(index.shape, x.dtype)


@gather_windows.vjp("x")
def gather_windows_wrt_x(g: Numeric, index: Numeric, x_type: ArrayType) -> Numeric:
    """g scattered back to the positions that were read."""
    return scatter_windows(g, index, spatial_shape=x_type.shape[2:])


@gather_windows.jvp("x")
def gather_windows_along_x(t: Numeric, index: Numeric) -> Numeric:
    """The gathering of t: it is linear."""
    return gather_windows(t, index)


def _check_index(index: Numeric, shape: Shape, spatial_shape: Shape) -> None:
    """A position out of range would silently reach the next channel."""
    if len(shape) < 3 or _shape(index) != shape:
        raise ShapeError(
            f"the index has shape {_shape(index)}; it must be (batch, channels, *output), here {shape}"
        )
    last = int(np.prod(spatial_shape)) - 1
    if index.size and not (index.min() >= 0 and index.max() <= last):
        raise ShapeError(
            f"the index holds positions from {index.min()} to {index.max()}; they must be from 0 to {last}"
        )


# -- the mean ------------------------------------------------------------------------------------------------


@op(
    kind="pooling",
    linear="x",
    samples=[
        Sample(_GRID, size=2, expected=[[[[1.75, 3.25]]]]),
        Sample(_LINE, size=3, padding=1, stride=2, expected=[[[4.0 / 3.0, -1.0 / 3.0, 1.0, 4.0 / 3.0]]]),
        Sample(
            _LINE,
            size=3,
            padding=1,
            stride=2,
            count_include_pad=False,
            expected=[[[2.0, -1.0 / 3.0, 1.0, 2.0]]],
        ),
        Sample(_LINE, size=2, ceil_mode=True, expected=[[[2.0, -1.0, 0.5, 9.0]]]),
        Sample(_GRID, size=(3, 2), stride=(1, 3), padding=(1, 0), ceil_mode=True),
        Sample(_BOX, size=(2, 1, 2), stride=1),
    ],
    error_samples=_POOL_ERRORS,
)
def average_pool(
    x: Any,
    *,
    size: Sequence[int],
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Numeric:
    """out[n, c, i] = mean over p of x[n, c, i * stride + p - padding].

    Args:
        x: (batch, channels, *spatial); integers average to float64.
        size, stride, padding, ceil_mode: as in `max_pool`.
        count_include_pad: whether padding counts, as zeros, in the mean.

    Returns:
        (batch, channels, *output).

    Raises:
        ShapeError: windows that do not fit, with the dimension.

    >>> import numpy as np
    >>> average_pool(np.array([[[1.0, 3.0, 2.0, 6.0]]]), size=2)
    array([[[2., 4.]]])
    """
    geometry = pool_geometry(_shape(x), size, stride, padding, 1, ceil_mode)
    return windows.average_pool(x, geometry, count_include_pad)


average_pool.batch(joined)


@average_pool.types
def average_pool_types(
    x: ArrayType,
    *,
    size: Sequence[int],
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> ArrayType:
    """(batch, channels, *positions) by the windows' geometry."""
    geometry = pool_geometry(_shape(x), size, stride, padding, 1, ceil_mode)
    return ArrayType(geometry.output_shape, _mean_dtype(x))


@average_pool.expand
def average_pool_expansion(
    x: ArrayType,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Expansion | None:
    """The mean over each window; None where windows have divisors of their own."""
    geometry = pool_geometry(_shape(x), size, stride, padding, 1, ceil_mode)
    room = [length + sum(pair) for length, pair in zip(x.shape[2:], geometry.padding, strict=True)]
    if count_include_pad and any(reach > most for reach, most in zip(geometry.reach, room, strict=True)):
        return None  # a window that sticks out of the padding has a divisor of its own
    return _windows(x, geometry, "mean", 0.0 if count_include_pad else None)


@average_pool.vjp("x")
def average_pool_wrt_x(
    g: Numeric,
    x_type: ArrayType,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Numeric:
    """`average_pool_input_gradient` of g."""
    return average_pool_input_gradient(
        g,
        spatial_shape=x_type.shape[2:],
        size=size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


@average_pool.jvp("x")
def average_pool_along_x(
    t: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Numeric:
    """The average pool of t: it is linear."""
    return average_pool(
        t, size=size, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
    )


@op(
    kind="pooling",
    linear="cotangent",
    samples=[
        Sample([[[2.0, 4.0]]], spatial_shape=(5,), size=2, expected=[[[1.0, 1.0, 2.0, 2.0, 0.0]]]),
        Sample(
            [[[[2.0, 4.0, 6.0]]]], spatial_shape=(2, 5), size=(3, 2), padding=1, stride=2, ceil_mode=False
        ),
        Sample(
            [[[1.0, 2.0, 3.0]]],
            spatial_shape=(5,),
            size=2,
            ceil_mode=True,
            padding=0,
            count_include_pad=False,
        ),
        Sample([[[2.0, 4.0, 6.0]]], spatial_shape=(5,), size=3, stride=2, padding=1, count_include_pad=False),
    ],
    error_samples=[
        ErrorSample(
            [[[2.0, 4.0]]], spatial_shape=(7,), size=2, error=ShapeError, match="cotangent has shape"
        ),
        ErrorSample([[[2.0]]], spatial_shape=(1,), size=2, error=ShapeError, match="no output is left"),
    ],
)
def average_pool_input_gradient(
    cotangent: Array,
    *,
    spatial_shape: Shape,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Numeric:
    """out[n, c, i * stride + p - padding] += cotangent[n, c, i] / count[i];  the transpose of `average_pool`.

    Args:
        cotangent: (batch, channels, *output).
        spatial_shape: of the result (batch, channels, *spatial_shape).
        size, stride, padding, ceil_mode, count_include_pad: as in `average_pool`.

    >>> import numpy as np
    >>> average_pool_input_gradient(np.array([[[2.0, 4.0]]]), spatial_shape=(4,), size=2)
    array([[[1., 1., 2., 2.]]])
    """
    geometry = _geometry_before(_shape(cotangent), spatial_shape, size, stride, padding, ceil_mode)
    return windows.average_pool_input_gradient(cotangent, geometry, count_include_pad)


average_pool_input_gradient.batch(joined)


@average_pool_input_gradient.types
def average_pool_input_gradient_types(
    cotangent: ArrayType,
    *,
    spatial_shape: Shape,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> ArrayType:
    """(batch, channels, *spatial_shape)."""
    geometry = _geometry_before(_shape(cotangent), spatial_shape, size, stride, padding, ceil_mode)
    return ArrayType(geometry.x_shape, _mean_dtype(cotangent))


@average_pool_input_gradient.vjp("cotangent")
def average_pool_input_gradient_wrt_cotangent(
    g: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Numeric:
    """The average pool of g: this op is its transpose."""
    return average_pool(
        g, size=size, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
    )


def _geometry_before(
    output_shape: Shape, spatial_shape: Shape, size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> Geometry:
    """Geometry of the pool of an array of `spatial_shape` that gives `output_shape`."""
    geometry = pool_geometry((*output_shape[:2], *spatial_shape), size, stride, padding, 1, ceil_mode)
    if geometry.output_shape != output_shape:
        raise ShapeError(
            f"cotangent has shape {output_shape}, but the pool's output is {geometry.output_shape}"
        )
    return geometry


@op(
    kind="pooling",
    linear="x",
    samples=[
        # By hand: windows 0..2, 2..4, 4..6 of seven elements; they overlap where the division leaves a rest.
        Sample(_LINE, size=3, expected=[[[0.0, 4.0 / 3.0, 10.0 / 3.0]]]),
        Sample(_GRID, size=(None, 1), expected=[[[[0.8], [3.0], [2.0]]]]),
        Sample(_BOX, size=(2, 2, 1)),
        Sample(_LINE, size=(9,)),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], size=1, error=ShapeError, match="batch, channel and at least one spatial"),
        ErrorSample(_LINE, size=0, error=ShapeError, match="is 0"),
        ErrorSample(_LINE, size=(1, 1), error=ShapeError, match="2 entries"),
        ErrorSample(np.zeros((1, 1, 0)), size=1, error=ShapeError, match="empty along"),
    ],
)
def adaptive_average_pool(x: Array, *, size: Sizes) -> Numeric:
    """out[n, c, i] = mean of x[n, c, floor(i * length / size) : ceil((i + 1) * length / size)].

    Args:
        x: (batch, channels, *spatial); integers average to float64.
        size: of the output: an int, or one for each spatial dimension, None for as many as x has there.

    Returns:
        (batch, channels, *size).

    Raises:
        ShapeError: a size that is no positive int, or an empty x.

    >>> import numpy as np
    >>> adaptive_average_pool(np.array([[[1.0, 3.0, 5.0]]]), size=2)
    array([[[2., 4.]]])
    """
    return windows.adaptive_average_pool(x, adaptive_output_shape(_shape(x), size)[2:])


adaptive_average_pool.batch(joined)


@adaptive_average_pool.types
def adaptive_average_pool_types(x: ArrayType, *, size: Sizes) -> ArrayType:
    """(batch, channels, *size)."""
    return ArrayType(adaptive_output_shape(_shape(x), size), _mean_dtype(x))


@adaptive_average_pool.vjp("x")
def adaptive_average_pool_wrt_x(g: Numeric, x_type: ArrayType) -> Numeric:
    """`adaptive_average_pool_input_gradient` of g."""
    return adaptive_average_pool_input_gradient(g, spatial_shape=x_type.shape[2:])


@adaptive_average_pool.jvp("x")
def adaptive_average_pool_along_x(t: Numeric, *, size: Sequence[int]) -> Numeric:
    """The same pool of t: it is linear."""
    return adaptive_average_pool(t, size=size)


@op(
    kind="pooling",
    linear="cotangent",
    samples=[
        Sample([[[2.0, 4.0]]], spatial_shape=(3,), expected=[[[1.0, 3.0, 2.0]]]),
        Sample(_GRID, spatial_shape=(2, 7)),
    ],
    error_samples=[
        ErrorSample([[[2.0, 4.0]]], spatial_shape=(2, 2), error=ShapeError, match="spatial"),
        ErrorSample([2.0], spatial_shape=(2,), error=ShapeError, match="spatial"),
    ],
)
def adaptive_average_pool_input_gradient(cotangent: Array, *, spatial_shape: Shape) -> Numeric:
    """Each cotangent[n, c, i], divided by its window's length, added to all of its window.

    The transpose of `adaptive_average_pool`.

    Args:
        cotangent: (batch, channels, *output).
        spatial_shape: of the result (batch, channels, *spatial_shape).

    >>> import numpy as np
    >>> adaptive_average_pool_input_gradient(np.array([[[2.0, 4.0]]]), spatial_shape=(4,))
    array([[[1., 1., 2., 2.]]])
    """
    _check_adaptive(_shape(cotangent), spatial_shape)
    return windows.adaptive_average_pool_input_gradient(cotangent, spatial_shape)


adaptive_average_pool_input_gradient.batch(joined)


@adaptive_average_pool_input_gradient.types
def adaptive_average_pool_input_gradient_types(cotangent: ArrayType, *, spatial_shape: Shape) -> ArrayType:
    """(batch, channels, *spatial_shape)."""
    _check_adaptive(_shape(cotangent), spatial_shape)
    return ArrayType((*cotangent.shape[:2], *spatial_shape), _mean_dtype(cotangent))


@adaptive_average_pool_input_gradient.vjp("cotangent")
def adaptive_average_pool_input_gradient_wrt_cotangent(g: Numeric, cotangent_type: ArrayType) -> Numeric:
    """The adaptive average pool of g: this op is its transpose."""
    return adaptive_average_pool(g, size=cotangent_type.shape[2:])


def _check_adaptive(shape: Shape, spatial_shape: Shape) -> None:
    adaptive_output_shape(shape, spatial_shape)
