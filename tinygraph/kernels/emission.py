"""What ops emit: the function under construction as their rules see it, and how an op's rule is applied to operands.

The rules themselves stand beside the ops (`Op.emit`). Nothing here knows an op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygraph.core.op import Op
from tinygraph.errors import DTypeError, UnknownOpError
from tinygraph.kernels import hyperbolics, mathematics, powers_and_roots, trigonometry
from tinygraph.kernels.builder import Function, Value, dtype_of


class Code(Function):
    """A function under construction, with elementary functions as methods."""

    def exp(self, x: Value) -> Value:
        """e^x"""
        return mathematics.exp(self, x)

    def expm1(self, x: Value) -> Value:
        """e^x - 1, without cancellation near zero."""
        return mathematics.expm1(self, x)

    def log(self, x: Value) -> Value:
        """The natural logarithm."""
        return mathematics.log(self, x)

    def log1p(self, x: Value) -> Value:
        """log(1 + x), without cancellation near zero."""
        return mathematics.log1p(self, x)

    def tanh(self, x: Value) -> Value:
        """The hyperbolic tangent."""
        return mathematics.tanh(self, x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + e^-x)"""
        return mathematics.sigmoid(self, x)

    def softplus(self, x: Value) -> Value:
        """log(1 + e^x)"""
        return mathematics.softplus(self, x)

    def erf(self, x: Value) -> Value:
        """The error function."""
        return mathematics.erf(self, x)

    def normal_distribution(self, x: Value) -> Value:
        """P(x) of the standard normal distribution."""
        return mathematics.normal_distribution(self, x)

    def sin(self, x: Value) -> Value:
        """sin(x)"""
        return trigonometry.sin(self, x)

    def cos(self, x: Value) -> Value:
        """cos(x)"""
        return trigonometry.cos(self, x)

    def tan(self, x: Value) -> Value:
        """tan(x)"""
        return trigonometry.tan(self, x)

    def arcsin(self, x: Value) -> Value:
        """The angle whose sine is x."""
        return trigonometry.arcsin(self, x)

    def arccos(self, x: Value) -> Value:
        """The angle whose cosine is x."""
        return trigonometry.arccos(self, x)

    def arctan(self, x: Value) -> Value:
        """The angle whose tangent is x."""
        return trigonometry.arctan(self, x)

    def arctan2(self, y: Value, x: Value) -> Value:
        """The angle of the point (x, y)."""
        return trigonometry.arctan2(self, y, x)

    def sinh(self, x: Value) -> Value:
        """The hyperbolic sine."""
        return hyperbolics.sinh(self, x)

    def cosh(self, x: Value) -> Value:
        """The hyperbolic cosine."""
        return hyperbolics.cosh(self, x)

    def arcsinh(self, x: Value) -> Value:
        """The number whose hyperbolic sine is x."""
        return hyperbolics.arcsinh(self, x)

    def arccosh(self, x: Value) -> Value:
        """The number whose hyperbolic cosine is x."""
        return hyperbolics.arccosh(self, x)

    def arctanh(self, x: Value) -> Value:
        """The number whose hyperbolic tangent is x."""
        return hyperbolics.arctanh(self, x)

    def power(self, x: Value, y: Value) -> Value:
        """x^y"""
        return powers_and_roots.power(self, x, y)

    def cbrt(self, x: Value) -> Value:
        """The real cube root."""
        return powers_and_roots.cbrt(self, x)

    def hypot(self, x: Value, y: Value) -> Value:
        """sqrt(x^2 + y^2)"""
        return powers_and_roots.hypot(self, x, y)

    def integer_power(self, x: Value, exponent: int) -> Value:
        """x^n by repeated squaring."""
        return mathematics.integer_power(self, x, exponent)


def emit(code: Function, op: Op, operands: Sequence[Value], settings: dict[str, Any]) -> Value:
    """Emit one op: conditions become bools, and bools among numbers become numbers, as NumPy has it.

    Raises:
        UnknownOpError: the op emits nothing.
        DTypeError: its operands differ in dtype, or are integers, for which its rule does not hold.
    """
    emission = op.emission
    if emission is None:
        raise UnknownOpError(
            f"op {op.name!r} emits nothing in the kernel language: give it a rule, @{op.name}.emit"
        )
    dtypes = {dtype_of(x) for i, x in enumerate(operands) if i not in emission.conditions} - {"bool"}
    if len(dtypes) > 1:
        raise DTypeError(
            f"op {op.name!r} in a kernel got {' and '.join(sorted(dtypes))}; put a cast before it"
        )
    if "int64" in dtypes and not emission.integers:
        raise DTypeError(
            f"op {op.name!r} emits nothing for int64: say @{op.name}.emit(integers=True), or cast"
        )
    dtype = dtypes.pop() if dtypes else "bool" if emission.bools else "float64"
    met = [code.cast(x, "bool" if i in emission.conditions else dtype) for i, x in enumerate(operands)]
    return emission.rule(code, *met, **{**op.signature.settings, **settings})
