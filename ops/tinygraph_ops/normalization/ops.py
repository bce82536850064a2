"""Normalisation: `standardize` to mean 0 and variance 1, and batch, layer, group and RMS normalisation."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    Array,
    ArrayType,
    Axis,
    ErrorSample,
    Expansion,
    Numeric,
    Read,
    Sample,
    SettingError,
    Shape,
    ShapeError,
    Sizes,
    along,
    composite,
    indices,
    normalize_axes,
    op,
    ops,
    reduced_shape,
    reduction,
)
from tinygraph_ops.half_precision import narrow, wide, wide_dtype

_ROWS = [[1.0, 3.0, 2.0, 6.0], [-2.0, 0.5, 1.5, 4.0]]
_BATCH = [[[1.0, 2.0], [0.5, -1.0], [3.0, 4.0]], [[-1.0, 0.0], [2.5, 1.0], [0.0, -3.0]]]


@op(
    kind="normalization",
    samples=[
        # By hand: mean 3, variance 4.
        Sample([1.0, 5.0], axis=0, eps=0.0, expected=([-1.0, 1.0], [3.0], [4.0]), smooth=False),
        Sample([1.0, 5.0], axis=0, eps=12.0, expected=([-0.5, 0.5], [3.0], [4.0])),
        Sample(_ROWS, axis=1),
        Sample(_BATCH, axis=(0, 2)),
        Sample([[3.0, 3.0]], axis=1, expected=([[0.0, 0.0]], [[3.0]], [[0.0]])),
        Sample([[2.5, -1.0]], axis=0),  # one element has no spread
    ],
    error_samples=[
        ErrorSample(_ROWS, axis=2, error=ShapeError, match="axis 2"),
        ErrorSample(_ROWS, axis=1, eps=-1.0, error=SettingError, match="eps"),
    ],
)
def standardize(x: Array, *, axis: Axis, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(variance + eps), mean and variance over axis;  see the VJP for its derivative.

    Args:
        axis: an int or several: over which mean 0 and variance 1 are reached.
        eps: added to the variance, which is the biased one.

    Returns:
        (standardized, mean, variance): of the shape of x, and twice with size 1 along `axis`. Of float16 both are
        float32.

    >>> import numpy as np
    >>> standardize(np.array([1.0, 5.0]), axis=0, eps=0.0)
    (array([-1.,  1.]), array([3.]), array([4.]))
    """
    axes = normalize_axes(axis, np.ndim(x))
    _check_eps(eps)
    before = x.dtype
    x = wide(x) if x.dtype.kind in "fc" else x.astype(np.float64)
    # Sums and a count of at least 1, not means: empty input is no reason for a NaN and a warning.
    share = 1.0 / _count(x.shape, axes)
    single = x.dtype == np.float32
    total = x.sum(axis=axes, keepdims=True, dtype=np.float64 if single else None) * share
    mean = total.astype(x.dtype)
    centered = x - mean
    variance = np.square(centered).sum(axis=axes, keepdims=True) * share
    if single:  # the differences are from a mean that was rounded, which matters far from zero
        variance = np.maximum(variance - np.square(total - mean), 0).astype(x.dtype)
    centered *= 1.0 / np.sqrt(variance + eps)
    return narrow(centered, before), mean, variance


standardize.batch(along("axis"))


@standardize.types
def standardize_types(x: ArrayType, *, axis: Axis, eps: float = 1e-5) -> tuple[ArrayType, ...]:
    """The type of x (float64 for integers), then mean and variance with `axis` kept as size 1."""
    _check_eps(eps)
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)
    statistic = ArrayType(reduced_shape(x.shape, axis, True), wide_dtype(dtype))
    return ArrayType(x.shape, dtype), statistic, statistic


@standardize.expand
def standardize_expansion(x: ArrayType, *, axis: Axis, eps: float) -> Expansion:
    """Each element, less the mean of those it is counted with, over the root of their variance."""
    at, _ = indices(x.ndim, len(normalize_axes(axis, x.ndim)))
    mean = replace(reduction(x, axis, True, "mean"), shape=x.shape)
    return replace(mean, share=Read(0, x.shape, at), spread=float(eps))


@standardize.vjp("x")
def standardize_wrt_x(g: Any, out: Any, *, axis: int, eps: float) -> Any:
    """With s = 1 / sqrt(variance + eps) and y the standardized x, all three cotangents at once:

    g_x = s * (g_y - mean(g_y) - y * mean(g_y * y)) + (g_mean + 2 * y / s * g_variance) / count.
    Everything that is not multiplied by g_y or y has size 1 along `axis`.
    """
    g_y, g_mean, g_variance = g
    y, _, variance = out
    g_y, y = wide(g_y), wide(y)
    share = 1.0 / _count(y.shape, normalize_axes(axis, y.ndim))
    deviation = ops.sqrt(variance + eps)
    s = 1.0 / deviation
    from_mean = (g_mean - s * ops.sum(g_y, axis=axis, keepdims=True)) * share
    from_variance = (2.0 * deviation * g_variance - s * ops.sum(g_y * y, axis=axis, keepdims=True)) * share
    return g_y * s + from_mean + y * from_variance


def _count(shape: Shape, axes: Shape) -> int:
    return max(1, prod(shape[axis] for axis in axes))


def _check_eps(eps: float) -> None:
    if not eps >= 0:
        raise SettingError(f"eps is {eps}; it must be zero or more")


# -- over the batch ------------------------------------------------------------------------------------------


@composite(
    samples=[
        Sample([[1.0], [5.0]], [2.0], [0.5], eps=12.0, expected=([[-0.5], [1.5]], [3.0], [4.0])),
        Sample(_BATCH, [1.0, 2.0, 0.5], [0.0, 1.0, -1.0]),
        Sample(_ROWS),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], error=ShapeError, match="batch and channel"),
        ErrorSample(_BATCH, [1.0, 2.0], error=ShapeError, match="weight has shape"),
    ],
)
def batch_norm(
    x: Any, weight: Numeric | None = None, bias: Numeric | None = None, *, eps: float = 1e-5
) -> Any:
    """weight * (x - mean) / sqrt(variance + eps) + bias, with each channel's mean and biased variance.

    Args:
        x: (batch, channels, *spatial).
        weight, bias: (channels,), or None.

    Returns:
        (out, mean, variance): like x, and the statistics used, (channels,) both, for a running average; of float16
        they are float32.

    Raises:
        ShapeError: no channel axis, or a weight or bias that does not have one entry for each channel.

    >>> import numpy as np
    >>> batch_norm(np.array([[1.0], [5.0]]), eps=0.0)[0]
    array([[-1.],
           [ 1.]])
    """
    channels = _channels("batch_norm", x, weight=weight, bias=bias)
    out, mean, variance = standardize(wide(x), axis=(0, *range(2, x.ndim)), eps=eps)
    out = _affine(
        out, _along_channels(weight, x.ndim), _along_channels(bias, x.ndim), _common(x, weight, bias)
    )
    return out, ops.reshape(mean, shape=(channels,)), ops.reshape(variance, shape=(channels,))


@composite(
    samples=[
        Sample([[1.0], [5.0]], [3.0], [4.0], [2.0], [0.5], eps=12.0, expected=[[-0.5], [1.5]]),
        Sample(_BATCH, [0.1, 0.2, 0.3], [1.0, 2.0, 0.5]),
        Sample(_ROWS, [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 0.5, 4.0], [1.0, -1.0, 2.0, 0.5], eps=0.1),
    ],
    error_samples=[
        ErrorSample(_BATCH, [0.1, 0.2], [1.0, 2.0, 0.5], error=ShapeError, match="mean has shape")
    ],
)
def batch_norm_inference(
    x: Numeric,
    mean: Numeric,
    variance: Numeric,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    *,
    eps: float = 1e-5,
) -> Any:
    """weight * (x - mean) / sqrt(variance + eps) + bias, with mean and variance given.

    Args:
        x: (batch, channels, *spatial).
        mean, variance: (channels,), such as running averages.
        weight, bias: (channels,), or None.

    Raises:
        ShapeError: no channel axis, or an operand that does not have one entry for each channel.

    >>> import numpy as np
    >>> batch_norm_inference(np.array([[5.0]]), np.array([3.0]), np.array([4.0]), eps=0.0)
    array([[1.]])
    """
    _channels("batch_norm_inference", x, mean=mean, variance=variance, weight=weight, bias=bias)
    # One factor and one summand for each channel, so that x is passed over twice only.
    scale = 1.0 / ops.sqrt(wide(variance) + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    dtype = _common(x, mean, variance, weight, bias)
    return _affine(wide(x), _along_channels(scale, x.ndim), _along_channels(shift, x.ndim), dtype)


def _channels(op_name: str, x: Numeric, **given: Any) -> int:
    if x.ndim < 2:
        raise ShapeError(
            f"{op_name}: x has shape {x.shape}, but needs a batch and channel axis: (batch, channels, *spatial)"
        )
    channels: int = x.shape[1]
    for name, value in given.items():
        if value is not None and value.shape != (channels,):
            raise ShapeError(
                f"{op_name}: {name} has shape {value.shape}, but x of shape {x.shape} needs one entry for each "
                f"channel: ({channels},)"
            )
    return channels


def _along_channels(values: object, ndim: int) -> Any:
    return None if values is None else ops.reshape(values, shape=(-1, *[1] * (ndim - 2)))


def _affine(x: Any, weight: Any, bias: Any, dtype: DTypeLike) -> Numeric:
    if weight is not None:
        x = x * wide(weight)
    return narrow(x if bias is None else x + wide(bias), dtype)


def _common(*operands: Any) -> Any:
    """The dtype that operands have together."""
    return np.result_type(*(one.dtype for one in operands if one is not None))


# -- over the sample -----------------------------------------------------------------------------------------


@composite(
    samples=[
        Sample([[1.0, 5.0]], [1.0, 2.0], [0.5, 0.0], normalized_shape=(2,), eps=12.0, expected=[[0.0, 1.0]]),
        Sample(_ROWS, normalized_shape=4),
        Sample(_BATCH, normalized_shape=(3, 2), eps=0.1),
    ],
    error_samples=[
        ErrorSample(_ROWS, normalized_shape=(3,), error=ShapeError, match="normalized_shape"),
        ErrorSample(_ROWS, [1.0, 2.0], normalized_shape=(4,), error=ShapeError, match="weight has shape"),
    ],
)
def layer_norm(
    x: Numeric,
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    *,
    normalized_shape: Sizes,
    eps: float = 1e-5,
) -> Numeric:
    """weight * (x - mean) / sqrt(variance + eps) + bias, mean and biased variance over the last axes.

    Args:
        x: (..., *normalized_shape).
        weight, bias: of `normalized_shape`, or None.
        normalized_shape: the sizes of the last axes, an int for one.

    Raises:
        ShapeError: x does not end in `normalized_shape`, or weight or bias does not have it.

    >>> import numpy as np
    >>> layer_norm(np.array([[1.0, 5.0]]), normalized_shape=2, eps=0.0)
    array([[-1.,  1.]])
    """
    axes = _last_axes("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    out, _, _ = standardize(wide(x), axis=axes, eps=eps)
    return _affine(out, weight, bias, _common(x, weight, bias))


@composite(
    samples=[
        # By hand: the root of the mean square of 1 and 7 is 5.
        Sample([[1.0, 7.0]], [1.0, 2.0], normalized_shape=2, eps=0.0, expected=[[0.2, 2.8]]),
        Sample(_BATCH, normalized_shape=(3, 2)),
    ],
    error_samples=[ErrorSample(_ROWS, normalized_shape=3, error=ShapeError, match="normalized_shape")],
)
def rms_norm(
    x: Numeric, weight: Numeric | None = None, *, normalized_shape: Sizes, eps: float | None = None
) -> Numeric:
    """weight * x / sqrt(mean of x * x + eps), the mean over the last axes (Zhang and Sennrich, 2019).

    Args:
        x: (..., *normalized_shape).
        weight: of `normalized_shape`, or None.
        eps: the smallest step above 1 of the dtype by default.

    Raises:
        ShapeError: as `layer_norm`.

    >>> import numpy as np
    >>> rms_norm(np.array([1.0, 7.0]), normalized_shape=2, eps=0.0)
    array([0.2, 1.4])
    """
    axes = _last_axes("rms_norm", x, normalized_shape, weight=weight)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    dtype, x = _common(x, weight), wide(x)
    mean_square = ops.sum(ops.square(x), axis=axes, keepdims=True) * (1.0 / _count(x.shape, axes))
    return _affine(x * (1.0 / ops.sqrt(mean_square + eps)), weight, None, dtype)


@composite(
    samples=[
        Sample([[[1.0, 5.0], [2.0, 6.0]]], groups=2, eps=12.0, expected=[[[-0.5, 0.5], [-0.5, 0.5]]]),
        Sample(np.reshape(_BATCH, (1, 4, 3)), [1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 1.0, 1.5], groups=2),
    ],
    error_samples=[ErrorSample(_BATCH, groups=2, error=ShapeError, match="groups")],
)
def group_norm(
    x: Numeric, weight: Numeric | None = None, bias: Numeric | None = None, *, groups: int, eps: float = 1e-5
) -> Numeric:
    """weight * (x - mean) / sqrt(variance + eps) + bias, mean and biased variance over groups of channels.

    Args:
        x: (batch, channels, *spatial).
        weight, bias: (channels,), or None.
        groups: how many; with one channel each it is instance normalisation.

    Raises:
        ShapeError: groups that do not divide the channels, or a weight or bias of another size.

    >>> import numpy as np
    >>> group_norm(np.array([[[1.0, 5.0], [2.0, 0.0]]]), groups=2, eps=0.0)
    array([[[-1.,  1.],
            [ 1., -1.]]])
    """
    channels = _channels("group_norm", x, weight=weight, bias=bias)
    if groups < 1 or channels % groups:
        raise ShapeError(
            f"group_norm: groups is {groups}, which does not divide the {channels} channels of x of shape {x.shape}"
        )
    grouped = ops.reshape(wide(x), shape=(x.shape[0], groups, channels // groups, *x.shape[2:]))
    standardized, _, _ = standardize(grouped, axis=tuple(range(2, grouped.ndim)), eps=eps)
    out = ops.reshape(standardized, shape=x.shape)
    dtype = _common(x, weight, bias)
    return _affine(out, _along_channels(weight, x.ndim), _along_channels(bias, x.ndim), dtype)


def _last_axes(op_name: str, x: Numeric, normalized_shape: Any, **given: Any) -> Shape:
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise ShapeError(
            f"{op_name}: normalized_shape is {wanted}, but x has shape {x.shape}, which must end in it"
        )
    for name, value in given.items():
        if value is not None and value.shape != wanted:
            raise ShapeError(
                f"{op_name}: {name} has shape {value.shape}; it must have that of normalized_shape, {wanted}"
            )
    return tuple(range(x.ndim - len(wanted), x.ndim))
