"""Exponentials, logarithms and the error function. Hyperbolic functions are in `trigonometric.py`, the sum of
exponentials over an axis (`logsumexp`) in `reductions.py`."""

from __future__ import annotations

from math import log as _log
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import Array, Numeric, Sample, op, ops

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code


@op(
    kind="elementwise",
    numpy=np.exp,
    samples=[Sample([0.0, 1.0], expected=[1.0, 2.718281828459045]), Sample([[-2.0], [0.5]])],
)
def exp(x: Numeric) -> Numeric:
    """e^x;  d/dx = e^x."""
    return np.exp(x)


@exp.emit
def exp_emitted(code: Code, x: Lanes) -> Lanes:
    """e^x of the kernel language."""
    return code.exp(x)


@exp.vjp("x")
def exp_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · e^x, taken from the output."""
    return g * out


@op(
    kind="elementwise",
    numpy=np.expm1,
    samples=[
        Sample([0.0, 1.0, 1e-12], expected=[0.0, 1.718281828459045, 1.0000000000005e-12]),
        Sample([[-2.0], [0.5]]),
    ],
)
def expm1(x: Numeric) -> Numeric:
    """e^x - 1, accurate near 0;  d/dx = e^x."""
    return np.expm1(x)


@expm1.emit
def expm1_emitted(code: Code, x: Lanes) -> Lanes:
    """e^x - 1 of the kernel language, without cancellation near 0."""
    return code.expm1(x)


@expm1.vjp("x")
def expm1_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · (out + 1)."""
    return g * (out + 1)


@op(
    kind="elementwise",
    numpy=np.exp2,
    samples=[Sample([0.0, 3.0, -1.0], expected=[1.0, 8.0, 0.5]), Sample([[-2.0], [0.5]])],
)
def exp2(x: Numeric) -> Numeric:
    """2^x;  d/dx = 2^x log 2."""
    return np.exp2(x)


@exp2.vjp("x")
def exp2_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · 2^x · log 2, the power taken from the output."""
    return g * (out * _log(2))


@op(
    kind="elementwise",
    numpy=np.log,
    samples=[Sample([1.0, 2.718281828459045], expected=[0.0, 1.0]), Sample([[0.3], [7.0]])],
)
def log(x: Numeric) -> Numeric:
    """The natural logarithm of x;  d/dx = 1 / x."""
    return np.log(x)


@log.emit
def log_emitted(code: Code, x: Lanes) -> Lanes:
    """log(x) of the kernel language."""
    return code.log(x)


@log.vjp("x")
def log_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / x."""
    return g / x


@op(
    kind="elementwise",
    numpy=np.log1p,
    samples=[
        Sample([0.0, 1.0, 1e-12], expected=[0.0, 0.6931471805599453, 9.999999999995e-13]),
        Sample([[-0.5], [2.0]]),
    ],
)
def log1p(x: Numeric) -> Numeric:
    """log(1 + x), accurate near 0;  d/dx = 1 / (1 + x)."""
    return np.log1p(x)


@log1p.emit
def log1p_emitted(code: Code, x: Lanes) -> Lanes:
    """log(1 + x) of the kernel language, without cancellation near 0."""
    return code.log1p(x)


@log1p.vjp("x")
def log1p_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / (1 + x)."""
    return g / (1 + x)


@op(
    kind="elementwise",
    numpy=np.log2,
    samples=[Sample([1.0, 8.0, 0.5], expected=[0.0, 3.0, -1.0]), Sample([[0.3], [7.0]])],
)
def log2(x: Numeric) -> Numeric:
    """The logarithm of x to base 2;  d/dx = 1 / (x log 2)."""
    return np.log2(x)


@log2.vjp("x")
def log2_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / (x log 2)."""
    return g / (x * _log(2))


@op(
    kind="elementwise",
    numpy=np.log10,
    samples=[Sample([1.0, 1000.0, 0.1], expected=[0.0, 3.0, -1.0]), Sample([[0.3], [7.0]])],
)
def log10(x: Numeric) -> Numeric:
    """The logarithm of x to base 10;  d/dx = 1 / (x log 10)."""
    return np.log10(x)


@log10.vjp("x")
def log10_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / (x log 10)."""
    return g / (x * _log(10))


@op(
    kind="elementwise",
    numpy=np.logaddexp,
    samples=[
        Sample([0.0, 1000.0], [0.0, 0.0], expected=[0.6931471805599453, 1000.0]),
        Sample([1.0, -2.0], [[0.5], [3.0]]),
        Sample([-np.inf, -np.inf], [-np.inf, 2.0], expected=[-np.inf, 2.0], smooth=False),
    ],
)
def logaddexp(x: Numeric, y: Numeric) -> Numeric:
    """log(e^x + e^y) without overflow;  d/dx = sigmoid(x - y),  d/dy = sigmoid(y - x), both 0 where out is -∞."""
    return np.logaddexp(x, y)


@logaddexp.vjp("x")
def logaddexp_wrt_x(g: Numeric, x: Numeric, y: Numeric, out: Numeric) -> Numeric:
    """g · sigmoid(x - y), the share of x: e^(x - out) would lose digits where out is large."""
    return _share(g, x, y, out)


@logaddexp.vjp("y")
def logaddexp_wrt_y(g: Numeric, x: Numeric, y: Numeric, out: Numeric) -> Numeric:
    """g · sigmoid(y - x), the share of y."""
    return _share(g, y, x, out)


def _share(g: Numeric, x: Numeric, y: Numeric, out: Numeric) -> Numeric:
    # not e^(x - out): where x is large, out is rounded by more than the logarithm that distinguishes them
    nothing = ops.equal(out, -np.inf)
    return ops.where(nothing, 0, g * ops.sigmoid(ops.where(nothing, 0, x) - ops.where(nothing, 0, y)))


@op(
    kind="elementwise",
    samples=[
        Sample(
            [0.0, 0.3, -1.0, 5.0], expected=[0.0, 0.3286267594591274, -0.8427007929497149, 0.9999999999984626]
        ),
        Sample([[1.7], [-2.5]]),
    ],
)
def erf(x: Array) -> Numeric:
    """The error function, 2/√π ∫₀ˣ e^(-t²) dt;  d/dx = 2/√π e^(-x²).

    Rational approximations of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics
    of Computation 23 (1969), 631-637: about one unit in the last place of float64.
    """
    x = np.asarray(x)
    if x.dtype.kind != "f":
        x = x.astype(np.float64, casting="safe")
    size = np.abs(x)
    out = np.empty_like(x)
    near, far = size <= 0.46875, size > 4
    middle = ~(near | far)  # and nan
    part = x[near]
    out[near] = part * _ratio(NEAR, part * part)
    part = size[middle]
    out[middle] = 1 - np.exp(-part * part) * _ratio(MIDDLE, part)
    part = np.minimum(size[far], 10)  # erf is 1 long before, and the square must not overflow
    tail = 1 / (part * part)
    complement = (1 / pi**0.5 - tail * _ratio(_FAR, tail)) / part
    out[far] = 1 - np.exp(-part * part) * complement
    return np.copysign(out, x)[()]


@erf.emit
def erf_emitted(code: Code, x: Lanes) -> Lanes:
    """The error function of the kernel language."""
    return code.erf(x)


@erf.vjp("x")
def erf_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · 2 e^(-x²) / √π."""
    return g * (2 / pi**0.5 * ops.exp(-ops.square(x)))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Numeric) -> Any:
    """A quotient of two polynomials, highest power first, by Horner's rule."""
    above, below = coefficients
    numerator, denominator = above[0] * x + above[1], below[0] * x + below[1]
    for a in above[2:]:
        numerator = numerator * x + a
    for b in below[2:]:
        denominator = denominator * x + b
    return numerator / denominator


NEAR = (
    (
        1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
_FAR = (
    (
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
        1.60837851487422766e-2, 6.58749161529837803e-4,
    ),
    (
        1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)  # fmt: skip
