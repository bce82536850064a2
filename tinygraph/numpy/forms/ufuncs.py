"""Ufuncs that have no op of their own, by what they are made of; integers' and bits' answers are arrays."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.tensor import CapturedNumber, Handle, Tensor
from tinygraph.numpy.constants import constant, in_program
from tinygraph.numpy.form import FORMS, detached, form, grouped, known, operand

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# Of integers, bits and neighbours in a dtype, which no small change of an operand changes.
for _one in (
    np.gcd, np.lcm, np.left_shift, np.right_shift, np.bitwise_count, np.signbit, np.spacing, np.isnat,
):  # fmt: skip
    FORMS[_one] = grouped(_one.__name__, constant(_one))


def in_loop(ufunc: np.ufunc, *operands: object) -> tuple[Any, ...]:
    """The operands in the dtypes in which NumPy computes: small integers in small floats, where these are asked for.

    Raises:
        OverflowError: a Python integer that the dtype does not hold.
    """
    kinds = [_kind(one) for one in operands]
    if np.dtype(object) in kinds:
        return tuple(map(operand, operands))
    loop = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout))
    return tuple(
        one
        if isinstance(one, Handle) and isinstance(kind, type)  # a captured number, which stays weak
        else dtype.type(one)
        if isinstance(kind, type)
        else found
        if (found := operand(one)).dtype == dtype
        else found.astype(dtype)
        for one, kind, dtype in zip(operands, kinds, loop, strict=False)
    )


def _kind(x: object) -> Any:
    """What NumPy chooses a loop by: a dtype, or the class of a Python number."""
    if isinstance(x, CapturedNumber):
        return {"i": int, "f": float, "c": complex}.get(x.dtype.kind, x.dtype)
    return type(x) if type(x) in (int, float, complex) else operand(x).dtype


@form(np.positive)
def positive(x: Numeric) -> Any:
    return +operand(x)


@form(np.fabs)
def fabs(x: Numeric) -> Any:
    return np.absolute(*in_loop(np.fabs, x))


@form(np.rint)
def rint(x: Numeric) -> Any:
    return np.round(*in_loop(np.rint, x))


@form(np.copysign)
def copysign(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.copysign, x1, x2)
    size = np.absolute(x1)
    return np.where(np.signbit(x2), -size, size)


@form(np.heaviside)
def heaviside(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.heaviside, x1, x2)
    at_zero = np.where(np.equal(x1, 0), x2, np.greater(x1, 0) * 1.0)
    return np.where(np.isnan(x1), x1 * 1.0, at_zero).astype(np.result_type(x1, x2))


@form(np.fmax)
def fmax(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.fmax, x1, x2)
    return np.where(
        np.isnan(x2), x1, np.maximum(np.where(np.isnan(x1), x2, x1), np.where(np.isnan(x2), x1, x2))
    )


@form(np.fmin)
def fmin(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.fmin, x1, x2)
    return np.where(
        np.isnan(x2), x1, np.minimum(np.where(np.isnan(x1), x2, x1), np.where(np.isnan(x2), x1, x2))
    )


@form(np.fmod)
def fmod(x1: Numeric, x2: Numeric) -> Any:
    """x1 - x2 trunc(x1 / x2), with the sign of x1, exact: the remainder of the sizes, or Python's moved by x2."""
    x1, x2 = in_loop(np.fmod, x1, x2)
    if np.result_type(x1, x2).kind == "f":
        size = np.remainder(np.absolute(x1), np.absolute(x2))
        return np.where(np.signbit(x1), -size, size)
    rest = np.remainder(x1, x2)
    other = np.not_equal(rest, 0) & np.not_equal(np.less(x1, 0), np.less(x2, 0))
    return np.where(other, rest - x2, rest)


@form(np.divmod)
def divmod_(x1: Numeric, x2: Numeric) -> Any:
    return np.floor_divide(x1, x2), np.remainder(x1, x2)


@form(np.modf)
def modf(x: Numeric) -> Any:
    (x,) = in_loop(np.modf, x)
    whole = np.trunc(x)
    rest = np.where(np.signbit(x), -((-x) - (-whole)), x - whole)  # with the sign of x where it is zero
    return np.where(np.isinf(x), np.copysign(0.0, x), rest), whole


@form(np.frexp)
def frexp(x: Numeric) -> Any:
    (x,) = in_loop(np.frexp, x)
    exponent = (
        np.frexp(x.numpy() if isinstance(x, Tensor) else x)[1] if known(x) else in_program("exponent", x)
    )
    return np.ldexp(x, -exponent), exponent


@form(np.ldexp)
def ldexp(x1: Numeric, x2: object) -> Any:
    x1, rest = in_loop(np.ldexp, x1, x2)
    most = np.finfo(x1.dtype).maxexp - 1
    for _ in range(3):  # in steps of which none is too large for a float, so that zeros stay zeros
        step = np.clip(rest, -most, most)
        x1, rest = x1 * _power_of_two(step, x1.dtype), rest - step
    return x1


def _power_of_two(exponent: Any, dtype: Any) -> Any:
    one = np.ones((), dtype)
    if isinstance(exponent, Tensor):
        return in_program("ldexp", one, exponent) if not known(exponent) else np.ldexp(one, exponent.numpy())
    return np.ldexp(one, exponent)


@form(np.nextafter)
def nextafter(x1: object, x2: object) -> Any:
    """A number one step away from x1: the step is a constant."""
    x1, x2 = in_loop(np.nextafter, x1, x2)
    found = constant(np.nextafter)(x1, x2)
    return x1 + (found - detached(x1))


@form(np.float_power)
def float_power(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.float_power, x1, x2)
    if np.ndim(x1) and not np.ndim(
        x2
    ):  # of one exponent for all `power` takes roots, which are others at -0.0, -inf
        x2 = x2 + np.zeros(np.shape(x1))
    return np.power(x1, x2)


@form(np.logaddexp2)
def logaddexp2(x1: Numeric, x2: Numeric) -> Any:
    x1, x2 = in_loop(np.logaddexp2, x1, x2)
    return np.logaddexp(x1 * log(2), x2 * log(2)) / log(2)


@form(np.matvec)
def matvec(x1: Numeric, x2: Numeric) -> Any:
    return np.matmul(x1, operand(x2)[..., None])[..., 0]


@form(np.vecmat)
def vecmat(x1: Numeric, x2: Numeric) -> Any:
    return np.matmul(np.conj(operand(x1))[..., None, :], x2)[..., 0, :]
