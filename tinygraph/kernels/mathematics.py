"""Elementary functions for vectors: exponentials, logarithms, the hyperbolic tangent and the error function.

Written for every width, in float32 and float64, with errors of at most 3 units in the last place (erfc and the normal
distribution: 1e-6 and 1e-14 relative) and with subnormal results, infinities and nan as in NumPy. There is no table of
magic coefficients: series have their exact ones, and the one fit, of the scaled complementary error function, is
computed here from the standard library's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.errors import DTypeError
from tinygraph.kernels.builder import Function, Value, dtype_of, width_of

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009")


class _Format(NamedTuple):
    """What a floating-point format asks of the functions below."""

    mantissa: int  # bits stored
    bits: int
    bias: int
    overflow: float  # exp of more is infinite, and half of it
    underflow: float  # exp of less is zero
    exp_terms: int  # of the series of exp on |r| <= ln(2) / 2
    log_terms: int  # of the series of atanh on s <= 0.1716
    erf_terms: int  # of the series of erf on |x| <= 1
    erfcx_degree: int  # of its fit
    tanh_one: float  # tanh of more rounds to one


_FORMATS = {
    "float32": _Format(23, 32, 127, 90.0, -104.0, 7, 5, 10, 10, 10.0),
    "float64": _Format(52, 64, 1023, 711.0, -746.0, 14, 12, 20, 20, 20.0),
}


def format_of(x: Value) -> _Format:
    if dtype_of(x) not in _FORMATS:
        raise DTypeError(
            f"a function of numbers got {dtype_of(x)}; put a cast to float32 or float64 before it"
        )
    return _FORMATS[dtype_of(x)]


def exp(code: Function, x: Value) -> Value:
    """e^x = 2^k (1 + expm1(r)),  x = k ln 2 + r."""
    rest, k = reduced_expm1(code, x)
    return scaled(code, code.add(rest, code.constant(1, x)), k)


def expm1(code: Function, x: Value) -> Value:
    """e^x - 1 = 2^k expm1(r) + (2^k - 1), without cancellation near zero."""
    one = code.constant(1, x)
    rest, k = reduced_expm1(code, x)
    half = code.ir.ashr(k, integers(code, 1, x))
    first, second = power_of_two(code, half, x), power_of_two(code, code.ir.sub(k, half), x)
    near = code.fma(rest, code.multiply(first, second), code.subtract(code.multiply(first, second), one))
    far = code.multiply(code.multiply(code.add(rest, one), first), second)
    # 2^k overflows from k = 128 or 1024 on; below, minus one must not be lost
    result = code.select(code.compare(">", x, code.constant(format_of(x).overflow - 2, x)), far, near)
    return code.intrinsic("llvm.copysign", result, x)  # -0.0 keeps its sign


def log(code: Function, x: Value) -> Value:
    """log(2^e (1 + f)) = e ln 2 + f - s (f - R),  s = f / (2 + f),  R = 2 atanh(s) / s - 2."""
    form = format_of(x)
    mantissa, e = mantissa_and_exponent(code, x)
    f = code.subtract(mantissa, code.constant(1, x))
    s = code.divide(f, code.add(f, code.constant(2, x)))
    z = code.multiply(s, s)
    series = code.multiply(z, polynomial(code, z, [2 / (2 * n + 3) for n in range(form.log_terms)]))
    half_square = code.multiply(code.multiply(f, f), code.constant(0.5, x))
    high, low = _split_ln2(dtype_of(x))
    correction = code.fma(s, code.add(half_square, series), code.multiply(e, code.constant(low, x)))
    result = code.fma(e, code.constant(high, x), code.subtract(f, code.subtract(half_square, correction)))
    result = code.select(code.compare("<", x, code.constant(math.inf, x)), result, x)  # inf and nan
    result = code.select(code.compare("==", x, code.constant(0, x)), code.constant(-math.inf, x), result)
    return code.select(code.compare("<", x, code.constant(0, x)), code.constant(math.nan, x), result)


def mantissa_and_exponent(code: Function, x: Value) -> tuple[Value, Value]:
    """x > 0 as m 2^e, both of x's format, with m between sqrt(1/2) and sqrt(2)."""
    form = format_of(x)
    tiny = code.compare("<", x, code.constant(2.0 ** (1 - form.bias), x))
    lifted = code.select(tiny, code.multiply(x, code.constant(2.0**form.mantissa, x)), x)
    raised = code.select(tiny, code.constant(-form.mantissa, x), code.constant(0, x))
    pattern = code.ir.bitcast(lifted, integer_type(x))
    root = integers(code, bits_of(math.sqrt(0.5), dtype_of(x)), x)
    exponent = code.ir.ashr(code.ir.sub(pattern, root), integers(code, form.mantissa, x))
    mantissa = code.ir.sub(pattern, code.ir.shl(exponent, integers(code, form.mantissa, x)))
    return code.ir.bitcast(mantissa, x.type), code.add(code.ir.sitofp(exponent, x.type), raised)


def log1p(code: Function, x: Value) -> Value:
    """log(u) plus what rounding u = 1 + x lost."""
    one = code.constant(1, x)
    u = code.add(x, one)
    lost = code.divide(code.subtract(x, code.subtract(u, one)), u)
    ordinary = code.intrinsic("llvm.fabs", code.add(x, code.constant(0, x)))
    exact = code.add(log(code, u), lost)
    special = code.ir.or_(
        code.compare("==", ordinary, code.constant(math.inf, x)), code.compare("==", u, code.constant(0, x))
    )
    result = code.select(special, log(code, u), exact)
    return code.select(code.compare("==", x, code.constant(0, x)), x, result)  # -0.0 keeps its sign


def tanh(code: Function, x: Value) -> Value:
    """expm1(2 |x|) / (expm1(2 |x|) + 2), with the sign of x."""
    limit = code.constant(format_of(x).tanh_one, x)
    size = code.minimum(code.intrinsic("llvm.fabs", x), limit)
    grown = expm1(code, code.add(size, size))
    return code.intrinsic("llvm.copysign", code.divide(grown, code.add(grown, code.constant(2, x))), x)


def sigmoid(code: Function, x: Value) -> Value:
    """e^-|x| / (1 + e^-|x|) or 1 / (1 + e^-|x|): nothing overflows."""
    one = code.constant(1, x)
    shrunk = exp(code, code.negative(code.intrinsic("llvm.fabs", x)))
    above = code.select(code.compare("<", x, code.constant(0, x)), shrunk, one)
    return code.divide(above, code.add(one, shrunk))


def softplus(code: Function, x: Value) -> Value:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    shrunk = exp(code, code.negative(code.intrinsic("llvm.fabs", x)))
    return code.add(code.maximum(x, code.constant(0, x)), log1p(code, shrunk))


def erf(code: Function, x: Value) -> Value:
    """Its Taylor series up to 1, beyond it 1 - erfc(|x|), with the sign of x."""
    form = format_of(x)
    size = code.intrinsic("llvm.fabs", x)
    terms = [
        2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(form.erf_terms)
    ]
    near = code.multiply(x, polynomial(code, code.multiply(x, x), terms))
    far = code.intrinsic("llvm.copysign", code.subtract(code.constant(1, x), _erfc(code, size)), x)
    return code.select(code.compare(">", size, code.constant(1, x)), far, near)


def normal_distribution(code: Function, x: Value) -> Value:
    """P(x) = erfc(-x / sqrt(2)) / 2 of the standard normal distribution; for x > 0, 1 - P(-x)."""
    half = code.constant(0.5, x)
    size = code.multiply(code.intrinsic("llvm.fabs", x), code.constant(math.sqrt(0.5), x))
    tail = code.multiply(half, _erfc(code, size))
    return code.select(
        code.compare(">", x, code.constant(0, x)), code.subtract(code.constant(1, x), tail), tail
    )


def _erfc(code: Function, x: Value) -> Value:
    """e^(-x^2) erfcx(x) for x >= 0, with a polynomial fit of the slowly falling erfcx."""
    stop = code.constant(_STOP, x)
    bounded = code.select(code.compare(">", x, stop), stop, x)
    numerator = code.subtract(bounded, code.constant(_CENTRE, x))
    variable = code.divide(numerator, code.add(bounded, code.constant(_CENTRE, x)))
    scaled = polynomial(code, variable, _erfcx_fit(format_of(x).erfcx_degree))
    return code.multiply(exp(code, code.negative(code.multiply(x, x))), scaled)


def integer_power(code: Function, x: Value, exponent: int) -> Value:
    """x^n by repeated squaring; of 1 / x where n is negative, since x^-n may overflow before it is divided by."""
    if exponent < 0:
        x = code.divide(code.constant(1, x), x)
    result = None
    square, bits = x, abs(exponent)
    while bits:
        if bits & 1:
            result = square if result is None else code.multiply(result, square)
        bits >>= 1
        square = code.multiply(square, square) if bits else square
    if result is None:
        return code.constant(1, x)
    return result


def polynomial(code: Function, x: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    result = code.constant(coefficients[-1], x)
    for coefficient in reversed(coefficients[:-1]):
        result = code.fma(result, x, code.constant(coefficient, x))
    return result


@functools.cache
def economized(coefficients: tuple[Fraction, ...], stop: float, terms: int) -> tuple[float, ...]:
    """A power series as a polynomial of fewer terms, right to as many digits on all of [0, stop].

    Its Chebyshev series is cut off (Lanczos, 1938).
    """
    series = np.polynomial.Polynomial([float(c * Fraction(stop) ** n) for n, c in enumerate(coefficients)])
    cut = series.convert(kind=np.polynomial.Chebyshev, domain=[0, 1]).truncate(terms)
    found = cut.convert(kind=np.polynomial.Polynomial).coef
    return tuple(float(c) / stop**n for n, c in enumerate(found))


def split(number: Fraction, dtype: str) -> tuple[float, float]:
    """A number as one of a format, and what that leaves out."""
    high = float(np.float32(float(number)) if dtype == "float32" else float(number))
    return high, float(number - Fraction(high))


def reduced_expm1(code: Function, x: Value, terms: int | None = None) -> tuple[Value, Value]:
    """expm1(r), of so many terms, and the integer k of x = k ln 2 + r, |r| <= ln(2) / 2; nan stays in expm1(r)."""
    form = format_of(x)
    top, bottom = code.constant(form.overflow, x), code.constant(form.underflow, x)
    x = code.select(code.compare(">", x, top), top, x)
    x = code.select(code.compare("<", x, bottom), bottom, x)
    k = code.intrinsic("llvm.rint", code.multiply(x, code.constant(1 / math.log(2), x)))
    high, low = _split_ln2(dtype_of(x))
    r = code.fma(k, code.constant(-low, x), code.fma(k, code.constant(-high, x), x))
    series = polynomial(code, r, [1 / math.factorial(n) for n in range(2, (terms or form.exp_terms) + 1)])
    return code.fma(code.multiply(r, r), series, r), code.ir.fptosi(k, integer_type(x))


def scaled(code: Function, x: Value, k: Value) -> Value:
    """x 2^k, in two steps, since 2^k itself may overflow or be subnormal where the product is not."""
    half = code.ir.ashr(k, integers(code, 1, x))
    return code.multiply(
        code.multiply(x, power_of_two(code, half, x)), power_of_two(code, code.ir.sub(k, half), x)
    )


def power_of_two(code: Function, k: Value, like: Value) -> Value:
    """2^k for an exponent that a normal number can have."""
    form = format_of(like)
    biased = code.ir.add(k, integers(code, form.bias, like))
    return code.ir.bitcast(code.ir.shl(biased, integers(code, form.mantissa, like)), like.type)


def _split_ln2(dtype: str) -> tuple[float, float]:
    """ln 2 as a number short enough that its product with an exponent is exact, and the rest."""
    short = 2 ** (12 if dtype == "float32" else 41)
    high = Fraction(round(LN2 * short), short)
    return float(high), float(LN2 - high)


def integer_type(like: Value) -> Any:
    scalar = ir.IntType(format_of(like).bits)
    return scalar if width_of(like) == 1 else ir.VectorType(scalar, width_of(like))


def integers(code: Function, number: int, like: Value) -> Value:
    return ir.Constant(integer_type(like), number if width_of(like) == 1 else [number] * width_of(like))


def bits_of(number: float, dtype: str) -> int:
    """The bits of a number."""
    return int(np.array(number, dtype).view("int32" if dtype == "float32" else "int64"))


_STOP = 10.0  # erfc of more is less than 1e-44
_CENTRE = 3.0  # (x - c) / (x + c) spreads [0, stop] evenly enough


@functools.cache
def _erfcx_fit(degree: int) -> tuple[float, ...]:
    """e^(x^2) erfc(x) on [0, stop] as a polynomial in (x - c) / (x + c), through Chebyshev points."""
    last = (_STOP - _CENTRE) / (_STOP + _CENTRE)

    def erfcx(x: float) -> float:
        lost = float(Fraction(x) ** 2 - Fraction(x * x))  # the last digits of x^2 matter to its exponential
        return math.exp(x * x) * (1 + lost) * math.erfc(x)

    def samples(t: Numeric) -> Any:
        return np.array([erfcx(float(x)) for x in _CENTRE * (1 + t) / (1 - t)])

    fit = np.polynomial.Chebyshev.interpolate(samples, degree, domain=[-1, last])
    return tuple(float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef)
