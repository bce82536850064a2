"""Activation functions, and `normalize`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


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
    if input.ndim == 0:
        return softmax(input[None], 0)[0]
    return ops.softmax(input, axis=_class_axis(input, dim))


def log_softmax(input: Numeric, dim: int | None = None) -> Any:
    """log(softmax(input)) along `dim`."""
    if input.ndim == 0:
        return log_softmax(input[None], 0)[0]
    return ops.log_softmax(input, axis=_class_axis(input, dim))


def _class_axis(input: Numeric, dim: int | None) -> int:
    """Without `dim`, PyTorch's historical choice."""
    if dim is not None:
        return dim
    return 0 if input.ndim in (0, 1, 3) else 1


# -- piecewise linear --------------------------------------------------------------------------------------------------


def hardtanh(input: Numeric, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """input kept between `min_val` and `max_val`."""
    return ops.hardtanh(input, min=min_val, max=max_val)


def relu6(input: Numeric, inplace: bool = False) -> Any:
    """min(max(input, 0), 6)."""
    return ops.relu6(input)


def hardsigmoid(input: Numeric, inplace: bool = False) -> Any:
    """relu6(input + 3) / 6."""
    return ops.relu6(input + 3) / 6


def hardswish(input: Numeric, inplace: bool = False) -> Any:
    """input * relu6(input + 3) / 6  (Howard et al., 2019)."""
    return input * hardsigmoid(input)


def hardshrink(input: Numeric, lambd: float = 0.5) -> Any:
    """input where it is larger than `lambd` in size, else 0."""
    return ops.where(ops.abs(input) > lambd, input, 0)


def softshrink(input: Numeric, lambd: float = 0.5) -> Any:
    """input moved by `lambd` towards 0, and 0 where it would pass it."""
    _require_from_zero("softshrink", lambd=lambd)
    return ops.where(input > lambd, input - lambd, ops.where(input < -lambd, input + lambd, 0))


def threshold(input: Numeric, threshold: float, value: float, inplace: bool = False) -> Any:
    """input where it is above `threshold`, else `value`."""
    return ops.where(input > threshold, input, value)


def prelu(input: Numeric, weight: Numeric) -> Any:
    """input where positive, else weight * input; weight (1,) or one number a channel."""
    if weight.size != 1:
        channels = input.shape[1] if input.ndim > 1 else input.shape[0]
        if weight.shape != (channels,):
            raise ShapeError(
                f"prelu: weight has shape {weight.shape}; input {input.shape} needs (1,) or ({channels},)"
            )
        weight = ops.reshape(weight, shape=(-1, *[1] * max(input.ndim - 2, 0)))
    return ops.where(input > 0, input, weight * input)


def rrelu(
    input: Numeric, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Any:
    """input where positive, else times a slope: drawn between the bounds in training, their mean otherwise."""
    if not lower <= upper:
        raise SettingError(f"rrelu: lower={lower!r} must be at most upper={upper!r}")
    if not training:
        return ops.leaky_relu(input, negative_slope=(lower + upper) / 2)
    slopes = default_generator.uniform(input.shape, lower, upper).astype(input.dtype)
    return ops.where(input > 0, input, slopes * input)


# -- exponential -------------------------------------------------------------------------------------------------------


def selu(input: Numeric, inplace: bool = False) -> Any:
    """1.0507 * elu(input, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return 1.0507009873554804934193349852946 * ops.elu(input, alpha=1.6732632423543772848170429916717)


def celu(input: Numeric, alpha: float = 1.0, inplace: bool = False) -> Any:
    """input where positive, else alpha * (exp(input / alpha) - 1)  (Barron, 2017)."""
    return alpha * ops.elu(input / alpha)


def mish(input: Numeric, inplace: bool = False) -> Any:
    """input * tanh(softplus(input))  (Misra, 2019)."""
    return input * ops.tanh(ops.softplus(input))


def logsigmoid(input: Numeric) -> Any:
    """log(sigmoid(input))."""
    return ops.log_sigmoid(input)


def softsign(input: Numeric) -> Any:
    """input / (1 + |input|)."""
    return input / (1 + ops.abs(input))


def tanhshrink(input: Numeric) -> Any:
    """input - tanh(input)."""
    return input - ops.tanh(input)


def softmin(input: Numeric, dim: int | None = None) -> Any:
    """softmax(-input) along `dim`."""
    return softmax(-input, dim)


def glu(input: Numeric, dim: int = -1) -> Any:
    """a * sigmoid(b), where a and b are the halves of input along `dim`  (Dauphin et al., 2017)."""
    if input.shape[dim] % 2:
        raise ShapeError(f"glu: input has shape {input.shape}; its size along dim={dim} must be even")
    a, b = ops.split(input, sections=2, axis=dim)
    return a * ops.sigmoid(b)


def normalize(input: Numeric, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """input / max(norm(input), eps) along `dim`."""
    return input / ops.maximum(ops.norm(input, ord=p, axis=dim, keepdims=True), eps)


def _require_from_zero(name: str, **settings: float) -> None:
    for setting, value in settings.items():
        if not value >= 0:
            raise SettingError(f"{name}: {setting}={value!r} must be at least 0")
