"""Operators that sum products: matrices, einsum, determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.interop.onnx.operators.operator_table import Call, Operand, dtype, operator


@operator("MatMul")
def _matmul(call: Call, x: Operand, y: Operand) -> Any:
    return np.matmul(x, y)


@operator("Gemm")
def _gemm(call: Call, a: Operand, b: Operand, c: Operand = None) -> Any:
    a = np.transpose(a) if call.get("transA", 0) else a
    b = np.transpose(b) if call.get("transB", 0) else b
    made = np.matmul(a, b)
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if alpha != 1:
        made = made * _scalar(alpha, made)
    if c is None or beta == 0:
        return made
    return made + (c if beta == 1 else c * _scalar(beta, made))


def _scalar(value: float, like: Operand) -> Any:
    return dtype(like).type(value)


@operator("Einsum")
def _einsum(call: Call, *xs: Operand) -> Any:
    return ops.einsum(*xs, subscripts=call.need("equation").replace(" ", ""))


@operator("Det")
def _det(call: Call, x: Operand) -> Any:
    return np.linalg.det(x)
