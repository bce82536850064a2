"""`np.pad` in the modes whose edges are computed: statistics, ramps, reflections that go on with the slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import along, operand

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean, "median": np.median, "maximum": np.max, "minimum": np.min,
}  # fmt: skip


def padded_by_rule(
    array: Numeric,
    pad_width: object,
    mode: object,
    *,
    stat_length: object = None,
    end_values: object = 0,
    reflect_type: str = "even",
) -> Any:
    """x with edges, one axis after the other, so that corners are made of what was padded before, as in NumPy.

    Raises:
        NumpyFunctionError: the mode is a function, which writes into arrays, or "empty".
    """
    x = operand(array)
    if mode not in (*_STATISTICS, "linear_ramp", "reflect", "symmetric"):
        raise NumpyFunctionError(
            f"np.pad on tensors takes no mode {mode!r}: a function writes into an array, which has no gradient; join "
            f"the parts with np.concatenate"
        )
    widths = _pairs(pad_width, x.ndim, int)
    for axis, (before, after) in enumerate(widths):
        if mode == "linear_ramp":
            ends = _pairs(end_values, x.ndim, None)[axis]
            left, right = _ramp(x, axis, before, ends[0], 0), _ramp(x, axis, after, ends[1], -1)
        elif mode in _STATISTICS:
            lengths = (None, None) if stat_length is None else _pairs(stat_length, x.ndim, int)[axis]
            left, right = (
                _statistic(x, axis, width, _STATISTICS[str(mode)], length, at)
                for width, length, at in ((before, lengths[0], 0), (after, lengths[1], -1))
            )
        else:
            x = _reflected(x, axis, before, after, mode == "symmetric")
            continue
        x = np.concatenate([left, x, right], axis=axis)
    return x


def _pairs(given: object, ndim: int, kind: type | None) -> list[Any]:
    """One number, one pair, or a pair for each axis, as a pair for each axis."""
    spread = np.broadcast_to(np.asarray(given) if kind is None else np.asarray(given, kind), (ndim, 2))
    return [tuple(pair) for pair in spread.tolist()]


def _ramp(x: Numeric, axis: int, width: int, end: float, at: int) -> Any:
    edge = x[along(axis, slice(0, 1) if at == 0 else slice(-1, None))]
    steps = np.linspace(0, 1, width, endpoint=False)  # from the end's value towards the edge's
    steps = (steps if at == 0 else steps[::-1]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    ramp = end + (edge - end) * steps
    return ramp if x.dtype.kind in "fc" and ramp.dtype == x.dtype else np.trunc(ramp).astype(x.dtype)


def _statistic(
    x: Numeric, axis: int, width: int, function: Callable[..., Any], length: int | None, at: int
) -> Any:
    size = x.shape[axis]
    count = size if length is None else min(length, size)
    part = x[along(axis, slice(0, count) if at == 0 else slice(size - count, None))]
    found = function(part, axis=axis, keepdims=True)
    if x.dtype.kind in "iu":
        found = np.round(found)
    return np.repeat(found.astype(x.dtype), width, axis=axis)


def _reflected(x: Numeric, axis: int, before: int, after: int, edge_twice: bool) -> Any:
    """Reflected oddly: 2 edge - x; again and again where the edges are wider than x."""
    start = 0 if edge_twice else 1
    period = x.shape[axis] - start
    if period == 0 or x.shape[axis] == 1:
        first = x[along(axis, slice(0, 1))]
        return np.concatenate([np.repeat(first, before, axis), x, np.repeat(first, after, axis)], axis=axis)
    while before > 0 or after > 0:
        size = x.shape[axis]
        left, right = min(before, size - start), min(after, size - start)
        low, high = x[along(axis, slice(0, 1))], x[along(axis, slice(-1, None))]
        parts = [x]
        if left:
            parts.insert(0, 2 * low - np.flip(x[along(axis, slice(start, start + left))], axis))
        if right:
            parts.append(2 * high - np.flip(x[along(axis, slice(size - start - right, size - start))], axis))
        x = np.concatenate(parts, axis=axis)
        before, after = before - left, after - right
    return x
