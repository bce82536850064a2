"""Kernels of the loss on classes: generated ones for classes that lie side by side, and NumPy's for all others.

NumPy's compare labels with the classes instead of writing them to their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.kernels.lowering import Check
from tinygraph.kernels.lowering import rows as rows_of
from tinygraph.plugin import Array, ArrayType, Layouts, Lowering, Numeric, Types, reduced_shape
from tinygraph_ops.losses.ops import check_labels, class_probabilities, cross_entropy, cross_entropy_gradient
from tinygraph_ops.normalization.kernels import make_log_softmax, make_softmax
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

_BOOL = np.dtype(bool)


def _labels_along(labels: Numeric, logits_shape: Sequence[int]) -> tuple[Array, Array]:
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


def make_class_probabilities(
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


@class_probabilities.lower
def class_probabilities_kernel(
    types: Types,
    layouts: Layouts,
    cpu: Cpu,
    *,
    classes: int,
    label_smoothing: float,
    ignore_index: int,
    dtype: str,
) -> Lowering | None:
    """NumPy's calls into the output and one array of bools; None for half precision and empty arrays."""
    labels, out = types.inputs[0], types.outputs[0]
    if not labels.size or not out.size or out.dtype.name not in ("float32", "float64"):
        return None
    axis = 1 if labels.shape else 0
    counted = ArrayType((*labels.shape[:axis], 1, *labels.shape[axis:]), _BOOL)
    return numpy_lowering(
        make_class_probabilities,
        "NumPy class probabilities",
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


def _rows(logits: Array, labels: Array, *more: Array, label_smoothing: float, ignore_index: int) -> Any:
    """Logits as rows of classes, with the strides of the rows of each further array; None where there are no rows."""
    from tinygraph.kernels.losses import Rows

    axis = 1 if logits.ndim > 1 else 0
    classes = logits.shape[axis]
    flat = []
    for one in (logits, labels, *more):
        wide = np.moveaxis(one, axis, -1).reshape(-1, classes) if one.ndim == logits.ndim else one.reshape(-1)
        uneven = any(step % one.itemsize for step in one.strides) or not one.flags.aligned
        if uneven or not np.may_share_memory(wide, one):
            return None
        if wide.ndim > 1 and classes > 1 and wide.strides[1] != one.itemsize:
            return None
        flat.append(0 if one.size == 1 else wide.strides[0] // one.itemsize)
    made = Rows(
        classes, flat[0], flat[1], labels.dtype.name, logits.dtype.name, label_smoothing, ignore_index
    )
    return made, flat[2:]


def _checked(flag: Array, labels: Array, rows: Any) -> Check:
    """Looks for the wrong label once a kernel has met one."""
    return Check(flag, lambda: check_labels(labels, labels == rows.ignored, rows.classes))


def generate_cross_entropy(
    inputs: Sequence[Any], outputs: Sequence[Array], each: Array, *, reduction: str, **settings: Any
) -> Run | None:
    """One generated pass over rows of logits, then their total; labels out of range are reported after it."""
    from tinygraph.kernels import losses

    (logits, labels), (out,) = map(np.asarray, inputs), outputs
    made = _rows(logits, labels, out if reduction == "none" else each, **settings)
    if made is None:
        return None
    rows, (apart,) = made
    flag = np.zeros(1, np.int64)
    written = out if reduction == "none" else each
    calls = [losses.losses(rows, apart).bind(logits, labels, written, flag, span=labels.size)]
    if reduction != "none":
        total = losses.total(rows, reduction == "mean")
        calls.append(total.bind(each, labels, out, counts=[labels.size]))
    return in_order(*calls, _checked(flag, labels, rows))


def generate_cross_entropy_gradient(
    inputs: Sequence[Any], outputs: Sequence[Array], counted: Array, *, reduction: str, **settings: Any
) -> Run | None:
    """One generated pass over rows: softmax(logits) - target, times cotangent over the number counted."""
    from tinygraph.kernels import losses

    (cotangent, logits, labels), (out,) = map(np.asarray, inputs), outputs
    made = _rows(logits, labels, out, cotangent, **settings)
    if made is None or cotangent.dtype != logits.dtype:
        return None
    rows, (apart, between) = made
    flag = np.zeros(1, np.int64)
    calls = []
    if reduction == "mean":
        calls.append(losses.counted(rows).bind(labels, counted, counts=[labels.size]))
    slopes = losses.gradient(rows, apart, between, reduction == "mean")
    arrays = (logits, labels, cotangent, counted, out, flag)
    calls.append(slopes.bind(*arrays, span=labels.size))
    return in_order(*calls, _checked(flag, labels, rows))


def generate_losses_of_positions(
    inputs: Sequence[Any], outputs: Sequence[Array], each: Array, *, reduction: str, **settings: Any
) -> Run | None:
    """One generated pass over vectors of positions, then their total; labels out of range are reported after it."""
    from tinygraph.kernels import losses, position_losses

    (logits, labels), (out,) = map(np.asarray, inputs), outputs
    written = out if reduction == "none" else each
    if not all(one.flags.c_contiguous for one in (logits, written)):
        return None
    labels, calls = _in_rows(labels)
    made, flag = _positions(logits, labels, **settings), np.zeros(1, np.int64)
    calls.append(position_losses.losses(made).bind(logits, labels, written, flag, span=len(logits)))
    if reduction != "none":
        rows = _as_rows(made)
        calls.append(losses.total(rows, reduction == "mean").bind(each, labels, out, counts=[labels.size]))
    return in_order(*calls, _checked(flag, labels, made))


def generate_gradient_of_positions(
    inputs: Sequence[Any], outputs: Sequence[Array], counted: Array, *, reduction: str, **settings: Any
) -> Run | None:
    """The same of the gradient."""
    from tinygraph.kernels import losses, position_losses

    (cotangent, logits, labels), (out,) = map(np.asarray, inputs), outputs
    contiguous = all(one.flags.c_contiguous for one in (cotangent, logits, out))
    if not contiguous or cotangent.dtype != logits.dtype or cotangent.size not in (1, labels.size):
        return None
    labels, calls = _in_rows(labels)
    made, flag = _positions(logits, labels, **settings), np.zeros(1, np.int64)
    if reduction == "mean":
        calls.append(losses.counted(_as_rows(made)).bind(labels, counted, counts=[labels.size]))
    slopes = position_losses.gradient(made, cotangent.size < labels.size, reduction == "mean")
    calls.append(slopes.bind(logits, labels, cotangent, counted, out, flag, span=len(logits)))
    return in_order(*calls, _checked(flag, labels, made))


def _positions(logits: Array, labels: Array, *, label_smoothing: float, ignore_index: int) -> Any:
    from tinygraph.kernels.position_losses import Positions

    count = prod(logits.shape[2:])
    kinds = labels.dtype.name, logits.dtype.name
    return Positions(logits.shape[1], count, *kinds, label_smoothing, ignore_index)


def _as_rows(made: Any) -> Any:
    """What sums and counts of rows read of positions: their labels, side by side."""
    from tinygraph.kernels.losses import Rows

    return Rows(made.classes, 0, 1, made.label_dtype, made.dtype, made.smoothing, made.ignored)


def _in_planes(types: Types, layouts: Layouts) -> bool:
    """Whether logits, results and cotangents lie in rows, so that a class has a plane of neighbouring positions."""
    every = zip((*types.inputs, *types.outputs), (*layouts.inputs, *layouts.outputs), strict=True)
    return all(
        layout == rows_of(len(one.shape)) or one.size == 1 for one, layout in every if one.dtype.kind == "f"
    )


def _in_rows(labels: Array) -> tuple[Array, list[Run]]:
    """Labels side by side, and the calls that bring them there."""
    if labels.flags.c_contiguous:
        return labels, []
    own = np.empty(labels.shape, labels.dtype)
    return own, [partial(np.copyto, own, labels)]


def _serves(logits: Numeric, labels: Numeric) -> bool:
    """Whether there are kernels for logits and labels of these types."""
    return (
        kernels.available()
        and labels.dtype.kind in "iu"
        and labels.dtype.isnative
        and logits.size > 0
        and logits.dtype in (np.float32, np.float64)
    )


def _side_by_side(logits: Numeric, layout: Any) -> bool:
    """Whether the classes of a position are neighbours, as far as the plan has decided it."""
    axis = 1 if len(logits.shape) > 1 else 0
    order = layout.order if layout is not None else range(len(logits.shape))
    return prod(logits.shape[axis + 1 :]) == 1 or order[-1] == axis


@cross_entropy.lower
def cross_entropy_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Lowering | None:
    """Generated where the classes lie side by side, NumPy's for plain labels otherwise, else None."""
    logits, labels = types.inputs
    axis = 1 if len(logits.shape) > 1 else 0
    if _serves(logits, labels) and _side_by_side(logits, layouts.inputs[0]):
        return numpy_lowering(
            generate_cross_entropy,
            "generated cross entropy",
            ArrayType(labels.shape, logits.dtype),
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            reduction=reduction,
        )
    settings = {"label_smoothing": label_smoothing, "ignore_index": ignore_index, "reduction": reduction}
    if _serves(logits, labels) and len(logits.shape) > 2 and _in_planes(types, layouts):
        each = ArrayType(labels.shape, logits.dtype)
        return numpy_lowering(generate_losses_of_positions, "generated cross entropy", each, **settings)
    plain = not label_smoothing and labels.dtype.kind in "iu" and not 0 <= ignore_index < logits.shape[axis]
    if not plain or not logits.size or logits.dtype.name not in ("float32", "float64"):
        return None
    narrow = ArrayType(reduced_shape(logits.shape, axis, True), logits.dtype)
    chosen = ArrayType(logits.shape, _BOOL)
    del settings["label_smoothing"]
    return numpy_lowering(
        make_cross_entropy, "NumPy cross entropy", logits, narrow, narrow, logits, chosen, **settings
    )


def make_cross_entropy_gradient(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    top: Array,
    total: Array,
    target: Array,
    counted: Array,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> Run:
    """Shares, less the target, times the cotangent of each position."""
    (cotangent, logits, labels), (out,) = map(np.asarray, inputs), outputs
    axis = 1 if logits.ndim > 1 else 0
    along, _ = _labels_along(labels, logits.shape)

    def scale() -> None:
        share = np.expand_dims(cotangent, axis) if cotangent.ndim else cotangent
        divisor = max(1, labels.size - np.count_nonzero(labels == ignore_index)) if reduction == "mean" else 1
        np.multiply(out, share / out.dtype.type(divisor), out)

    return in_order(
        make_class_probabilities(
            (labels,),
            (target,),
            counted,
            classes=logits.shape[axis],
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            dtype=target.dtype.name,
        ),
        make_softmax((logits,), (out,), top, total, axes=(axis,)),
        partial(np.subtract, out, target, out),
        partial(np.not_equal, along, ignore_index, counted),
        partial(np.multiply, out, counted, out),
        scale,
    )


@cross_entropy_gradient.lower
def cross_entropy_gradient_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Lowering | None:
    """Generated where the classes lie side by side, else NumPy's, smoothing included."""
    _, logits, labels = types.inputs
    if not logits.size or logits.dtype.name not in ("float32", "float64") or labels.dtype.kind not in "iu":
        return None
    settings = {"label_smoothing": label_smoothing, "ignore_index": ignore_index, "reduction": reduction}
    if _serves(logits, labels) and _side_by_side(logits, layouts.inputs[1]):
        number = ArrayType((), np.dtype(np.float64))
        return numpy_lowering(
            generate_cross_entropy_gradient, "generated cross entropy gradient", number, **settings
        )
    if _serves(logits, labels) and len(logits.shape) > 2 and _in_planes(types, layouts):
        number = ArrayType((), np.dtype(np.float64))
        return numpy_lowering(
            generate_gradient_of_positions, "generated cross entropy gradient", number, **settings
        )
    axis = 1 if len(logits.shape) > 1 else 0
    narrow = ArrayType(reduced_shape(logits.shape, axis, True), logits.dtype)
    counted = ArrayType(narrow.shape, _BOOL)
    return numpy_lowering(
        make_cross_entropy_gradient,
        "NumPy cross entropy gradient",
        narrow,
        narrow,
        logits,
        counted,
        **settings,
    )
