"""Ops that read and write at indices, in ONNX's operators: Slice, Gather, GatherND, ScatterND."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.indexing import build_index
from tinygraph.core.node import Node, is_recorded
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import code_of
from tinygraph.interop.onnx.model_writing import (
    Entry,
    Writing,
    dtype_at,
    form,
    settings_of,
    shape_at,
    types_of,
)
from tinygraph.interop.onnx.writers.movements_writers import constant_index, refuse_masks


def _plain(pattern: Sequence[Any]) -> bool:
    """Whether a pattern is of integers, slices and new axes alone."""
    return not any(isinstance(one, str) and one == "array" for one in pattern)


def _flat(node: Node, shape: tuple[int, ...], first: int) -> Any:
    """For each element of the indexed part its place in the flat array, of constant indices."""
    arrays = tuple(np.asarray(one) for one in node.inputs[first:])
    return np.arange(math.prod(shape)).reshape(shape)[build_index(settings_of(node)["pattern"], arrays)]


@form
def _index(w: Writing, node: Node, x: Entry, *indices: Entry) -> Any:
    pattern, shape = settings_of(node)["pattern"], shape_at(node, 0)
    wanted = types_of(node).shape
    if _plain(pattern):
        return w.reshape(_sliced(w, w.read(x), pattern, shape), wanted)
    alone = _alone(node, 1, len(shape))
    if alone is not None:
        places = w.constant(np.asarray(indices[0], np.int64))
        return w.add("Gather", w.read(x), places, axis=alone)
    if constant_index(node, 1):
        flat = w.reshape(w.read(x), (-1,))
        return w.add("Gather", flat, w.constant(np.asarray(_flat(node, shape, 1), np.int64)), axis=0)
    refuse_masks(node, 1)
    axes = _array_axes(pattern, len(shape))
    if len(axes) == 1:
        return w.add(
            "Gather", w.read(x), w.cast(w.read(indices[0]), dtype_at(node, 1), np.int64), axis=axes[0]
        )
    if axes == list(range(len(axes))):
        return w.add("GatherND", w.read(x), _places(w, node, 1, shape))
    raise FileFormatError(f"the index {pattern} has no form in ONNX")


def _sliced(w: Writing, name: str, pattern: Sequence[Any], shape: tuple[int, ...]) -> str:
    """The part that slices and integers choose; axes are settled by a reshape afterwards."""
    used = sum(one is not None and one != "..." for one in pattern)
    cuts, axis = [], 0
    for one in pattern:
        if one is None:
            continue
        if one == "...":
            axis += len(shape) - used
            continue
        if isinstance(one, tuple):
            start, stop, step = slice(*one[1:]).indices(shape[axis])
            stop = -(2**63) if step < 0 and stop < 0 else stop
        else:
            start, stop, step = one % shape[axis], one % shape[axis] + 1, 1
        if (start, stop, step) != (0, shape[axis], 1):
            cuts.append((start, stop, axis, step))
        axis += 1
    if not cuts:
        return name
    made: str = w.add("Slice", name, *(w.ints(one) for one in zip(*cuts, strict=True)))
    return made


def _array_axes(pattern: Sequence[Any], rank: int) -> list[int]:
    """The axes that arrays index, among full slices; anything else has no form."""
    axes, axis = [], 0
    used = sum(one != "..." for one in pattern)
    for one in pattern:
        if one == "...":
            axis += rank - used
            continue
        if isinstance(one, str):
            axes.append(axis)
        elif not isinstance(one, tuple) or one != ("slice", None, None, None):
            raise FileFormatError(f"the index {tuple(pattern)} has no form in ONNX")
        axis += 1
    return axes


def _alone(node: Node, first: int, rank: int) -> int | None:
    """The axis that one constant vector of integers indexes, if the others are taken whole."""
    if len(node.inputs) != first + 1 or not constant_index(node, first):
        return None
    index = np.asarray(node.inputs[first])
    try:
        axes = _array_axes(settings_of(node)["pattern"], rank)
    except FileFormatError:
        return None
    return axes[0] if len(axes) == 1 and index.ndim == 1 and index.dtype.kind in "iu" else None


def _places(w: Writing, node: Node, first: int, shape: tuple[int, ...]) -> str:
    """Index arrays, broadcast and side by side along a last axis, non-negative."""
    arrays = node.inputs[first:]
    lead = np.broadcast_shapes(*(shape_at(node, first + i) for i in range(len(arrays))))
    parts = []
    for i, one in enumerate(arrays):
        if is_recorded(one):
            name = w.cast(w.read(one), dtype_at(node, first + i), np.int64)
            below = w.add("Less", name, w.scalar(0, np.int64))
            name = w.add("Where", below, w.add("Add", name, w.scalar(shape[i], np.int64)), name)
            name = w.add("Expand", name, w.ints(lead))
        else:
            name = w.constant(
                np.broadcast_to(np.where(np.asarray(one) < 0, np.asarray(one) + shape[i], one), lead).astype(
                    np.int64
                )
            )
        parts.append(w.reshape(name, (*lead, 1)))
    made: str = w.add("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    return made


def _written(
    w: Writing, node: Node, base: str, value: str, value_shape: Entry, first: int, shape: Entry, how: str
) -> Any:
    """`base` with `value` set or added at the index of a node."""
    pattern = settings_of(node)["pattern"]
    reduction = None if how == "none" else how
    alone = _alone(node, first, len(shape))
    if alone is not None:
        index = np.asarray(node.inputs[first], np.int64) % max(shape[alone], 1)
        target = (*shape[:alone], len(index), *shape[alone + 1 :])
        value = w.add("Expand", value, w.ints(target)) if tuple(value_shape) != target else value
        order = [alone, *(axis for axis in range(len(shape)) if axis != alone)]
        turned = [w.add("Transpose", one, perm=order) for one in (base, value)]
        made = w.add("ScatterND", turned[0], w.constant(index.reshape(-1, 1)), turned[1], reduction=reduction)
        return w.add("Transpose", made, perm=np.argsort(order).tolist())
    if constant_index(node, first):
        refuse_masks(node, first)
        places = np.asarray(_flat(node, shape, first), np.int64)
        value = w.add("Expand", value, w.ints(places.shape)) if tuple(value_shape) != places.shape else value
        flat = w.add(
            "ScatterND",
            w.reshape(base, (-1,)),
            w.constant(places.reshape(-1, 1)),
            w.reshape(value, (-1,)),
            reduction=reduction,
        )
        return w.reshape(flat, shape)
    refuse_masks(node, first)
    axes = _array_axes(pattern, len(shape))
    if axes != list(range(len(axes))):
        raise FileFormatError(f"a write at the index {pattern} has no form in ONNX")
    lead = np.broadcast_shapes(*(shape_at(node, first + i) for i in range(len(axes))))
    target = (*lead, *shape[len(axes) :])
    value = w.add("Expand", value, w.ints(target)) if tuple(value_shape) != target else value
    return w.add("ScatterND", base, _places(w, node, first, shape), value, reduction=reduction)


def _zeros(w: Writing, shape: Sequence[int], dtype: Entry) -> str:
    made: str = w.add("Expand", w.scalar(0, dtype), w.ints(shape))
    return made


@form
def _scatter(w: Writing, node: Node, values: Entry, *indices: Entry) -> Any:
    types = types_of(node)
    base = _zeros(w, types.shape, types.dtype)
    return _written(w, node, base, w.read(values), shape_at(node, 0), 1, types.shape, "add")


@form
def _index_set(w: Writing, node: Node, x: Entry, value: Entry, *indices: Entry) -> Any:
    types = types_of(node)
    given = w.cast(
        w.read(value, types.dtype), dtype_at(node, 1) if is_recorded(value) else types.dtype, types.dtype
    )
    given = given if is_recorded(value) else w.constant(np.asarray(value).astype(types.dtype))
    return _written(w, node, w.read(x), given, shape_at(node, 1), 2, types.shape, "none")


@form
def _index_add(w: Writing, node: Node, x: Entry, value: Entry, *indices: Entry) -> Any:
    types = types_of(node)
    given = (
        w.cast(w.read(value), dtype_at(node, 1), types.dtype)
        if is_recorded(value)
        else w.constant(np.asarray(value).astype(types.dtype))
    )
    return _written(w, node, w.read(x), given, shape_at(node, 1), 2, types.shape, "add")


@form
def _embedding(w: Writing, node: Node, weight: Entry, indices: Entry) -> Any:
    return w.add("Gather", w.read(weight), w.cast(w.read(indices), dtype_at(node, 1), np.int64), axis=0)


@form
def _scatter_rows(w: Writing, node: Node, values: Entry, indices: Entry) -> Any:
    types = types_of(node)
    places = w.cast(w.read(indices), dtype_at(node, 1), np.int64)
    places = w.reshape(places, (*shape_at(node, 1), 1))
    return w.add("ScatterND", _zeros(w, types.shape, types.dtype), places, w.read(values), reduction="add")


@form
def _one_hot(w: Writing, node: Node, labels: Entry) -> Any:
    types = types_of(node)
    count = w.scalar(types.shape[-1], np.int64)
    return w.add(
        "OneHot",
        w.cast(w.read(labels), dtype_at(node, 0), np.int64),
        count,
        w.constant(np.array([0, 1], types.dtype)),
    )


@form
def _class_probabilities(w: Writing, node: Node, labels: Entry) -> Any:
    """Ones at the class, along axis 1 (or alone), smoothed, and zeros where the label is ignored."""
    types, settings = types_of(node), settings_of(node)
    return _target(w, node, w.read(labels), 0, types.shape, types.dtype, settings)


def _target(w: Writing, node: Node, labels: str, at: int, shape: Entry, dtype: Entry, settings: Entry) -> str:
    classes, axis = shape[1 if len(shape) > 1 else 0], 1
    index = w.cast(labels, dtype_at(node, at), np.int64)
    index = index if len(shape) > 1 else w.reshape(index, (1,))
    off = w.add("Equal", index, w.scalar(settings["ignore_index"], np.int64))
    made = w.add("OneHot", index, w.scalar(classes, np.int64), w.constant(np.array([0, 1], dtype)), axis=axis)
    smoothing = settings["label_smoothing"]
    if smoothing:
        made = w.add(
            "Add", w.add("Mul", made, w.scalar(1 - smoothing, dtype)), w.scalar(smoothing / classes, dtype)
        )
    name: str = w.add("Where", w.add("Unsqueeze", off, w.ints([axis])), w.scalar(0, dtype), made)
    return name if len(shape) > 1 else w.reshape(name, shape)


def _counted(w: Writing, node: Node, labels: str, at: int, dtype: Entry) -> str:
    """How many labels are not ignored."""
    index = w.cast(labels, dtype_at(node, at), np.int64)
    valid = w.add("Not", w.add("Equal", index, w.scalar(settings_of(node)["ignore_index"], np.int64)))
    made: str = w.add("ReduceSum", w.add("Cast", valid, to=code_of(np.dtype(dtype))), keepdims=0)
    return made


@form
def _cross_entropy(w: Writing, node: Node, logits: Entry, labels: Entry) -> Any:
    shape, dtype = shape_at(node, 0), types_of(node).dtype
    axis = 1 if len(shape) > 1 else 0
    logs = w.add("LogSoftmax", w.cast(w.read(logits), dtype_at(node, 0), dtype), axis=axis)
    if dtype_at(node, 1).kind == "f":
        if settings_of(node)["label_smoothing"]:
            raise FileFormatError("smoothed probabilities as labels have no form in ONNX here")
        target = w.cast(w.read(labels), dtype_at(node, 1), dtype)
        count = w.scalar(max(math.prod(shape) // shape[axis], 1), dtype)
    else:
        target = _target(w, node, w.read(labels), 1, shape, dtype, settings_of(node))
        count = _counted(w, node, w.read(labels), 1, dtype)
    losses = w.add("Neg", w.add("ReduceSum", w.add("Mul", target, logs), w.ints([axis]), keepdims=0))
    if settings_of(node)["reduction"] == "none":
        return losses
    total = w.add("ReduceSum", losses, keepdims=0)
    return total if settings_of(node)["reduction"] == "sum" else w.add("Div", total, count)


@form
def _cross_entropy_gradient(w: Writing, node: Node, cotangent: Entry, logits: Entry, labels: Entry) -> Any:
    shape, dtype = shape_at(node, 1), types_of(node).dtype
    axis = 1 if len(shape) > 1 else 0
    shares = w.add("Softmax", w.cast(w.read(logits), dtype_at(node, 1), dtype), axis=axis)
    target = _target(w, node, w.read(labels), 2, shape, dtype, settings_of(node))
    scale = w.cast(w.read(cotangent), dtype_at(node, 0), dtype)
    if settings_of(node)["reduction"] == "mean":
        count = _counted(w, node, w.read(labels), 2, dtype)
        scale = w.add("Div", scale, w.add("Max", count, w.scalar(1, dtype)))
    if shape_at(node, 0):
        scale = w.add("Unsqueeze", scale, w.ints([axis]))
    weight = w.add("ReduceSum", target, w.ints([axis]), keepdims=1)
    return w.add("Mul", w.add("Sub", w.add("Mul", shares, weight), target), scale)


@form
def _gather_windows(w: Writing, node: Node, x: Entry, places: Entry) -> Any:
    n, c, *spatial = shape_at(node, 0)
    flat = w.reshape(w.read(x), (n, c, math.prod(spatial)))
    index = w.reshape(
        w.cast(w.read(places), dtype_at(node, 1), np.int64), (n, c, math.prod(shape_at(node, 1)[2:]))
    )
    return w.reshape(w.add("GatherElements", flat, index, axis=2), types_of(node).shape)


@form
def _scatter_windows(w: Writing, node: Node, values: Entry, places: Entry) -> Any:
    types = types_of(node)
    n, c, *spatial = types.shape
    count = math.prod(shape_at(node, 0)[2:])
    index = w.reshape(w.cast(w.read(places), dtype_at(node, 1), np.int64), (n, c, count))
    base = _zeros(w, (n, c, math.prod(spatial)), types.dtype)
    made = w.add(
        "ScatterElements", base, index, w.reshape(w.read(values), (n, c, count)), axis=2, reduction="add"
    )
    return w.reshape(made, types.shape)


@form
def _argsort(w: Writing, node: Node, x: Entry) -> Any:
    axis = settings_of(node)["axis"]
    count = shape_at(node, 0)[axis]
    return w.add("TopK", w.read(x), w.ints([count]), outputs=2, axis=axis, largest=0)[1]
