"""What each elementwise op is in the kernel language: one table from op names to functions that emit it.

An emitter takes the function under construction, the op's operands as values of equal width, and the op's settings
as keywords; it returns a value. Its formula holds for scalars and vectors, float32 and float64 alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygraph.errors import DTypeError, PluginError, UnknownOpError
from tinygraph.kernels import mathematics
from tinygraph.kernels.builder import Function, Value, dtype_of

Emitter = Callable[..., Value]
_EMITTERS: dict[str, Emitter] = {}


def emitter(name: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of an op::

        @emitter("thrice")
        def emit_thrice(code, x):
            return code.multiply(x, code.constant(3, x))

    Raises:
        PluginError: the op has an emitter already.
    """

    def register(function: Emitter) -> Emitter:
        if name in _EMITTERS:
            raise PluginError(f"op {name!r} has an emitter already: {_EMITTERS[name].__module__}")
        _EMITTERS[name] = function
        return function

    return register


def has_emitter(name: str) -> bool:
    """Whether an op can be part of generated elementwise kernels."""
    return name in _EMITTERS


def known() -> tuple[str, ...]:
    """All ops that have an emitter, by name."""
    return tuple(sorted(_EMITTERS))


def emit(code: Function, name: str, operands: list[Value], settings: dict[str, Any]) -> Value:
    """Emit one op.

    Raises:
        UnknownOpError: the op has no emitter.
        DTypeError: its floating-point operands differ in dtype.
    """
    if name not in _EMITTERS:
        raise UnknownOpError(
            f"op {name!r} has no emitter in the kernel language; known: {', '.join(known())}"
        )
    dtypes = {dtype_of(value) for value in operands} - {"bool"}
    if len(dtypes) > 1:
        raise DTypeError(f"op {name!r} in a kernel got {' and '.join(sorted(dtypes))}; put a cast before it")
    return _EMITTERS[name](code, *operands, **settings)


def _register(table: dict[str, Emitter]) -> None:
    for name, function in table.items():
        emitter(name)(function)


# -- arithmetic ------------------------------------------------------------------------------------------------


def _logical(arithmetic: Emitter, instruction: str) -> Emitter:
    """NumPy's arithmetic of booleans is logic."""

    def emit_either(code: Function, a: Value, b: Value) -> Value:
        if dtype_of(a) == dtype_of(b) == "bool":
            return getattr(code.ir, instruction)(a, b)
        return arithmetic(code, a, b)

    return emit_either


def _number(code: Function, x: Value) -> Value:
    """Booleans become numbers before a division."""
    return code.cast(x, "float64") if dtype_of(x) == "bool" else x


_register(
    {
        "add": _logical(Function.add, "or_"),
        "subtract": Function.subtract,
        "multiply": _logical(Function.multiply, "and_"),
        "divide": lambda code, a, b: code.divide(_number(code, a), _number(code, b)),
        "negative": Function.negative,
        "maximum": _logical(Function.maximum, "or_"),
        "minimum": _logical(Function.minimum, "and_"),
        "square": lambda code, x: code.multiply(x, x),
        "reciprocal": lambda code, x: code.divide(code.constant(1, x), x),
        "sqrt": lambda code, x: code.intrinsic("llvm.sqrt", x),
        "abs": lambda code, x: code.intrinsic("llvm.fabs", x),
        "floor": lambda code, x: code.intrinsic("llvm.floor", x),
        "ceil": lambda code, x: code.intrinsic("llvm.ceil", x),
        "trunc": lambda code, x: code.intrinsic("llvm.trunc", x),
        "clip": lambda code, x, low, high: code.minimum(code.maximum(x, low), high),
        "where": lambda code, condition, a, b: code.select(_truth(code, condition), a, b),
        "cast": lambda code, x, dtype: code.cast(x, dtype),
    }
)


@emitter("sign")
def _sign(code: Function, x: Value) -> Value:
    zero = code.constant(0, x)
    negative = code.select(code.compare("<", x, zero), code.constant(-1, x), code.add(x, zero))
    return code.select(code.compare(">", x, zero), code.constant(1, x), negative)


@emitter("power")
def _power(code: Function, x: Value, exponent: Value) -> Value:
    """A known small integer, or a half, as the exponent makes multiplications; else the C library is called."""
    number = getattr(exponent, "constant", None)  # a number, or one per lane
    if isinstance(number, list):
        number = number[0]
    if isinstance(number, float) and number.is_integer() and abs(number) <= 64:
        return mathematics.integer_power(code, x, int(number))
    if number == 0.5:
        return code.intrinsic("llvm.sqrt", x)
    return code.each_lane(lambda a, b: code.library("pow", a, b), x, exponent)


# -- comparisons and logic -------------------------------------------------------------------------------------


def _comparison(relation: str) -> Emitter:
    def emit_comparison(code: Function, a: Value, b: Value) -> Value:
        if dtype_of(a) != "bool":
            return code.compare(relation, a, b)
        return code.ir.icmp_unsigned(relation, a, b)

    return emit_comparison


def _truth(code: Function, x: Value) -> Value:
    return code.cast(x, "bool")


_register(
    {
        "equal": _comparison("=="),
        "not_equal": _comparison("!="),
        "less": _comparison("<"),
        "less_equal": _comparison("<="),
        "greater": _comparison(">"),
        "greater_equal": _comparison(">="),
        "logical_and": lambda code, a, b: code.ir.and_(_truth(code, a), _truth(code, b)),
        "logical_or": lambda code, a, b: code.ir.or_(_truth(code, a), _truth(code, b)),
        "logical_xor": lambda code, a, b: code.ir.xor(_truth(code, a), _truth(code, b)),
        "logical_not": lambda code, a: code.ir.not_(_truth(code, a)),
        "isnan": Function.is_nan,
        "isinf": lambda code, x: code.compare(
            "==", code.intrinsic("llvm.fabs", x), code.constant(math.inf, x)
        ),
        "isfinite": lambda code, x: code.compare(
            "<", code.intrinsic("llvm.fabs", x), code.constant(math.inf, x)
        ),
    }
)


# -- functions -------------------------------------------------------------------------------------------------

_register(
    {
        "exp": mathematics.exp,
        "expm1": mathematics.expm1,
        "log": mathematics.log,
        "log1p": mathematics.log1p,
        "tanh": mathematics.tanh,
        "sigmoid": mathematics.sigmoid,
        "erf": mathematics.erf,
        "silu": lambda code, x: code.multiply(x, mathematics.sigmoid(code, x)),
        "log_sigmoid": lambda code, x: code.negative(mathematics.softplus(code, code.negative(x))),
    }
)


@emitter("relu")
def _relu(code: Function, x: Value) -> Value:
    zero = code.constant(0, x)
    return code.select(code.compare("<", x, zero), zero, x)  # nan stays


@emitter("leaky_relu")
def _leaky_relu(code: Function, x: Value, *, negative_slope: float = 0.01) -> Value:
    return code.select(
        code.compare("<", x, code.constant(0, x)), code.multiply(x, code.constant(negative_slope, x)), x
    )


@emitter("elu")
def _elu(code: Function, x: Value, *, alpha: float = 1.0) -> Value:
    below = code.multiply(code.constant(alpha, x), mathematics.expm1(code, x))
    return code.select(code.compare(">", x, code.constant(0, x)), x, below)


@emitter("softplus")
def _softplus(code: Function, x: Value, *, beta: float = 1.0, threshold: float = 20.0) -> Value:
    scaled = code.multiply(x, code.constant(beta, x))
    smooth = code.divide(mathematics.softplus(code, scaled), code.constant(beta, x))
    return code.select(code.compare(">", scaled, code.constant(threshold, x)), x, smooth)


@emitter("gelu")
def _gelu(code: Function, x: Value, *, approximate: str = "none") -> Value:
    half = code.constant(0.5, x)
    if approximate == "tanh":
        cubic = code.multiply(code.multiply(x, x), code.multiply(x, code.constant(0.044715, x)))
        argument = code.multiply(code.constant(math.sqrt(2 / math.pi), x), code.add(x, cubic))
        return code.multiply(x, code.fma(half, mathematics.tanh(code, argument), half))
    return code.multiply(x, mathematics.normal_distribution(code, x))


def _library(symbol: str) -> Emitter:
    """A function of the C library, called lane by lane: right, and no faster than NumPy."""
    return lambda code, *operands: code.each_lane(lambda *scalars: code.library(symbol, *scalars), *operands)


_register(
    {
        "sin": _library("sin"),
        "cos": _library("cos"),
        "tan": _library("tan"),
        "arcsin": _library("asin"),
        "arccos": _library("acos"),
        "arctan": _library("atan"),
        "arctan2": _library("atan2"),
        "sinh": _library("sinh"),
        "cosh": _library("cosh"),
        "arcsinh": _library("asinh"),
        "arccosh": _library("acosh"),
        "arctanh": _library("atanh"),
        "cbrt": _library("cbrt"),
        "hypot": _library("hypot"),
    }
)
