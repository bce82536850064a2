"""Trigonometric and hyperbolic functions, their inverses, sinc, and degrees. Exponentials are in `exponential.py`."""

from __future__ import annotations

from math import factorial, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import Array, DTypeError, ErrorSample, Numeric, Sample, SettingError, op, ops

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code

_COLUMN = Sample([[0.3], [-0.7]])


@op(
    kind="elementwise",
    numpy=np.sin,
    samples=[Sample([0.0, 1.0], expected=[0.0, 0.8414709848078965]), _COLUMN],
)
def sin(x: Numeric) -> Numeric:
    """sin(x);  d/dx = cos(x)."""
    return np.sin(x)


@sin.emit
def sin_emitted(code: Code, x: Lanes) -> Lanes:
    """sin of the kernel language."""
    return code.sin(x)


@sin.vjp("x")
def sin_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · cos x."""
    return g * ops.cos(x)


@op(
    kind="elementwise",
    numpy=np.cos,
    samples=[Sample([0.0, 1.0], expected=[1.0, 0.5403023058681398]), _COLUMN],
)
def cos(x: Numeric) -> Numeric:
    """cos(x);  d/dx = -sin(x)."""
    return np.cos(x)


@cos.emit
def cos_emitted(code: Code, x: Lanes) -> Lanes:
    """cos of the kernel language."""
    return code.cos(x)


@cos.vjp("x")
def cos_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """-g · sin x."""
    return -(g * ops.sin(x))


@op(
    kind="elementwise",
    numpy=np.tan,
    samples=[Sample([0.0, 1.0], expected=[0.0, 1.5574077246549023]), _COLUMN],
)
def tan(x: Numeric) -> Numeric:
    """tan(x);  d/dx = 1 + tan(x)²."""
    return np.tan(x)


@tan.emit
def tan_emitted(code: Code, x: Lanes) -> Lanes:
    """tan of the kernel language."""
    return code.tan(x)


@tan.vjp("x")
def tan_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · (1 + tan² x), the tangent taken from the output."""
    return g * (1 + ops.square(out))


@op(kind="elementwise", numpy=np.arcsin, samples=[Sample([0.0, 0.5], expected=[0.0, pi / 6]), _COLUMN])
def arcsin(x: Numeric) -> Numeric:
    """arcsin(x);  d/dx = 1 / √(1 - x²)."""
    return np.arcsin(x)


@arcsin.emit
def arcsin_emitted(code: Code, x: Lanes) -> Lanes:
    """arcsin of the kernel language."""
    return code.arcsin(x)


@arcsin.vjp("x")
def arcsin_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / √((1 - x)(1 + x)), which keeps its digits near ±1."""
    return g / ops.sqrt((1 - x) * (1 + x))


@op(
    kind="elementwise",
    numpy=np.arccos,
    samples=[Sample([1.0, 0.5], expected=[0.0, pi / 3], smooth=False), _COLUMN, Sample([0.3, -0.5, 0.1])],
)
def arccos(x: Numeric) -> Numeric:
    """arccos(x);  d/dx = -1 / √(1 - x²)."""
    return np.arccos(x)


@arccos.emit
def arccos_emitted(code: Code, x: Lanes) -> Lanes:
    """arccos of the kernel language."""
    return code.arccos(x)


@arccos.vjp("x")
def arccos_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """-g / √((1 - x)(1 + x)), which keeps its digits near ±1."""
    return -g / ops.sqrt((1 - x) * (1 + x))


@op(kind="elementwise", numpy=np.arctan, samples=[Sample([0.0, 1.0], expected=[0.0, pi / 4]), _COLUMN])
def arctan(x: Numeric) -> Numeric:
    """arctan(x);  d/dx = 1 / (1 + x²)."""
    return np.arctan(x)


@arctan.emit
def arctan_emitted(code: Code, x: Lanes) -> Lanes:
    """arctan of the kernel language."""
    return code.arctan(x)


@arctan.vjp("x")
def arctan_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / (1 + x²)."""
    return g / (1 + ops.square(x))


@op(
    kind="elementwise",
    numpy=np.arctan2,
    samples=[
        Sample([1.0, 1.0], [1.0, -1.0], expected=[pi / 4, 3 * pi / 4]),
        Sample([1.0, 2.0], [[0.5], [-3.0]]),
        Sample([0.0], [1.0], expected=[0.0]),
    ],
)
def arctan2(y: Numeric, x: Numeric) -> Numeric:
    """The angle of the point (x, y);  d/dy = x / (x² + y²),  d/dx = -y / (x² + y²), undefined at the origin."""
    return np.arctan2(y, x)


@arctan2.emit
def arctan2_emitted(code: Code, y: Lanes, x: Lanes) -> Lanes:
    """arctan2 of the kernel language."""
    return code.arctan2(y, x)


@arctan2.vjp("y")
def arctan2_wrt_y(g: Numeric, y: Numeric, x: Numeric) -> Numeric:
    """g · x / r², with r = hypot(x, y), since squares alone would overflow."""
    radius = ops.hypot(x, y)  # squares alone would overflow
    return g * (x / radius / radius)


@arctan2.vjp("x")
def arctan2_wrt_x(g: Numeric, y: Numeric, x: Numeric) -> Numeric:
    """-g · y / r², with r = hypot(x, y)."""
    radius = ops.hypot(x, y)
    return -g * (y / radius / radius)


@op(
    kind="elementwise",
    numpy=np.sinh,
    samples=[Sample([0.0, 1.0], expected=[0.0, 1.1752011936438014]), _COLUMN],
)
def sinh(x: Numeric) -> Numeric:
    """sinh(x);  d/dx = cosh(x)."""
    return np.sinh(x)


@sinh.emit
def sinh_emitted(code: Code, x: Lanes) -> Lanes:
    """sinh of the kernel language."""
    return code.sinh(x)


@sinh.vjp("x")
def sinh_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · cosh x."""
    return g * ops.cosh(x)


@op(
    kind="elementwise",
    numpy=np.cosh,
    samples=[Sample([0.0, 1.0], expected=[1.0, 1.5430806348152437]), _COLUMN],
)
def cosh(x: Numeric) -> Numeric:
    """cosh(x);  d/dx = sinh(x)."""
    return np.cosh(x)


@cosh.emit
def cosh_emitted(code: Code, x: Lanes) -> Lanes:
    """cosh of the kernel language."""
    return code.cosh(x)


@cosh.vjp("x")
def cosh_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g · sinh x."""
    return g * ops.sinh(x)


@op(
    kind="elementwise",
    numpy=np.tanh,
    samples=[Sample([0.0, 1.0], expected=[0.0, 0.7615941559557649]), _COLUMN],
)
def tanh(x: Numeric) -> Numeric:
    """tanh(x);  d/dx = 1 - tanh(x)²."""
    return np.tanh(x)


@tanh.emit
def tanh_emitted(code: Code, x: Lanes) -> Lanes:
    """tanh of the kernel language."""
    return code.tanh(x)


@tanh.vjp("x")
def tanh_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g · (1 - tanh² x), the tangent taken from the output."""
    return g * (1 - ops.square(out))


@op(
    kind="elementwise",
    numpy=np.arcsinh,
    samples=[
        Sample([0.0, 1.0], expected=[0.0, 0.881373587019543]),
        _COLUMN,
        Sample([0.5 + 1.0j, -1.0 + 0.3j]),
    ],
)
def arcsinh(x: Numeric) -> Numeric:
    """arsinh(x);  d/dx = 1 / √(1 + x²)."""
    return np.arcsinh(x)


@arcsinh.emit
def arcsinh_emitted(code: Code, x: Lanes) -> Lanes:
    """arcsinh of the kernel language."""
    return code.arcsinh(x)


@arcsinh.vjp("x")
def arcsinh_wrt_x(g: Numeric, x: Numeric) -> Any:
    """g / √(1 + x²); by hypot for real x, whose square may overflow."""
    # the square of a large real number would overflow
    return g / (ops.sqrt(1 + ops.square(x)) if x.dtype.kind == "c" else ops.hypot(1, x))


@op(
    kind="elementwise",
    numpy=np.arccosh,
    samples=[
        Sample([1.0, 2.0], expected=[0.0, 1.3169578969248166], smooth=False),
        Sample([[1.3], [7.0]]),
        Sample([1.5, 3.0, 1.1]),
    ],
)
def arccosh(x: Numeric) -> Numeric:
    """arcosh(x);  d/dx = 1 / √(x² - 1)."""
    return np.arccosh(x)


@arccosh.emit
def arccosh_emitted(code: Code, x: Lanes) -> Lanes:
    """arccosh of the kernel language."""
    return code.arccosh(x)


@arccosh.vjp("x")
def arccosh_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / (√(x - 1) √(x + 1))."""
    return g / (ops.sqrt(x - 1) * ops.sqrt(x + 1))


@op(
    kind="elementwise",
    numpy=np.arctanh,
    samples=[Sample([0.0, 0.5], expected=[0.0, 0.5493061443340548]), _COLUMN],
)
def arctanh(x: Numeric) -> Numeric:
    """artanh(x);  d/dx = 1 / (1 - x²)."""
    return np.arctanh(x)


@arctanh.emit
def arctanh_emitted(code: Code, x: Lanes) -> Lanes:
    """arctanh of the kernel language."""
    return code.arctanh(x)


@arctanh.vjp("x")
def arctanh_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g / ((1 - x)(1 + x))."""
    return g / ((1 - x) * (1 + x))


@op(
    kind="elementwise",
    numpy=np.sinc,
    samples=[
        Sample([0.0, 0.5, 1.5], expected=[1.0, 2 / pi, -2 / (3 * pi)]),
        Sample([[0.0], [0.3], [-2.2]], order=1),
        Sample(
            [0.0, -0.8, 1.7], order=2, expected=[-3.289868133696453, 0.950801822268514, 0.983456800895717]
        ),
    ],
    error_samples=[
        ErrorSample([1.0], order=-1, error=SettingError, match="order"),
        ErrorSample([1.0j], error=DTypeError, match="real"),
    ],
)
def sinc(x: Array, *, order: int = 0) -> Numeric:
    """The `order`-th derivative of sin(πx) / (πx), right at 0 too;  d/dx = sinc(x, order + 1).

    Near 0 the Taylor series; elsewhere the recurrence x f⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾ = dⁿ/dxⁿ sin(πx)/π.
    """
    if order < 0:
        raise SettingError(f"order is {order!r}; it counts derivatives: 0, 1, 2 ...")
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DTypeError(f"sinc takes real numbers, not {x.dtype}")
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    near = np.abs(x) < 1
    out = np.empty_like(x)
    out[near] = _sinc_series(x[near], order)
    out[~near] = _sinc_recurrence(x[~near], order)
    return out[()]


@sinc.vjp("x")
def sinc_wrt_x(g: Numeric, x: Numeric, order: int) -> Numeric:
    """g times the derivative of the next order."""
    return g * ops.sinc(x, order=order + 1)


def _sinc_series(x: Numeric, order: int) -> Any:
    """Σ (-1)ᵏ π²ᵏ x²ᵏ⁻ⁿ / ((2k+1) (2k-n)!), by Horner's rule in x²; 16 terms do for |x| < 1."""
    first = (order + 1) // 2
    total = np.zeros_like(x)
    for k in reversed(range(first, first + 16)):
        total = total * (x * x) + (-1) ** k * pi ** (2 * k) / ((2 * k + 1) * factorial(2 * k - order))
    return total * x if order % 2 else total


def _sinc_recurrence(x: Numeric, order: int) -> Any:
    value = np.sinc(x)
    for n in range(1, order + 1):
        value = (pi ** (n - 1) * np.sin(pi * x + n * pi / 2) - n * value) / x
    return value


@op(
    kind="elementwise",
    numpy=(np.deg2rad, np.radians),
    linear=("x",),
    samples=[Sample([180.0, -90.0], expected=[pi, -pi / 2]), _COLUMN],
)
def deg2rad(x: Numeric) -> Numeric:
    """Degrees as radians, πx / 180."""
    return np.deg2rad(x)


@deg2rad.vjp("x")
def deg2rad_wrt_x(g: Numeric) -> Numeric:
    """g · π / 180."""
    return g * (pi / 180)


@op(
    kind="elementwise",
    numpy=(np.rad2deg, np.degrees),
    linear=("x",),
    samples=[Sample([pi, -pi / 2], expected=[180.0, -90.0]), _COLUMN],
)
def rad2deg(x: Numeric) -> Numeric:
    """Radians as degrees, 180 x / π."""
    return np.rad2deg(x)


@rad2deg.vjp("x")
def rad2deg_wrt_x(g: Numeric) -> Numeric:
    """g · 180 / π."""
    return g * (180 / pi)
