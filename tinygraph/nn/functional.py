"""`nn.functional`: PyTorch's function names and arguments (`dim`, `input`, ...), translated to ops, and nothing more.

Settings that have no meaning here (`inplace`) are accepted; those that would change a result are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import modes, no_grad
from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Padding, Sizes

# -- linear maps and convolutions --------------------------------------------------------------------------------------


def linear(input: Numeric, weight: Numeric, bias: Numeric | None = None) -> Any:
    """input @ weight.T + bias;  input (..., in), weight (out, in), bias (out,) -> (..., out)."""
    out = ops.matmul(input, ops.swapaxes(weight, axis1=-2, axis2=-1) if weight.ndim > 1 else weight)
    return out if bias is None else out + bias


def embedding(input: Numeric, weight: Numeric, padding_idx: int | None = None) -> Any:
    """Rows of `weight` at the indices `input`; the row `padding_idx` gets no gradient."""
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return ops.embedding(weight, input, padding_idx=padding_idx)


def _convolution(
    dimensions: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation; input (batch, in, *spatial) or (in, *spatial), weight (out, in / groups, *kernel)."""
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _batched(dimensions, input, lambda x: ops.convolution(x, weight, bias, **settings))


def _convolution_transpose(
    dimensions: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """The adjoint of a convolution; input (batch, in, *spatial), weight (in, out / groups, *kernel)."""
    settings: dict[str, Any] = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups,
        "dilation": dilation,
    }  # fmt: skip
    return _batched(dimensions, input, lambda x: ops.convolution_transpose(x, weight, bias, **settings))


conv1d, conv2d, conv3d = (partial(_convolution, n) for n in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (partial(_convolution_transpose, n) for n in (1, 2, 3))


def _batched(dimensions: int, input: Numeric, function: Callable[[Any], Any]) -> Any:
    """Apply a function of (batch, channels, *spatial), also to a single sample."""
    if input.ndim == dimensions + 1:
        return function(ops.expand_dims(input, axis=0))[0]
    if input.ndim != dimensions + 2:
        raise ShapeError(
            f"input has shape {input.shape}; {dimensions} spatial dimension(s) need (batch, channels, "
            f"{'*spatial' if dimensions > 1 else 'length'}) or a single (channels, ...)"
        )
    return function(input)


# -- pooling -----------------------------------------------------------------------------------------------------------


def _max_pool(
    dimensions: int,
    input: Numeric,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window."""
    refuse("max_pool", return_indices=(return_indices, False))
    settings: dict[str, Any] = {
        "size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    return _batched(dimensions, input, lambda x: ops.max_pool(x, **settings, ceil_mode=ceil_mode))


def _avg_pool(
    dimensions: int,
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window."""
    refuse("avg_pool", divisor_override=(divisor_override, None))
    settings: dict[str, Any] = {
        "size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    return _batched(
        dimensions, input, lambda x: ops.average_pool(x, **settings, count_include_pad=count_include_pad)
    )


def _adaptive_avg_pool(dimensions: int, input: Numeric, output_size: Sizes) -> Any:
    """Means of windows that divide each spatial dimension into `output_size` parts."""
    return _batched(dimensions, input, lambda x: ops.adaptive_average_pool(x, size=output_size))


max_pool1d, max_pool2d, max_pool3d = (partial(_max_pool, n) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (partial(_avg_pool, n) for n in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    partial(_adaptive_avg_pool, n) for n in (1, 2, 3)
)


# -- normalisation and dropout -----------------------------------------------------------------------------------------


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
    if not 0 <= p <= 1:
        raise SettingError(f"dropout: p is {p}; a probability is from 0 to 1")
    if not training or p == 0:
        return input
    return input * 0.0 if p == 1 else ops.dropout(input, p=p)


# -- activations -------------------------------------------------------------------------------------------------------


def relu(input: Numeric, inplace: bool = False) -> Any:
    """max(input, 0)."""
    return ops.relu(input)


def leaky_relu(input: Numeric, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """input where positive, else negative_slope * input."""
    return ops.leaky_relu(input, negative_slope=negative_slope)


def elu(input: Numeric, alpha: float = 1.0, inplace: bool = False) -> Any:
    """input where positive, else alpha * (exp(input) - 1)."""
    return ops.elu(input, alpha=alpha)


def gelu(input: Numeric, approximate: str = "none") -> Any:
    """input * Phi(input), exactly or with approximate="tanh"."""
    return ops.gelu(input, approximate=approximate)


def silu(input: Numeric, inplace: bool = False) -> Any:
    """input * sigmoid(input)."""
    return ops.silu(input)


def softplus(input: Numeric, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * input)) / beta, linear above the threshold."""
    return ops.softplus(input, beta=beta, threshold=threshold)


def sigmoid(input: Numeric) -> Any:
    """1 / (1 + exp(-input))."""
    return ops.sigmoid(input)


def tanh(input: Numeric) -> Any:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def softmax(input: Numeric, dim: int | None = None) -> Any:
    """exp(input) / sum(exp(input)) along `dim`."""
    return ops.softmax(input, axis=_class_axis(input, dim))


def log_softmax(input: Numeric, dim: int | None = None) -> Any:
    """log(softmax(input)) along `dim`."""
    return ops.log_softmax(input, axis=_class_axis(input, dim))


def _class_axis(input: Numeric, dim: int | None) -> int:
    """Without `dim`, PyTorch's historical choice."""
    if dim is not None:
        return dim
    return 0 if input.ndim in (0, 1, 3) else 1


# -- losses ------------------------------------------------------------------------------------------------------------


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
        return ops.class_target(
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
    input: object, target: object, size_average: Any = None, reduce: object = None, reduction: str = "mean"
) -> Any:
    """The mean of (input - target) ** 2."""
    refuse("mse_loss", size_average=(size_average, None), reduce=(reduce, None))
    return ops.mse(input, target, reduction=reduction)


def l1_loss(
    input: object, target: object, size_average: Any = None, reduce: object = None, reduction: str = "mean"
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


def reduced(losses: Numeric, reduction: str) -> Any:
    """The mean or sum of losses, or all of them for "none"."""
    if reduction not in ("mean", "sum", "none"):
        raise SettingError(f'reduction is {reduction!r}; it can be "mean", "sum" or "none"')
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


# -- the rest ----------------------------------------------------------------------------------------------------------


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Widen the last axes: `pad` is (before, after) of the last axis, then of the one before it, and so on.

    Raises:
        SettingError: an odd number of widths, or an unknown mode.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise SettingError(f"pad has {len(pad)} widths; it takes two an axis for at most {input.ndim} axes")
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][
        ::-1
    ]
    if mode == "constant":
        return ops.pad(input, pad_width=tuple(pairs), constant_values=0 if value is None else value)
    if mode not in PADDING_MODES:
        raise SettingError(f"mode is {mode!r}; it can be constant, {', '.join(PADDING_MODES)}")
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            where = np.pad(np.arange(input.shape[axis]), (before, after), mode=PADDING_MODES[mode])
            input = ops.take(input, where, axis=axis)
    return input


# PyTorch's names of what lies outside, and NumPy's
PADDING_MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def one_hot(tensor: object, num_classes: int) -> np.ndarray[Any, Any]:
    """Integers (...) as rows (..., num_classes) of zeros with a one.

    Raises:
        ShapeError: a class out of range.
    """
    labels = tensor.numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ShapeError(
            f"classes from {labels.min()} to {labels.max()} do not fit num_classes={num_classes}"
        )
    rows: np.ndarray[Any, Any] = np.eye(num_classes, dtype=np.int64)[labels]
    return rows


def scaled_dot_product_attention(
    query: Numeric,
    key: Numeric,
    value: Numeric,
    attn_mask: Numeric | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(query @ key.mT * scale + mask) @ value  (Vaswani et al., 2017).

    Args:
        query: (..., length, width).
        key, value: (..., source, width) and (..., source, out).
        attn_mask: booleans (True: may attend) or numbers that are added; broadcasts to (..., length, source).
        dropout_p: the probability of dropping an attention weight.
        is_causal: whether a position attends to itself and earlier ones only.
        scale: 1 / sqrt(width) by default.
    """
    if is_causal:
        if attn_mask is not None:
            raise SettingError("scaled_dot_product_attention takes attn_mask or is_causal=True, not both")
        attn_mask = np.tri(query.shape[-2], key.shape[-2], dtype=bool)
    return dropout(attention_weights(query, key, attn_mask, scale), dropout_p) @ value


def attention_weights(
    query: Numeric, key: Numeric, mask: Numeric | None = None, scale: float | None = None
) -> Any:
    """softmax(query @ key.mT * scale + mask), (..., length, source); zeros for a query that may attend to no key."""
    factor = 1.0 / sqrt(query.shape[-1]) if scale is None else scale
    scores = ops.matmul(query * factor, ops.swapaxes(key, axis1=-2, axis2=-1))
    if mask is None:
        return ops.softmax(scores, axis=-1)
    scores = ops.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    hidden = _hidden(mask)
    if hidden is None:
        return ops.softmax(scores, axis=-1)
    return ops.where(hidden, 0, ops.softmax(ops.where(hidden, 0, scores), axis=-1))


def _hidden(mask: Numeric) -> Any:
    """The queries to which a mask leaves no key, (..., length, 1); None if it can be seen that there are none."""
    mask = ops.reshape(mask, shape=(1,)) if mask.ndim == 0 else mask
    seen = mask if mask.dtype == bool else ops.not_equal(mask, -np.inf)
    hidden = ops.logical_not(ops.any(seen, axis=-1, keepdims=True))
    return (
        None
        if isinstance(hidden, np.ndarray) and not hidden.any() and modes.current.capture is None
        else hidden
    )


def refuse(name: str, **settings: tuple[Any, Any]) -> None:
    """Raise for settings that tinygraph does not have, unless they are at their default.

    Args:
        name: what was called.
        settings: name=(value, default).
    """
    for setting, (value, default) in settings.items():
        if value is not default and value != default:
            raise SettingError(f"{name}: {setting}={value!r} is not supported; leave it at {default!r}")
