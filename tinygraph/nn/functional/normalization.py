"""Normalisation and dropout."""

from __future__ import annotations

from functools import partial
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import no_grad
from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator, read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Sizes


def batch_norm(
    input: Numeric,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    training: bool = False,
    momentum: object = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel by the batch (training), updating the running statistics, or by those.

    `running_mean` and `running_var` are buffers (see `Module.register_buffer`), written in place; the variance kept
    is the unbiased one. A batch without samples has no statistics, and leaves them as they are.

    Raises:
        ShapeError: training with one value a channel, which has no variance.
    """
    if not training:
        if running_mean is None or running_var is None:
            raise SettingError("batch_norm: without running statistics it needs training=True")
        return ops.batch_norm_inference(input, running_mean, running_var, weight, bias, eps=eps)
    count = prod(input.shape[:1] + input.shape[2:])
    if count == 1:
        raise ShapeError(
            f"batch_norm in training needs more than one value a channel, and input has shape {input.shape}: give "
            f"larger batches (DataLoader's drop_last=True leaves out a last short one), or call model.eval()"
        )
    out, mean, variance = ops.batch_norm(input, weight, bias, eps=eps)
    if count and running_mean is not None and running_var is not None:
        with no_grad():
            variance = variance * (count / (count - 1))
            for average, new in ((running_mean, mean), (running_var, variance)):
                old = read(average)
                write(average, old + momentum * (new - old))
    return out


def layer_norm(
    input: Numeric,
    normalized_shape: Sizes,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    eps: float = 1e-5,
) -> Any:
    """Normalise over the last axes."""
    return ops.layer_norm(input, weight, bias, normalized_shape=normalized_shape, eps=eps)


def rms_norm(
    input: Numeric, normalized_shape: Sizes, weight: Numeric | None = None, eps: float | None = None
) -> Any:
    """Divide by the root of the mean square over the last axes."""
    return ops.rms_norm(input, weight, normalized_shape=normalized_shape, eps=eps)


def group_norm(
    input: Numeric,
    num_groups: int,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    eps: float = 1e-5,
) -> Any:
    """Normalise over groups of channels."""
    return ops.group_norm(input, weight, bias, groups=num_groups, eps=eps)


def dropout(input: Numeric, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero elements with probability p and scale the others by 1 / (1 - p), in training; else nothing."""
    _require_probability(p)
    if not training or p == 0:
        return input
    return input * 0.0 if p == 1 else ops.dropout(input, p=p)


def instance_norm(
    input: Numeric,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel of each sample by its own mean and variance, or by the running statistics.

    Shapes: (batch, channels, *spatial). Running statistics are buffers, and means over the batch.

    Raises:
        SettingError: neither statistics of the input nor running ones.
        ShapeError: one value a channel and sample, which has no variance.
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise SettingError("instance_norm: without running statistics it needs use_input_stats=True")
        return ops.batch_norm_inference(input, running_mean, running_var, weight, bias, eps=eps)
    count = prod(input.shape[2:])
    if count == 1:
        raise ShapeError(
            f"instance_norm needs more than one value a channel, and input has shape {input.shape}"
        )
    if running_mean is not None and running_var is not None:
        axes = tuple(range(2, input.ndim))
        with no_grad():
            mean = ops.mean(ops.mean(input, axis=axes), axis=0)
            variance = ops.mean(ops.var(input, axis=axes), axis=0) * (count / (count - 1))
            for average, new in ((running_mean, mean), (running_var, variance)):
                old = read(average)
                write(average, old + momentum * (new - old))
    return ops.group_norm(input, weight, bias, groups=input.shape[1], eps=eps)


def local_response_norm(
    input: Numeric, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """input / (k + alpha * mean of squares over `size` channels around) ** beta  (Krizhevsky et al., 2012)."""
    around = ((0, 0), (size // 2, (size - 1) // 2), *[(0, 0)] * (input.ndim - 2))
    squares = ops.pad(input * input, pad_width=around, constant_values=0)
    channels = input.shape[1]
    total = squares[:, :channels]
    for i in range(1, size):
        total = total + squares[:, i : i + channels]
    return input / (k + alpha * (total / size)) ** beta


def _dropped(input: Numeric, p: float, training: bool, shape: tuple[int, ...]) -> Any:
    """Dropout whose draws have a shape of their own, which broadcasts."""
    _require_probability(p)
    if not training or p == 0:
        return input
    return input * 0.0 if p == 1 else input * dropout(np.ones(shape, input.dtype), p)


def feature_dropout(
    dimensions: int, input: Numeric, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    """Zero whole channels of (batch, channels, *spatial) or (channels, *spatial) with probability p, in training."""
    if input.ndim not in (dimensions + 1, dimensions + 2):
        raise ShapeError(
            f"dropout{dimensions}d: input has shape {input.shape}; it needs (batch, channels, *spatial)"
        )
    return _dropped(input, p, training, (*input.shape[:-dimensions], *[1] * dimensions))


dropout1d, dropout2d, dropout3d = (partial(feature_dropout, n) for n in (1, 2, 3))


def alpha_dropout(input: Numeric, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Set elements to the value that selu ends at with probability p, keeping mean 0 and variance 1, in training."""
    return _alpha(input, p, training, input.shape)


def feature_alpha_dropout(
    input: Numeric, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """`alpha_dropout` of whole channels (batch, channels, ...)."""
    return _alpha(input, p, training, (*input.shape[:2], *[1] * (input.ndim - 2)))


def _alpha(input: Numeric, p: float, training: bool, shape: tuple[int, ...]) -> Any:
    _require_probability(p)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    end = -1.7580993408473766  # what selu goes to at minus infinity
    scale = 1 / sqrt((end * end * p + 1) * (1 - p))
    kept = (default_generator.uniform(shape) >= p).astype(input.dtype)
    return input * (kept * scale) + ((1 - kept) * (end * scale) - end * p * scale)


def _require_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise SettingError(f"dropout: p is {p}; a probability is from 0 to 1")
