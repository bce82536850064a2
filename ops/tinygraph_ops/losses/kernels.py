"""NumPy kernels of the loss on classes: labels are compared with the classes instead of written to their places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, Lowering, Types, reduced_shape
from tinygraph_ops.losses.ops import check_labels, class_target, cross_entropy
from tinygraph_ops.normalization.kernels import make_log_softmax
from tinygraph_ops.numpy_kernels import Array, Run, in_order, numpy_lowering

_BOOL = np.dtype(bool)


def _labels_along(labels: Any, logits_shape: Sequence[int]) -> tuple[Array, Array]:
    """The labels with an axis for the classes, and the classes along it: equal where the target is."""
    axis = 1 if len(logits_shape) > 1 else 0
    classes = np.arange(logits_shape[axis]).reshape(-1, *[1] * (len(logits_shape) - axis - 1))
    return np.expand_dims(labels, axis), classes


def _check(labels: Array, classes: int, ignore_index: int) -> Run:
    """Errors are looked for only where there may be one, for that takes memory."""

    def check() -> None:
        if labels.min() < 0 or labels.max() >= classes:
            check_labels(labels, labels == ignore_index, classes)

    return check


def make_class_target(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    counted: Array,
    *,
    classes: int,
    label_smoothing: float,
    ignore_index: int,
    dtype: str,
) -> Run:
    """[label == class], stretched by the smoothing, and zeros where nothing counts."""
    labels, (out,) = np.asarray(inputs[0]), outputs
    along, columns = _labels_along(labels, out.shape)
    calls: list[Run] = [
        _check(labels, classes, ignore_index),
        partial(np.equal, along, columns, out),
    ]
    if label_smoothing:
        base = label_smoothing / classes
        calls += [
            partial(np.multiply, out, np.asarray(1.0 - label_smoothing, out.dtype), out),
            partial(np.add, out, np.asarray(base, out.dtype), out),
        ]
    if label_smoothing or 0 <= ignore_index < classes:
        calls += [
            partial(np.not_equal, along, ignore_index, counted),
            partial(np.multiply, out, counted, out),
        ]
    return in_order(*calls)


@class_target.lower
def class_target_kernel(
    types: Types,
    layouts: Any,
    target: Any,
    *,
    classes: int,
    label_smoothing: float,
    ignore_index: int,
    dtype: str,
) -> Lowering | None:
    labels, out = types.inputs[0], types.outputs[0]
    if not labels.size or not out.size or out.dtype.name not in ("float32", "float64"):
        return None
    axis = 1 if labels.shape else 0
    counted = ArrayType((*labels.shape[:axis], 1, *labels.shape[axis:]), _BOOL)
    return numpy_lowering(
        make_class_target,
        "NumPy class target",
        counted,
        classes=classes,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        dtype=dtype,
    )


def make_cross_entropy(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    shares: Array,
    top: Array,
    total: Array,
    wide: Array,
    chosen: Array,
    *,
    ignore_index: int,
    reduction: str,
) -> Run:
    """The sum of -log_softmax where label and class are equal: no label that is to be ignored is a class."""
    (logits, labels), (out,) = inputs, outputs
    along, columns = _labels_along(labels, logits.shape)
    axis = logits.ndim - columns.ndim
    classes = logits.shape[axis]
    over = (axis,) if reduction == "none" else None
    calls: list[Run] = [
        _check(labels, classes, ignore_index),
        make_log_softmax((logits,), (shares,), top, total, wide, axes=(axis,)),
        partial(np.equal, along, columns, chosen),
        partial(np.add.reduce, shares, over, None, out, False, 0, chosen),
        partial(np.negative, out, out),
    ]
    if reduction == "mean":

        def divide() -> None:
            counted = labels.size - np.count_nonzero(labels == ignore_index)
            np.multiply(out, 1.0 / counted if counted else np.nan, out)

        calls.append(divide)
    return in_order(*calls)


@cross_entropy.lower
def cross_entropy_kernel(
    types: Types, layouts: Any, target: Any, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Lowering | None:
    logits, labels = types.inputs
    axis = 1 if len(logits.shape) > 1 else 0
    plain = not label_smoothing and labels.dtype.kind in "iu" and not 0 <= ignore_index < logits.shape[axis]
    if not plain or not logits.size or logits.dtype.name not in ("float32", "float64"):
        return None
    narrow = ArrayType(reduced_shape(logits.shape, axis, True), logits.dtype)
    chosen = ArrayType(logits.shape, _BOOL)
    settings = {"ignore_index": ignore_index, "reduction": reduction}
    return numpy_lowering(
        make_cross_entropy, "NumPy cross entropy", logits, narrow, narrow, logits, chosen, **settings
    )
