"""Arithmetic: + - * / // % and their kin. Powers are in `powers`, exp and log in `exponential.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygraph.plugin import Array, ErrorSample, Numeric, Sample, ShapeError, op, ops

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code

_COLUMN = [[3.0], [-4.0]]
_MISFIT = ErrorSample([1.0, 2.0], [1.0, 2.0, 3.0], error=ShapeError, match="axis -1 has sizes 2 and 3")


@op(
    kind="elementwise",
    facts={"cheap": True, "neutral": {"x": -0.0, "y": -0.0}},  # -0.0 + 0.0 is 0.0
    numpy=np.add,
    linear=("x", "y"),
    samples=[Sample([1.0, 2.5], [0.5, -1.0], expected=[1.5, 1.5]), Sample([1.0, 2.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def add(x: Numeric, y: Numeric) -> Numeric:
    """x + y;  d/dx = 1,  d/dy = 1."""
    return x + y


@add.emit(bools=True, integers=True)
def add_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One addition."""
    return code.add(x, y)


@add.vjp("x")
def add_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


@add.vjp("y")
def add_wrt_y(g: Numeric) -> Numeric:
    """g."""
    return g


@op(
    kind="elementwise",
    numpy=np.nextafter,
    nondifferentiable="y",
    samples=[Sample([1.0, 0.0], [2.0, -1.0], expected=[1 + 2**-52, -5e-324]), Sample([1.0, 2.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def nextafter(x: Numeric, y: Numeric) -> Numeric:
    """The number next to x on the way to y;  d/dx = 1, as the step is a constant."""
    return np.nextafter(x, y)


@nextafter.vjp("x")
def nextafter_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


@op(
    kind="elementwise",
    facts={"cheap": True, "neutral": {"y": 0.0}},  # -0.0 - (-0.0) is 0.0
    numpy=np.subtract,
    linear=("x", "y"),
    samples=[Sample([1.0, 2.5], [0.5, -1.0], expected=[0.5, 3.5]), Sample([1.0, 2.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def subtract(x: Numeric, y: Numeric) -> Numeric:
    """x - y;  d/dx = 1,  d/dy = -1."""
    return x - y


@subtract.emit(integers=True)
def subtract_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One subtraction."""
    return code.subtract(x, y)


@subtract.vjp("x")
def subtract_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


@subtract.vjp("y")
def subtract_wrt_y(g: Numeric) -> Numeric:
    """-g."""
    return -g


@op(
    kind="elementwise",
    facts={"cheap": True, "neutral": {"x": 1, "y": 1}},
    numpy=np.multiply,
    linear=("x", "y"),
    samples=[Sample([1.5, 2.0], [4.0, -3.0], expected=[6.0, -6.0]), Sample([1.0, 2.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def multiply(x: Numeric, y: Numeric) -> Numeric:
    """x * y;  d/dx = y,  d/dy = x."""
    return x * y


@multiply.emit(bools=True, integers=True)
def multiply_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One multiplication."""
    return code.multiply(x, y)


@multiply.vjp("x")
def multiply_wrt_x(g: Numeric, y: Numeric) -> Numeric:
    """g · y."""
    return g * y


@multiply.vjp("y")
def multiply_wrt_y(g: Numeric, x: Numeric) -> Numeric:
    """g · x."""
    return g * x


@op(
    kind="elementwise",
    facts={"neutral": {"y": 1}},
    numpy=np.divide,
    linear=("x",),
    samples=[Sample([1.5, 2.0], [4.0, -0.5], expected=[0.375, -4.0]), Sample([1.0, 2.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def divide(x: Numeric, y: Numeric) -> Numeric:
    """x / y;  d/dx = 1 / y,  d/dy = -x / y²."""
    return x / y


@divide.emit
def divide_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One division."""
    return code.divide(x, y)


@divide.vjp("x")
def divide_wrt_x(g: Numeric, y: Numeric) -> Numeric:
    """g / y."""
    return g / y


@divide.vjp("y")
def divide_wrt_y(g: Numeric, y: Numeric, out: Numeric) -> Numeric:
    """-g x / y², with x / y taken from the output."""
    return -(g * out) / y


@op(
    kind="elementwise",
    facts={"cheap": True, "involution": True},
    numpy=np.negative,
    linear=("x",),
    samples=[Sample([1.5, -2.0], expected=[-1.5, 2.0]), Sample([[0.5], [3.0]])],
)
def negative(x: Numeric) -> Numeric:
    """-x;  d/dx = -1."""
    return -x


@negative.emit(integers=True)
def negative_emitted(code: Code, x: Lanes) -> Lanes:
    """The sign bit, flipped; of an integer 0 - x."""
    return code.negative(x)


@negative.vjp("x")
def negative_wrt_x(g: Numeric) -> Numeric:
    """-g."""
    return -g


@op(
    kind="elementwise",
    numpy=np.reciprocal,
    samples=[Sample([2.0, -0.5], expected=[0.5, -2.0]), Sample([[0.3], [4.0]])],
)
def reciprocal(x: Numeric) -> Numeric:
    """1 / x;  d/dx = -1 / x². Of integers, like NumPy, an integer."""
    return np.reciprocal(x)


@reciprocal.emit
def reciprocal_emitted(code: Code, x: Lanes) -> Lanes:
    """1 divided by x."""
    return code.divide(code.constant(1, x), x)


@reciprocal.vjp("x")
def reciprocal_wrt_x(g: Numeric, out: Numeric) -> Numeric:
    """-g / x², with 1 / x taken from the output."""
    return -(g * out) * out


@op(
    kind="elementwise",
    numpy=np.floor_divide,
    nondifferentiable=("x", "y"),
    samples=[Sample([7.0, -7.0], [2.0, 2.0], expected=[3.0, -4.0]), Sample([1.0, 10.0], _COLUMN)],
    error_samples=[_MISFIT],
)
def floor_divide(x: Array, y: Array) -> Numeric:
    """⌊x / y⌋; piecewise constant, so no gradient flows."""
    return x // y


@op(
    kind="elementwise",
    numpy=np.remainder,
    samples=[Sample([7.0, -7.5], [2.0, 2.0], expected=[1.0, 0.5]), Sample([1.0, 9.5], _COLUMN)],
    error_samples=[_MISFIT],
)
def remainder(x: Array, y: Array) -> Numeric:
    """x - y ⌊x / y⌋, with the sign of y;  d/dx = 1,  d/dy = -⌊x / y⌋."""
    return x % y


@remainder.vjp("x")
def remainder_wrt_x(g: Numeric) -> Numeric:
    """g, since x mod y = x - y ⌊x / y⌋ and the floor has slope 0."""
    return g


@remainder.vjp("y")
def remainder_wrt_y(g: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """-g ⌊x / y⌋."""
    return -(g * ops.floor_divide(x, y))
