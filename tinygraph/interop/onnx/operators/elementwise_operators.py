"""Operators that compute element by element: arithmetic, comparisons, logic, bits, activations."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Form,
    Operand,
    dtype,
    number,
    operator,
    shape,
)

_UNARY = {
    "Abs": np.abs, "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh,
    "Atan": np.arctan, "Atanh": np.arctanh, "BitwiseNot": np.invert, "Ceil": np.ceil, "Cos": np.cos, "Cosh": np.cosh,
    "Exp": np.exp, "Floor": np.floor, "IsNaN": np.isnan, "Log": np.log, "Neg": np.negative, "Not": np.logical_not,
    "Reciprocal": np.reciprocal, "Round": np.rint, "Sign": np.sign, "Sin": np.sin, "Sinh": np.sinh, "Sqrt": np.sqrt,
    "Tan": np.tan, "Tanh": np.tanh,
    "Erf": lambda x: ops.erf(x), "Sigmoid": lambda x: ops.sigmoid(x),
    "Softplus": lambda x: ops.softplus(x, threshold=np.inf),
    "Softsign": lambda x: x / (1 + np.abs(x)), "Mish": lambda x: x * np.tanh(ops.softplus(x, threshold=np.inf)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
}  # fmt: skip
_BINARY = {
    "Add": np.add, "And": np.logical_and, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor, "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Less": np.less, "LessOrEqual": np.less_equal, "Mul": np.multiply, "Or": np.logical_or, "Sub": np.subtract,
    "Xor": np.logical_xor,
}  # fmt: skip


def _enter(name: str, function: Operand) -> None:
    @operator(name)
    def form(call: Call, *operands: Operand) -> Any:
        return function(*operands)


for _name, _function in (*_UNARY.items(), *_BINARY.items()):
    _enter(_name, _function)


@operator("Relu", carries=True)
def _relu(call: Call, x: Operand) -> Any:
    return ops.relu(x)


@operator("Identity", carries=True)
def _identity(call: Call, x: Operand) -> Any:
    return x


@operator("Div")
def _div(call: Call, x: Operand, y: Operand) -> Any:
    """Integers are divided towards zero."""
    if dtype(x).kind in "iu":
        down = np.floor_divide(x, y)
        if dtype(x).kind == "u":
            return down
        inexact = np.logical_and(np.not_equal(down * y, x), np.less(np.sign(x) * np.sign(y), 0))
        return np.add(down, ops.cast(inexact, dtype=dtype(x)))
    return np.divide(x, y)


@operator("Pow")
def _power(call: Call, x: Operand, y: Operand) -> Any:
    """x to the y, in the type of x."""
    wanted = dtype(x)
    if not hasattr(y, "_edge") and np.size(y) == 1 and wanted.kind in "fc":
        one = float(np.asarray(y).reshape(()))
        result = (
            np.power(x, int(one) if one == int(one) else one) if np.ndim(y) <= np.ndim(x) else np.power(x, y)
        )
    else:
        result = np.power(x, y)
    return result if dtype(result) == wanted else ops.cast(result, dtype=wanted)


@operator("Mod")
def _mod(call: Call, x: Operand, y: Operand) -> Any:
    """The remainder with the sign of the divisor, or (fmod=1) of the dividend."""
    if not call.get("fmod", 0):
        return np.remainder(x, y)
    if dtype(x).kind == "u":
        return np.remainder(x, y)
    rest = np.remainder(np.abs(x), np.abs(y))
    return np.where(np.less(x, 0), -rest, rest)


@operator("Max", "Min", "Sum", "Mean")
def _folded(call: Call, *xs: Operand) -> Any:
    """Of several operands, element by element."""
    join = {"Max": np.maximum, "Min": np.minimum}.get(call.op_type, np.add)
    total = functools.reduce(join, xs)
    return total / dtype(total).type(len(xs)) if call.op_type == "Mean" else total


@operator("Where")
def _where(call: Call, condition: Operand, x: Operand, y: Operand) -> Any:
    return ops.where(condition, x, y)


@operator("Clip", carries=True)
def _clip(call: Call, x: Operand, low: Operand = None, high: Operand = None) -> Any:
    """The highest bound wins where bounds cross."""
    if call.opset < 11:
        low, high = call.get("min", low), call.get("max", high)
        low, high = (None if one is None else dtype(x).type(one) for one in (low, high))
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@operator("BitShift")
def _bit_shift(call: Call, x: Operand, y: Operand) -> Any:
    kind = dtype(x)
    left = call.need("direction") == "LEFT"
    most = kind.itemsize * 8 - (1 if left or kind.kind == "u" else 2)  # beyond it a power of two has no room
    fits = np.logical_and(np.greater_equal(y, 0), np.less_equal(y, most))
    factor = np.power(kind.type(2), np.clip(y, 0, most))
    if left:
        return np.where(fits, x * factor, np.zeros((), kind))
    beyond = np.where(np.less(x, 0), kind.type(-1), kind.type(0)) if kind.kind == "i" else np.zeros((), kind)
    return np.where(fits, np.floor_divide(x, factor), beyond)


@operator("IsInf")
def _is_inf(call: Call, x: Operand) -> Any:
    found = np.isinf(x)
    if not call.get("detect_negative", 1):
        found = np.logical_and(found, np.greater(x, 0))
    if not call.get("detect_positive", 1):
        found = np.logical_and(found, np.less(x, 0))
    return found


# -- activations -----------------------------------------------------------------------------------------------------


def _number(call: Call, x: Operand, name: str, default: float) -> float:
    """An attribute; ONNX's defaults are rounded to float32, as its files hold them."""
    return float(np.float32(call.get(name, default)))


@operator("LeakyRelu")
def _leaky_relu(call: Call, x: Operand) -> Any:
    return ops.leaky_relu(x, negative_slope=_number(call, x, "alpha", 0.01))


@operator("PRelu")
def _prelu(call: Call, x: Operand, slope: Operand) -> Any:
    return np.where(np.less(x, 0), x * slope, x)


@operator("Elu")
def _elu(call: Call, x: Operand) -> Any:
    return ops.elu(x, alpha=_number(call, x, "alpha", 1.0))


@operator("Celu")
def _celu(call: Call, x: Operand) -> Any:
    alpha = _number(call, x, "alpha", 1.0)
    return ops.elu(x / alpha, alpha=1.0) * alpha


@operator("Selu")
def _selu(call: Call, x: Operand) -> Any:
    alpha = _number(call, x, "alpha", 1.67326319217681884765625)
    return ops.elu(x, alpha=alpha) * _number(call, x, "gamma", 1.05070102214813232421875)


@operator("HardSigmoid")
def _hard_sigmoid(call: Call, x: Operand) -> Any:
    return np.clip(x * _number(call, x, "alpha", 0.2) + _number(call, x, "beta", 0.5), 0.0, 1.0)


@operator("ThresholdedRelu")
def _thresholded_relu(call: Call, x: Operand) -> Any:
    return np.where(np.greater(x, _number(call, x, "alpha", 1.0)), x, 0 * x)


@operator("Shrink")
def _shrink(call: Call, x: Operand) -> Any:
    bias, lambd = call.get("bias", 0.0), call.get("lambd", 0.5)
    kind = dtype(x).type
    inner = np.where(np.greater(x, kind(lambd)), x - kind(bias), 0 * x)
    return np.where(np.less(x, kind(-lambd)), x + kind(bias), inner)


@operator("Swish")
def _swish(call: Call, x: Operand) -> Any:
    alpha = _number(call, x, "alpha", 1.0)
    return ops.silu(x) if alpha == 1 else x * ops.sigmoid(x * alpha)


@operator("Gelu")
def _gelu(call: Call, x: Operand) -> Any:
    return ops.gelu(x, approximate=call.get("approximate", "none"))


@operator("Softmax", "LogSoftmax", "Hardmax")
def _softmax(call: Call, x: Operand) -> Any:
    """Over one axis; before version 13 over all axes from one on, together."""
    forms: dict[str, Any] = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax, "Hardmax": _hardmax}
    of: Form = forms[call.op_type]
    if call.opset >= 13:
        return of(x, axis=call.get("axis", -1))
    axis = call.get("axis", 1) % max(np.ndim(x), 1)
    if axis == np.ndim(x) - 1:
        return of(x, axis=-1)
    flat = np.reshape(x, (math.prod(shape(x)[:axis]), math.prod(shape(x)[axis:])))
    return np.reshape(of(flat, axis=-1), shape(x))


def _hardmax(x: Operand, axis: int) -> Any:
    top = np.argmax(x, axis=axis)
    coded: Operand | Any = ops.one_hot(top, num_classes=shape(x)[axis], dtype=dtype(x).name)
    return np.moveaxis(coded, -1, axis)


@operator("Dropout")
def _dropout(call: Call, x: Operand, ratio: Operand = None, training: Operand = None) -> Any:
    """x, and a mask of ones; in training mode with a draw of the library's generator."""
    training_mode = training is not None and bool(number(training, "training_mode"))
    share = 0.5 if ratio is None else float(number(ratio, "ratio"))
    if not training_mode or share == 0:
        return x, np.ones(shape(x), bool)
    if not 0 <= share < 1:
        raise FileFormatError(f"ratio={share} is not in [0, 1)")
    mask = np.greater_equal(default_generator.uniform(shape(x)), share)
    return np.where(mask, x * dtype(x).type(1 / (1 - share)), np.zeros((), dtype(x))), mask
