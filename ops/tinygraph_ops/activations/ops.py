"""Activation functions, right far out in both tails. tanh and erf are in other families."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    Axis,
    ErrorSample,
    Expansion,
    Numeric,
    Sample,
    SettingError,
    ShapeError,
    along,
    composite,
    distribution,
    normalize_axes,
    op,
    ops,
)
from tinygraph_ops.half_precision import narrow, wide

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code

_LINE = [-2.0, -0.5, 0.25, 3.0]
_GRID = [[-2.0, -0.5, 0.25], [3.0, 0.1, -1.0]]
_FAR = [-1000.0, -40.0, 40.0, 1000.0]


# -- piecewise linear ----------------------------------------------------------------------------------------


@op(
    kind="elementwise",
    facts={"cheap": True},
    samples=[
        Sample(_LINE, expected=[0.0, 0.0, 0.25, 3.0]),
        Sample(_GRID),
        Sample([-1.0, 0.0, 1.0], expected=[0.0, 0.0, 1.0], smooth=False),
    ],
)
def relu(x: Numeric) -> Numeric:
    """max(x, 0);  d/dx = 1 where x > 0, else 0, at 0 too.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return np.maximum(x, 0)


@relu.emit
def relu_emitted(code: Code, x: Lanes) -> Lanes:
    """0 where x <= 0, else x: NaN stays and -0.0 becomes 0."""
    zero = code.constant(0, x)
    return code.select(code.compare("<=", x, zero), zero, x)  # nan stays, -0.0 does not


@relu.vjp("x")
def relu_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g where the output is positive: g · [out > 0]."""
    return ops.where(out > 0, g, 0)


@op(
    kind="elementwise",
    facts={"cheap": True},
    samples=[
        Sample(_LINE, expected=[-0.02, -0.005, 0.25, 3.0]),
        Sample(_GRID, negative_slope=0.5),
        Sample([-1.0, 0.0, 1.0], negative_slope=2.0, expected=[-2.0, 0.0, 1.0], smooth=False),
    ],
)
def leaky_relu(x: Numeric, *, negative_slope: float = 0.01) -> Numeric:
    """x where x > 0, else negative_slope * x;  d/dx = 1 or negative_slope, which holds at 0.

    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([-0.1,  2. ])
    """
    return np.where(np.greater(x, 0), x, np.multiply(x, negative_slope))


@leaky_relu.emit
def leaky_relu_emitted(code: Code, x: Lanes, *, negative_slope: float) -> Lanes:
    """x > 0 selects between x and negative_slope · x."""
    scaled = code.multiply(x, code.constant(negative_slope, x))
    return code.select(code.compare(">", x, code.constant(0, x)), x, scaled)


@leaky_relu.vjp("x")
def leaky_relu_wrt_x(g: Numeric, x: Numeric, *, negative_slope: float) -> Numeric:
    """g where x > 0, else g · negative_slope."""
    return ops.where(x > 0, g, g * negative_slope)


@op(
    kind="elementwise",
    facts={"cheap": True},
    samples=[
        Sample(_LINE, expected=[-1.0, -0.5, 0.25, 1.0]),
        Sample(_GRID, min=-0.6, max=0.2),
        Sample([-1.0, 1.0], smooth=False),
    ],
    error_samples=[ErrorSample(_LINE, min=1.0, max=-1.0, error=SettingError, match="min")],
)
def hardtanh(x: Numeric, *, min: float = -1.0, max: float = 1.0) -> Numeric:
    """x kept between min and max;  d/dx = 1 strictly between them, else 0.

    >>> import numpy as np
    >>> hardtanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    if not min < max:
        raise SettingError(f"min is {min} and max is {max}; min must be less than max")
    return np.clip(x, min, max)


@hardtanh.emit
def hardtanh_emitted(code: Code, x: Lanes, *, min: float, max: float) -> Lanes:
    """Two selects: NaN stays."""
    low, high = code.constant(min, x), code.constant(max, x)
    x = code.select(code.compare("<", x, low), low, x)
    return code.select(code.compare(">", x, high), high, x)


@hardtanh.vjp("x")
def hardtanh_wrt_x(g: Numeric, out: Numeric, *, min: float, max: float) -> Numeric:
    """g strictly between the bounds, 0 at them and beyond."""
    return ops.where(out > min, ops.where(out < max, g, 0), 0)


@composite(samples=[Sample([-1.0, 2.0, 7.0], expected=[0.0, 2.0, 6.0])])
def relu6(x: Numeric) -> Numeric:
    """min(max(x, 0), 6)

    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return hardtanh(x, min=0.0, max=6.0)


# -- exponential ---------------------------------------------------------------------------------------------


@op(
    kind="elementwise",
    samples=[
        Sample(_LINE, expected=[-0.8646647167633873, -0.3934693402873666, 0.25, 3.0]),
        Sample(_GRID, alpha=0.5),
        Sample(_FAR, expected=[-1.0, -1.0, 40.0, 1000.0]),
        Sample([0.0], alpha=2.0, expected=[0.0], smooth=False),
    ],
)
def elu(x: Numeric, *, alpha: float = 1.0) -> Numeric:
    """x where x > 0, else alpha * (exp(x) - 1);  d/dx = 1 or alpha * exp(x), which holds at 0.

    >>> import numpy as np
    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0)))


@elu.emit
def elu_emitted(code: Code, x: Lanes, *, alpha: float) -> Lanes:
    """x > 0 selects between x and alpha · (e^min(x, 0) - 1)."""
    zero = code.constant(0, x)
    below = code.multiply(code.constant(alpha, x), code.expm1(code.minimum(x, zero)))
    return code.select(code.compare(">", x, zero), x, below)


@elu.vjp("x")
def elu_wrt_x(g: Numeric, x: Numeric, *, alpha: float) -> Any:
    """g where x > 0, else g · alpha · e^x."""
    # At 0 this is the left side's slope, and its own derivative there the right side's, as in PyTorch.
    return ops.where(x > 0, g, g * alpha * ops.exp(ops.where(x < 0, x, 0)))


@op(
    kind="elementwise",
    samples=[
        Sample([0.0, 1.0, -1.0], expected=[0.5, 0.7310585786300049, 0.2689414213699951]),
        Sample(_GRID),
        Sample(_FAR, expected=[0.0, 4.248354255291589e-18, 1.0, 1.0]),
    ],
)
def sigmoid(x: Numeric) -> Numeric:
    """1 / (1 + exp(-x));  d/dx = out * (1 - out).

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1, small) / (1 + small)


@sigmoid.emit
def sigmoid_emitted(code: Code, x: Lanes) -> Lanes:
    """The kernel language's own sigmoid."""
    return code.sigmoid(x)


@sigmoid.vjp("x")
def sigmoid_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · s (1 - s), with s the output."""
    return g * out * (1 - out)


@op(
    kind="elementwise",
    samples=[
        Sample([0.0, 1.0, -1.0], expected=[-0.6931471805599453, -0.31326168751822286, -1.3132616875182228]),
        Sample(_GRID),
        Sample(_FAR, expected=[-1000.0, -40.0, -4.248354255291589e-18, 0.0]),
    ],
)
def log_sigmoid(x: Numeric) -> Numeric:
    """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|));  d/dx = sigmoid(-x).

    >>> import numpy as np
    >>> log_sigmoid(np.array([-1000.0, 1000.0]))
    array([-1000.,     0.])
    """
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@log_sigmoid.emit
def log_sigmoid_emitted(code: Code, x: Lanes) -> Lanes:
    """min(x, 0) - log(1 + e^-|x|), which overflows nowhere."""
    small = code.exp(code.negative(code.intrinsic("llvm.fabs", x)))
    return code.subtract(code.minimum(x, code.constant(0, x)), code.log1p(small))


@log_sigmoid.vjp("x")
def log_sigmoid_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · sigmoid(-x), as d/dx log s(x) = 1 - s(x)."""
    return g * sigmoid(-x)


@op(
    kind="elementwise",
    samples=[
        Sample([0.0, 1.0, -1.0], expected=[0.0, 0.7310585786300049, -0.2689414213699951]),
        Sample(_GRID),
        Sample(_FAR, expected=[0.0, -1.6993417021166355e-16, 40.0, 1000.0]),
    ],
)
def silu(x: Numeric) -> Numeric:
    """x * sigmoid(x), also called swish;  d/dx = s + x * s * (1 - s) with s = sigmoid(x).

    >>> import numpy as np
    >>> silu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return x * sigmoid(x)


@silu.emit
def silu_emitted(code: Code, x: Lanes) -> Lanes:
    """x · sigmoid(x)."""
    return code.multiply(x, code.sigmoid(x))


@silu.vjp("x")
def silu_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · s (1 + x (1 - s)), with s = sigmoid(x)."""
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


@op(
    kind="elementwise",
    samples=[
        Sample([0.0, 1.0, -1.0], expected=[0.6931471805599453, 1.3132616875182228, 0.31326168751822286]),
        Sample(_GRID, beta=2.0),
        Sample(_GRID, threshold=1.0),
        Sample([1.5, 0.5], threshold=1.0),
        Sample([0.6, 1.5, 0.2], beta=2.0, threshold=1.0),
        Sample(_FAR, expected=[0.0, 4.248354255291589e-18, 40.0, 1000.0]),
    ],
    error_samples=[ErrorSample(_LINE, beta=0.0, error=SettingError, match="beta")],
)
def softplus(x: Numeric, *, beta: float = 1.0, threshold: float = 20.0) -> Numeric:
    """log(1 + exp(beta * x)) / beta, and x where beta * x > threshold;  d/dx = sigmoid(beta * x), there 1.

    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 1000.0]))
    array([   0., 1000.])
    """
    if not beta > 0:
        raise SettingError(f"beta is {beta}; it must be positive")
    return np.where(np.greater(x, threshold / beta), x, np.logaddexp(np.multiply(x, beta), 0) / beta)


@softplus.emit
def softplus_emitted(code: Code, x: Lanes, *, beta: float, threshold: float) -> Lanes:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold."""
    scaled = code.multiply(x, code.constant(beta, x))
    smooth = code.divide(code.softplus(scaled), code.constant(beta, x))
    return code.select(code.compare(">", scaled, code.constant(threshold, x)), x, smooth)


@softplus.vjp("x")
def softplus_wrt_x(g: Numeric, x: Numeric, *, beta: float, threshold: float) -> Numeric:
    """g · sigmoid(beta x), and g where the function is x itself."""
    return ops.where(x > threshold / beta, g, g * sigmoid(x * beta))


# -- Gaussian ------------------------------------------------------------------------------------------------

CUBIC = 0.044715  # Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016


@op(
    kind="elementwise",
    samples=[
        Sample([0.0, 1.0, -1.0], expected=[0.0, 0.8413447460685429, -0.15865525393145707]),
        Sample(
            [0.0, 1.0, -1.0], approximate="tanh", expected=[0.0, 0.8411919906082768, -0.15880800939172324]
        ),
        Sample(_GRID),
        Sample(_GRID, approximate="tanh"),
        Sample(_FAR, expected=[0.0, 0.0, 40.0, 1000.0]),
        Sample(_FAR, approximate="tanh", expected=[0.0, 0.0, 40.0, 1000.0]),
    ],
    error_samples=[ErrorSample(_LINE, approximate="sigmoid", error=SettingError, match="none")],
)
def gelu(x: Numeric, *, approximate: str = "none") -> Numeric:
    """x * P(x), P(x) = (1 + erf(x / sqrt(2))) / 2;  d/dx = P(x) + x * p(x), p the normal density.

    Args:
        approximate: "none", or "tanh": P(x) is about (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2.

    >>> import numpy as np
    >>> gelu(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    if approximate == "tanh":
        return x * (0.5 + 0.5 * np.tanh(_tanh_argument(x)))
    if approximate == "none":
        return x * _normal_distribution(x)
    raise SettingError(f'approximate is {approximate!r}; it can be "none" or "tanh"')


@gelu.emit
def gelu_emitted(code: Code, x: Lanes, *, approximate: str) -> Lanes:
    """x Φ(x), or Hendrycks and Gimpel's approximation x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    half = code.constant(0.5, x)
    if approximate == "tanh":
        cubic = code.multiply(code.multiply(x, x), code.multiply(x, code.constant(CUBIC, x)))
        argument = code.multiply(code.constant(math.sqrt(2 / math.pi), x), code.add(x, cubic))
        return code.multiply(x, code.fma(half, code.tanh(argument), half))
    return code.multiply(x, code.normal_distribution(x))


@gelu.vjp("x")
def gelu_wrt_x(g: Numeric, x: Numeric, *, approximate: str) -> Numeric:
    """g · (Φ(x) + x φ(x)), or the derivative of the approximation by tanh."""
    if approximate == "none":
        density = ops.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return g * (_normal_distribution(x) + x * density)
    tanh = ops.tanh(_tanh_argument(x))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * CUBIC * x * x)
    return g * (0.5 + 0.5 * tanh + 0.5 * x * (1 - tanh * tanh) * slope)


def _normal_distribution(x: Numeric) -> Numeric:
    return 0.5 + 0.5 * ops.erf(x * math.sqrt(0.5))


def _tanh_argument(x: Numeric) -> Numeric:
    return math.sqrt(2 / math.pi) * (x + CUBIC * x * x * x)


# -- over an axis --------------------------------------------------------------------------------------------

_SOFTMAX_ERRORS = [
    ErrorSample(_GRID, axis=2, error=ShapeError, match="axis 2"),
    ErrorSample(1.0, error=ShapeError, match="axis -1"),
    ErrorSample(_GRID, axis=0.5, error=SettingError, match="axis"),
]


@op(
    kind="normalization",
    samples=[
        Sample([0.0, math.log(3.0)], expected=[0.25, 0.75]),
        Sample(_GRID),
        Sample(_GRID, axis=0),
        Sample([_GRID, [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]], axis=1),
        Sample([[1000.0, -1000.0, 1000.0]], expected=[[0.5, 0.0, 0.5]]),
    ],
    error_samples=_SOFTMAX_ERRORS,
)
def softmax(x: Numeric, *, axis: Axis = -1) -> Numeric:
    """exp(x) / sum of exp(x) over axis;  the VJP is out * (g - sum of g * out over axis).

    Args:
        axis: over which the result sums to 1: an int, or several.

    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    axes = normalize_axes(axis, np.ndim(x))
    exponentials = np.exp(_shifted(x, axes))
    return narrow(exponentials / exponentials.sum(axis=axes, keepdims=True), x.dtype)


softmax.batch(along("axis"))


@softmax.expand
def softmax_expansion(x: ArrayType, *, axis: Axis) -> Expansion:
    """Each element: its exponential over the sum of those along `axis`."""
    return distribution(x, axis)


@softmax.vjp("x")
def softmax_wrt_x(g: Numeric, out: Numeric, *, axis: Axis) -> Numeric:
    """y (g - Σ g y) along `axis`, with y the output: the Jacobian diag(y) - y yᵀ is symmetric."""
    g, out = wide(g), wide(out)
    return out * (g - ops.sum(g * out, axis=axis, keepdims=True))


@softmax.jvp("x")
def softmax_along_x(t: Numeric, out: Numeric, *, axis: Axis) -> Numeric:
    """As backwards: its Jacobian is symmetric."""
    return softmax_wrt_x(t, out, axis=axis)


@op(
    kind="normalization",
    samples=[
        Sample([0.0, math.log(3.0)], expected=[math.log(0.25), math.log(0.75)]),
        Sample(_GRID),
        Sample(_GRID, axis=0),
        Sample([_GRID, [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]], axis=1),
        Sample([[1000.0, -1000.0]], expected=[[0.0, -2000.0]]),
    ],
    error_samples=_SOFTMAX_ERRORS,
)
def log_softmax(x: Numeric, *, axis: Axis = -1) -> Numeric:
    """x - log(sum of exp(x) over axis);  the VJP is g - exp(out) * sum of g over axis.

    Args:
        axis: as in `softmax`.

    >>> import numpy as np
    >>> log_softmax(np.array([1000.0, 1000.0]))
    array([-0.69314718, -0.69314718])
    """
    axes = normalize_axes(axis, np.ndim(x))
    shifted = _shifted(x, axes)
    out = shifted - np.log(np.exp(shifted).sum(axis=axes, keepdims=True)) if shifted.size else shifted
    return narrow(out, x.dtype)


log_softmax.batch(along("axis"))


@log_softmax.expand
def log_softmax_expansion(x: ArrayType, *, axis: Axis) -> Expansion:
    """Each element: the logarithm of its exponential over the sum of those along `axis`."""
    return distribution(x, axis, after="log")


@log_softmax.vjp("x")
def log_softmax_wrt_x(g: Numeric, out: Numeric, *, axis: Axis) -> Numeric:
    """g - e^y Σ g along `axis`, with y the output."""
    g, out = wide(g), wide(out)
    return g - ops.exp(out) * ops.sum(g, axis=axis, keepdims=True)


@log_softmax.jvp("x")
def log_softmax_along_x(t: Numeric, out: Numeric, *, axis: Axis) -> Numeric:
    """t - Σ e^y t along `axis`, with y the output."""
    t, out = wide(t), wide(out)
    return t - ops.sum(ops.exp(out) * t, axis=axis, keepdims=True)


@softmax.types
@log_softmax.types
def _over_axis_types(x: ArrayType, *, axis: Axis = -1) -> ArrayType:
    normalize_axes(axis, x.ndim)
    return ArrayType(x.shape, x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64))


def _shifted(x: Numeric, axes: tuple[int, ...]) -> Any:
    """A new floating array, at least float32: x less its maximum, so that no exponential overflows."""
    x = wide(x) if x.dtype.kind in "fc" else x.astype(np.float64)
    return x - x.max(axis=axes, keepdims=True, initial=-np.inf)
