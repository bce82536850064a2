"""Powers, cube roots and hypotenuses for vectors, in float32 and float64."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from tinygraph.kernels.builder import Function, Value, dtype_of
from tinygraph.kernels.mathematics import (
    LN2,
    integer_type,
    mantissa_and_exponent,
    polynomial,
    reduced_expm1,
    scaled,
    split,
)

_MOST = 2.0**31  # larger exponents are the C library's


def power(code: Function, x: Value, y: Value) -> Value:
    """|x|^y = e^(y log|x|), with the sign that a whole y gives it; the C library's for numbers that are not finite.

    The logarithm has some ten more bits than its format, since y multiplies its error: float32 takes them from float64.
    """
    if code.single_numbers:
        return code.library("pow", x, y)
    zero, one = code.constant(0, x), code.constant(1, x)
    size = code.intrinsic("llvm.fabs", x)
    ordinary = code.both(
        code.compare("<", size, code.constant(math.inf, x)),
        code.compare("<", code.intrinsic("llvm.fabs", y), code.constant(_MOST, x)),
    )
    base = code.select(code.both(ordinary, code.compare(">", size, zero)), size, one)
    exponent = code.select(ordinary, y, one)
    narrow = dtype_of(x) == "float32"
    found = (_power_of_float32 if narrow else _power_of_float64)(code, base, exponent)
    falls = code.select(code.compare(">", y, zero), zero, code.constant(math.inf, x))
    found = code.select(code.compare("==", x, zero), falls, found)
    whole = code.compare("==", code.intrinsic("llvm.rint", exponent), exponent)
    half = code.multiply(exponent, code.constant(0.5, x))
    odd = code.both(whole, code.compare("!=", code.intrinsic("llvm.rint", half), half))
    sign = code.intrinsic("llvm.copysign", one, x)
    found = code.select(odd, code.multiply(found, sign), found)
    broken = code.both(code.compare("<", x, zero), code.inverted(whole))
    found = code.select(broken, code.constant(math.nan, x), found)
    found = code.select(code.compare("==", y, zero), one, found)
    return code.exceptionally(code.inverted(ordinary), found, lambda a, b: code.library("pow", a, b), x, y)


def _power_of_float32(code: Function, x: Value, y: Value) -> Value:
    """Series of float64 that are cut where float32 does not see it."""
    x, y = code.cast(x, "float64"), code.cast(y, "float64")
    mantissa, e = mantissa_and_exponent(code, x)
    f = code.subtract(mantissa, code.constant(1, x))
    s = code.divide(f, code.add(f, code.constant(2, x)))
    z = code.multiply(s, s)
    series = code.multiply(s, polynomial(code, z, [2 / (2 * n + 1) for n in range(7)]))
    logarithm = code.fma(e, code.constant(float(LN2), x), series)
    rest, k = reduced_expm1(code, code.multiply(y, logarithm), terms=8)
    return code.cast(scaled(code, code.add(rest, code.constant(1, x)), k), "float32")


def _power_of_float64(code: Function, x: Value, y: Value) -> Value:
    """e^(y h) (1 + y l),  log(x) = h + l."""
    high, low = _long_logarithm(code, x)
    product, lost = code.exact_product(y, high)
    limit = code.constant(800, x)  # beyond it is infinite or zero; what rounding lost is not to be nan there
    product = code.minimum(code.maximum(product, code.negative(limit)), limit)
    tail = code.fma(y, low, lost)
    rest, k = reduced_expm1(code, product)
    grown = code.add(rest, code.constant(1, x))
    return scaled(code, code.fma(grown, tail, grown), k)


def _long_logarithm(code: Function, x: Value) -> tuple[Value, Value]:
    """log(2^e m) = e ln 2 + 2 s + s z (2/3 + z (2/5 + ...)) as a sum of two,  s = f / (2 + f),  f = m - 1,  z = s^2."""
    mantissa, e = mantissa_and_exponent(code, x)
    two = code.constant(2, x)
    f = code.subtract(mantissa, code.constant(1, x))
    below = code.add(f, two)
    below_lost = code.subtract(f, code.subtract(below, two))
    inverse = code.divide(code.constant(1, x), below)
    s = code.multiply(f, inverse)
    rest = code.intrinsic("llvm.fma", code.negative(s), below, f)
    s_low = code.multiply(code.fma(code.negative(s), below_lost, rest), inverse)
    z, z_low = code.exact_product(s, s)
    z_low = code.fma(code.add(s, s), s_low, z_low)
    tail = code.multiply(z, polynomial(code, z, [2 / (2 * n + 5) for n in range(11)]))
    third, third_low = split(Fraction(2, 3), "float64")
    u = code.add(code.constant(third, x), tail)
    u_low = code.add(
        code.subtract(code.constant(third, x), code.subtract(u, tail)), code.constant(third_low, x)
    )
    v, v_low = _product(code, (z, z_low), (u, u_low))
    w, w_low = _product(code, (s, s_low), (v, v_low))
    whole, part = split(LN2, "float64")
    start, start_low = code.exact_product(e, code.constant(whole, x))
    start_low = code.fma(e, code.constant(part, x), start_low)
    high, low = _sum(code, start, code.add(s, s))
    low = code.add(low, code.add(start_low, code.add(s_low, s_low)))
    high, low_too = _sum(code, high, w)
    low = code.add(low, code.add(low_too, w_low))
    total = code.add(high, low)
    return total, code.add(code.subtract(high, total), low)


def _product(code: Function, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
    """A product of sums of two."""
    high, low = code.exact_product(a[0], b[0])
    return high, code.fma(a[0], b[1], code.fma(a[1], b[0], low))


def _sum(code: Function, a: Value, b: Value) -> tuple[Value, Value]:
    """a + b and what rounding it loses (Knuth)."""
    total = code.add(a, b)
    taken = code.subtract(total, a)
    return total, code.add(code.subtract(a, code.subtract(total, taken)), code.subtract(b, taken))


def cbrt(code: Function, x: Value) -> Value:
    """2^q y,  y^3 = w = m 2^(e - 3 q): from a polynomial by one step of Halley's and one of Newton's."""
    size = code.intrinsic("llvm.fabs", x)
    mantissa, e = mantissa_and_exponent(code, size)
    q = code.intrinsic("llvm.rint", code.multiply(e, code.constant(1 / 3, x)))
    left = code.fma(q, code.constant(-3, x), e)  # -1, 0 or 1
    w = code.multiply(
        mantissa,
        code.select(
            code.compare(">", left, code.constant(0, x)),
            code.constant(2, x),
            code.select(
                code.compare("<", left, code.constant(0, x)), code.constant(0.5, x), code.constant(1, x)
            ),
        ),
    )
    y = polynomial(code, w, _CBRT)
    cube = code.multiply(code.multiply(y, y), y)
    double = code.add(w, w)
    y = code.multiply(y, code.divide(code.add(cube, double), code.fma(cube, code.constant(2, x), w)))
    square = code.multiply(y, y)
    y = code.subtract(
        y, code.divide(code.fma(square, y, code.negative(w)), code.multiply(square, code.constant(3, x)))
    )
    root = scaled(code, y, code.ir.fptosi(q, integer_type(x)))
    special = code.either(
        code.compare("==", x, code.constant(0, x)),
        code.inverted(code.compare("<", size, code.constant(math.inf, x))),
    )
    return code.select(special, x, code.intrinsic("llvm.copysign", root, x))


# w^(1/3) on [0.35, 2.9]
_CBRT = tuple(
    float(c)
    for c in np.polynomial.Chebyshev.interpolate(np.cbrt, 6, domain=[0.35, 2.9])
    .convert(kind=np.polynomial.Polynomial)
    .coef
)


def hypot(code: Function, x: Value, y: Value) -> Value:
    """The larger times sqrt(1 + r^2), r the ratio of the smaller to it: no square overflows."""
    a, b = code.intrinsic("llvm.fabs", x), code.intrinsic("llvm.fabs", y)
    swapped = code.compare(">", b, a)
    large, small = code.select(swapped, b, a), code.select(swapped, a, b)
    ratio = code.divide(small, large)
    one = code.constant(1, x)
    found = code.multiply(large, code.intrinsic("llvm.sqrt", code.fma(ratio, ratio, one)))
    found = code.select(code.compare("==", code.add(a, b), code.constant(0, x)), code.constant(0, x), found)
    endless = code.constant(math.inf, x)
    infinite = code.either(code.compare("==", a, endless), code.compare("==", b, endless))
    return code.select(infinite, endless, found)
