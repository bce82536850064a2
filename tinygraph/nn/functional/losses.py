"""Losses of labels, of probabilities and of differences."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn.functional.settings import reduced, refuse

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def cross_entropy(
    input: Numeric,
    target: Numeric,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: object = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The negative log-likelihood of `target` under softmax(input).

    Args:
        input: logits (batch, classes, ...) or (classes,).
        target: class indices (batch, ...), or class probabilities of the shape of `input`.
        weight: (classes,) factors of the classes.
        ignore_index: targets that do not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: the share of the uniform distribution in the target.
    """
    refuse("cross_entropy", size_average=(size_average, None), reduce=(reduce, None))
    if weight is None:
        return ops.cross_entropy(
            input, target, label_smoothing=label_smoothing, ignore_index=ignore_index, reduction=reduction
        )
    log_shares = ops.log_softmax(input, axis=1 if input.ndim > 1 else 0)
    return _weighted_likelihood(log_shares, target, weight, label_smoothing, ignore_index, reduction)


def nll_loss(
    input: Numeric,
    target: Numeric,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """The negative of the log-probabilities `input` (batch, classes, ...) at the class indices `target`."""
    refuse("nll_loss", size_average=(size_average, None), reduce=(reduce, None))
    if weight is None:
        weight = np.ones(input.shape[1 if input.ndim > 1 else 0], input.dtype)
    return _weighted_likelihood(input, target, weight, 0.0, ignore_index, reduction)


def _weighted_likelihood(
    log_shares: Numeric,
    target: Numeric,
    weight: Numeric,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> Any:
    axis = 1 if log_shares.ndim > 1 else 0
    classes = log_shares.shape[axis]
    if weight.shape != (classes,):
        raise ShapeError(f"weight has shape {weight.shape}; {classes} classes need ({classes},)")
    given = target.dtype.kind == "f"  # class probabilities

    def shares_of(smoothing: float) -> Any:
        if given:
            return target * (1.0 - smoothing) + smoothing / classes
        return ops.class_probabilities(
            target,
            classes=classes,
            label_smoothing=smoothing,
            ignore_index=ignore_index,
            dtype=log_shares.dtype.name,
        )

    weight = ops.reshape(weight, shape=(-1, *[1] * (log_shares.ndim - axis - 1)))
    shares = shares_of(label_smoothing) * weight
    # where a class has no share its log-probability may be infinite
    losses = -ops.sum(ops.where(shares != 0, log_shares, 0) * shares, axis=axis)
    if reduction != "mean":
        return reduced(losses, reduction)
    return ops.sum(losses) / (max(1, prod(losses.shape)) if given else ops.sum(shares_of(0.0) * weight))


def mse_loss(
    input: object,
    target: object,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """The mean of (input - target) ** 2."""
    refuse("mse_loss", size_average=(size_average, None), reduce=(reduce, None))
    return ops.mse(input, target, reduction=reduction)


def l1_loss(
    input: object,
    target: object,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """The mean of |input - target|."""
    refuse("l1_loss", size_average=(size_average, None), reduce=(reduce, None))
    return ops.mean_absolute_error(input, target, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Numeric,
    target: Numeric,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
    pos_weight: Numeric | None = None,
) -> Any:
    """The mean of -target * log(sigmoid(input)) - (1 - target) * log(sigmoid(-input)).

    `weight` multiplies each loss, `pos_weight` its first term; both broadcast.
    """
    refuse("binary_cross_entropy_with_logits", size_average=(size_average, None), reduce=(reduce, None))
    if weight is None and pos_weight is None:
        return ops.binary_cross_entropy_with_logits(input, target, reduction=reduction)
    positive = target * ops.log_sigmoid(input) * (1 if pos_weight is None else pos_weight)
    losses = -(positive + (1 - target) * ops.log_sigmoid(-input)) * (1 if weight is None else weight)
    return reduced(losses, reduction)


# -- of probabilities --------------------------------------------------------------------------------------------------


def binary_cross_entropy(
    input: Numeric,
    target: Numeric,
    weight: Numeric | None = None,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """The mean of -target * log(input) - (1 - target) * log(1 - input), for probabilities; logarithms end at -100."""
    refuse("binary_cross_entropy", size_average=(size_average, None), reduce=(reduce, None))
    losses = -(target * _log_from(input) + (1 - target) * _log_from(1 - input))
    return reduced(losses if weight is None else losses * weight, reduction)


def _log_from(x: Numeric) -> Any:
    """log(x), and -100 where x is so small that it would be less."""
    return ops.log(ops.maximum(x, np.exp(-100.0)))


def kl_div(
    input: Numeric,
    target: Numeric,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """target * (log(target) - input), for log-probabilities `input`; of log-probabilities `target` with `log_target`.

    `reduction` may also be "batchmean": the sum over the size of the first axis, which is the divergence.
    """
    refuse("kl_div", size_average=(size_average, None), reduce=(reduce, None))
    if log_target:
        losses = ops.exp(target) * (target - input)
    else:
        some = target != 0
        losses = target * (ops.where(some, ops.log(ops.where(some, target, 1)), 0) - input)
    if reduction == "batchmean":
        return ops.sum(losses) / max(1, losses.shape[0] if losses.ndim else 1)
    return reduced(losses, reduction)


def poisson_nll_loss(
    input: Numeric,
    target: Numeric,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: object = None,
    reduction: str = "mean",
) -> Any:
    """exp(input) - target * input, or input - target * log(input + eps) without `log_input`.

    Args:
        full: whether Stirling's approximation of log(target!) is added where target > 1.
    """
    refuse("poisson_nll_loss", size_average=(size_average, None), reduce=(reduce, None))
    losses = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        large = ops.where(target > 1, target, 1)
        stirling = large * ops.log(large) - large + 0.5 * ops.log(2 * np.pi * large)
        losses = losses + ops.where(target > 1, stirling, 0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Numeric,
    target: Numeric,
    var: Numeric,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """(log(var) + (input - target) ** 2 / var) / 2, with variances of at least `eps`; `full` adds log(2 pi) / 2.

    `var` has the shape of input, or lacks its last axis, or has size 1 there.
    """
    if isinstance(var, int | float):
        var = np.full(input.shape, var, input.dtype)
    if var.shape == input.shape[:-1]:
        var = ops.expand_dims(var, axis=-1)
    elif var.ndim != input.ndim or any(a not in (1, b) for a, b in zip(var.shape, input.shape, strict=True)):
        raise ShapeError(
            f"gaussian_nll_loss: var has shape {var.shape}, which does not broadcast to input {input.shape}"
        )
    # variances that are raised keep their gradient, so that they can grow
    raised = var + ops.detach(ops.maximum(var, eps) - var)
    losses = 0.5 * (ops.log(raised) + (input - target) ** 2 / raised)
    return reduced(losses + 0.5 * np.log(2 * np.pi) if full else losses, reduction)


# -- of differences ----------------------------------------------------------------------------------------------------


def smooth_l1_loss(
    input: Numeric,
    target: Numeric,
    size_average: bool | None = None,
    reduce: object = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """d ** 2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2."""
    refuse("smooth_l1_loss", size_average=(size_average, None), reduce=(reduce, None))
    if beta < 0:
        raise SettingError(f"smooth_l1_loss: beta={beta!r} must be at least 0")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return huber_loss(input, target, reduction, beta) / beta


def huber_loss(
    input: Numeric,
    target: Numeric,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Numeric | None = None,
) -> Any:
    """d ** 2 / 2 where d = |input - target| is at most delta, else delta * (d - delta / 2)  (Huber, 1964)."""
    if delta <= 0:
        raise SettingError(f"huber_loss: delta={delta!r} must be above 0")
    d = input - target
    size = ops.abs(d)
    losses = ops.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))
    return reduced(losses if weight is None else losses * weight, reduction)
