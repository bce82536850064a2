"""Circular functions and their inverses for vectors of float32 and float64, to less than 4 units in the last place.

Arguments are reduced by parts of pi/2 that are short enough for exact products (Cody and Waite, 1980); where one is too
large for that, and that is rare, the C library answers for its lane. Polynomials are cut Taylor series.
"""

from __future__ import annotations

import math
from fractions import Fraction

from tinygraph.kernels.builder import Function, Value, dtype_of
from tinygraph.kernels.mathematics import economized, integer_type, integers, polynomial, split

_PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
_PART_BITS = 33  # of each part of pi / 2: its product with a quadrant below 2^20 is exact in float64
_LARGEST = 2.0**20  # arguments beyond this are the C library's
_EIGHTH = math.tan(math.pi / 8)


def sin(code: Function, x: Value) -> Value:
    """sin(x) = ±sin(r) or ±cos(r),  x = k pi/2 + r."""
    return _circular(code, x, "sin")


def cos(code: Function, x: Value) -> Value:
    """cos(x) = sin(x + pi/2)."""
    return _circular(code, x, "cos")


def tan(code: Function, x: Value) -> Value:
    """tan(x) = tan(r) or -1 / tan(r)."""
    return _circular(code, x, "tan")


def _circular(code: Function, x: Value, name: str) -> Value:
    """One of the three; float32 is computed in float64, whose last digits then do not matter."""
    if code.single_numbers:
        return code.library(name, x)
    large = code.inverted(code.compare("<", code.intrinsic("llvm.fabs", x), code.constant(_LARGEST, x)))
    wide = code.cast(x, "float64")
    inside = code.select(large, code.constant(0, wide), wide)
    narrow = dtype_of(x) == "float32"
    k, r = _quadrant(code, inside, parts=2 if narrow else 4)
    sine, cosine = _sin_and_cos(code, r, terms=5 if narrow else 8)
    found = _of_quadrant(code, name, k, sine, cosine)
    if name != "cos":
        found = code.select(code.compare("==", inside, code.constant(0, wide)), inside, found)  # -0.0
    return code.exceptionally(large, code.cast(found, dtype_of(x)), lambda one: code.library(name, one), x)


def _quadrant(code: Function, x: Value, parts: int) -> tuple[Value, Value]:
    """The integer k of x = k pi/2 + r, and r."""
    k = code.intrinsic("llvm.rint", code.multiply(x, code.constant(2 / math.pi, x)))
    rest, r = _PI / 2, x
    for i in range(parts):
        short = 2 ** (_PART_BITS * (i + 1) - 1)
        part = Fraction(round(rest * short), short) if i < parts - 1 else rest
        rest -= part
        r = code.fma(k, code.constant(-float(part), x), r)
    return code.ir.fptosi(k, integer_type(x)), r


def _sin_and_cos(code: Function, r: Value, terms: int) -> tuple[Value, Value]:
    """Taylor's series on |r| <= pi / 4."""
    z = code.multiply(r, r)
    odd = [(-1) ** n / math.factorial(2 * n + 1) for n in range(1, terms + 1)]
    even = [(-1) ** n / math.factorial(2 * n) for n in range(2, terms + 2)]
    sine = code.fma(code.multiply(r, z), polynomial(code, z, odd), r)
    one = code.fma(z, code.constant(-0.5, z), code.constant(1, z))
    # what rounding 1 - z / 2 lost
    lost = code.subtract(code.subtract(code.constant(1, z), one), code.multiply(z, code.constant(0.5, z)))
    cosine = code.add(one, code.fma(code.multiply(z, z), polynomial(code, z, even), lost))
    return sine, cosine


def _of_quadrant(code: Function, name: str, k: Value, sine: Value, cosine: Value) -> Value:
    def bit(number: int, value: Value) -> Value:
        masked = code.ir.and_(value, integers(code, number, sine))
        return code.ir.icmp_signed("!=", masked, integers(code, 0, sine))

    odd = bit(1, k)
    if name == "tan":
        top = code.select(odd, code.negative(cosine), sine)
        return code.divide(top, code.select(odd, sine, cosine))
    if name == "cos":
        k = code.ir.add(k, integers(code, 1, sine))
        odd = bit(1, k)
    found = code.select(odd, cosine, sine)
    return code.select(bit(2, k), code.negative(found), found)


def arctan(code: Function, x: Value) -> Value:
    """arctan|x| = pi/2 + arctan(-1/|x|), pi/4 + arctan((|x| - 1) / (|x| + 1)), or its series; with the sign of x."""
    size = code.intrinsic("llvm.fabs", x)
    one = code.constant(1, x)
    middle = code.compare(">", size, code.constant(_EIGHTH, x))
    far = code.compare(">", size, code.constant(1 / _EIGHTH, x))
    top = code.select(middle, code.subtract(size, one), size)
    bottom = code.select(middle, code.add(size, one), one)
    top = code.select(far, code.constant(-1, x), top)
    ratio = code.divide(top, code.select(far, size, bottom))
    base, low = (
        code.select(far, code.constant(b, x), code.select(middle, code.constant(a, x), code.constant(0, x)))
        for a, b in zip(split(_PI / 4, dtype_of(x)), split(_PI / 2, dtype_of(x)), strict=True)
    )
    return code.intrinsic("llvm.copysign", code.add(base, code.add(_arctan_series(code, ratio), low)), x)


def _arctan_series(code: Function, x: Value) -> Value:
    """x - x^3/3 + x^5/5 ... on |x| <= tan(pi / 8)."""
    z = code.multiply(x, x)
    exact = tuple(Fraction((-1) ** n, 2 * n + 1) for n in range(1, 40))
    terms = economized(exact, _EIGHTH**2, 6 if dtype_of(x) == "float32" else 13)
    return code.fma(code.multiply(x, z), polynomial(code, z, terms), x)


def arctan2(code: Function, y: Value, x: Value) -> Value:
    """The arctangent of the smaller of |y| and |x| over the larger, and from there to the angle's eighth."""
    zero = code.constant(0, x)
    across, along = code.intrinsic("llvm.fabs", y), code.intrinsic("llvm.fabs", x)
    steep = code.compare(">", across, along)
    top, bottom = code.select(steep, along, across), code.select(steep, across, along)
    ratio = code.divide(top, bottom)
    origin = code.both(code.compare("==", top, zero), code.compare("==", bottom, zero))
    ratio = code.select(origin, zero, ratio)
    endless = code.constant(math.inf, x)
    diagonal = code.both(code.compare("==", top, endless), code.compare("==", bottom, endless))
    angle = arctan(code, code.select(diagonal, code.constant(1, x), ratio))
    left = code.compare("<", code.intrinsic("llvm.copysign", code.constant(1, x), x), zero)
    for turned, turn in ((steep, _PI / 2), (left, _PI)):
        high, low = split(turn, dtype_of(x))
        back = code.add(code.subtract(code.constant(high, x), angle), code.constant(low, x))
        angle = code.select(turned, back, angle)
    return code.intrinsic("llvm.copysign", angle, y)


def arcsin(code: Function, x: Value) -> Value:
    """Its series up to 1/2; beyond, pi/2 - 2 arcsin(sqrt((1 - |x|) / 2)); with the sign of x."""
    size = code.intrinsic("llvm.fabs", x)
    far, angle = _arcsin_of_half(code, size)
    high, low = split(_PI / 2, dtype_of(x))
    beyond = code.add(code.fma(angle, code.constant(-2, x), code.constant(high, x)), code.constant(low, x))
    return code.intrinsic("llvm.copysign", code.select(far, beyond, angle), x)


def arccos(code: Function, x: Value) -> Value:
    """pi/2 - arcsin(x) up to 1/2; beyond, 2 arcsin(sqrt((1 - |x|) / 2)), or pi less that."""
    far, angle = _arcsin_of_half(code, code.intrinsic("llvm.fabs", x))
    left = code.compare("<", x, code.constant(0, x))
    twice = code.add(angle, angle)
    (half, half_low), (pi, pi_low) = split(_PI / 2, dtype_of(x)), split(_PI, dtype_of(x))
    back = code.add(code.subtract(code.constant(pi, x), twice), code.constant(pi_low, x))
    beyond = code.select(left, back, twice)
    signed = code.select(left, code.negative(angle), angle)
    near = code.add(code.constant(half, x), code.subtract(code.constant(half_low, x), signed))
    return code.select(far, beyond, near)


def _arcsin_of_half(code: Function, size: Value) -> tuple[Value, Value]:
    """Whether 0 <= size is more than 1/2, and the arcsine of it, or else of sqrt((1 - size) / 2), by the series."""
    half = code.constant(0.5, size)
    far = code.compare(">", size, half)
    rest = code.multiply(code.subtract(code.constant(1, size), size), half)
    z = code.select(far, rest, code.multiply(size, size))
    root = code.select(far, code.intrinsic("llvm.sqrt", rest), size)
    exact = tuple(Fraction(math.comb(2 * n, n), 4**n * (2 * n + 1)) for n in range(1, 60))
    terms = economized(exact, 0.25, 6 if dtype_of(size) == "float32" else 14)
    return far, code.fma(code.multiply(root, z), polynomial(code, z, terms), root)
