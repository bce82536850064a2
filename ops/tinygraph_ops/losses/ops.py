"""Losses: cross entropy on logits, squared and absolute error, binary cross entropy on logits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Numeric,
    Sample,
    SettingError,
    Shape,
    ShapeError,
    batch_size,
    composite,
    op,
    ops,
    parted,
    spread,
)
from tinygraph_ops.half_precision import narrow, wide

REDUCTIONS = ("mean", "sum", "none")

_LOGITS = [[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]]
_DEEP = [[[1.0, 0.5], [0.0, -1.0], [2.0, 1.5]], [[0.0, 2.0], [1.0, -0.5], [0.5, 1.0]]]
_SHARES = [[0.2, 0.3, 0.5], [0.7, 0.1, 0.2]]


def _check_reduction(reduction: str, where: str = "") -> None:
    if reduction not in REDUCTIONS:
        raise SettingError(f'{where}reduction is {reduction!r}; it can be "mean", "sum" or "none"')


# -- classes -------------------------------------------------------------------------------------------------


@op(
    kind="loss",
    samples=[
        # By hand: log(1 + 3) for the odds 1 to 3, and log(4 / 3).
        Sample([[0.0, np.log(3.0)]] * 2, [0, 1], expected=(np.log(4.0) + np.log(4.0 / 3.0)) / 2.0),
        Sample([[0.0, np.log(3.0)]] * 2, [0, 1], reduction="none", expected=[np.log(4.0), np.log(4.0 / 3.0)]),
        Sample([[0.0, np.log(3.0)]] * 2, [0, -100], expected=np.log(4.0)),
        Sample([[0.0, np.log(3.0)]], [[0.5, 0.5]], expected=(np.log(4.0) + np.log(4.0 / 3.0)) / 2.0),
        Sample([[1000.0, -1000.0]], [1], expected=2000.0),
        Sample(_LOGITS, [2, 0], reduction="sum"),
        Sample(_LOGITS, [2, 1], label_smoothing=0.1),
        Sample(_LOGITS, [2, 7], label_smoothing=0.1, ignore_index=7, reduction="sum"),
        Sample(_DEEP, [[0, 2], [1, -100]], label_smoothing=0.3),
        Sample(_DEEP, [[0, 2], [1, 0]], reduction="none"),
        Sample(_LOGITS, _SHARES, label_smoothing=0.2),
        Sample(_LOGITS, _SHARES, reduction="none"),
        Sample(_DEEP, np.abs(_DEEP) / 4.0),
        Sample([[0.0, 1.0]], [-100], expected=np.nan, smooth=False),
        Sample([1.0, 0.0, 2.0], 1),
    ],
    error_samples=[
        ErrorSample(_LOGITS, [0, 3], error=ShapeError, match="labels[1] is 3"),
        ErrorSample(_LOGITS, [-1, 0], error=ShapeError, match="labels[0] is -1"),
        ErrorSample(_LOGITS, [0, 1, 2], error=ShapeError, match="labels have shape"),
        ErrorSample(_LOGITS, [0.5, 0.5], error=ShapeError, match="probabilities"),
        ErrorSample(_LOGITS, [True, False], error=DTypeError, match="bool"),
        ErrorSample(1.0, 0, error=ShapeError, match="class axis"),
        ErrorSample(_LOGITS, [0, 1], label_smoothing=1.5, error=SettingError, match="label_smoothing"),
        ErrorSample(_LOGITS, [0, 1], reduction="average", error=SettingError, match="reduction"),
    ],
)
def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """-sum over classes of target * log_softmax(logits);  d/dlogits = softmax(logits) - target.

    The target is 1 at the label, or the given probabilities; label smoothing mixes it with 1 / classes.

    Args:
        logits: (batch, classes, *positions), or (classes,).
        labels: class indices (batch, *positions), or (); or, as floats, probabilities of the shape of logits.
        label_smoothing: the share, from 0 to 1, of the uniform distribution in the target.
        ignore_index: positions with this label do not count.
        reduction: "mean" over the positions that count, "sum", or "none".

    Returns:
        A scalar, or (batch, *positions) without reduction. The mean over no position is NaN.

    Raises:
        ShapeError: shapes that do not fit, or a label out of range, with its position.
        DTypeError: boolean labels.
        SettingError: an unknown reduction, or smoothing outside [0, 1].

    >>> import numpy as np
    >>> print(cross_entropy(np.zeros((1, 4)), np.array([2])).round(4))
    1.3863
    """
    _cross_entropy_shape(logits, labels, label_smoothing, reduction)
    labels = np.asarray(labels)
    axis = _class_axis(logits)
    log_shares = ops.log_softmax(wide(logits), axis=axis)
    target = _target(labels, logits.shape[axis], label_smoothing, ignore_index, log_shares.dtype)
    # Where the target is 0, an infinite logit must not make a NaN.
    products = np.multiply(target, log_shares, out=np.zeros_like(log_shares), where=target != 0)
    if reduction == "none":
        return narrow(-products.sum(axis=axis), logits.dtype)
    total = -products.sum()
    if reduction == "mean":
        counted = _counted(labels, logits, ignore_index)
        total = total / counted if counted else total * np.nan
    return narrow(total, logits.dtype)


@cross_entropy.types
def cross_entropy_types(
    logits: ArrayType, labels: ArrayType, *, label_smoothing: float = 0.0, ignore_index: int = -100,
    reduction: str = "mean",
) -> ArrayType:  # fmt: skip
    """A scalar, or (batch, *positions) without reduction, in the floating-point dtype of logits."""
    shape = _cross_entropy_shape(logits, labels, label_smoothing, reduction)
    return ArrayType(shape, _floating(logits.dtype))


@cross_entropy.batch
def cross_entropy_batched(
    batched: Sequence[bool],
    logits: Numeric,
    labels: Numeric,
    *,
    ignore_index: int,
    reduction: str,
    **settings: object,
) -> Any:
    """The losses of all examples' positions, then reduced example by example."""
    size = batch_size(batched, (logits, labels))
    logits, labels = (x if one else spread(x, size) for x, one in zip((logits, labels), batched, strict=True))
    several = logits.ndim > 2
    flat = (_joined(logits), _joined(labels)) if several else (logits, labels)
    losses = cross_entropy(wide(flat[0]), flat[1], ignore_index=ignore_index, reduction="none", **settings)
    losses = parted(losses, size) if several else losses
    axes = tuple(range(1, losses.ndim))
    if reduction != "none":
        losses = ops.sum(losses, axis=axes)
    if reduction == "mean":
        losses = losses / _counts(
            labels, losses, prod(logits.shape[1:2] * several) * prod(logits.shape[3:]), ignore_index
        )
    return (
        losses
        if losses.dtype == _floating(logits.dtype)
        else ops.cast(losses, dtype=_floating(logits.dtype).name)
    )


def _joined(x: Numeric) -> Any:
    """The batch axis and the examples' first as one."""
    return ops.reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))


def _counts(labels: Numeric, losses: Any, positions: int, ignore_index: int) -> Any:
    """For each example how many positions count; NaN where none does."""
    if _are_shares(labels):
        return positions or np.nan
    counted = ops.sum(
        ops.cast(ops.not_equal(labels, ignore_index), dtype=losses.dtype.name),
        axis=tuple(range(1, labels.ndim)),
    )
    return ops.where(counted > 0, counted, np.nan)


@cross_entropy.vjp("logits")
def cross_entropy_wrt_logits(
    g: Numeric, logits: Numeric, labels: Numeric, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Numeric:
    """g · (softmax(logits) Σ target - target), over the number of positions for a mean."""
    g, logits = wide(g), wide(logits)
    if not _are_shares(labels):
        return cross_entropy_gradient(
            g,
            logits,
            labels,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            reduction=reduction,
        )
    target = labels * (1.0 - label_smoothing) + label_smoothing / logits.shape[_class_axis(logits)]
    return _slope(logits, target) * _each(
        g / max(1, _positions(logits)) if reduction == "mean" else g, logits
    )


@cross_entropy.vjp("labels")
def cross_entropy_wrt_labels(
    g: Numeric, logits: Numeric, *, label_smoothing: float, reduction: str
) -> Numeric:
    """For labels that are probabilities: -g (1 - label_smoothing) log_softmax(logits)."""
    g, logits = wide(g), wide(logits)
    scale = label_smoothing - 1.0
    if reduction == "mean":
        scale /= max(1, _positions(logits))
    return ops.log_softmax(logits, axis=_class_axis(logits)) * _each(g * scale, logits)


@op(
    kind="loss",
    linear=("cotangent",),
    nondifferentiable="labels",
    samples=[
        # By hand: the shares are 1/4 and 3/4, and each of two rows has half of the mean.
        Sample(1.0, [[0.0, np.log(3.0)]] * 2, [0, 1], expected=[[-0.375, 0.375], [0.125, -0.125]]),
        Sample(
            [2.0, 4.0],
            [[0.0, np.log(3.0)]] * 2,
            [0, 1],
            reduction="none",
            expected=[[-1.5, 1.5], [1.0, -1.0]],
        ),
        Sample(1.0, [[0.0, np.log(3.0)]] * 2, [0, -100], expected=[[-0.75, 0.75], [0.0, 0.0]]),
        Sample(1.0, [[0.0, 1.0]], [-100], expected=[[0.0, 0.0]]),
        Sample(0.5, _LOGITS, [2, 0], reduction="sum"),
        Sample(1.5, _LOGITS, [2, 1], label_smoothing=0.1),
        Sample(1.0, _LOGITS, [2, 7], label_smoothing=0.1, ignore_index=7, reduction="sum"),
        Sample(1.0, _DEEP, [[0, 2], [1, -100]], label_smoothing=0.3),
        Sample([[1.0, 0.5], [2.0, -1.0]], _DEEP, [[0, 2], [1, 0]], reduction="none"),
        Sample(
            [[1.0, 0.5, 2.0], [-1.0, 0.25, 0.5]],
            np.linspace(-1.0, 1.0, 12).reshape(2, 2, 3),
            [[0, 1, 1], [1, 0, 0]],
            reduction="none",
        ),
        Sample(1.0, [1.0, 0.0, 2.0], 1),
    ],
    error_samples=[
        ErrorSample(1.0, _LOGITS, [0, 3], error=ShapeError, match="labels[1] is 3"),
        ErrorSample(1.0, _LOGITS, _SHARES, error=DTypeError, match="integers"),
        ErrorSample([1.0], _LOGITS, [0, 1], error=ShapeError, match="the cotangent has shape"),
    ],
)
def cross_entropy_gradient(
    cotangent: Array,
    logits: Array,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Numeric:
    """cotangent * d cross_entropy / d logits = cotangent * (softmax(logits) - target), / counted of a mean.

    Args:
        cotangent: of the loss's shape.
        logits, labels, label_smoothing, ignore_index, reduction: as in `cross_entropy`, without probabilities.

    Returns:
        An array of the shape of logits, zeros where a position does not count.

    >>> import numpy as np
    >>> cross_entropy_gradient(1.0, np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """
    _cross_entropy_gradient_shape(cotangent, logits, labels, label_smoothing, reduction)
    labels = np.asarray(labels)
    dtype = _floating(wide(logits).dtype)
    target = _target(labels, logits.shape[_class_axis(logits)], label_smoothing, ignore_index, dtype)
    scale = _averaged(np.asarray(cotangent, dtype), wide(logits), labels, ignore_index, reduction)
    slope = _slope(wide(logits), target) * _each(scale, logits)
    return slope.astype(_floating(logits.dtype), copy=False)


@cross_entropy_gradient.types
def cross_entropy_gradient_types(
    cotangent: ArrayType, logits: ArrayType, labels: ArrayType, *, label_smoothing: float = 0.0,
    ignore_index: int = -100, reduction: str = "mean",
) -> ArrayType:  # fmt: skip
    """The shape of logits, in their floating-point dtype."""
    _cross_entropy_gradient_shape(cotangent, logits, labels, label_smoothing, reduction)
    return ArrayType(logits.shape, _floating(logits.dtype))


@cross_entropy_gradient.batch
def cross_entropy_gradient_batched(
    batched: Sequence[bool],
    cotangent: Numeric,
    logits: Numeric,
    labels: Numeric,
    *,
    ignore_index: int,
    reduction: str,
    **settings: object,
) -> Any:
    """The gradient without reduction, of a cotangent for each position."""
    given = (cotangent, logits, labels)
    size = batch_size(batched, given)
    cotangent, logits, labels = (x if one else spread(x, size) for x, one in zip(given, batched, strict=True))
    several = logits.ndim > 2
    scale = wide(cotangent)
    if reduction == "mean":
        counted = _counts(labels, scale, 1, ignore_index)
        scale = scale / ops.where(ops.isnan(counted), 1, counted)
    if reduction != "none":
        scale = ops.reshape(scale, shape=(size, *(1,) * (labels.ndim - 1)))
        scale = ops.broadcast_to(scale, shape=labels.shape)
    flat = tuple(map(_joined, (scale, logits, labels))) if several else (scale, logits, labels)
    found = cross_entropy_gradient(*flat, ignore_index=ignore_index, reduction="none", **settings)
    return parted(found, size) if several else found


@cross_entropy_gradient.vjp("cotangent")
def cross_entropy_gradient_wrt_cotangent(
    g: Numeric, logits: Numeric, labels: Numeric, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Any:
    """Σ g · (softmax(logits) Σ target - target) over what the cotangent was spread over."""
    g, logits = wide(g), wide(logits)
    axis = _class_axis(logits)
    target = _target_of(logits, labels, label_smoothing, ignore_index)
    total = ops.sum(g * _slope(logits, target), axis=axis if reduction == "none" else None)
    return _averaged(total, logits, labels, ignore_index, reduction)


@cross_entropy_gradient.vjp("logits")
def cross_entropy_gradient_wrt_logits(
    g: Numeric,
    cotangent: Numeric,
    logits: Numeric,
    labels: Numeric,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> Any:
    """The loss's Hessian times g: p (w - Σ p w), with p the softmax and w = g Σ target · cotangent."""
    g, logits = wide(g), wide(logits)
    axis = _class_axis(logits)
    target = _target_of(logits, labels, label_smoothing, ignore_index)
    scale = _averaged(wide(cotangent), logits, labels, ignore_index, reduction)
    weight = g * ops.sum(target, axis=axis, keepdims=True) * _each(scale, logits)
    shares = ops.softmax(logits, axis=axis)
    return shares * (weight - ops.sum(shares * weight, axis=axis, keepdims=True))


def _slope(logits: Numeric, target: Numeric) -> Numeric:
    """softmax(logits) Σ target - target: the derivative of each position's loss."""
    axis = _class_axis(logits)
    return ops.softmax(logits, axis=axis) * ops.sum(target, axis=axis, keepdims=True) - target


def _target_of(logits: Numeric, labels: Numeric, label_smoothing: float, ignore_index: int) -> Any:
    return class_probabilities(
        labels,
        classes=logits.shape[_class_axis(logits)],
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        dtype=_floating(logits.dtype).name,
    )


def _averaged(value: Numeric, logits: Numeric, labels: Numeric, ignore_index: int, reduction: str) -> Any:
    """A value over the number of positions that count, where the loss is their mean.

    Where none counts the slope is 0 everywhere, and any divisor but 0 will do.
    """
    if reduction != "mean":
        return value
    counted = ops.sum(ops.cast(ops.not_equal(labels, ignore_index), dtype=_floating(logits.dtype).name))
    return value / ops.where(counted > 0, counted, 1)


def _cross_entropy_gradient_shape(
    cotangent: object, logits: object, labels: object, label_smoothing: float, reduction: str
) -> None:
    _check_integers(labels)
    shape = _cross_entropy_shape(logits, labels, label_smoothing, reduction)
    found = getattr(cotangent, "shape", ())
    if found != shape:
        raise ShapeError(f"the cotangent has shape {found}; the loss has {shape}")


def _each(g: Numeric, logits: Numeric) -> Numeric:
    """The cotangent of each position's loss, with a class axis to be multiplied along."""
    axis = _class_axis(logits)
    return ops.reshape(g, shape=(*g.shape[:axis], 1, *g.shape[axis:])) if g.shape else g


def _class_axis(logits: Numeric) -> int:
    return 1 if logits.ndim > 1 else 0


def _positions(logits: Numeric) -> int:
    axis = _class_axis(logits)
    return int(prod(logits.shape[:axis]) * prod(logits.shape[axis + 1 :]))


def _counted(labels: Array, logits: Array, ignore_index: int) -> int:
    return _positions(logits) if _are_shares(labels) else int(np.count_nonzero(labels != ignore_index))


def _are_shares(labels: Numeric) -> bool:
    """Whether labels are class probabilities."""
    return bool(hasattr(labels, "dtype") and labels.dtype.kind == "f")


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _cross_entropy_shape(logits: Any, labels: object, label_smoothing: float, reduction: str) -> Shape:
    """The shape of the loss, after all checks that need no values."""
    _check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise SettingError(f"label_smoothing is {label_smoothing}; it must be from 0 to 1")
    shape: Shape = getattr(logits, "shape", ())
    if not shape or 0 in shape[1:2]:
        raise ShapeError(
            f"logits have shape {shape}; they need a class axis: (batch, classes, ...), or (classes,)"
        )
    axis = _class_axis(logits)
    positions = (*shape[:axis], *shape[axis + 1 :])
    found, dtype = getattr(labels, "shape", ()), getattr(labels, "dtype", np.dtype(np.intp))
    if dtype.kind not in "iuf":
        raise DTypeError(
            f"labels have dtype {dtype}; they must be integer classes, or floats for class probabilities"
        )
    if dtype.kind == "f" and found != shape:
        raise ShapeError(
            f"labels of dtype {dtype} are class probabilities and need the shape of logits, {shape}, not "
            f"{found}; class indices must be integers of shape {positions}"
        )
    if dtype.kind != "f" and found != positions:
        raise ShapeError(
            f"labels have shape {found}; logits of shape {shape} need one label for each of {positions}"
        )
    return positions if reduction == "none" else ()


@op(
    kind="other",
    nondifferentiable="labels",
    samples=[
        Sample([1, -100], classes=2, expected=[[0.0, 1.0], [0.0, 0.0]]),
        Sample([1], classes=4, label_smoothing=0.4, expected=[[0.1, 0.7, 0.1, 0.1]]),
        Sample([1, 0], classes=2, ignore_index=0, expected=[[0.0, 1.0], [0.0, 0.0]]),
        Sample([[0, 1], [2, 0]], classes=3, dtype="float32"),
        Sample(1, classes=2, expected=[0.0, 1.0]),
    ],
    error_samples=[
        ErrorSample([[0, 4]], classes=4, error=ShapeError, match="labels[0, 1] is 4"),
        ErrorSample([0.5], classes=4, error=DTypeError, match="integers"),
    ],
)
def class_probabilities(
    labels: Array,
    *,
    classes: int,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    dtype: str = "float64",
) -> Any:
    """(1 - s) * [label == class] + s / classes, with s = label_smoothing; all zeros for an ignored label.

    Args:
        labels: class indices (batch, *positions), or ().

    Returns:
        (batch, classes, *positions), or (classes,).

    Raises:
        ShapeError: a label that is neither a class nor the ignored one, with its position.
        DTypeError: labels that are no integers.

    >>> import numpy as np
    >>> class_probabilities(np.array([2, 0]), classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    _check_integers(labels)
    return _target(labels, classes, label_smoothing, ignore_index, np.dtype(dtype))


@class_probabilities.types
def class_probabilities_types(
    labels: ArrayType,
    *,
    classes: int,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    dtype: str = "float64",
) -> ArrayType:
    """(batch, classes, *positions) of the dtype that is asked for."""
    _check_integers(labels)
    shape: Shape = getattr(labels, "shape", ())
    axis = 1 if shape else 0
    return ArrayType((*shape[:axis], classes, *shape[axis:]), np.dtype(dtype))


@class_probabilities.batch
def class_probabilities_batched(batched: Sequence[bool], labels: Numeric, **settings: object) -> Any:
    several = labels.ndim > 1
    found = class_probabilities(_joined(labels) if several else labels, **settings)
    return parted(found, labels.shape[0]) if several else found


def _check_integers(labels: object) -> None:
    if hasattr(labels, "dtype") and labels.dtype.kind not in "iu":
        raise DTypeError(f"labels must be integers, not {labels.dtype}")


def _target(
    labels: Array, classes: int, label_smoothing: float, ignore_index: int, dtype: np.dtype[Any]
) -> Any:
    """What `class_probabilities` returns; probabilities are smoothed."""
    if _are_shares(labels):
        return labels * (1.0 - label_smoothing) + label_smoothing / classes
    axis = 1 if labels.ndim else 0
    ignored = labels == ignore_index
    check_labels(labels, ignored, classes)
    target = np.full((*labels.shape[:axis], classes, *labels.shape[axis:]), label_smoothing / classes, dtype)
    position = np.expand_dims(np.where(ignored, 0, labels).astype(np.intp, copy=False), axis)
    np.put_along_axis(target, position, 1.0 - label_smoothing * (classes - 1) / classes, axis)
    if ignored.any():
        target *= np.expand_dims(~ignored, axis)
    return target


def check_labels(labels: Numeric, ignored: Array, classes: int) -> None:
    """Raise ShapeError, with its position, for a label that is neither a class nor ignored."""
    wrong = ((labels < 0) | (labels >= classes)) & ~ignored
    if wrong.any():
        position = tuple(map(int, np.argwhere(wrong)[0]))
        raise ShapeError(
            f"labels{list(position) if position else ''} is {labels[position]}, but logits have the classes "
            f"0 to {classes - 1}"
        )


# -- numbers -------------------------------------------------------------------------------------------------


@composite(
    samples=[
        Sample([1.0, 2.0], [3.0, 2.5], expected=2.125),
        Sample([1.0, 2.0], [3.0, 2.5], reduction="sum", expected=4.25),
        Sample([1.0, 2.0], [3.0, 2.5], reduction="none", expected=[4.0, 0.25]),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], [[1.0], [2.0]], error=ShapeError, match="same shape"),
        ErrorSample([1.0], [1.0], reduction="max", error=SettingError, match="reduction"),
    ],
)
def mse(prediction: Numeric, target: Numeric, *, reduction: str = "mean") -> Numeric:
    """mean of (prediction - target) ** 2

    Args:
        prediction, target: of the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError: shapes that differ: broadcasting here is nearly always a mistake.

    >>> import numpy as np
    >>> float(mse(np.array([1.0, 2.0]), np.array([3.0, 2.0])))
    2.0
    """
    _check_pair("mse", prediction, target)
    return _reduced("mse", ops.square(prediction - target), reduction)


@composite(
    samples=[
        Sample([1.0, 2.0], [3.0, 2.5], expected=1.25),
        Sample([1.0, 2.0], [3.0, 2.5], reduction="none", expected=[2.0, 0.5]),
    ],
    error_samples=[ErrorSample([1.0, 2.0], [1.0], error=ShapeError, match="same shape")],
)
def mean_absolute_error(prediction: Numeric, target: Numeric, *, reduction: str = "mean") -> Numeric:
    """mean of |prediction - target|;  arguments and errors are those of `mse`.

    >>> import numpy as np
    >>> float(mean_absolute_error(np.array([1.0, 2.0]), np.array([3.0, 2.0])))
    1.0
    """
    _check_pair("mean_absolute_error", prediction, target)
    return _reduced("mean_absolute_error", ops.abs(prediction - target), reduction)


@composite(
    samples=[
        Sample([0.0, 0.0], [0.0, 1.0], expected=np.log(2.0)),
        Sample(
            [1000.0, -1000.0, 40.0],
            [1.0, 1.0, 1.0],
            reduction="none",
            expected=[0.0, 1000.0, 4.248354255291589e-18],
        ),
        Sample([1.0, -2.0], [0.25, 0.5], reduction="sum"),
    ],
    error_samples=[ErrorSample([1.0, 2.0], [1.0], error=ShapeError, match="same shape")],
)
def binary_cross_entropy_with_logits(logits: Numeric, target: Numeric, *, reduction: str = "mean") -> Numeric:
    """mean of -target * log(sigmoid(logits)) - (1 - target) * log(sigmoid(-logits))

    Args:
        logits: any real numbers.
        target: probabilities from 0 to 1, of the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError: shapes that differ.

    >>> import numpy as np
    >>> float(binary_cross_entropy_with_logits(np.array([1000.0]), np.array([0.0])))
    1000.0
    """
    _check_pair("binary_cross_entropy_with_logits", logits, target)
    # Two one-sided terms, both exact in their tails, where the shorter max(x, 0) - x * target + ... cancels.
    losses = -(target * ops.log_sigmoid(logits) + (1 - target) * ops.log_sigmoid(-logits))
    return _reduced("binary_cross_entropy_with_logits", losses, reduction)


def _check_pair(name: str, prediction: Numeric, target: Numeric) -> None:
    left, right = getattr(prediction, "shape", ()), getattr(target, "shape", ())
    if left != right:
        raise ShapeError(
            f"{name}: both operands must have the same shape, not {left} and {right}; reshape one of them"
        )


def _reduced(name: str, losses: Numeric, reduction: str) -> Numeric:
    _check_reduction(reduction, f"{name}: ")
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)
