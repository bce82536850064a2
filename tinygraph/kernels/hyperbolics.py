"""Hyperbolic functions and their inverses for vectors, from exponentials and logarithms that keep digits near zero."""

from __future__ import annotations

import math

from tinygraph.kernels.builder import Function, Value, dtype_of
from tinygraph.kernels.mathematics import integers, log1p, polynomial, reduced_expm1, scaled

_LN2 = math.log(2)


def sinh(code: Function, x: Value) -> Value:
    """Its series up to 1, beyond (e^|x| - e^-|x|) / 2, with the sign of x."""
    size = code.intrinsic("llvm.fabs", x)
    square = code.multiply(x, x)
    terms = 5 if dtype_of(x) == "float32" else 9
    series = polynomial(code, square, [1 / math.factorial(2 * n + 1) for n in range(1, terms + 1)])
    near = code.fma(code.multiply(size, square), series, size)
    half, rest = _halves(code, size)
    far = code.compare(">", size, code.constant(1, x))
    return code.intrinsic("llvm.copysign", code.select(far, code.subtract(half, rest), near), x)


def cosh(code: Function, x: Value) -> Value:
    """(e^|x| + e^-|x|) / 2."""
    return code.add(*_halves(code, code.intrinsic("llvm.fabs", x)))


def _halves(code: Function, size: Value) -> tuple[Value, Value]:
    """Half of e^size, which may be finite where e^size is not, and half of e^-size."""
    rest, k = reduced_expm1(code, size)
    grown = code.add(rest, code.constant(1, size))
    half = scaled(code, grown, code.ir.sub(k, integers(code, 1, size)))
    return half, code.divide(code.constant(0.25, size), half)


def arcsinh(code: Function, x: Value) -> Value:
    """log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), for large |x| log(2 |x|); with the sign of x."""
    size = code.intrinsic("llvm.fabs", x)
    square = code.multiply(size, size)
    one = code.constant(1, x)
    root = code.intrinsic("llvm.sqrt", code.add(square, one))
    near = code.add(size, code.divide(square, code.add(root, one)))
    return code.intrinsic("llvm.copysign", _log1p_or_far(code, near, size), x)


def arccosh(code: Function, x: Value) -> Value:
    """log1p(t + sqrt(2 t + t^2)),  t = x - 1, for large x log(2 x)."""
    one = code.constant(1, x)
    t = code.subtract(x, one)
    root = code.intrinsic("llvm.sqrt", code.multiply(t, code.add(t, code.constant(2, x))))
    found = _log1p_or_far(code, code.add(t, root), x)
    return code.select(code.compare("<", x, one), code.constant(math.nan, x), found)


def _log1p_or_far(code: Function, near: Value, size: Value) -> Value:
    """log1p(near); where size is so large that its square swallows 1, log(2 size): by one logarithm."""
    far = code.compare(">", size, code.constant(2.0 ** (13 if dtype_of(size) == "float32" else 28), size))
    more = code.select(far, code.constant(_LN2, size), code.constant(0, size))
    less = code.subtract(size, code.constant(1, size))
    return code.add(log1p(code, code.select(far, less, near)), more)


def arctanh(code: Function, x: Value) -> Value:
    """log1p(2 |x| / (1 - |x|)) / 2, with the sign of x."""
    size = code.intrinsic("llvm.fabs", x)
    ratio = code.divide(code.add(size, size), code.subtract(code.constant(1, x), size))
    return code.intrinsic("llvm.copysign", code.multiply(code.constant(0.5, x), log1p(code, ratio)), x)
