"""Reductions over axes: sums, products, extremes, cumulative forms and statistics. Products of two arrays are in
`contraction.py`, elementwise extremes in `choosing.py`."""

from collections.abc import Callable
from dataclasses import replace
from math import prod as _product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    Array,
    ArrayType,
    Axis,
    DTypeError,
    ErrorSample,
    Expansion,
    Numeric,
    NumpyFunctionError,
    Sample,
    SettingError,
    ShapeError,
    along,
    composite,
    normalize_axes,
    op,
    ops,
    reduced_axes,
    reduced_shape,
    reduction,
    varies,
)
from tinygraph_ops.half_precision import narrow, wide

_MATRIX = [[1.0, -2.0, 3.5], [0.5, 4.0, -1.5]]
_CUBE = [[[1.0, 2.0], [3.0, 4.5]], [[-5.0, 6.0], [7.0, 0.5]]]


def _kept(g: Numeric, x_type: ArrayType, axis: Axis, keepdims: bool) -> Numeric:
    """A reduction's result with the reduced axes as size 1, so that it broadcasts against the operand."""
    if keepdims or axis is None:
        return g
    return ops.reshape(g, shape=reduced_shape(x_type.shape, axis, True))


def _count(x_type: ArrayType, axis: Axis) -> int:
    """How many elements go into one result."""
    return _product(x_type.shape[i] for i in reduced_axes(axis, x_type.ndim))


@op(
    kind="reduction",
    facts={"reduction": "sum"},
    numpy=np.sum,
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.5], expected=7.5),
        Sample(_MATRIX, axis=0, expected=[1.5, 2.0, 2.0]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample(_CUBE, axis=()),
        Sample(_CUBE, axis=1),
    ],
)
def sum(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """Σ x over `axis` (all by default);  each element's derivative is 1."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@sum.expand
def sum_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """Elements along the reduced axes, added."""
    return reduction(x, axis, keepdims, "sum")


@sum.vjp("x")
def sum_wrt_x(g: Numeric, x_type: ArrayType, axis: Axis, keepdims: bool) -> Numeric:
    """g, spread over the reduced axes."""
    return ops.broadcast_to(_kept(g, x_type, axis, keepdims), shape=x_type.shape)


sum.pushes("x")


@op(
    kind="reduction",
    facts={"reduction": "mean"},
    numpy=np.mean,
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.5], expected=2.5),
        Sample(_MATRIX, axis=0, expected=[0.75, 1.0, 1.0]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample(_CUBE, axis=1),
    ],
)
def mean(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """Σ x / n over `axis` (all by default);  each element's derivative is 1 / n."""
    found: Numeric = np.mean(x, axis=axis, keepdims=keepdims)
    return found


@mean.expand
def mean_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """Elements along the reduced axes, added and divided by their number."""
    return reduction(x, axis, keepdims, "mean")


@mean.vjp("x")
def mean_wrt_x(g: Numeric, x_type: ArrayType, axis: Axis, keepdims: bool) -> Numeric:
    """g / n, spread over the reduced axes."""
    share = wide(g) / (_count(x_type, axis) or 1)  # of no elements there is no share
    return ops.broadcast_to(_kept(share, x_type, axis, keepdims), shape=x_type.shape)


mean.pushes("x")


@op(
    kind="reduction",
    facts={"reduction": "prod"},
    numpy=np.prod,
    samples=[
        Sample([1.0, 2.0, 4.5], expected=9.0),
        Sample(_MATRIX, axis=0, expected=[0.5, -8.0, -5.25]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample([1.0, 2.0, -0.5, 3.0, 0.7]),
        Sample(_CUBE, axis=()),
        Sample([[3.0, 0.0, 2.0], [0.0, 4.0, 0.0]], axis=1, expected=[0.0, 0.0]),
    ],
)
def prod(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """Π x over `axis` (all by default);  each element's derivative is the product of the others, zeros or not."""
    found: Numeric = np.prod(x, axis=axis, keepdims=keepdims)
    return found


@prod.expand
def prod_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """Elements along the reduced axes, multiplied."""
    return reduction(x, axis, keepdims, "product")


@prod.vjp("x")
def prod_wrt_x(g: Numeric, x: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    """g times the product of all other elements: products before and after each, so that zeros do no harm."""
    axes = reduced_axes(axis, x.ndim)
    # the reduced axes, joined into one, come last
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    moved = ops.transpose(x, axes=order)
    flat = ops.reshape(moved, shape=(*moved.shape[: x.ndim - len(axes)], _product(x.shape[i] for i in axes)))
    after = ops.flip(_product_before(ops.flip(flat, axis=-1), flat.ndim - 1), axis=-1)
    others = ops.reshape(_product_before(flat, flat.ndim - 1) * after, shape=moved.shape)
    back = tuple(order.index(i) for i in range(x.ndim))
    return _kept(g, ArrayType(x.shape, x.dtype), axis, keepdims) * ops.transpose(others, axes=back)


def _shifted(x: Numeric, axis: int, by: int, fill: int) -> Any:
    """x moved `by` places along an axis, backwards if negative, with `fill` where it came from."""
    before = by * (by > 0)
    after = before - by
    part = ("slice", after, x.shape[axis] - before, None)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    kept = ops.index(x, pattern=(*(("slice", None, None, None),) * axis, part))
    return ops.pad(kept, pad_width=tuple(widths), constant_values=fill)


def _product_before(x: Numeric, axis: int) -> Any:
    """For each element, the product of those before it: log n multiplications and no division, so zeros are right."""
    n = x.shape[axis]
    if n == 0:
        return x
    result, by = _shifted(x, axis, 1, 1), 1
    while by < n:
        result, by = result * _shifted(result, axis, by, 1), 2 * by
    return result


# -- extremes ----------------------------------------------------------------------------------------------------------


@op(
    kind="reduction",
    facts={"reduction": "max"},
    numpy=(np.max, np.amax),
    samples=[
        Sample([1.0, 3.0, 2.5], expected=3.0),
        Sample(_MATRIX, axis=0, expected=[1.0, 4.0, 3.5]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample(_CUBE, axis=1),
        Sample([2.0, 2.0, 1.0], expected=2.0, smooth=False),
        Sample(
            [[2.0, 2.0, 1.0], [0.0, 3.0, 1.0]], axis=1, keepdims=True, expected=[[2.0], [3.0]], smooth=False
        ),
        Sample([np.nan, 1.0], expected=np.nan, smooth=False),
    ],
    error_samples=[ErrorSample([[]], axis=1, error=ShapeError, match="no identity")],
)
def max(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """The largest element over `axis` (all by default), nan if one is;  the gradient is split evenly among ties."""
    found: Numeric = np.max(x, axis=axis, keepdims=keepdims)
    return found


@max.expand
def max_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """The largest element along the reduced axes."""
    return reduction(x, axis, keepdims, "max")


@max.vjp("x")
def max_wrt_x(g: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    """g, shared equally among the elements that are the maximum."""
    return _to_extremes(g, x, out, axis, keepdims)


@max.jvp("x")
def max_along_x(t: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    """The mean of t over the elements that are the maximum."""
    return _along_extremes(t, x, out, axis, keepdims)


@op(
    kind="reduction",
    facts={"reduction": "min"},
    numpy=(np.min, np.amin),
    samples=[
        Sample([1.5, 3.0, 2.5], expected=1.5),
        Sample(_MATRIX, axis=0, expected=[0.5, -2.0, -1.5]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample(_CUBE, axis=1),
        Sample([2.0, 2.0, 3.0], expected=2.0, smooth=False),
        Sample(
            [[2.0, 2.0, 3.0], [0.0, 3.0, 1.0]], axis=1, keepdims=True, expected=[[2.0], [0.0]], smooth=False
        ),
        Sample([np.nan, 1.0], expected=np.nan, smooth=False),
    ],
    error_samples=[ErrorSample([[]], axis=1, error=ShapeError, match="no identity")],
)
def min(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """The smallest element over `axis` (all by default), nan if one is;  the gradient is split evenly among ties."""
    found: Numeric = np.min(x, axis=axis, keepdims=keepdims)
    return found


@min.expand
def min_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """The smallest element along the reduced axes."""
    return reduction(x, axis, keepdims, "min")


@min.vjp("x")
def min_wrt_x(g: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    """g, shared equally among the elements that are the minimum."""
    return _to_extremes(g, x, out, axis, keepdims)


@min.jvp("x")
def min_along_x(t: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    """The mean of t over the elements that are the minimum."""
    return _along_extremes(t, x, out, axis, keepdims)


def _to_extremes(g: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    chosen, count = _extremes(x, out, axis, keepdims)
    part = _kept(g / count, ArrayType(x.shape, x.dtype), axis, keepdims)
    return ops.where(chosen, _shared(part, x, out, count, axis, keepdims), 0)


def _along_extremes(t: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Numeric:
    chosen, count = _extremes(x, out, axis, keepdims)
    moving = ops.where(chosen, _shared(t, x, out, count, axis, keepdims), 0)
    return ops.sum(moving, axis=axis, keepdims=keepdims) / count


def _shared(part: Numeric, x: Numeric, out: Numeric, count: Numeric, axis: Axis, keepdims: bool) -> Any:
    """What each extreme gets: by convention where there are several, of which one alone may be left."""
    if not varies(part):
        return part
    x_type = ArrayType(x.shape, x.dtype)
    ties = _kept(ops.greater(count, 1), x_type, axis, keepdims)
    return ops.by_convention(part, ties, x, _kept(out, x_type, axis, keepdims))


def _extremes(x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> tuple[Any, Any]:
    """Which elements are the extreme of their row, and how many."""
    chosen = ops.equal(x, _kept(out, ArrayType(x.shape, x.dtype), axis, keepdims))
    if x.dtype.kind in "fc":
        chosen = ops.logical_or(chosen, ops.isnan(x))  # a nan is the extreme of its row
    return chosen, ops.sum(ops.cast(chosen, dtype=x.dtype), axis=axis, keepdims=keepdims)


@op(
    kind="reduction",
    numpy=np.argmax,
    nondifferentiable="x",
    samples=[
        Sample([1.0, 3.0, 3.0], expected=1),
        Sample(_MATRIX, axis=1, expected=[2, 1]),
        Sample(_CUBE, axis=0, keepdims=True),
    ],
    error_samples=[ErrorSample(_MATRIX, axis=(0, 1), error=SettingError, match="one axis")],
)
def argmax(x: Numeric, *, axis: int | None = None, keepdims: bool = False) -> Numeric:
    """Where the largest element stands along `axis`, the first of several; in x flattened by default."""
    found: Numeric = np.argmax(x, axis=_one_axis("argmax", axis), keepdims=keepdims)
    return found


argmax.batch(along("axis"))


@op(
    kind="reduction",
    numpy=np.argmin,
    nondifferentiable="x",
    samples=[
        Sample([3.0, 1.0, 1.0], expected=1),
        Sample(_MATRIX, axis=1, expected=[1, 2]),
        Sample(_CUBE, axis=0, keepdims=True),
    ],
    error_samples=[ErrorSample(_MATRIX, axis=(0, 1), error=SettingError, match="one axis")],
)
def argmin(x: Numeric, *, axis: int | None = None, keepdims: bool = False) -> Numeric:
    """Where the smallest element stands along `axis`, the first of several; in x flattened by default."""
    found: Numeric = np.argmin(x, axis=_one_axis("argmin", axis), keepdims=keepdims)
    return found


argmin.batch(along("axis"))


def _one_axis(name: str, axis: Axis) -> int | None:
    if isinstance(axis, tuple):
        raise SettingError(f"{name} takes one axis or None, not {axis}")
    return None if axis is None else int(axis)


@op(
    kind="reduction",
    numpy=np.all,
    nondifferentiable="x",
    samples=[
        Sample([True, False], expected=False),
        Sample(_MATRIX, axis=(0,)),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
    ],
)
def all(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """Whether every element over `axis` is non-zero."""
    found: Numeric = np.all(x, axis=axis, keepdims=keepdims)
    return found


@op(
    kind="reduction",
    numpy=np.any,
    nondifferentiable="x",
    samples=[
        Sample([True, False], expected=True),
        Sample(_MATRIX, axis=(0,)),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
    ],
)
def any(x: Numeric, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """Whether some element over `axis` is non-zero."""
    found: Numeric = np.any(x, axis=axis, keepdims=keepdims)
    return found


# -- cumulative --------------------------------------------------------------------------------------------------------


@op(
    kind="reduction",
    numpy=np.cumsum,
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.5], expected=[1.0, 3.0, 7.5]),
        Sample(_MATRIX, axis=0, expected=[[1.0, -2.0, 3.5], [1.5, 2.0, 2.0]]),
        Sample(_CUBE, axis=-2),
        Sample(_MATRIX),
    ],
)
def cumsum(x: Numeric, *, axis: int | None = None) -> Numeric:
    """The sums of the elements up to each along `axis`, of x flattened by default."""
    return np.cumsum(x, axis=_one_axis("cumsum", axis))


cumsum.batch(along("axis"))


@cumsum.vjp("x")
def cumsum_wrt_x(g: Numeric, x_type: ArrayType, axis: int | None) -> Numeric:
    """The sum of g from each element on: cumulated from the end."""
    along = 0 if axis is None else axis
    total = ops.flip(ops.cumsum(ops.flip(g, axis=along), axis=along), axis=along)
    return ops.reshape(total, shape=x_type.shape) if axis is None or not x_type.ndim else total


cumsum.pushes("x")


@op(
    kind="reduction",
    numpy=np.cumprod,
    samples=[
        Sample([1.0, 2.0, 4.5], expected=[1.0, 2.0, 9.0]),
        Sample(_MATRIX, axis=0, expected=[[1.0, -2.0, 3.5], [0.5, -8.0, -5.25]]),
        Sample(_CUBE, axis=-2),
        Sample([1.0, 2.0, -0.5, 3.0, 0.7]),
        Sample([[3.0, 0.0, 2.0], [0.0, 4.0, -1.0]]),
    ],
)
def cumprod(x: Numeric, *, axis: int | None = None) -> Numeric:
    """The products of the elements up to each along `axis`, of x flattened by default;  right at zeros too."""
    return np.cumprod(x, axis=_one_axis("cumprod", axis))


cumprod.batch(along("axis"))


@cumprod.vjp("x")
def cumprod_wrt_x(g: Numeric, x: Numeric, axis: int | None) -> Any:
    """Products before each element times what later ones make of g, by doubling steps; no division."""
    # d/dx_k = (Π before k) s_k, with s_k = g_k + x_(k+1) s_(k+1) by doubling, so that nothing is divided
    flat = ops.reshape(x, shape=(-1,)) if axis is None or not x.ndim else x
    along = 0 if axis is None else axis % flat.ndim
    if flat.size == 0:
        return ops.reshape(g, shape=x.shape)
    factor, total, by = _shifted(flat, along, -1, 0), g, 1
    while by < flat.shape[along]:
        total = total + factor * _shifted(total, along, -by, 0)
        factor, by = factor * _shifted(factor, along, -by, 0), 2 * by
    return ops.reshape(_product_before(flat, along) * total, shape=x.shape)


@cumsum.types
def cumsum_types(x: ArrayType, *, axis: int | None = None) -> ArrayType:
    """The shape of x, or one axis where `axis` is None; NumPy's dtype."""
    return _cumulative(np.cumsum, x, axis)


@cumprod.types
def cumprod_types(x: ArrayType, *, axis: int | None = None) -> ArrayType:
    """The shape of x, or one axis where `axis` is None; NumPy's dtype."""
    return _cumulative(np.cumprod, x, axis)


def _cumulative(function: Callable[..., Any], x: ArrayType, axis: int | None) -> ArrayType:
    axes = normalize_axes(axis, x.ndim or 1)
    if axis is not None and len(axes) != 1:
        raise SettingError(f"{function.__name__} takes one axis or None, not {axis}")
    return ArrayType((x.size,) if axis is None or not x.ndim else x.shape, function(x.stand_in((1,))).dtype)


# -- exponentials, statistics and norms --------------------------------------------------------------------------------


@op(
    kind="reduction",
    samples=[
        Sample([0.0, 0.0], expected=0.6931471805599453),
        Sample([1000.0, 1000.0], expected=1000.6931471805599),
        Sample(_MATRIX, axis=1, keepdims=True),
        Sample(_CUBE, axis=(0, -1)),
        Sample([[-np.inf, -np.inf], [-np.inf, 1.5]], axis=1, expected=[-np.inf, 1.5], smooth=False),
    ],
    error_samples=[ErrorSample([1j], error=DTypeError, match="real")],
)
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """log Σ e^x over `axis` without overflow;  d/dx = softmax(x), 0 where out is -∞."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DTypeError(f"logsumexp takes real numbers, not {x.dtype}")
    before = x.dtype
    x = wide(x) if x.dtype.kind == "f" else x.astype(np.float64)
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):  # log 0 is -inf, and beside inf all else is negligible
        total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return narrow(total if keepdims else total.reshape(reduced_shape(x.shape, axis, False))[()], before)


@logsumexp.expand
def logsumexp_expansion(x: ArrayType, *, axis: Axis, keepdims: bool) -> Expansion:
    """The logarithm of the sum of exponentials along the reduced axes."""
    return replace(reduction(x, axis, keepdims, "sum"), each="exp", after="log")


@logsumexp.vjp("x")
def logsumexp_wrt_x(g: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Any:
    """g · softmax(x); 0 where all elements are -∞."""
    nothing, shares = _shares(x, out, axis, keepdims)
    return ops.where(nothing, 0, _kept(wide(g), ArrayType(x.shape, x.dtype), axis, keepdims) * shares)


def _shares(x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> tuple[Any, Any]:
    """Where all elements are -∞, and softmax(x) elsewhere."""
    # not e^(x - out): where x is large, out is rounded by more than the logarithm that distinguishes them
    nothing = _kept(ops.equal(out, -np.inf), ArrayType(x.shape, x.dtype), axis, keepdims)
    return nothing, ops.softmax(ops.where(nothing, 0, wide(x)), axis=reduced_axes(axis, x.ndim))


@logsumexp.jvp("x")
def logsumexp_along_x(t: Numeric, x: Numeric, out: Numeric, axis: Axis, keepdims: bool) -> Any:
    """Σ t · softmax(x); 0 where all elements are -∞."""
    nothing, shares = _shares(x, out, axis, keepdims)
    return ops.sum(ops.where(nothing, 0, shares * wide(t)), axis=axis, keepdims=keepdims)


@composite(
    samples=[
        Sample([1.0, 2.0, 4.5], expected=13 / 6),
        Sample(_MATRIX, axis=0, ddof=1, expected=[0.125, 18.0, 12.5]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample([1.0 + 1.0j, -1.0 - 1.0j], expected=2.0),
    ],
)
def var(x: Numeric, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Numeric:
    """Σ |x - mean|² / (n - ddof) over `axis`: the variance."""
    before, x = getattr(x, "dtype", None), wide(x)
    difference = x - ops.mean(x, axis=axis, keepdims=True)
    squares = ops.square(ops.abs(difference) if difference.dtype.kind == "c" else difference)
    axes = reduced_axes(axis, np.ndim(x))
    freedom = _product(np.shape(x)[i] for i in axes) - ddof
    out = ops.sum(squares, axis=axis, keepdims=keepdims) / (freedom if freedom > 0 else 0)
    return narrow(out, before)


@composite(
    samples=[
        Sample([1.0, 2.0, 4.5], expected=1.4719601443879744),
        Sample(_MATRIX, axis=0, ddof=1, expected=[0.3535533905932738, 4.242640687119285, 3.5355339059327378]),
        Sample(_CUBE, axis=(0, -1), keepdims=True),
        Sample([2.0, 2.0], expected=0.0, smooth=False),
    ],
)
def std(x: Numeric, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Numeric:
    """√var over `axis`: the standard deviation;  its gradient is taken as 0 where it is 0."""
    return narrow(_root(ops.var(wide(x), axis=axis, ddof=ddof, keepdims=keepdims)), getattr(x, "dtype", None))


def _root(x: Numeric, exponent: float | None = None) -> Numeric:
    """√x (or x to another power) with the derivative 0 at 0, where that of a distance from a constant belongs.

    That 0 is a convention, from which nothing follows: further derivatives there are not finite. x^1.5 is what is 0
    with its derivative, and whose second one is infinite.
    """
    nothing = ops.equal(x, 0)
    somewhere = ops.where(nothing, 1, x)
    root = ops.sqrt(somewhere) if exponent is None else ops.power(somewhere, exponent)
    return ops.where(nothing, ops.power(ops.where(nothing, x, 1), 1.5), root)


@composite(
    samples=[
        Sample([3.0, 4.0], expected=5.0),
        Sample(_MATRIX, axis=0, expected=[1.118033988749895, 4.47213595499958, 3.8078865529319543]),
        Sample(_MATRIX, ord="fro", keepdims=True),
        Sample(_MATRIX, ord=1, axis=1, expected=[6.5, 6.0]),
        Sample(_MATRIX, ord=1, expected=6.0),
        Sample(_MATRIX, ord=np.inf, axis=-1, expected=[3.5, 4.0]),
        Sample(_MATRIX, ord=-np.inf, axis=(1, 0), expected=1.5),
        Sample([1.0, 2.0, 2.0], ord=3),
        Sample([3.0, 4.0j], expected=5.0),
        Sample(_MATRIX, ord="nuc"),
        Sample([0.0, 0.0], expected=0.0, smooth=False),
    ],
    error_samples=[
        ErrorSample(_MATRIX, ord=3, error=SettingError, match="'fro'"),
        ErrorSample(_CUBE, ord=2, error=ShapeError, match="axis"),
    ],
)
def norm(x: Numeric, *, ord: Array | None = None, axis: Axis = None, keepdims: bool = False) -> Numeric:
    """The norm of vectors (one axis) or matrices (two axes), as np.linalg.norm;  its gradient is taken as 0 at 0.

    `ord`: None (root of the sum of squares), "fro", 1, inf, -inf, for vectors any number, and for matrices 2, -2 and
    "nuc", the largest singular value, the smallest, and the sum of all.
    """
    if getattr(x, "dtype", np.dtype(float)).kind in "biu":  # whose squares would overflow
        x = ops.cast(x, dtype="float64")
    if getattr(x, "dtype", None) == np.float16:
        return narrow(norm(wide(x), ord=ord, axis=axis, keepdims=keepdims), x.dtype)
    if axis is not None and len(normalize_axes(axis, np.ndim(x))) not in (1, 2):
        raise ShapeError(f"norm takes the axis of vectors or the two of matrices, not axis={axis}")
    if ord is None or (ord == "fro" and axis is None and np.ndim(x) == 2):
        return _root(ops.sum(_squares(x), axis=axis, keepdims=keepdims))
    axes = (
        tuple(range(np.ndim(x)))
        if axis is None
        else tuple(axis)
        if isinstance(axis, tuple | list)
        else (axis,)
    )
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ShapeError(f"norm of order {ord} takes one axis or two; x has shape {np.shape(x)}: give axis=")
    return _matrix_norm(x, ord, axes, keepdims)


def _squares(x: Numeric) -> Any:
    return ops.square(ops.abs(x) if getattr(x, "dtype", np.dtype(float)).kind == "c" else x)


def _vector_norm(x: Numeric, order: Numeric, axis: int, keepdims: bool) -> Numeric:
    if not isinstance(order, int | float):
        raise SettingError(f"norm of order {order!r} is for matrices; a vector's is a number, inf or -inf")
    if order == 2:
        return _root(ops.sum(_squares(x), axis=axis, keepdims=keepdims))
    size = ops.abs(x)
    if order in (np.inf, -np.inf):
        return (ops.max if order > 0 else ops.min)(size, axis=axis, keepdims=keepdims)
    if order == 0:
        return ops.sum(ops.cast(ops.not_equal(x, 0), dtype=size.dtype), axis=axis, keepdims=keepdims)
    if order == 1:
        return ops.sum(size, axis=axis, keepdims=keepdims)
    return _root(ops.sum(ops.power(size, order), axis=axis, keepdims=keepdims), 1 / order)


def _matrix_norm(x: Numeric, order: Array, axes: tuple[int, ...], keepdims: bool) -> Numeric:
    if order == "fro":
        return _root(ops.sum(_squares(x), axis=axes, keepdims=keepdims))
    if order in (2, -2, "nuc"):
        values = ops.svd(ops.moveaxis(x, source=axes, destination=(-2, -1)))[1]
        none = order == 2 and np.shape(values)[-1] == 0  # the norm of an empty matrix is 0
        reduced = ops.sum if none else {2: ops.max, -2: ops.min, "nuc": ops.sum}[order]
        found = reduced(values, axis=-1)
        for axis in sorted(axis % np.ndim(x) for axis in axes) if keepdims else ():
            found = ops.expand_dims(found, axis=axis)
        return found
    if order not in (1, -1, np.inf, -np.inf):
        raise SettingError(
            f"a matrix norm has the order 'fro', 'nuc', 1, 2, inf or one of these negative, not {order!r}"
        )
    rows, columns = (axis % np.ndim(x) for axis in axes)
    summed, compared = (rows, columns) if order in (1, -1) else (columns, rows)
    totals = ops.sum(ops.abs(x), axis=summed, keepdims=True)
    extreme = (ops.max if order > 0 else ops.min)(totals, axis=(summed, compared), keepdims=keepdims)
    return extreme


@var.numpy(np.var)
def np_var(
    a: Numeric,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: object = None,
    ddof: int = 0,
    keepdims: object = False,
    **options: object,
) -> Any:
    """`np.var` without dtype=, out= and where=."""
    _refuse("np.var", dtype=dtype, out=out, **options)
    return var(a, axis=axis, ddof=ddof, keepdims=keepdims is not np._NoValue and bool(keepdims))


@std.numpy(np.std)
def np_std(
    a: Numeric,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: object = None,
    ddof: int = 0,
    keepdims: object = False,
    **options: object,
) -> Any:
    """`np.std` without dtype=, out= and where=."""
    _refuse("np.std", dtype=dtype, out=out, **options)
    return std(a, axis=axis, ddof=ddof, keepdims=keepdims is not np._NoValue and bool(keepdims))


@norm.numpy(np.linalg.norm)
def np_linalg_norm(x: Numeric, ord: object = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """`np.linalg.norm`."""
    return norm(x, ord=ord, axis=axis, keepdims=keepdims)


def _refuse(name: str, **options: object) -> None:
    given = [option for option, value in options.items() if value is not None and value is not np._NoValue]
    if given:
        raise NumpyFunctionError(f"{name} on tensors does not take {', '.join(given)}")
