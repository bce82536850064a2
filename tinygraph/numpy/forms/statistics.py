"""Forms of statistics: order statistics, averages, versions that leave out NaN, covariances, histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.errors import CaptureError, NumpyFunctionError
from tinygraph.numpy.form import (
    axis_of,
    detached,
    floating,
    form,
    holds_tensor,
    known,
    operand,
    refuse,
    value,
)
from tinygraph.numpy.memory_order import in_rows

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric

_UNIT = "use the result"


@form(np.ptp)
def ptp(a: Numeric, axis: Axis = None, out: object = None, keepdims: object = np._NoValue) -> Any:
    refuse(np.ptp, _UNIT, out=out)
    kept = keepdims is not np._NoValue and bool(keepdims)
    return np.max(a, axis=axis, keepdims=kept) - np.min(a, axis=axis, keepdims=kept)


@form(np.average)
def average(
    a: Numeric,
    axis: Axis = None,
    weights: object = None,
    returned: bool = False,
    *,
    keepdims: object = np._NoValue,
) -> Any:
    x = operand(a)
    kept = keepdims is not np._NoValue and bool(keepdims)
    if weights is None:
        found = np.mean(x, axis=axis, keepdims=kept)
        total: Any = np.asarray(x.size // max(found.size, 1), found.dtype)
    else:
        w = operand(weights)
        if w.shape != x.shape:
            if axis is None:
                raise TypeError("Axis must be specified when shapes of a and weights differ.")
            axes = [axis_of(one, x.ndim) for one in (axis if isinstance(axis, tuple) else (axis,))]
            if w.shape != tuple(x.shape[one] for one in axes):
                raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
            w = np.transpose(w, tuple(int(i) for i in np.argsort(axes)))
            w = w.reshape([n if i in axes else 1 for i, n in enumerate(x.shape)])
        w = floating(np.broadcast_to(w, x.shape)) if x.dtype.kind in "iub" else np.broadcast_to(w, x.shape)
        total = np.sum(w, axis=axis, keepdims=kept)
        if known(total) and np.any(value(total) == 0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        found = np.sum(x * w, axis=axis, keepdims=kept) / total
        total = total.astype(np.result_type(x.dtype, total.dtype))
    return (found, np.broadcast_to(total, found.shape)) if returned else found


# -- order statistics --------------------------------------------------------------------------------------------------


@form(np.quantile)
def quantile(
    a: Numeric,
    q: object,
    axis: Axis = None,
    out: object = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: object = None,
) -> Any:
    return in_rows(_quantile(a, q, axis, out, method, keepdims, weights))


def _quantile(
    a: Numeric, q: object, axis: Axis, out: object, method: str, keepdims: bool, weights: object = None
) -> Any:
    """Elements in ascending order, and between two of them a line: where, the quantiles of 0, 1, 2 ... tell."""
    refuse(np.quantile, _UNIT, out=out)
    if weights is not None:
        return _weighted(np.quantile, a, q, axis, method, keepdims, weights)
    rows, shape = _rows(floating(a), axis)
    levels = _levels(q)
    places = np.quantile(np.arange(rows.shape[-1], dtype=float), levels, method=method)  # type: ignore[call-overload]
    ordered = np.sort(rows, axis=-1)
    found = _between(ordered, places, rows.dtype)
    if rows.dtype.kind == "f":
        found = np.where(np.isnan(ordered[..., -1:]), np.asarray(np.nan, rows.dtype), found)
    return _in_place(_typed(found, q), levels, shape, keepdims)


def _typed(found: Numeric, q: object) -> Any:
    """Quantiles at levels in an array, which has a dtype of its own."""
    return (
        found
        if isinstance(q, int | float)
        else found.astype(np.result_type(found.dtype, _levels(q).dtype, np.float16))
    )


@form(np.percentile)
def percentile(
    a: Numeric,
    q: object,
    axis: Axis = None,
    out: object = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: object = None,
) -> Any:
    return quantile(a, _share(q), axis, out, overwrite_input, method, keepdims, weights=weights)


def _share(q: object) -> Any:
    return q / 100 if isinstance(q, int | float) else _levels(q) / 100


@form(np.median)
def median(
    a: Numeric, axis: Axis = None, out: object = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    return _quantile(_never_empty(floating(a), axis), 0.5, axis, out, "linear", keepdims)


@form(np.nanquantile)
def nanquantile(
    a: Numeric,
    q: object,
    axis: Axis = None,
    out: object = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: object = np._NoValue,
    *,
    weights: object = None,
) -> Any:
    refuse(np.nanquantile, _UNIT, out=out)
    if weights is not None:
        return _weighted(np.nanquantile, a, q, axis, method, keepdims is True, weights)
    rows, shape = _rows(_never_empty(floating(a), axis), axis)
    levels = _levels(q)
    counts = np.sum(~np.isnan(value(detached(rows)) if known(rows) else rows), axis=-1)
    if not known(counts):
        if method != "linear":
            raise NumpyFunctionError("np.nanquantile in a captured program takes method='linear' only")
        places = np.maximum(counts - 1, 0)[..., None] * levels.reshape(-1)
        return _typed(_nan_in_place(rows, places, levels, shape, keepdims), q)
    places = np.zeros((*counts.shape, levels.size))
    for count in np.unique(counts[counts > 0]):
        places[counts == count] = np.quantile(
            np.arange(count, dtype=float), levels.reshape(-1), method=method
        )  # type: ignore[call-overload]
    return _typed(_nan_in_place(rows, places, levels, shape, keepdims), q)


def _nan_in_place(
    rows: Numeric, places: Numeric, levels: Numeric, shape: tuple[int, ...], keepdims: object
) -> Any:
    found = _between(np.sort(rows, axis=-1), places, rows.dtype)  # those that are NaN stand at the end
    return _in_place(found, levels, shape, keepdims is not np._NoValue and bool(keepdims))


@form(np.nanpercentile)
def nanpercentile(
    a: Numeric,
    q: object,
    axis: Axis = None,
    out: object = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: object = np._NoValue,
    *,
    weights: object = None,
) -> Any:
    return nanquantile(a, _share(q), axis, out, overwrite_input, method, keepdims, weights=weights)


@form(np.nanmedian)
def nanmedian(
    a: Numeric,
    axis: Axis = None,
    out: object = None,
    overwrite_input: bool = False,
    keepdims: object = np._NoValue,
) -> Any:
    return nanquantile(a, 0.5, axis, out, overwrite_input, "linear", keepdims)


def _weighted(
    function: Callable[..., Any],
    a: Numeric,
    q: object,
    axis: Axis,
    method: str,
    keepdims: bool,
    weights: object,
) -> Any:
    """Each weighted quantile is an element: which, its value tells. The weights only say which."""
    x = floating(a)
    found = np.asarray(function(value(x), _levels(q), axis, method=method, weights=value(weights)))
    rows, shape = _rows(x, axis)
    ordered = np.sort(rows, axis=-1)
    wanted = np.moveaxis(found.reshape((-1, *rows.shape[:-1])), 0, -1)
    places = np.argmax(value(ordered)[..., None, :] == wanted[..., :, None], axis=-1)
    chosen = np.take_along_axis(ordered, places, -1)
    chosen = np.where(np.isnan(wanted), np.asarray(np.nan, x.dtype), chosen)
    return _in_place(chosen, _levels(q), shape, keepdims)


def _levels(q: object) -> Any:
    if getattr(q, "requires_grad", False):
        raise NumpyFunctionError(
            "quantiles carry no gradient to q, their level: pass q.detach(), or a number"
        )
    return np.asarray(value(q))


def _rows(x: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """An array with the axes that a reduction goes over as its last one, and the shape that keepdims would leave."""
    if axis is None:
        return x.reshape(-1), (1,) * x.ndim
    axes = tuple(axis_of(one, x.ndim) for one in (axis if isinstance(axis, tuple | list) else (axis,)))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    moved = np.moveaxis(x, axes, tuple(range(-len(axes), 0)))
    kept = x.ndim - len(axes)
    return moved.reshape((*moved.shape[:kept], prod(moved.shape[kept:]))), shape


def _never_empty(x: Any, axis: Axis) -> Any:
    """An array with a NaN along each axis that a reduction goes over and finds empty: NumPy's median of nothing."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    for one in axes:
        at = axis_of(one, x.ndim)
        if x.shape[at] == 0:
            gap = np.full((*x.shape[:at], 1, *x.shape[at + 1 :]), np.nan, x.dtype)
            x = np.concatenate([x, gap], axis=at)
    return x


def _between(ordered: Numeric, places: Numeric, dtype: DTypeLike) -> Any:
    """The elements at broken places along the last axis, between two on the line from one to the other."""
    low = np.floor(places).astype(np.intp)
    part = (places - low).astype(np.empty(0, dtype).real.dtype)
    high = np.minimum(low + 1, ordered.shape[-1] - 1)
    if low.ndim <= 1:
        below, above = ordered[..., np.atleast_1d(low)], ordered[..., np.atleast_1d(high)]
    else:
        below, above = np.take_along_axis(ordered, low, -1), np.take_along_axis(ordered, high, -1)
    # an element alone is that element, even where its neighbour is infinite
    return np.where(part == 0, below, below + np.where(part == 0, 0, above - below) * part)


def _in_place(found: Any, levels: Numeric, shape: tuple[int, ...], keepdims: bool) -> Any:
    """Quantiles with the axes of their levels in front."""
    moved = np.moveaxis(found, -1, 0)
    rest = shape if keepdims else moved.shape[1:]
    return moved.reshape((*levels.shape, *rest))


# -- without NaN -------------------------------------------------------------------------------------------------------


def _filled(a: Numeric, number: float) -> Any:
    x = operand(a)
    return np.where(np.isnan(x), np.asarray(number, x.dtype), x) if x.dtype.kind in "fc" else x


def _without_nan(function: object, plain: Any, filling: float) -> None:
    @form(function)
    def filled(a: Any, axis: Any = None, **options: Any) -> Any:
        return plain(_filled(a, filling), axis=axis, **options)


_without_nan(np.nansum, np.sum, 0.0)
_without_nan(np.nanprod, np.prod, 1.0)
_without_nan(np.nancumsum, np.cumsum, 0.0)
_without_nan(np.nancumprod, np.cumprod, 1.0)
_without_nan(np.nanargmax, np.argmax, -np.inf)
_without_nan(np.nanargmin, np.argmin, np.inf)


def _extreme(function: object, plain: Any, filling: float) -> None:
    @form(function)
    def extreme(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = np._NoValue, **options: Any
    ) -> Any:
        kept = keepdims is not np._NoValue and bool(keepdims)
        found = plain(_filled(a, filling), axis=axis, out=out, keepdims=kept, **options)
        x = operand(a)
        if x.dtype.kind not in "fc":
            return found
        return np.where(np.all(np.isnan(x), axis=axis, keepdims=kept), np.asarray(np.nan, x.dtype), found)


_extreme(np.nanmax, np.max, -np.inf)
_extreme(np.nanmin, np.min, np.inf)


def _chosen(x: Numeric, where: Any) -> Any:
    """Elements that a mask leaves out count as NaN."""
    return x if where is True else np.where(where, x, np.asarray(np.nan, x.dtype))


def _counted(a: Numeric, axis: Axis, keepdims: Any) -> tuple[Any, Any]:
    """How many numbers there are, and whether each is one."""
    x = operand(a)
    there = np.logical_not(np.isnan(x))
    return np.sum(there, axis=axis, keepdims=keepdims).astype(np.empty(0, x.dtype).real.dtype), there


@form(np.nanmean)
def nanmean(
    a: Numeric,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: object = None,
    keepdims: object = np._NoValue,
    *,
    where: object = True,
) -> Any:
    refuse(np.nanmean, _UNIT, out=out)
    x = _chosen(floating(a) if dtype is None else operand(a).astype(dtype), where)
    kept = keepdims is not np._NoValue and bool(keepdims)
    count, _ = _counted(x, axis, kept)
    return np.sum(_filled(x, 0.0), axis=axis, keepdims=kept) / count


@form(np.nanvar)
def nanvar(
    a: Numeric,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: object = None,
    ddof: int = 0,
    keepdims: object = np._NoValue,
    *,
    where: object = True,
    mean: object = np._NoValue,
    correction: object = np._NoValue,
) -> Any:
    refuse(np.nanvar, _UNIT, out=out)
    x = _chosen(floating(a) if dtype is None else operand(a).astype(dtype), where)
    kept = keepdims is not np._NoValue and bool(keepdims)
    removed = ddof if correction is np._NoValue else correction
    count, there = _counted(x, axis, kept)
    centre = nanmean(x, axis, keepdims=True) if mean is np._NoValue else mean
    apart = np.where(there, x - centre, np.asarray(0, x.dtype))
    squares = np.real(apart * np.conj(apart)) if x.dtype.kind == "c" else apart * apart
    left = count - removed
    return np.sum(squares, axis=axis, keepdims=kept) / np.where(
        np.greater(left, 0), left, np.asarray(np.nan, left.dtype)
    )


@form(np.nanstd)
def nanstd(a: Any, axis: Any = None, **options: Any) -> Any:
    variance = nanvar(a, axis, **options)
    spread = variance != 0  # where nothing varies the slope is 0, as of np.std
    root = np.sqrt(np.where(spread, variance, np.asarray(1, variance.dtype)))
    return np.where(spread, root, variance)


# -- covariances -------------------------------------------------------------------------------------------------------


@form(np.cov)
def cov(
    m: Numeric,
    y: Numeric | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: object = None,
    aweights: object = None,
    *,
    dtype: DTypeLike | None = None,
) -> Any:
    x = np.atleast_2d(floating(m))
    x = x.T if not rowvar and x.shape[0] != 1 else x
    if y is not None:
        other = np.atleast_2d(floating(y))
        x = np.concatenate([x, other.T if not rowvar and other.shape[0] != 1 else other], axis=0)
    x = x.astype(np.result_type(x.dtype, np.float64) if dtype is None else dtype)
    removed = (0 if bias else 1) if ddof is None else ddof
    weights: Any = None
    for given in (fweights, aweights):
        if given is not None:
            weights = floating(given) if weights is None else weights * floating(given)
    if weights is None:
        centred = x - np.mean(x, axis=1, keepdims=True)
        scaled, norm = centred, x.shape[1] - removed
    else:
        total = np.sum(weights)
        centred = x - np.sum(x * weights, axis=1, keepdims=True) / total
        scaled = centred * weights
        share = 1 if aweights is None else np.sum(weights * floating(aweights)) / total
        norm = total - removed * share
    found = np.matmul(centred, np.conj(scaled).T) / norm
    return np.squeeze(found) if found.shape == (1, 1) else found


@form(np.corrcoef)
def corrcoef(
    x: Numeric, y: Numeric | None = None, rowvar: bool = True, *, dtype: DTypeLike | None = None
) -> Any:
    found = cov(x, y, rowvar, dtype=dtype)
    if found.ndim == 0:
        return found / found
    deviations = np.sqrt(np.real(np.diagonal(found)))
    return found / deviations[:, None] / deviations[None, :]


# -- histograms: counts are constants, weights flow --------------------------------------------------------------------


@form(np.bincount)
def bincount(x: Numeric, /, weights: object = None, minlength: int = 0) -> Any:
    """Counts are constants; of weights it is their sum at each number."""
    places = np.asarray(value(x))
    counts = np.bincount(places, None, minlength)
    if weights is None:
        return counts
    w = floating(weights)
    if w.shape != places.shape:
        raise ValueError("The weights and list don't have the same length.")
    return _summed(w.astype(np.result_type(w.dtype, np.float64)), places, counts.size)


def _summed(weights: Numeric, places: Numeric, count: int) -> Any:
    """The sum of the weights at each of `count` places."""
    return ops.add_at(np.zeros(count, weights.dtype), places, weights)


@form(np.histogram_bin_edges)
def histogram_bin_edges(a: Numeric, bins: Any = 10, range: Any = None, weights: object = None) -> Any:
    """The edges between the least and the greatest number, which they move with; how many there are is a constant."""
    x = operand(a)
    if np.ndim(bins):
        return bins
    count = bins
    if known(x):
        found = np.histogram_bin_edges(value(x), bins, range, value(weights))
        if range is not None or x.size == 0:
            return found
        count = found.size - 1
    elif isinstance(bins, str):
        raise CaptureError(
            f"histograms with bins={bins!r} have as many as the values tell: capture with a number"
        )
    low, high = (np.min(x), np.max(x)) if range is None else range
    if range is None and (not known(x) or np.ptp(value(x)) == 0):
        alone = np.equal(low, high)
        low, high = low - np.where(alone, 0.5, 0.0), high + np.where(alone, 0.5, 0.0)
    return np.linspace(low, high, count + 1).astype(
        np.result_type(x.dtype, np.float32) if range is None else float
    )


@form(np.histogram)
def histogram(
    a: Numeric, bins: object = 10, range: Any = None, density: bool | None = None, weights: object = None
) -> Any:
    if known(a, bins, weights):
        counts, edges = np.histogram(value(a), value(bins), range, density, value(weights))
        if holds_tensor(a):
            edges = histogram_bin_edges(a, bins, range, weights)
        if not (holds_tensor(weights) or (density and holds_tensor(edges))):
            return counts, edges
    else:
        edges = histogram_bin_edges(a, bins, range, weights)
    x = detached(operand(a)).reshape(-1)
    w = np.ones(x.shape, int) if weights is None else operand(weights).reshape(-1)
    counts = _counted_in([x], [detached(edges)], w)
    return (counts / np.sum(counts) / np.diff(edges) if density else counts), edges


def _counted_in(columns: Sequence[Numeric], edges: Sequence[Numeric], weights: Numeric) -> Any:
    """The sum of the weights in each box; those outside of all boxes are left out."""
    shape = tuple(np.size(one) - 1 for one in edges)
    inside: Any = np.ones(weights.shape, bool)
    flat: Any = 0
    for x, bounds, size in zip(columns, edges, shape, strict=True):
        place = np.searchsorted(bounds, x, side="right") - 1
        place = np.where(np.equal(x, bounds[-1]), size - 1, place)
        inside = np.logical_and(inside, np.logical_and(place >= 0, place < size))
        flat = flat * size + np.clip(place, 0, size - 1)
    kept = np.where(inside, weights, np.zeros((), weights.dtype))
    return _summed(kept, flat, int(np.prod(shape))).reshape(shape)


@form(np.histogramdd)
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: object = None
) -> Any:
    given = list(sample) if isinstance(sample, list | tuple) else None
    columns = [operand(one).reshape(-1) for one in given] if given is not None else _columns(operand(sample))
    if known(columns, bins):
        points = np.stack([value(detached(one)) for one in columns], axis=-1)
        counts, edges = np.histogramdd(points, value(bins), range, density, value(detached(weights)))
        if range is None and not isinstance(bins, list | tuple | np.ndarray) and holds_tensor(columns):
            edges = tuple(histogram_bin_edges(one, bins) for one in columns)
        if known(weights) and not holds_tensor(weights):
            return counts, edges
    else:
        several = bins if isinstance(bins, list | tuple) else [bins] * len(columns)
        ranges = [None] * len(columns) if range is None else range
        edges = tuple(histogram_bin_edges(*each) for each in zip(columns, several, ranges, strict=True))
    w = np.ones(columns[0].shape) if weights is None else floating(weights)
    counts = _counted_in([detached(one) for one in columns], list(map(detached, edges)), w)
    if density:
        counts = counts / np.sum(counts)
        for i, one in enumerate(edges):
            counts = counts / np.diff(one).reshape([-1 if k == i else 1 for k in np.arange(len(edges))])
    return counts, edges


def _columns(points: Numeric) -> list[Any]:
    points = points.reshape(-1, 1) if points.ndim < 2 else points
    return [points[:, i] for i in np.arange(points.shape[1])]


@form(np.histogram2d)
def histogram2d(
    x: Numeric,
    y: Numeric,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: object = None,
) -> Any:
    count = np.size(bins) if isinstance(bins, list | tuple) else np.ndim(bins)
    bins = [bins, bins] if count not in (0, 1, 2) or isinstance(bins, np.ndarray) else bins
    counts, edges = histogramdd([x, y], bins, range, density, weights)
    return counts, edges[0], edges[1]
