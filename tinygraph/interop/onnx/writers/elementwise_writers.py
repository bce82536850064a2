"""Ops that compute element by element, in ONNX's operators. Operands are brought to one dtype, which ONNX asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.core.node import Node, is_recorded
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import code_of
from tinygraph.interop.onnx.model_writing import (
    FORMS,
    Entry,
    Writing,
    common_dtype,
    dtype_at,
    form,
    settings_of,
    types_of,
)

# Ops that are one operator, on operands of the dtype of the result.
_SAME = {
    "abs": "Abs", "add": "Add", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin",
    "arcsinh": "Asinh", "arctan": "Atan", "arctanh": "Atanh", "bitwise_and": "BitwiseAnd",
    "bitwise_or": "BitwiseOr", "bitwise_xor": "BitwiseXor", "ceil": "Ceil", "cos": "Cos",
    "cosh": "Cosh", "divide": "Div", "erf": "Erf", "exp": "Exp", "floor": "Floor", "log": "Log",
    "maximum": "Max", "minimum": "Min", "multiply": "Mul", "negative": "Neg", "power": "Pow",
    "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin",
    "sinh": "Sinh", "sqrt": "Sqrt", "subtract": "Sub", "tan": "Tan", "tanh": "Tanh",
    "round_straight_through": "Round",
}  # fmt: skip
_COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not"}


def given(w: Writing, node: Node, dtype: Entry) -> list[str]:
    """The operands in one dtype."""
    return [
        w.cast(w.read(one, dtype), dtype_at(node, i), dtype)
        if is_recorded(one)
        else w.constant(np.asarray(one).astype(dtype))
        for i, one in enumerate(node.inputs)
    ]


def _same(name: str) -> Any:
    def write(w: Writing, node: Node, *operands: Entry) -> Any:
        dtype = types_of(node).dtype
        if dtype.kind == "b":
            word = {"Add": "Or", "Mul": "And", "Max": "Or", "Min": "And"}.get(
                name, name.removeprefix("Bitwise")
            )
            return w.add(word, *given(w, node, dtype))
        if dtype.kind == "c":
            raise FileFormatError("ONNX's operators compute with no complex numbers")
        return w.add(name, *given(w, node, dtype))

    return write


def _compared(name: str) -> Any:
    def write(w: Writing, node: Node, *operands: Entry) -> Any:
        dtype = common_dtype(node)
        dtype = np.dtype(np.int32) if dtype.kind == "b" and name != "Equal" else dtype
        return w.add(name, *given(w, node, dtype))

    return write


def _logical(name: str) -> Any:
    return lambda w, node, *operands: w.add(name, *given(w, node, np.dtype(bool)))


for _op, _name in _SAME.items():
    FORMS[_op] = _same(_name)
for _op, _name in _COMPARISONS.items():
    FORMS[_op] = _compared(_name)
for _op, _name in _LOGIC.items():
    FORMS[_op] = _logical(_name)


def _one(w: Writing, node: Node) -> tuple[str, np.dtype[Any]]:
    """The only operand, in the dtype of the result."""
    dtype = types_of(node).dtype
    return given(w, node, dtype)[0], dtype


@form
def _not_equal(w: Writing, node: Node, *operands: Entry) -> Any:
    return w.add("Not", w.add("Equal", *given(w, node, common_dtype(node))))


@form
def _invert(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Not" if types_of(node).dtype.kind == "b" else "BitwiseNot", w.read(x))


def _inspected(w: Writing, node: Node, operator: str) -> str:
    made: str = w.add(operator, w.read(node.inputs[0])) if dtype_at(node, 0).kind == "f" else ""
    if not made:
        made = w.add("Expand", w.constant(np.array(False)), w.ints(types_of(node).shape))
    return made


@form
def _isnan(w: Writing, node: Node, x: Entry) -> Any:
    return _inspected(w, node, "IsNaN")


@form
def _isinf(w: Writing, node: Node, x: Entry) -> Any:
    return _inspected(w, node, "IsInf")


@form
def _isfinite(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Not", w.add("Or", _inspected(w, node, "IsNaN"), _inspected(w, node, "IsInf")))


@form
def _where(w: Writing, node: Node, condition: Entry, x: Entry, y: Entry) -> Any:
    dtype = types_of(node).dtype
    _, first, second = given(w, node, dtype)
    return w.add("Where", w.cast(w.read(condition), dtype_at(node, 0), bool), first, second)


@form
def _clip(w: Writing, node: Node, x: Entry, low: Entry = None, high: Entry = None) -> Any:
    dtype = types_of(node).dtype
    made = w.cast(w.read(x, dtype), dtype_at(node, 0), dtype)
    for i, (bound, name) in enumerate(((low, "Max"), (high, "Min")), 1):
        if bound is not None:
            value = (
                w.cast(w.read(bound, dtype), dtype_at(node, i), dtype)
                if is_recorded(bound)
                else w.constant(np.asarray(bound).astype(dtype))
            )
            made = w.add(name, made, value)
    return made


@form
def _hardtanh(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    return w.add(
        "Clip", made, w.scalar(settings_of(node)["min"], dtype), w.scalar(settings_of(node)["max"], dtype)
    )


@form
def _square(w: Writing, node: Node, x: Entry) -> Any:
    made, _ = _one(w, node)
    return w.add("Mul", made, made)


@form
def _expm1(w: Writing, node: Node, x: Entry) -> Any:
    """By the hyperbolic tangent, which keeps the digits of small numbers: 2 t / (1 - t) with t = tanh(x / 2)."""
    made, dtype = _one(w, node)
    half = w.add("Tanh", w.add("Mul", made, w.scalar(0.5, dtype)))
    small = w.add("Div", w.add("Mul", half, w.scalar(2, dtype)), w.add("Sub", w.scalar(1, dtype), half))
    near = w.add("Less", w.add("Abs", made), w.scalar(1, dtype))
    return w.add("Where", near, small, w.add("Sub", w.add("Exp", made), w.scalar(1, dtype)))


@form
def _log1p(w: Writing, node: Node, x: Entry) -> Any:
    """By the inverse hyperbolic tangent, which keeps the digits of small numbers: 2 atanh(x / (2 + x))."""
    made, dtype = _one(w, node)
    share = w.add("Div", made, w.add("Add", made, w.scalar(2, dtype)))
    small = w.add("Mul", w.add("Atanh", share), w.scalar(2, dtype))
    near = w.add("Less", w.add("Abs", made), w.scalar(0.5, dtype))
    return w.add("Where", near, small, w.add("Log", w.add("Add", made, w.scalar(1, dtype))))


def _logarithm(w: Writing, node: Node, base: float) -> Any:
    made, dtype = _one(w, node)
    return w.add("Div", w.add("Log", made), w.scalar(math.log(base), dtype))


@form
def _log2(w: Writing, node: Node, x: Entry) -> Any:
    return _logarithm(w, node, 2)


@form
def _log10(w: Writing, node: Node, x: Entry) -> Any:
    return _logarithm(w, node, 10)


@form
def _exp2(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    return w.add("Pow", w.scalar(2, dtype), made)


def _scaled(w: Writing, node: Node, factor: float) -> Any:
    made, dtype = _one(w, node)
    return w.add("Mul", made, w.scalar(factor, dtype))


@form
def _deg2rad(w: Writing, node: Node, x: Entry) -> Any:
    return _scaled(w, node, math.pi / 180)


@form
def _rad2deg(w: Writing, node: Node, x: Entry) -> Any:
    return _scaled(w, node, 180 / math.pi)


@form
def _cbrt(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    return w.add("Mul", w.add("Sign", made), w.add("Pow", w.add("Abs", made), w.scalar(1 / 3, dtype)))


@form
def _hypot(w: Writing, node: Node, x: Entry, y: Entry) -> Any:
    first, second = given(w, node, types_of(node).dtype)
    return w.add("Sqrt", w.add("Add", w.add("Mul", first, first), w.add("Mul", second, second)))


@form
def _trunc(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    if dtype.kind != "f":
        return w.add("Identity", made)
    return w.add("Mul", w.add("Sign", made), w.add("Floor", w.add("Abs", made)))


@form
def _round(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    places = settings_of(node).get("decimals", 0)
    if dtype.kind != "f":
        return w.add("Identity", made)
    if not places:
        return w.add("Round", made)
    scale = w.scalar(10.0**places, dtype)
    return w.add("Div", w.add("Round", w.add("Mul", made, scale)), scale)


@form
def _floor_divide(w: Writing, node: Node, x: Entry, y: Entry) -> Any:
    dtype = types_of(node).dtype
    first, second = given(w, node, dtype)
    if dtype.kind == "f":
        return w.add("Floor", w.add("Div", first, second))
    return w.add("Div", w.add("Sub", first, w.add("Mod", first, second)), second)


@form
def _remainder(w: Writing, node: Node, x: Entry, y: Entry) -> Any:
    dtype = types_of(node).dtype
    first, second = given(w, node, dtype)
    if dtype.kind != "f":
        return w.add("Mod", first, second)
    return w.add("Sub", first, w.add("Mul", w.add("Floor", w.add("Div", first, second)), second))


@form
def _nan_to_num(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    if dtype.kind != "f":
        return w.add("Identity", made)
    info, given_numbers = np.finfo(dtype), settings_of(node)
    high = info.max if given_numbers["posinf"] is None else given_numbers["posinf"]
    low = info.min if given_numbers["neginf"] is None else given_numbers["neginf"]
    for test, value in (
        (w.add("IsNaN", made), given_numbers["nan"]),
        (w.add("IsInf", made, detect_negative=0), high),
        (w.add("IsInf", made, detect_positive=0), low),
    ):
        made = w.add("Where", test, w.scalar(value, dtype), made)
    return made


# -- activations -----------------------------------------------------------------------------------------------------


@form
def _gelu(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    return (
        w.add("Gelu", made, approximate=settings_of(node)["approximate"])
        if w.opset >= 20
        else _gelu_by(w, node, made, dtype)
    )


def _gelu_by(w: Writing, node: Node, made: str, dtype: Entry) -> Any:
    if settings_of(node)["approximate"] == "tanh":
        cube = w.add("Mul", w.add("Mul", made, made), made)
        inner = w.add("Add", made, w.add("Mul", cube, w.scalar(0.044715, dtype)))
        share = w.add("Tanh", w.add("Mul", inner, w.scalar(math.sqrt(2 / math.pi), dtype)))
    else:
        share = w.add("Erf", w.add("Div", made, w.scalar(math.sqrt(2), dtype)))
    half = w.add("Mul", made, w.scalar(0.5, dtype))
    return w.add("Mul", half, w.add("Add", share, w.scalar(1, dtype)))


@form
def _silu(w: Writing, node: Node, x: Entry) -> Any:
    made, _ = _one(w, node)
    return w.add("Mul", made, w.add("Sigmoid", made))


@form
def _elu(w: Writing, node: Node, x: Entry) -> Any:
    made, _ = _one(w, node)
    return w.add("Elu", made, alpha=float(settings_of(node)["alpha"]))


@form
def _leaky_relu(w: Writing, node: Node, x: Entry) -> Any:
    made, _ = _one(w, node)
    return w.add("LeakyRelu", made, alpha=float(settings_of(node)["negative_slope"]))


@form
def _log_sigmoid(w: Writing, node: Node, x: Entry) -> Any:
    made, _ = _one(w, node)
    return w.add("Neg", w.add("Softplus", w.add("Neg", made)))


@form
def _softplus(w: Writing, node: Node, x: Entry) -> Any:
    made, dtype = _one(w, node)
    beta, threshold = settings_of(node)["beta"], settings_of(node)["threshold"]
    scaled = made if beta == 1 else w.add("Mul", made, w.scalar(beta, dtype))
    soft = w.add("Softplus", scaled)
    soft = soft if beta == 1 else w.add("Div", soft, w.scalar(beta, dtype))
    if not np.isfinite(threshold):
        return soft
    return w.add("Where", w.add("Greater", scaled, w.scalar(threshold, dtype)), made, soft)


@form
def _logaddexp(w: Writing, node: Node, x: Entry, y: Entry) -> Any:
    first, second = given(w, node, types_of(node).dtype)
    apart = w.add("Neg", w.add("Abs", w.add("Sub", first, second)))
    same = w.add("Equal", first, second)  # infinities, whose difference is none
    apart = w.add("Where", same, w.scalar(0, types_of(node).dtype), apart)
    return w.add("Add", w.add("Max", first, second), w.add("Softplus", apart))


@form
def _cast(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Cast", w.read(x), to=code_of(types_of(node).dtype))


@form
def _identity(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Identity", w.read(x))


FORMS |= dict.fromkeys(("copy", "detach"), _identity)


@form
def _random_uniform(w: Writing, node: Node, generator: Entry) -> Any:
    low, high = (float(settings_of(node)[name]) for name in ("low", "high"))
    return w.add("RandomUniform", shape=list(settings_of(node)["shape"]), low=low, high=high, dtype=11)


@form
def _random_normal(w: Writing, node: Node, generator: Entry) -> Any:
    mean, scale = float(settings_of(node)["mean"]), float(settings_of(node)["std"])
    return w.add("RandomNormal", shape=list(settings_of(node)["shape"]), mean=mean, scale=scale, dtype=11)
