"""Reductions over axes: sums, products, extremes, cumulative forms and statistics. Products of two arrays are in
`contraction.py`, elementwise extremes in `choosing.py`."""

from math import prod as _product
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, Sample, normalize_axes, op, ops, reduced_shape

_MATRIX = [[1.0, -2.0, 3.5], [0.5, 4.0, -1.5]]
_CUBE = [[[1.0, 2.0], [3.0, 4.5]], [[-5.0, 6.0], [7.0, 0.5]]]


def _kept(g: Any, x_type: ArrayType, axis: Any, keepdims: bool) -> Any:
    """A reduction's result with the reduced axes as size 1, so that it broadcasts against the operand."""
    if keepdims or axis is None:
        return g
    return ops.reshape(g, shape=reduced_shape(x_type.shape, axis, True))


def _count(x_type: ArrayType, axis: Any) -> int:
    """How many elements go into one result."""
    return _product(x_type.shape[i] for i in normalize_axes(axis, x_type.ndim))


@op(
    kind="reduction",
    numpy=np.sum,
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.5], expected=7.5),
        Sample(_MATRIX, axis=0, expected=[1.5, 2.0, 2.0]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample(_CUBE, axis=()),
    ],
)
def sum(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x over `axis` (all by default);  each element's derivative is 1."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@sum.vjp("x")
def sum_wrt_x(g: Any, x_type: Any, axis: Any, keepdims: bool) -> Any:
    return ops.broadcast_to(_kept(g, x_type, axis, keepdims), shape=x_type.shape)


@op(
    kind="reduction",
    numpy=np.mean,
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.5], expected=2.5),
        Sample(_MATRIX, axis=0, expected=[0.75, 1.0, 1.0]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
    ],
)
def mean(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x / n over `axis` (all by default);  each element's derivative is 1 / n."""
    return np.mean(x, axis=axis, keepdims=keepdims)


@mean.vjp("x")
def mean_wrt_x(g: Any, x_type: Any, axis: Any, keepdims: bool) -> Any:
    share = g / (_count(x_type, axis) or 1)  # of no elements there is no share
    return ops.broadcast_to(_kept(share, x_type, axis, keepdims), shape=x_type.shape)
