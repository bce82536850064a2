"""Shape and layout: elements move or repeat, and none is computed. Selecting elements is in `indexing.py`."""

from math import prod
from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    DTypeError,
    ErrorSample,
    NumpyFunctionError,
    Sample,
    SettingError,
    ShapeError,
    normalize_axes,
    op,
    ops,
)

_MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
_CUBE = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]


@op(
    kind="shape",
    linear=("x",),
    samples=[
        Sample(_MATRIX, shape=(3, 2), expected=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        Sample(_CUBE, shape=(2, -1)),
        Sample([7.0], shape=(), expected=7.0),
    ],
    error_samples=[ErrorSample(_MATRIX, shape=(4, 2), error=ShapeError, match="6 elements")],
)
def reshape(x: Any, *, shape: Any) -> Any:
    """The elements of x, in order, in another shape; one size may be -1."""
    return np.reshape(x, shape)


@reshape.vjp("x")
def reshape_wrt_x(g: Any, x_type: Any) -> Any:
    return ops.reshape(g, shape=x_type.shape)


@reshape.types
def reshape_types(x: ArrayType, *, shape: Any) -> ArrayType:
    sizes = shape if isinstance(shape, tuple) else (shape,)
    known = prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes = tuple(x.size // known if size == -1 else size for size in sizes)
    if min(sizes, default=0) < 0 or prod(sizes) != x.size:
        raise ShapeError(f"an array of shape {x.shape} has {x.size} elements, which cannot take the shape {shape}")
    return ArrayType(sizes, x.dtype)


@reshape.numpy(np.reshape)
def _(a: Any, shape: Any = None, order: str = "C", **options: Any) -> Any:
    if order != "C" or options:
        raise NumpyFunctionError(f"np.reshape on tensors takes order='C' only, not {order!r} {options or ''}")
    return reshape(a, shape=shape)


@op(
    kind="shape",
    linear=("x",),
    numpy=np.transpose,
    samples=[
        Sample(_MATRIX, expected=[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]),
        Sample(_CUBE, axes=(2, 0, 1)),
        Sample(_CUBE, axes=(-1, -3, -2)),
    ],
    error_samples=[ErrorSample(_MATRIX, axes=(0, 0), error=ShapeError, match="twice")],
)
def transpose(x: Any, *, axes: Any = None) -> Any:
    """x with its axes in the order `axes` (reversed by default)."""
    return np.transpose(x, axes)


@transpose.vjp("x")
def transpose_wrt_x(g: Any, x_type: Any, axes: Any) -> Any:
    return ops.transpose(g, axes=_inverse(axes, x_type.ndim))


@transpose.types
def transpose_types(x: ArrayType, *, axes: Any = None) -> ArrayType:
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axes)
    if len(normalize_axes(order, x.ndim)) != x.ndim:
        raise ShapeError(f"axes {axes} must name each of the {x.ndim} axes once")
    return ArrayType(tuple(x.shape[axis] for axis in order), x.dtype)


def _inverse(axes: Any, ndim: int) -> tuple[int, ...] | None:
    """The order of axes that undoes `axes`."""
    if axes is None:
        return None
    order = [axis % ndim for axis in axes]
    return tuple(order.index(axis) for axis in range(ndim))


@op(
    kind="shape",
    linear=("x",),
    numpy=np.broadcast_to,
    samples=[
        Sample([1.0, 2.0], shape=(2, 2), expected=[[1.0, 2.0], [1.0, 2.0]]),
        Sample([[1.0], [2.0]], shape=(2, 3)),
        Sample(5.0, shape=(2,)),
    ],
    error_samples=[ErrorSample([1.0, 2.0], shape=(2, 3), error=ShapeError, match="cannot be broadcast")],
)
def broadcast_to(x: Any, *, shape: Any) -> Any:
    """x repeated along new axes and axes of size 1 up to `shape` (a read-only view);  gradients are summed."""
    return np.broadcast_to(x, shape)


@broadcast_to.vjp("x")
def broadcast_to_wrt_x(g: Any) -> Any:
    return g  # the engine sums over what was spread


@broadcast_to.types
def broadcast_to_types(x: ArrayType, *, shape: Any) -> ArrayType:
    shape = shape if isinstance(shape, tuple) else (shape,)
    pairs = list(zip(reversed(x.shape), reversed(shape), strict=False))
    if len(x.shape) > len(shape) or not all(old in (1, new) for old, new in pairs):
        raise ShapeError(f"shape {x.shape} cannot be broadcast to {shape}: sizes must be equal, or 1 in the operand")
    return ArrayType(shape, x.dtype)


@op(
    kind="shape",
    linear=("x",),
    samples=[Sample([1.0, 2.5], dtype="float32", expected=np.array([1.0, 2.5], "float32")), Sample(_MATRIX, dtype="float64")],
    error_samples=[ErrorSample([1.0], dtype="str", error=DTypeError, match="numeric")],
)
def cast(x: Any, *, dtype: Any) -> Any:
    """x converted to another dtype;  the gradient is converted back. Nothing flows through integers."""
    array = x if hasattr(x, "astype") else np.asarray(x)
    return array.astype(_numeric(dtype), copy=False)


@cast.vjp("x")
def cast_wrt_x(g: Any) -> Any:
    return g  # the engine gives a gradient its operand's dtype


@cast.types
def cast_types(x: ArrayType, *, dtype: Any) -> ArrayType:
    return ArrayType(x.shape, _numeric(dtype))


def _numeric(dtype: Any) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found.kind not in "biufcO":
        raise DTypeError(f"dtype {found} is not numeric")
    return found


@op(kind="shape", linear=("x",), types="like_first", samples=[Sample([1.0, 2.0], expected=[1.0, 2.0]), Sample(_MATRIX)])
def identity(x: Any) -> Any:
    """x itself."""
    return x


@identity.vjp("x")
def identity_wrt_x(g: Any) -> Any:
    return g
