"""Powers and roots. Exponentials and logarithms are in `exponential.py`."""

from __future__ import annotations

from math import log as _log
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import ArrayType, Numeric, Sample, broadcast_shapes, op, ops, varies

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code


@op(
    kind="elementwise",
    facts={
        "neutral": {"y": 1},
        "decisive": {"y": 2},
    },  # NumPy has squares of bools as int8, other powers as int64
    samples=[
        Sample([2.0, 0.25], [3.0, -0.5], expected=[8.0, 2.0]),
        Sample([1.5, 2.0], [[0.5], [3.0], [0.0]]),
        Sample([-2.0, 3.0], np.array([2, -3], "int8"), expected=[4.0, 1 / 27]),
        Sample([20.0, 2.0], np.array([0, 3], "uint8"), expected=[1.0, 8.0]),
        Sample([1.5, 0.25], 2.0, expected=[2.25, 0.0625]),
        Sample([[1.5], [2.0]], 3.0),
        Sample([1.5, 2.0], 0.0, expected=[1.0, 1.0]),
        Sample(0.5, [[2.0, 3.0, -1.0], [0.5, 0.0, 1.5]]),
        Sample([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], expected=[1.0, 0.0, 0.0], smooth=False),
    ],
)
def power(x: Numeric, y: Numeric) -> Numeric:
    """x^y;  d/dx = y x^(y-1),  d/dy = x^y log x.

    The limits at 0 are taken: x⁰ has the derivative 0 everywhere, and d/dy of 0^y is 0 for y >= 0. A negative base
    takes integer exponents; its derivative by the exponent is not a real number (nan).
    """
    return x**y


@power.numpy(np.power)
def np_power(x1: Numeric, x2: object) -> Any:
    """`np.power`, which makes int64 of bools to an integer power, where `**` makes int8 of their squares.

    To the power of a half, `**` takes roots of every float, `np.power` of float32 and float64 alone: others are powers
    as of an array of exponents, 0.0 of -0.0 and inf of -inf.
    """
    dtype = getattr(x1, "dtype", None)
    if dtype == np.bool_ and type(x2) is int:
        x1 = ops.cast(x1, dtype="int64")
    if dtype in (np.float16, np.longdouble) and isinstance(x2, float) and x2 == 0.5:
        x2 = np.full(np.shape(x1), x2, dtype)
    return ops.power(x1, x2)


def _one_or_each(x: object, y: object) -> bool:
    """Whether the exponent is a number, or lies beside x element by element.

    Where one exponent of an array serves many elements and is a half, NumPy takes roots: of -inf nan, of -0.0 itself.
    """
    shapes = (one.shape for one in (x, y) if isinstance(one, ArrayType))
    return not isinstance(y, ArrayType) or y.shape == broadcast_shapes(*shapes)


@power.emit(fits=_one_or_each)
def power_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """A known small integer, or a half, as the exponent makes multiplications; else it is the kernel language's."""
    exponent = code.number(y)
    if exponent is not None and exponent.is_integer() and abs(exponent) <= 64:
        return code.integer_power(x, int(exponent))
    if exponent == 0.5 and not code.single_numbers:
        return code.intrinsic("llvm.sqrt", x)
    return code.power(x, y)


@power.vjp("x")
def power_wrt_x(g: Numeric, x: Numeric, y: Numeric) -> Any:
    """g · y x^(y - 1), with the limits 0 at 0⁰ and 1 at 0¹."""
    if isinstance(y, int | float | complex):
        if y == 2:
            return g * (2 * x)
        return g * (y * ops.power(x, y - 1)) if y != 0 else ops.where(False, g, 0)
    if y.dtype.kind == "u":
        y = ops.cast(y, dtype=np.promote_types(y.dtype, "int8").name)  # 0 - 1 would wrap around
    # only 0⁰ needs help (0 * 0⁻¹); elsewhere the base stays, so that derivatives by y are right where y is 0
    base = ops.where((x == 0) & (y == 0), 1, x)
    slope = y * ops.power(base, y - 1)
    if y.dtype.kind not in "fc":
        return g * slope
    # at 0¹ and 0⁰ the slope is a limit, y, from which no derivative by y follows: that of the root is infinite
    limit = ops.equal(x, 0) & (ops.equal(y, 1) | ops.equal(y, 0))
    return g * ops.where(limit, y - ops.sqrt(ops.where(limit, y * (y - 1), 1)), slope)


@power.vjp("y")
def power_wrt_y(g: Numeric, x: Numeric, y: Numeric, out: Numeric) -> Numeric:
    """g · x^y log x, with 0 where x is 0 and y is not negative."""
    if isinstance(x, int | float) and x > 0:
        return g * (out * _log(x))  # a Python number, so that single precision stays
    nothing = ops.equal(x, 0)
    base = ops.where(nothing & (y >= 0), 1, x)
    if y.dtype.kind not in "fc":
        return g * out * ops.log(base)
    # likewise 0 at 0¹ and 0⁰
    limit = nothing & (ops.equal(y, 1) | ops.equal(y, 0))
    return g * ops.where(limit, ops.sqrt(ops.where(limit, x * y, 1)), out * ops.log(base))


@op(
    kind="elementwise",
    facts={"cheap": True},
    numpy=np.square,
    samples=[Sample([3.0, -0.5], expected=[9.0, 0.25]), Sample([[0.0], [2.0]])],
)
def square(x: Numeric) -> Numeric:
    """x²;  d/dx = 2 x."""
    return np.square(x)


@square.emit
def square_emitted(code: Code, x: Lanes) -> Lanes:
    """x · x."""
    return code.multiply(x, x)


@square.vjp("x")
def square_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """2 g x."""
    return g * (2 * x)


@op(
    kind="elementwise",
    numpy=np.sqrt,
    samples=[
        Sample([4.0, 0.25], expected=[2.0, 0.5]),
        Sample([[0.3], [2.0]]),
        Sample([0.0], expected=[0.0], smooth=False),
    ],
)
def sqrt(x: Numeric) -> Numeric:
    """√x;  d/dx = 1 / (2 √x), infinite at 0."""
    return np.sqrt(x)


@sqrt.emit
def sqrt_emitted(code: Code, x: Lanes) -> Lanes:
    """LLVM's square root, rounded correctly."""
    return code.intrinsic("llvm.sqrt", x)


@sqrt.vjp("x")
def sqrt_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g / (2 √x), the root taken from the output."""
    return g / (2 * out)


@op(
    kind="elementwise",
    numpy=np.cbrt,
    samples=[Sample([8.0, -27.0], expected=[2.0, -3.0]), Sample([[0.3], [-2.0]])],
)
def cbrt(x: Numeric) -> Numeric:
    """The real cube root of x;  d/dx = 1 / (3 ∛x²), infinite at 0."""
    return np.cbrt(x)


@cbrt.emit
def cbrt_emitted(code: Code, x: Lanes) -> Lanes:
    """cbrt of the kernel language."""
    return code.cbrt(x)


@cbrt.vjp("x")
def cbrt_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """g / (3 out²)."""
    return g / (3 * out * out)


@op(
    kind="elementwise",
    numpy=np.hypot,
    samples=[
        Sample([3.0, -5.0], [4.0, 12.0], expected=[5.0, 13.0]),
        Sample([1.0, 2.0], [[0.5], [-3.0]]),
        Sample([0.0], [0.0], expected=[0.0], smooth=False),
    ],
)
def hypot(x: Numeric, y: Numeric) -> Numeric:
    """√(x² + y²) without overflow;  d/dx = x / out,  d/dy = y / out, both 0 at the origin."""
    return np.hypot(x, y)


@hypot.emit
def hypot_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """hypot of the kernel language."""
    return code.hypot(x, y)


@hypot.vjp("x")
def hypot_wrt_x(g: Numeric, x: Numeric, out: Numeric) -> Numeric:
    """g · x / out, 0 at the origin."""
    return _along(g, x, out)


@hypot.vjp("y")
def hypot_wrt_y(g: Numeric, y: Numeric, out: Numeric) -> Numeric:
    """g · y / out, 0 at the origin."""
    return _along(g, y, out)


def _along(g: Numeric, x: Numeric, out: Numeric) -> Numeric:
    """g · x / out, 0 at the origin by convention."""
    nothing = ops.equal(out, 0)
    along = g * (x / ops.where(nothing, 1, out))
    return ops.by_convention(along, nothing, x) if varies(x) else along
