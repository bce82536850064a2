"""Ufuncs that have no op of their own, by what they are made of; integers' and bits' answers are arrays."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.tensor import Tensor
from tinygraph.numpy.constants import constant, in_program
from tinygraph.numpy.form import FORMS, floating, form, grouped, known, operand

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# Of integers, bits and neighbours in a dtype, which no small change of an operand changes.
for _one in (
    np.gcd, np.lcm, np.left_shift, np.right_shift, np.bitwise_count, np.signbit, np.spacing, np.isnat,
):  # fmt: skip
    FORMS[_one] = grouped(_one.__name__, constant(_one))


def _result(x: object, y: object) -> Any:
    """Operands of a binary ufunc as NumPy takes them: Python numbers stay weak."""
    return tuple(one if isinstance(one, bool | int | float) else operand(one) for one in (x, y))


@form(np.copysign)
def copysign(x1: Any, x2: Any) -> Any:
    x1, x2 = _result(x1, x2)
    size, negative = abs(x1), np.signbit(x2)
    size = size if np.result_type(x1, 1.0) == np.result_type(x1) else size * 1.0
    return np.where(negative, -size, size).astype(np.result_type(x1, x2, np.float16))


@form(np.heaviside)
def heaviside(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = _result(x1, x2)
    at_zero = np.where(np.equal(x1, 0), x2, np.greater(x1, 0) * 1.0)
    return np.where(np.isnan(x1), x1 * 1.0, at_zero).astype(np.result_type(x1, x2, np.float16))


@form(np.fmax)
def fmax(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = _result(x1, x2)
    return np.where(
        np.isnan(x2), x1, np.maximum(np.where(np.isnan(x1), x2, x1), np.where(np.isnan(x2), x1, x2))
    )


@form(np.fmin)
def fmin(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = _result(x1, x2)
    return np.where(
        np.isnan(x2), x1, np.minimum(np.where(np.isnan(x1), x2, x1), np.where(np.isnan(x2), x1, x2))
    )


@form(np.fmod)
def fmod(x1: Numeric, x2: Numeric) -> Any:
    """x1 - x2 trunc(x1 / x2), with the sign of x1, exact: the remainder of the sizes."""
    x1, x2 = _result(x1, x2)
    size = np.remainder(np.absolute(x1), np.absolute(x2))
    return np.where(np.signbit(x1) if np.result_type(x1).kind == "f" else np.less(x1, 0), -size, size)


@form(np.divmod)
def divmod_(x1: Numeric, x2: Numeric) -> Any:
    return np.floor_divide(x1, x2), np.remainder(x1, x2)


@form(np.modf)
def modf(x: Numeric) -> Any:
    x = floating(x)
    whole = np.trunc(x)
    return np.where(np.isinf(x), np.copysign(np.zeros((), x.dtype), x), x - whole), whole


@form(np.frexp)
def frexp(x: Numeric) -> Any:
    x = floating(x)
    exponent = (
        np.frexp(x.numpy() if isinstance(x, Tensor) else x)[1] if known(x) else in_program("exponent", x)
    )
    return x * _power_of_two(-exponent, x.dtype), exponent


@form(np.ldexp)
def ldexp(x1: Numeric, x2: object) -> Any:
    x1, exponent = floating(x1), operand(x2)
    half = exponent // 2  # in two steps, of which none is too large for a float
    return x1 * _power_of_two(half, x1.dtype) * _power_of_two(exponent - half, x1.dtype)


def _power_of_two(exponent: Numeric, dtype: DTypeLike) -> Any:
    one = np.ones((), dtype)
    if isinstance(exponent, Tensor):
        return in_program("ldexp", one, exponent) if not known(exponent) else np.ldexp(one, exponent.numpy())
    return np.ldexp(one, exponent)


@form(np.float_power)
def float_power(x1: Numeric, x2: Numeric) -> Any:
    wide = [np.result_type(one, float) for one in (x1, x2)]
    return np.power(operand(x1).astype(wide[0]), operand(x2).astype(wide[1]))


@form(np.logaddexp2)
def logaddexp2(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = _result(x1, x2)
    return np.logaddexp(x1 * log(2), x2 * log(2)) / log(2)


@form(np.matvec)
def matvec(x1: Numeric, x2: Numeric) -> Any:
    return np.matmul(x1, operand(x2)[..., None])[..., 0]


@form(np.vecmat)
def vecmat(x1: Numeric, x2: Numeric) -> Any:
    return np.matmul(np.conj(operand(x1))[..., None, :], x2)[..., 0, :]
