"""Operators that pick and place elements by index, order and code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    axis_of,
    dtype,
    number,
    operator,
    room,
    shape,
    static,
)


def _wrapped(index: Operand, length: int) -> Any:
    """Indices, with those that count from the end made non-negative."""
    if not hasattr(index, "_edge"):
        return np.where(np.asarray(index) < 0, np.asarray(index) + length, index).astype(np.int64)
    index = ops.cast(index, dtype="int64") if dtype(index) != np.int64 else index
    return np.where(np.less(index, 0), index + length, index)


@operator("Gather", carries=True)
def _gather(call: Call, x: Operand, indices: Operand) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    if not hasattr(indices, "_edge") and np.ndim(indices) == 0:
        return x[(slice(None),) * axis + (int(indices),)]
    if not hasattr(x, "_edge") and not hasattr(indices, "_edge"):
        return np.take(x, indices, axis=axis)
    return x[(slice(None),) * axis + (_wrapped(indices, shape(x)[axis]),)]


@operator("GatherElements")
def _gather_elements(call: Call, x: Operand, indices: Operand) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    return x[_along(indices, axis, shape(x)[axis])]


def _along(indices: Operand, axis: int, length: int) -> tuple[Any, ...]:
    """The index of elements that differ along one axis by an array, and stay where they are along the others."""
    places: list[Any] = list(np.indices(shape(indices), sparse=True))
    places[axis] = _wrapped(indices, length)
    return tuple(places)


@operator("GatherND")
def _gather_nd(call: Call, x: Operand, indices: Operand) -> Any:
    batch = call.get("batch_dims", 0)
    return x[_tuples(indices, shape(x), batch)]


def _tuples(indices: Operand, sizes: tuple[int, ...], batch: int = 0) -> tuple[Any, ...]:
    depth = shape(indices)[-1]
    lead = shape(indices)[:-1]
    places: list[Any] = [
        np.arange(lead[i]).reshape([lead[i] if j == i else 1 for j in range(len(lead))]) for i in range(batch)
    ]
    return (*places, *(_wrapped(indices[..., i], sizes[batch + i]) for i in range(depth)))


@operator("ScatterElements", "Scatter")
def _scatter_elements(call: Call, x: Operand, indices: Operand, updates: Operand) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    return _scattered(x, updates, _along(indices, axis, shape(x)[axis]), call.get("reduction", "none"))


@operator("ScatterND")
def _scatter_nd(call: Call, x: Operand, indices: Operand, updates: Operand) -> Any:
    return _scattered(x, updates, _tuples(indices, shape(x)), call.get("reduction", "none"))


def _scattered(x: Operand, updates: Operand, places: tuple[Any, ...], how: str) -> Any:
    """x with updates at places: set, or joined with what is there, repeatedly where a place repeats."""
    pattern = ("array",) * len(places)
    if how == "none":
        return ops.index_set(x, updates, *places, pattern=pattern)
    if how == "add":
        return ops.index_add(x, updates, *places, pattern=pattern)
    if not any(hasattr(one, "_edge") for one in (x, updates, *places)):
        found = np.array(x)
        {"mul": np.multiply, "max": np.maximum, "min": np.minimum}[how].at(found, places, updates)
        return found
    return _joined(x, updates, places, how)


def _joined(x: Operand, updates: Operand, places: tuple[Any, ...], how: str) -> Any:
    """Products and extremes at places that may repeat, by one round for each time that a place is named."""
    known = [static(one, "indices") for one in places]
    broadcast = np.broadcast_arrays(*known)
    lead = broadcast[0].shape
    flat = np.ravel_multi_index([one.reshape(-1) for one in broadcast], shape(x)[: len(places)])
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], flat[order])
    rounds = np.empty(flat.size, np.int64)
    rounds[order] = np.arange(flat.size) - starts
    if flat.size and rounds.max() > 1000:
        raise FileFormatError("one place is named more than 1000 times")
    rest = shape(x)[len(places) :]
    values = np.reshape(updates, (math.prod(lead), *rest))
    join = {"mul": np.multiply, "max": np.maximum, "min": np.minimum}[how]
    for one in range(int(rounds.max(initial=-1)) + 1):
        chosen = np.flatnonzero(rounds == one)
        at = tuple(place.reshape(-1)[chosen] for place in broadcast)
        x = ops.index_set(x, join(x[at], values[chosen]), *at, pattern=("array",) * len(at))
    return x


@operator("TensorScatter")
def _tensor_scatter(call: Call, past: Operand, update: Operand, starts: Operand = None) -> Any:
    axis = axis_of(call.get("axis", -2), np.ndim(past))
    batch, length, count = shape(past)[0], shape(past)[axis], shape(update)[axis]
    first = np.zeros(batch, np.int64) if starts is None else starts
    steps = np.reshape(first, (batch, 1)) + np.arange(count)
    if call.get("mode", "linear") == "circular":
        steps = np.remainder(steps, length)
    spread = [1] * np.ndim(past)
    spread[0], spread[axis] = batch, count
    places: list[Any] = list(np.indices(shape(update), sparse=True))
    places[axis] = np.reshape(steps, tuple(spread))
    return ops.index_set(past, update, *places, pattern=("array",) * len(places))


@operator("OneHot")
def _one_hot(call: Call, indices: Operand, depth: Operand, values: Operand) -> Any:
    count = int(number(depth, "depth"))
    index = indices if dtype(indices).kind in "iu" else ops.cast(indices, dtype="int64")
    rank = np.ndim(index) + 1
    axis = axis_of(call.get("axis", -1), rank)
    room([*shape(index), count], dtype(values))
    spread = [1] * rank
    spread[axis] = count
    hit = np.equal(
        np.expand_dims(np.remainder(index, count), axis),
        np.arange(count).reshape(spread).astype(dtype(index)),
    )
    valid = np.logical_and(np.greater_equal(index, -count), np.less(index, count))
    hit = np.logical_and(hit, np.expand_dims(valid, axis))
    return np.where(hit, values[1], values[0])


@operator("ArgMax", "ArgMin")
def _arg_extreme(call: Call, x: Operand) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    find = np.argmax if call.op_type == "ArgMax" else np.argmin
    if call.get("select_last_index", 0):
        found = shape(x)[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        found = find(x, axis=axis)
    return np.expand_dims(found, axis) if call.get("keepdims", 1) else found


@operator("TopK")
def _top_k(call: Call, x: Operand, k: Operand = None) -> Any:
    count = int(number(k, "k")) if k is not None else call.need("k")
    axis = axis_of(call.get("axis", -1), np.ndim(x))
    keys = x if not call.get("largest", 1) else (-x if dtype(x).kind in "fi" else np.invert(x))
    order = ops.argsort(keys, axis=axis)
    order = order[(slice(None),) * axis + (slice(0, count),)]
    return ops.take_along_axis(x, order, axis=axis), order


@operator("Compress")
def _compress(call: Call, x: Operand, condition: Operand) -> Any:
    axis = call.get("axis")
    chosen = np.flatnonzero(static(condition, "condition"))
    if axis is None:
        return np.reshape(x, (-1,))[chosen]
    return x[(slice(None),) * axis_of(axis, np.ndim(x)) + (chosen,)]


@operator("NonZero")
def _non_zero(call: Call, x: Operand) -> Any:
    return np.array(np.nonzero(static(x, "operand")), np.int64)


@operator("Unique")
def _unique(call: Call, x: Operand) -> Any:
    values = static(x, "operand")
    axis = call.get("axis")
    found, first, inverse, counts = np.unique(
        values, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not call.get("sorted", 1):
        order = np.argsort(first)
        found = np.take(found, order, axis=0 if axis is None else axis)
        places = np.empty_like(order)
        places[order] = np.arange(order.size)
        first, inverse, counts = first[order], places[inverse], counts[order]
    return found, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@operator("NonMaxSuppression")
def _non_max_suppression(
    call: Call,
    boxes: Operand,
    scores: Operand,
    most: Operand = None,
    overlap: Operand = None,
    least: Operand = None,
) -> Any:
    """The boxes that are kept, best first; how many they are depends on values, which must be known."""
    all_boxes, all_scores = static(boxes, "boxes").astype(np.float64), static(scores, "scores")
    count = int(number(most, "max_output_boxes_per_class")) if most is not None else 0
    limit = float(number(overlap, "iou_threshold")) if overlap is not None else 0.0
    floor = float(number(least, "score_threshold")) if least is not None else -np.inf
    if call.get("center_point_box", 0):
        middle, half = all_boxes[..., :2], all_boxes[..., 2:] / 2
        all_boxes = np.concatenate([middle - half, middle + half], axis=-1)
    low = np.minimum(all_boxes[..., :2], all_boxes[..., 2:])
    high = np.maximum(all_boxes[..., :2], all_boxes[..., 2:])
    kept = []
    for n in range(all_scores.shape[0]):
        for c in range(all_scores.shape[1]):
            chosen: list[int] = []
            for one in np.argsort(-all_scores[n, c], kind="stable"):
                if all_scores[n, c, one] <= floor or len(chosen) >= count:
                    break
                if all(_overlap(low[n], high[n], one, other) <= limit for other in chosen):
                    chosen.append(int(one))
            kept += [(n, c, one) for one in chosen]
    return np.array(kept, np.int64).reshape(-1, 3)


def _overlap(low: Operand, high: Operand, i: int, j: int) -> float:
    common = np.prod(np.maximum(np.minimum(high[i], high[j]) - np.maximum(low[i], low[j]), 0))
    both = np.prod(high[i] - low[i]) + np.prod(high[j] - low[j]) - common
    return float(common / both) if both > 0 else 0.0
