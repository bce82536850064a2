"""PyTorch's operators of neural networks, by their names in ATen, with its arguments in its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.nn import functional as F
from tinygraph.nn.functional.recurrence import STEPS

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

REDUCTIONS = ("none", "mean", "sum")


def _sizes(given: Any) -> Any:
    return tuple(given) if isinstance(given, list | tuple) else given


def _conv(dimensions: int) -> Callable[..., Any]:
    def convolved(
        x: Numeric,
        weight: Numeric,
        bias: Numeric | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        return F.convolution(
            dimensions, x, weight, bias, _sizes(stride), _sizes(padding), _sizes(dilation), groups
        )

    return convolved


def _transposed(dimensions: int) -> Callable[..., Any]:
    def convolved(
        x: Numeric, weight: Numeric, bias: Numeric | None = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        stride, padding, output_padding = map(_sizes, (stride, padding, output_padding))
        return F.convolution_transpose(
            dimensions, x, weight, bias, stride, padding, output_padding, groups, _sizes(dilation)
        )

    return convolved


def _convolution(
    x: Numeric, weight: Numeric, bias: Numeric, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    dimensions = weight.ndim - 2
    if transposed:
        return _transposed(dimensions)(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(dimensions)(x, weight, bias, stride, padding, dilation, groups)


def _batch_norm(
    x: Numeric, weight: Numeric, bias: Numeric, mean: Any, variance: Any, training: bool, momentum: float, eps: float,
    cudnn: bool = False,
) -> Any:  # fmt: skip
    """In a program without changes of state; in training see `_batch_norm_functional`."""
    return F.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)


def _batch_norm_functional(
    x: Numeric,
    weight: Numeric,
    bias: Numeric,
    mean: Any,
    variance: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Any, ...]:
    """The output, two values that only PyTorch's backward pass reads, and the new running statistics."""
    if not training:
        return ops.batch_norm_inference(x, mean, variance, weight, bias, eps=eps), None, None, mean, variance
    out, now, spread = ops.batch_norm(x, weight, bias, eps=eps)
    count = x.size // x.shape[1]
    now, spread = ops.detach(now), ops.detach(spread)
    new_mean = mean + momentum * (now - mean)
    new_variance = variance + momentum * (spread * (count / (count - 1)) - variance)
    return out, None, None, new_mean, new_variance


def _batch_norm_fixed(
    x: Numeric, weight: Numeric, bias: Numeric, mean: Any, variance: Any, momentum: float, eps: float
) -> tuple[Any, ...]:
    return ops.batch_norm_inference(x, mean, variance, weight, bias, eps=eps), None, None


def _instance_norm(
    x: Numeric, weight: Numeric, bias: Numeric, mean: Any, variance: Any, by_input: bool, momentum: float, eps: float,
    cudnn: bool = False,
) -> Any:  # fmt: skip
    if not by_input:
        return ops.batch_norm_inference(x, mean, variance, weight, bias, eps=eps)
    return F.instance_norm(x, None, None, weight, bias, True, momentum, eps)


def _layer_norm(
    x: Numeric,
    shape: Sequence[int],
    weight: Numeric | None = None,
    bias: Numeric | None = None,
    eps: float = 1e-5,
    cudnn: bool = False,
) -> Any:
    return F.layer_norm(x, tuple(shape), weight, bias, eps)


def _native_layer_norm(
    x: Numeric, shape: Sequence[int], weight: Numeric, bias: Numeric, eps: float
) -> tuple[Any, ...]:
    return F.layer_norm(x, tuple(shape), weight, bias, eps), None, None


def _native_group_norm(
    x: Numeric, weight: Numeric, bias: Numeric, n: int, c: int, rest: int, groups: int, eps: float
) -> tuple[Any, ...]:
    return F.group_norm(x, groups, weight, bias, eps), None, None


def _max_pool(dimensions: int, indices: bool) -> Callable[..., Any]:
    def pooled(
        x: Numeric, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> Any:
        size, stride, padding, dilation = map(_sizes, (size, stride or None, padding, dilation))
        return F.max_pool(dimensions, x, size, stride, padding, dilation, ceil_mode, indices)

    return pooled


def _avg_pool(dimensions: int) -> Callable[..., Any]:
    def pooled(
        x: Numeric, size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False, count_pad: bool = True,
        divisor: int | None = None,
    ) -> Any:  # fmt: skip
        size, stride, padding = map(_sizes, (size, stride or None, padding))
        return F.avg_pool(dimensions, x, size, stride, padding, ceil_mode, count_pad, divisor)

    return pooled


def _adaptive(dimensions: int) -> Callable[..., Any]:
    return lambda x, size: F.adaptive_avg_pool(dimensions, x, _sizes(size))


def _adaptive_max(dimensions: int) -> Callable[..., Any]:
    return lambda x, size: F.adaptive_max_pool(dimensions, x, _sizes(size), True)


def _upsample(mode: str) -> Callable[..., Any]:
    """`upsample_*`: with `align_corners` where the mode has it; sizes or scale factors, the other one None."""
    aligned = mode not in ("nearest", "nearest-exact")

    def resampled(x: Numeric, size: Any, *rest: Any) -> Any:
        corners, scales = (rest[0], rest[1:]) if aligned else (None, rest)
        factors = scales[0] if scales and isinstance(scales[0], list | tuple) else None
        if size is not None:
            return F.interpolate(x, _sizes(size), None, mode, corners)
        return F.interpolate(x, None, _sizes(factors), mode, corners)

    return resampled


def _attention(
    query: Any, key: Any, value: Any, mask: Numeric | None = None, dropout: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    if enable_gqa:
        shared = query.shape[-3] // key.shape[-3]
        key, value = (ops.repeat(one, repeats=shared, axis=-3) for one in (key, value))
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal, scale)


def _recurrence(kind: str, activation: str = "tanh") -> Callable[..., Any]:
    count = STEPS[kind][2]

    def run(
        x: Numeric, states: Any, weights: Sequence[Any], biases: bool, layers: int, dropout: float, training: bool,
        bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        each = 4 if biases else 2
        rows = [tuple(weights[i : i + each]) + (None,) * (4 - each) for i in range(0, len(weights), each)]
        if len(rows) != layers * (1 + bidirectional):
            raise SettingError(f"{kind}: proj_size is not supported; leave it at 0")
        x = ops.swapaxes(x, axis1=0, axis2=1) if batch_first else x
        first = tuple(states) if count > 1 else (states,)
        step = partial(STEPS[kind][0], activation=activation)
        out, last = F.recurrent(step, x, first, rows, bidirectional, dropout if training else 0.0)
        return (ops.swapaxes(out, axis1=0, axis2=1) if batch_first else out), *last

    return run


def _cross_entropy(
    x: Numeric,
    target: Any,
    weight: Numeric | None = None,
    reduction: int = 1,
    ignore: int = -100,
    smoothing: float = 0.0,
) -> Any:
    return F.cross_entropy(
        x, target, weight, ignore_index=ignore, reduction=REDUCTIONS[reduction], label_smoothing=smoothing
    )


def _nll(
    x: Numeric, target: Any, weight: Numeric | None = None, reduction: int = 1, ignore: int = -100
) -> Any:
    return F.nll_loss(x, target, weight, ignore_index=ignore, reduction=REDUCTIONS[reduction])


def _loss(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, target, reduction=1: function(x, target, reduction=REDUCTIONS[reduction])


def _embedding(
    weight: Numeric, indices: Any, padding_idx: int = -1, scale_grad: bool = False, sparse: bool = False
) -> Any:
    return F.embedding(indices, weight, None if padding_idx < 0 else padding_idx)


def _native_dropout(x: Numeric, p: float, training: bool | None = True) -> tuple[Any, ...]:
    return F.dropout(x, p, bool(training)), None


def _grid_sampler(x: Numeric, grid: Any, mode: int, padding: int, corners: bool) -> Any:
    modes, paddings = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
    return F.grid_sample(x, grid, modes[mode], paddings[padding], corners)


LAYERS: dict[str, Callable[..., Any]] = {
    "linear": F.linear,
    "bilinear": F.bilinear,
    "embedding": _embedding,
    "convolution": _convolution,
    **{f"conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed(n) for n in (1, 2, 3)},
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_functional": _batch_norm_functional,
    "_native_batch_norm_legit_no_training": _batch_norm_fixed,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "native_layer_norm": _native_layer_norm,
    "native_group_norm": _native_group_norm,
    "group_norm": lambda x, groups, weight=None, bias=None, eps=1e-5, cudnn=False: F.group_norm(
        x, groups, weight, bias, eps
    ),
    "rms_norm": lambda x, shape, weight=None, eps=None: F.rms_norm(x, tuple(shape), weight, eps),
    **{f"max_pool{n}d": _max_pool(n, False) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _max_pool(n, True) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _avg_pool(n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive(n) for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": _adaptive(n) for n in (2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive_max(n) for n in (1, 2, 3)},
    "dropout": lambda x, p, training: F.dropout(x, p, training),
    "native_dropout": _native_dropout,
    "feature_dropout": lambda x, p, training: F.dropout2d(x, p, training),
    "alpha_dropout": lambda x, p, training: F.alpha_dropout(x, p, training),
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrence("LSTM"),
    "gru": _recurrence("GRU"),
    "rnn_tanh": _recurrence("RNN"),
    "rnn_relu": _recurrence("RNN", "relu"),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_nearest3d": _upsample("nearest"),
    "_upsample_nearest_exact2d": _upsample("nearest-exact"),
    "upsample_linear1d": _upsample("linear"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_trilinear3d": _upsample("trilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
    "grid_sampler": _grid_sampler,
    "grid_sampler_2d": _grid_sampler,
    "pixel_shuffle": F.pixel_shuffle,
    "pixel_unshuffle": F.pixel_unshuffle,
    "channel_shuffle": F.channel_shuffle,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate),
    "silu": lambda x: F.silu(x),
    "mish": lambda x: F.mish(x),
    "elu": lambda x, alpha=1.0, scale=1, input_scale=1: F.elu(x, alpha),
    "celu": lambda x, alpha=1.0: F.celu(x, alpha),
    "selu": lambda x: F.selu(x),
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "prelu": F.prelu,
    "hardtanh": lambda x, least=-1.0, most=1.0: F.hardtanh(x, least, most),
    "hardswish": lambda x: F.hardswish(x),
    "hardsigmoid": lambda x: F.hardsigmoid(x),
    "softplus": lambda x, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
    "log_sigmoid": lambda x: F.logsigmoid(x),
    "glu": lambda x, dim=-1: F.glu(x, dim),
    "threshold": lambda x, threshold, value: F.threshold(x, threshold, value),
    "cross_entropy_loss": _cross_entropy,
    "nll_loss": _nll,
    "nll_loss_nd": _nll,
    "nll_loss2d": _nll,
    "mse_loss": _loss(F.mse_loss),
    "l1_loss": _loss(F.l1_loss),
    "smooth_l1_loss": lambda x, target, reduction=1, beta=1.0: F.smooth_l1_loss(
        x, target, reduction=REDUCTIONS[reduction], beta=beta
    ),
    "huber_loss": lambda x, target, reduction=1, delta=1.0: F.huber_loss(
        x, target, reduction=REDUCTIONS[reduction], delta=delta
    ),
    "binary_cross_entropy": lambda x, target, weight=None, reduction=1: F.binary_cross_entropy(
        x, target, weight, reduction=REDUCTIONS[reduction]
    ),
    "binary_cross_entropy_with_logits": lambda x, target, weight=None, pos_weight=None, reduction=1: (
        F.binary_cross_entropy_with_logits(
            x, target, weight, reduction=REDUCTIONS[reduction], pos_weight=pos_weight
        )
    ),
    "kl_div": lambda x, target, reduction=1, log_target=False: F.kl_div(
        x, target, reduction=REDUCTIONS[reduction], log_target=log_target
    ),
    "im2col": lambda x, size, dilation, padding, stride: F.unfold(
        x, _sizes(size), _sizes(dilation), _sizes(padding), _sizes(stride)
    ),
}
