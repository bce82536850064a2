"""Losses of margins and of distances, and the distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.nn.functional.settings import reduced, refuse

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def _hinge(x: Numeric) -> Any:
    return ops.maximum(x, 0)


def soft_margin_loss(
    input: Numeric,
    target: Numeric,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """log(1 + exp(-target * input)), for targets 1 and -1."""
    refuse("soft_margin_loss", size_average=(size_average, None), reduce=(reduce, None))
    return reduced(-ops.log_sigmoid(target * input), reduction)


def hinge_embedding_loss(
    input: Numeric,
    target: Numeric,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """input where target is 1, max(0, margin - input) where it is -1."""
    refuse("hinge_embedding_loss", size_average=(size_average, None), reduce=(reduce, None))
    far, near = ops.where(target != 1, _hinge(margin - input), 0), ops.where(target != -1, input, 0)
    return reduced(far + near, reduction)


def margin_ranking_loss(
    input1: Numeric,
    input2: Numeric,
    target: Numeric,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """max(0, -target * (input1 - input2) + margin), for targets 1 (the first is to rank higher) and -1."""
    refuse("margin_ranking_loss", size_average=(size_average, None), reduce=(reduce, None))
    return reduced(_hinge(-target * (input1 - input2) + margin), reduction)


def multi_margin_loss(
    input: Numeric,
    target: Numeric,
    p: int = 1,
    margin: float = 1.0,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """sum over other classes of weight[y] * max(0, margin - input[y] + input[i]) ** p, over the number of classes.

    Shapes: input (batch, classes) or (classes,), target (batch,) or () of class indices y.
    """
    refuse("multi_margin_loss", size_average=(size_average, None), reduce=(reduce, None))
    if p not in (1, 2):
        raise SettingError(f"multi_margin_loss: p={p!r} must be 1 or 2")
    single = input.ndim == 1
    if single:
        input, target = ops.expand_dims(input, axis=0), ops.reshape(target, shape=(1,))
    classes = input.shape[1]
    own = ops.one_hot(target, num_classes=classes) > 0
    right = ops.take_along_axis(input, ops.expand_dims(target, axis=1), axis=1)
    terms = _hinge(margin - right + input)
    terms = terms * terms if p == 2 else terms
    if weight is not None:
        terms = terms * ops.expand_dims(ops.take(weight, target, axis=0), axis=1)
    losses = ops.sum(ops.where(own, 0, terms), axis=1) / classes
    return reduced(losses[0] if single else losses, reduction)


def multilabel_margin_loss(
    input: Numeric,
    target: Numeric,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """sum over labels y and other classes i of max(0, 1 - input[y] + input[i]), over the number of classes.

    Shapes: input (batch, classes) or (classes,); target likewise: the labels first, then -1.
    """
    refuse("multilabel_margin_loss", size_average=(size_average, None), reduce=(reduce, None))
    single = input.ndim == 1
    if single:
        input, target = ops.expand_dims(input, axis=0), ops.expand_dims(target, axis=0)
    classes = input.shape[1]
    given = ops.cumprod((target >= 0).astype(np.int64), axis=1) > 0  # up to the first -1
    labels = ops.where(given, target, 0)
    marked = ops.where(ops.expand_dims(given, axis=2), ops.one_hot(labels, num_classes=classes), 0)
    others = ops.sum(marked, axis=1) == 0
    right = ops.take_along_axis(input, labels, axis=1)
    terms = _hinge(1 - ops.expand_dims(right, axis=2) + ops.expand_dims(input, axis=1))
    counted = ops.logical_and(ops.expand_dims(given, axis=2), ops.expand_dims(others, axis=1))
    losses = ops.sum(ops.where(counted, terms, 0), axis=(1, 2)) / classes
    return reduced(losses[0] if single else losses, reduction)


def multilabel_soft_margin_loss(
    input: Numeric,
    target: Numeric,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """The mean over classes of the binary cross entropies of sigmoid(input) and target."""
    refuse("multilabel_soft_margin_loss", size_average=(size_average, None), reduce=(reduce, None))
    losses = -(target * ops.log_sigmoid(input) + (1 - target) * ops.log_sigmoid(-input))
    return reduced(ops.mean(losses if weight is None else losses * weight, axis=-1), reduction)


# -- of distances ------------------------------------------------------------------------------------------------------


def pairwise_distance(
    x1: Numeric, x2: Numeric, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return ops.norm(x1 - x2 + eps, ord=p, axis=-1, keepdims=keepdim)


def cosine_similarity(x1: Numeric, x2: Numeric, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`."""
    first, second = (ops.maximum(ops.norm(x, axis=dim, keepdims=True), eps) for x in (x1, x2))
    return ops.sum((x1 / first) * (x2 / second), axis=dim)


def cosine_embedding_loss(
    input1: Numeric,
    input2: Numeric,
    target: Numeric,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1; cos between input1 and input2 (batch, width)."""
    refuse("cosine_embedding_loss", size_average=(size_average, None), reduce=(reduce, None))
    squares = [ops.sum(x * x, axis=-1) + 1e-12 for x in (input1, input2)]
    cosine = ops.sum(input1 * input2, axis=-1) / ops.sqrt(squares[0] * squares[1])
    same, other = ops.where(target == 1, 1 - cosine, 0), ops.where(target == -1, _hinge(cosine - margin), 0)
    return reduced(same + other, reduction)


def triplet_margin_loss(
    anchor: Numeric,
    positive: Numeric,
    negative: Numeric,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with d the p-norm of the difference.

    `swap` takes d(positive, negative) where it is smaller (Balntas et al., 2016).
    """
    refuse("triplet_margin_loss", size_average=(size_average, None), reduce=(reduce, None))

    def distance(x: Numeric, y: Numeric) -> Any:
        return pairwise_distance(x, y, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Numeric,
    positive: Numeric,
    negative: Numeric,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_loss` with a distance of the user's own."""
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced(_hinge(near - far + margin), reduction)
