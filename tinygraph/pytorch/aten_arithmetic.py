"""PyTorch's operators of arithmetic and reductions, by their names in ATen, with its arguments in its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.nn import functional as F
from tinygraph.pytorch.dtypes import dtype_of

Dims = int | Sequence[int] | None


def _axes(dim: Dims) -> Any:
    if dim is None or isinstance(dim, int):
        return dim
    return tuple(dim) or None


def _summing(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
        x = x if dtype is None else ops.cast(x, dtype=dtype_of(dtype))
        return function(x, axis=_axes(dim), keepdims=keepdim)

    return reduced


def _prod(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    x = x if dtype is None else ops.cast(x, dtype=dtype_of(dtype))
    return ops.prod(x, axis=dim, keepdims=keepdim)


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """`std` and `var`, whose second argument is `unbiased`, or `dim` before it."""

    def reduced(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = int(unbiased) if correction is None else correction
        return function(x, axis=_axes(dim), ddof=ddof, keepdims=keepdim)

    return reduced


def _extreme(function: Callable[..., Any], place: Callable[..., Any], sign: str) -> Callable[..., Any]:
    """`max` and `min`: of all, along an axis with positions, or of two tensors."""

    def found(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return function(x)
        if not isinstance(dim, int):
            return getattr(ops, sign)(x, dim)
        where = place(x, axis=dim, keepdims=True)
        values = ops.take_along_axis(x, where, axis=dim)
        return (values, where) if keepdim else (ops.squeeze(values, axis=dim), ops.squeeze(where, axis=dim))

    return found


def _add(x: Any, y: Any, alpha: Any = 1) -> Any:
    return ops.add(x, y if alpha == 1 else y * alpha)


def _sub(x: Any, y: Any, alpha: Any = 1) -> Any:
    return ops.subtract(x, y if alpha == 1 else y * alpha)


def _div(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return ops.floor_divide(x, y)
    out = _true(x, y)
    return out if rounding_mode is None else ops.trunc(out)


def _true(x: Any, y: Any) -> Any:
    kinds = {np.asarray(one).dtype.kind if not hasattr(one, "dtype") else one.dtype.kind for one in (x, y)}
    if kinds <= {"i", "u", "b"}:  # PyTorch's quotient of integers is a float32
        return ops.divide(ops.cast(x, dtype=np.float32) if hasattr(x, "dtype") else float(x), y)
    return ops.divide(x, y)


def _clamp(x: Any, least: Any = None, most: Any = None) -> Any:
    return ops.clip(x, least, most)


def _norm(x: Any, ord: Any = 2, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
    axes = _axes(dim)
    if ord in (float("inf"), float("-inf")):
        return (ops.max if ord > 0 else ops.min)(ops.abs(x), axis=axes, keepdims=keepdim)
    if ord == 0:
        return ops.cast(ops.sum(ops.not_equal(x, 0), axis=axes, keepdims=keepdim), dtype=x.dtype)
    if ord == 2:
        return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=keepdim))
    return ops.sum(ops.abs(x) ** ord, axis=axes, keepdims=keepdim) ** (1.0 / ord)


def _addmm(bias: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    product = ops.matmul(x, y)
    return _add(product if alpha == 1 else product * alpha, bias, beta)


def _softmax(op: Any) -> Callable[..., Any]:
    def applied(x: Any, dim: int = -1, dtype: Any = None) -> Any:
        found = dtype_of(dtype, None)
        return op(x if found is None else ops.cast(x, dtype=found), axis=dim)

    return applied


def _logical(op: Any) -> Callable[..., Any]:
    return lambda x, y: op(x, y)


_UNARY = {
    "neg": "negative", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p", "log2": "log2",
    "log10": "log10", "sqrt": "sqrt", "abs": "abs", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "erf": "erf", "floor": "floor", "ceil": "ceil", "round": "round",
    "trunc": "trunc", "sign": "sign", "reciprocal": "reciprocal", "square": "square", "sigmoid": "sigmoid",
    "relu": "relu", "logical_not": "logical_not", "bitwise_not": "invert", "isnan": "isnan", "isinf": "isinf",
    "isfinite": "isfinite", "real": "real", "imag": "imag", "conj": "conj", "angle": "angle", "relu6": "relu6",
}  # fmt: skip
_BINARY = {
    "mul": "multiply", "maximum": "maximum", "minimum": "minimum", "eq": "equal", "ne": "not_equal", "lt": "less",
    "le": "less_equal", "gt": "greater", "ge": "greater_equal", "logical_and": "logical_and", "pow": "power",
    "logical_or": "logical_or", "logical_xor": "logical_xor", "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or",
    "bitwise_xor": "bitwise_xor", "remainder": "remainder", "floor_divide": "floor_divide", "atan2": "arctan2",
    "__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor", "matmul": "matmul", "mm": "matmul",
    "bmm": "matmul", "mv": "matmul", "dot": "matmul", "outer": "outer", "logaddexp": "logaddexp", "hypot": "hypot",
}  # fmt: skip


def _op(name: str) -> Callable[..., Any]:
    return lambda *operands: getattr(ops, name)(*operands)


ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{name: _op(ours) for name, ours in (_UNARY | _BINARY).items()},
    "add": _add,
    "sub": _sub,
    "rsub": lambda x, y, alpha=1: _sub(y, x, alpha),
    "div": _div,
    "true_divide": _true,
    "rsqrt": lambda x: 1 / ops.sqrt(x),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": lambda x, least: ops.maximum(x, least),
    "clamp_max": lambda x, most: ops.minimum(x, most),
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "addcmul": lambda x, a, b, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, value=1: x + value * a / b,
    "sum": _summing(ops.sum),
    "mean": _summing(ops.mean),
    "amax": _summing(ops.max),
    "amin": _summing(ops.min),
    "any": _summing(ops.any),
    "all": _summing(ops.all),
    "logsumexp": lambda x, dim, keepdim=False: ops.logsumexp(x, axis=_axes(dim), keepdims=keepdim),
    "prod": _prod,
    "std": _spread(ops.std),
    "var": _spread(ops.var),
    "max": _extreme(ops.max, ops.argmax, "maximum"),
    "min": _extreme(ops.min, ops.argmin, "minimum"),
    "argmax": lambda x, dim=None, keepdim=False: ops.argmax(x, axis=dim, keepdims=keepdim),
    "argmin": lambda x, dim=None, keepdim=False: ops.argmin(x, axis=dim, keepdims=keepdim),
    "cumsum": lambda x, dim, dtype=None: ops.cumsum(x, axis=dim),
    "cumprod": lambda x, dim, dtype=None: ops.cumprod(x, axis=dim),
    "linalg_vector_norm": _norm,
    "norm": lambda x, p=2, dim=None, keepdim=False, dtype=None: _norm(x, 2 if p is None else p, dim, keepdim),
    "addmm": _addmm,
    "addmv": _addmm,
    "baddbmm": _addmm,
    "einsum": lambda equation, xs, path=None: ops.einsum(*xs, subscripts=equation),
    "softmax": _softmax(ops.softmax),
    "log_softmax": _softmax(ops.log_softmax),
    "_softmax": lambda x, dim, half: ops.softmax(x, axis=dim),
    "_log_softmax": lambda x, dim, half: ops.log_softmax(x, axis=dim),
    "cosine_similarity": F.cosine_similarity,
}


ARITHMETIC["_safe_softmax"] = ARITHMETIC["softmax"]
ARITHMETIC["negative"] = ARITHMETIC["neg"]
ARITHMETIC["absolute"] = ARITHMETIC["abs"]
ARITHMETIC["divide"] = ARITHMETIC["div"]
ARITHMETIC["multiply"] = ARITHMETIC["mul"]
ARITHMETIC["subtract"] = ARITHMETIC["sub"]
