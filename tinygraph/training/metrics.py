"""Metrics as plain functions: of the scores of a batch and its targets, one number.

`fit(metrics={"top 3": metrics.top_k(3)})` takes their mean over the samples of the validation data. What no mean of
batches gives, as F1 over all of the data, is asked of all scores at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.types import Array

Metric = Callable[["Array", "Array"], float]


def accuracy(scores: Array, targets: Array) -> float:
    """The share of samples whose highest score is their class's.

    Args:
        scores: (n, classes).
        targets: (n,) classes.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return top_k(1)(scores, targets)


def top_k(k: int) -> Metric:
    """The share of samples whose class is among the k highest scores, as a metric of (n, classes) and (n,).

    >>> top_k(2)(np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]), np.array([1, 0]))
    0.5
    """
    if k < 1:
        raise SettingError(f"top_k: k={k} must be at least 1")

    def metric(scores: Array, targets: Array) -> float:
        _check(scores, targets)
        own = np.take_along_axis(scores, targets[:, None], axis=1)
        better = (scores > own).sum(axis=1) + (
            (scores == own) & (np.arange(scores.shape[1]) < targets[:, None])
        ).sum(axis=1)
        return float((better < k).mean())

    return metric


def f1(scores: Array, targets: Array) -> float:
    """The mean over classes of 2 tp / (2 tp + fp + fn), "macro" F1, over classes that occur or are guessed.

    Args:
        scores: (n, classes).
        targets: (n,) classes.

    >>> f1(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), np.array([0, 1, 1]))
    0.6666666666666666
    """
    _check(scores, targets)
    counts = confusion(scores, targets)
    right = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * right[either > 0] / either[either > 0]).mean())


def confusion(scores: Array, targets: Array) -> Array:
    """How often each class was taken for which: entry [true, predicted].

    >>> confusion(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    array([[1, 0],
           [1, 0]])
    """
    _check(scores, targets)
    counts = np.zeros((scores.shape[1], scores.shape[1]), np.int64)
    np.add.at(counts, (targets, scores.argmax(axis=1)), 1)
    return counts


def mean_absolute_error(scores: Array, targets: Array) -> float:
    """The mean of |scores - targets|.

    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    1.5
    """
    return float(np.abs(_same(scores, targets) - targets).mean())


def root_mean_squared_error(scores: Array, targets: Array) -> float:
    """The root of the mean of (scores - targets) ** 2.

    >>> root_mean_squared_error(np.array([1.0, 5.0]), np.array([0.0, 4.0]))
    1.0
    """
    return float(np.sqrt(((_same(scores, targets) - targets) ** 2).mean()))


def r2(scores: Array, targets: Array) -> float:
    """The share of the targets' variance that the scores explain: 1 - residual / total sum of squares.

    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    residual = ((_same(scores, targets) - targets) ** 2).sum()
    return float(1 - residual / ((targets - targets.mean()) ** 2).sum())


def _check(scores: Array, targets: Array) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1] or targets.dtype.kind not in "iu":
        raise ShapeError(
            f"a metric of classes takes scores (n, classes) and integer targets (n,), not {scores.shape} and "
            f"{targets.dtype}{list(targets.shape)}"
        )


def _same(scores: Array, targets: Array) -> Array:
    if scores.shape != targets.shape:
        raise ShapeError(f"scores {scores.shape} and targets {targets.shape} must have one shape")
    return scores
