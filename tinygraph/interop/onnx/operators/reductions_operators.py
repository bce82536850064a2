"""Operators that reduce over axes, cumulate, and norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    axis_of,
    dtype,
    ints,
    number,
    operator,
    shape,
)


def _over(call: Call, x: Operand, axes: Operand) -> tuple[int, ...] | None:
    """The axes of a reduction; None where nothing is reduced."""
    found = ints(axes, "axes") if axes is not None else tuple(call.get("axes", ()))
    if not found:
        return None if call.get("noop_with_empty_axes", 0) else tuple(range(np.ndim(x)))
    return tuple(axis_of(one, np.ndim(x)) for one in found)


def _sum(x: Operand, **how: Operand) -> Any:
    made = np.sum(x, **how)
    return made if dtype(made) == dtype(x) else ops.cast(made, dtype=dtype(x))


def _extreme(reduce: Operand, empty: float) -> Any:
    def of(x: Operand, axis: tuple[int, ...], keepdims: bool) -> Any:
        if 0 in shape(x):  # ONNX gives the neutral element
            whole = np.sum(x, axis=axis, keepdims=keepdims)
            kind = dtype(x)
            if kind.kind == "f":
                return np.full(shape(whole), empty, kind)
            info = np.iinfo(kind) if kind.kind in "iu" else None
            least = (info.min if empty < 0 else info.max) if info else empty > 0
            return np.full(shape(whole), least, kind)
        if dtype(x).kind == "b":
            return (np.any if reduce is np.max else np.all)(x, axis=axis, keepdims=keepdims)
        return reduce(x, axis=axis, keepdims=keepdims)

    return of


def _mean(x: Operand, **how: Operand) -> Any:
    if dtype(x).kind == "f":
        return np.mean(x, **how)
    count = int(np.prod([shape(x)[one] for one in how["axis"]]))
    return np.floor_divide(_sum(x, **how), dtype(x).type(count))


def _float(x: Operand) -> Any:
    return x if dtype(x).kind == "f" else ops.cast(x, dtype="float64")


def _of_dtype(x: Operand, like: Operand) -> Any:
    return x if dtype(x) == dtype(like) else ops.cast(x, dtype=dtype(like))


_REDUCTIONS = {
    "ReduceSum": (_sum, None), "ReduceMean": (_mean, None),
    "ReduceProd": (lambda x, **how: _of_dtype(np.prod(x, **how), x), None),
    "ReduceMax": (_extreme(np.max, -np.inf), None), "ReduceMin": (_extreme(np.min, np.inf), None),
    "ReduceL1": (lambda x, **how: _sum(np.abs(x), **how), np.abs),
    "ReduceL2": (lambda x, **how: _of_dtype(np.sqrt(np.sum(np.square(_float(x)), **how)), x), np.abs),
    "ReduceSumSquare": (lambda x, **how: _sum(np.square(x), **how), np.square),
    "ReduceLogSum": (lambda x, **how: np.log(np.sum(x, **how)), np.log),
    "ReduceLogSumExp": (lambda x, **how: _of_dtype(_log_sum_exp(_float(x), **how), x), None),
}  # fmt: skip


def _log_sum_exp(x: Operand, axis: Operand, keepdims: bool) -> Any:
    if 0 in shape(x):
        return np.log(np.sum(x, axis=axis, keepdims=keepdims))
    return ops.logsumexp(x, axis=axis, keepdims=keepdims)


@operator(*_REDUCTIONS)
def _reduction(call: Call, x: Operand, axes: Operand = None) -> Any:
    of, alone = _REDUCTIONS[call.op_type]
    over = _over(call, x, axes)
    if over is None:
        return x if alone is None else alone(x)
    return of(x, axis=over, keepdims=bool(call.get("keepdims", 1)))


@operator("CumSum", "CumProd")
def _cumulative(call: Call, x: Operand, axis: Operand) -> Any:
    along = axis_of(int(number(axis, "axis")), np.ndim(x))
    neutral = 0 if call.op_type == "CumSum" else 1
    values: Operand | Any = np.flip(x, along) if call.get("reverse", 0) else x
    if call.get("exclusive", 0):
        widths = [(int(i == along), 0) for i in range(np.ndim(values))]
        values = ops.pad(
            values[(slice(None),) * along + (slice(0, -1),)], pad_width=widths, constant_values=neutral
        )
    found: Operand | Any = (np.cumsum if call.op_type == "CumSum" else np.cumprod)(values, axis=along)
    found = found if dtype(found) == dtype(values) else ops.cast(found, dtype=dtype(values))
    return np.flip(found, along) if call.get("reverse", 0) else found


@operator("LpNormalization")
def _lp_normalization(call: Call, x: Operand) -> Any:
    axis = call.get("axis", -1)
    if call.get("p", 2) == 1:
        length = np.sum(np.abs(x), axis=axis, keepdims=True)
    else:
        length = np.sum(np.square(x), axis=axis, keepdims=True)
    length = np.where(np.equal(length, 0), dtype(x).type(1), length)  # zeros stay zeros, with a gradient
    return x / (length if call.get("p", 2) == 1 else np.sqrt(length))


@operator("GlobalAveragePool")
def _global_average_pool(call: Call, x: Operand) -> Any:
    return np.mean(x, axis=tuple(range(2, np.ndim(x))), keepdims=True)


@operator("GlobalMaxPool")
def _global_max_pool(call: Call, x: Operand) -> Any:
    return np.max(x, axis=tuple(range(2, np.ndim(x))), keepdims=True)


@operator("GlobalLpPool")
def _global_lp_pool(call: Call, x: Operand) -> Any:
    p = call.get("p", 2)
    return np.power(np.sum(np.power(np.abs(x), p), axis=tuple(range(2, np.ndim(x))), keepdims=True), 1 / p)
