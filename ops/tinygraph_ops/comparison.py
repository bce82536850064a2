"""Comparisons, logic and bits: results without a gradient. Choosing by them is in `choosing.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import DTypeError, ErrorSample, Numeric, Sample, op

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code

_BOTH = ("x", "y")
_ORDERED = ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
_SPECIAL = [0.0, np.nan, np.inf, -np.inf]
_LOGIC = ([True, True, False], [True, False, False])
_FLOATS = ErrorSample([1.0], [2.0], error=DTypeError)


@op(
    kind="comparison",
    numpy=np.equal,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[False, True, False]), Sample([1.0], [[1.0], [2.0]])],
)
def equal(x: Numeric, y: Numeric) -> Numeric:
    """x == y, elementwise."""
    return np.equal(x, y)


@equal.emit(bools=True, integers=True)
def equal_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; NaN equals nothing."""
    return code.compare("==", x, y)


@op(
    kind="comparison",
    numpy=np.not_equal,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[True, False, True]), Sample([1.0], [[1.0], [2.0]])],
)
def not_equal(x: Numeric, y: Numeric) -> Numeric:
    """x != y, elementwise."""
    return np.not_equal(x, y)


@not_equal.emit(bools=True, integers=True)
def not_equal_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; NaN differs from everything."""
    return code.compare("!=", x, y)


@op(
    kind="comparison",
    numpy=np.less,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[True, False, False]), Sample([1.0], [[1.0], [2.0]])],
)
def less(x: Numeric, y: Numeric) -> Numeric:
    """x < y, elementwise."""
    return np.less(x, y)


@less.emit(bools=True, integers=True)
def less_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; false for NaN."""
    return code.compare("<", x, y)


@op(
    kind="comparison",
    numpy=np.less_equal,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[True, True, False]), Sample([1.0], [[1.0], [2.0]])],
)
def less_equal(x: Numeric, y: Numeric) -> Numeric:
    """x <= y, elementwise."""
    return np.less_equal(x, y)


@less_equal.emit(bools=True, integers=True)
def less_equal_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; false for NaN."""
    return code.compare("<=", x, y)


@op(
    kind="comparison",
    numpy=np.greater,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[False, False, True]), Sample([1.0], [[1.0], [2.0]])],
)
def greater(x: Numeric, y: Numeric) -> Numeric:
    """x > y, elementwise."""
    return np.greater(x, y)


@greater.emit(bools=True, integers=True)
def greater_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; false for NaN."""
    return code.compare(">", x, y)


@op(
    kind="comparison",
    numpy=np.greater_equal,
    nondifferentiable=_BOTH,
    samples=[Sample(*_ORDERED, expected=[False, True, True]), Sample([1.0], [[1.0], [2.0]])],
)
def greater_equal(x: Numeric, y: Numeric) -> Numeric:
    """x >= y, elementwise."""
    return np.greater_equal(x, y)


@greater_equal.emit(bools=True, integers=True)
def greater_equal_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """One comparison; false for NaN."""
    return code.compare(">=", x, y)


@op(
    kind="comparison",
    numpy=np.isnan,
    nondifferentiable="x",
    samples=[Sample(_SPECIAL, expected=[0, 1, 0, 0])],
)
def isnan(x: Numeric) -> Numeric:
    """Whether x is not a number, elementwise."""
    return np.isnan(x)


@isnan.emit
def isnan_emitted(code: Code, x: Lanes) -> Lanes:
    """Whether x is unordered with itself."""
    return code.is_nan(x)


@op(
    kind="comparison",
    numpy=np.isinf,
    nondifferentiable="x",
    samples=[Sample(_SPECIAL, expected=[0, 0, 1, 1])],
)
def isinf(x: Numeric) -> Numeric:
    """Whether x is ∞ or -∞, elementwise."""
    return np.isinf(x)


@isinf.emit
def isinf_emitted(code: Code, x: Lanes) -> Lanes:
    """|x| = ∞."""
    return code.compare("==", code.intrinsic("llvm.fabs", x), code.constant(np.inf, x))


@op(
    kind="comparison",
    numpy=np.isfinite,
    nondifferentiable="x",
    samples=[Sample(_SPECIAL, expected=[1, 0, 0, 0])],
)
def isfinite(x: Numeric) -> Numeric:
    """Whether x is neither infinite nor nan, elementwise."""
    return np.isfinite(x)


@isfinite.emit
def isfinite_emitted(code: Code, x: Lanes) -> Lanes:
    """|x| < ∞, which is false for NaN, too."""
    return code.compare("<", code.intrinsic("llvm.fabs", x), code.constant(np.inf, x))


@op(
    kind="comparison",
    numpy=np.logical_not,
    nondifferentiable="x",
    samples=[
        Sample([True, False], expected=[False, True]),
        Sample([[0.0], [2.5]], expected=[[True], [False]]),
    ],
)
def logical_not(x: Numeric) -> Numeric:
    """Whether x is zero or false, elementwise."""
    return np.logical_not(x)


@logical_not.emit(conditions="x")
def logical_not_emitted(code: Code, x: Lanes) -> Lanes:
    """A bool, inverted."""
    return code.inverted(x)


@op(
    kind="comparison",
    numpy=np.logical_and,
    nondifferentiable=_BOTH,
    samples=[Sample(*_LOGIC, expected=[True, False, False]), Sample([0.0, 2.0], [[True], [False]])],
)
def logical_and(x: Numeric, y: Numeric) -> Numeric:
    """Whether x and y are both non-zero, elementwise."""
    return np.logical_and(x, y)


@logical_and.emit(conditions=("x", "y"))
def logical_and_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """The bitwise and of two bools."""
    return code.both(x, y)


@op(
    kind="comparison",
    numpy=np.logical_or,
    nondifferentiable=_BOTH,
    samples=[Sample(*_LOGIC, expected=[True, True, False]), Sample([0.0, 2.0], [[True], [False]])],
)
def logical_or(x: Numeric, y: Numeric) -> Numeric:
    """Whether x or y is non-zero, elementwise."""
    return np.logical_or(x, y)


@logical_or.emit(conditions=("x", "y"))
def logical_or_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """The bitwise or of two bools."""
    return code.either(x, y)


@op(
    kind="comparison",
    numpy=np.logical_xor,
    nondifferentiable=_BOTH,
    samples=[Sample(*_LOGIC, expected=[False, True, False]), Sample([0.0, 2.0], [[True], [False]])],
)
def logical_xor(x: Numeric, y: Numeric) -> Numeric:
    """Whether just one of x and y is non-zero, elementwise."""
    return np.logical_xor(x, y)


@logical_xor.emit(conditions=("x", "y"))
def logical_xor_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """Whether two bools differ."""
    return code.differ(x, y)


def _bools(*types: Any) -> bool:
    """Whether bits are truths."""
    return all(isinstance(one, bool) or getattr(one, "dtype", None) == np.bool_ for one in types)


@op(
    kind="comparison",
    numpy=np.invert,
    nondifferentiable="x",
    samples=[Sample([0, 5], expected=[-1, -6]), Sample([[True], [False]], expected=[[False], [True]])],
    error_samples=[ErrorSample([1.0], error=DTypeError)],
)
def invert(x: Numeric) -> Numeric:
    """Every bit of an integer inverted; `not` for bools."""
    return np.invert(x)


invert.emit(conditions="x", fits=_bools)(logical_not_emitted)


@op(
    kind="comparison",
    numpy=np.bitwise_and,
    nondifferentiable=_BOTH,
    samples=[Sample([6, 5], [3, 8], expected=[2, 0]), Sample([True, False], [[True], [False]])],
    error_samples=[_FLOATS],
)
def bitwise_and(x: Numeric, y: Numeric) -> Numeric:
    """x & y, bit by bit; `and` for bools."""
    return np.bitwise_and(x, y)


bitwise_and.emit(conditions=("x", "y"), fits=_bools)(logical_and_emitted)


@op(
    kind="comparison",
    numpy=np.bitwise_or,
    nondifferentiable=_BOTH,
    samples=[Sample([6, 5], [3, 8], expected=[7, 13]), Sample([True, False], [[True], [False]])],
    error_samples=[_FLOATS],
)
def bitwise_or(x: Numeric, y: Numeric) -> Numeric:
    """x | y, bit by bit; `or` for bools."""
    return np.bitwise_or(x, y)


bitwise_or.emit(conditions=("x", "y"), fits=_bools)(logical_or_emitted)


@op(
    kind="comparison",
    numpy=np.bitwise_xor,
    nondifferentiable=_BOTH,
    samples=[Sample([6, 5], [3, 8], expected=[5, 13]), Sample([True, False], [[True], [False]])],
    error_samples=[_FLOATS],
)
def bitwise_xor(x: Numeric, y: Numeric) -> Numeric:
    """x ^ y, bit by bit; `xor` for bools."""
    return np.bitwise_xor(x, y)


bitwise_xor.emit(conditions=("x", "y"), fits=_bools)(logical_xor_emitted)
