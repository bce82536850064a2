"""Operators that draw random numbers: from the library's generator, each time the graph runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import dtype_of
from tinygraph.interop.onnx.operators.operator_table import Call, Operand, dtype, operator, room, shape


def _draw(call: Call, sizes: Operand, kind: Operand) -> Any:
    sizes, one = room(sizes, np.float64), np.dtype(kind).type
    if call.op_type.startswith("RandomNormal"):
        drawn, scale, shift = default_generator.normal(sizes), call.get("scale", 1.0), call.get("mean", 0.0)
    else:
        low, high = call.get("low", 0.0), call.get("high", 1.0)
        drawn, scale, shift = default_generator.uniform(sizes), high - low, low
    return ops.cast(drawn, dtype=np.dtype(kind).name) * one(scale) + one(shift)


@operator("RandomNormal", "RandomUniform")
def _random(call: Call) -> Any:
    return _draw(call, call.need("shape"), dtype_of(call.get("dtype", 1)))


@operator("RandomNormalLike", "RandomUniformLike")
def _random_like(call: Call, x: Operand) -> Any:
    return _draw(call, shape(x), dtype_of(call.get("dtype")) if call.get("dtype") else dtype(x))


@operator("Bernoulli")
def _bernoulli(call: Call, p: Operand) -> Any:
    kind = dtype_of(call.get("dtype")) if call.get("dtype") else dtype(p)
    return ops.cast(np.less(default_generator.uniform(room(shape(p), np.float64)), p), dtype=kind.name)


@operator("Multinomial")
def _multinomial(call: Call, logits: Operand) -> Any:
    """Classes drawn by unnormalised log-probabilities, by noise that makes the largest one the draw."""
    count = call.get("sample_size", 1)
    batch, classes = shape(logits)
    if count < 1:
        raise FileFormatError(f"sample_size={count}")
    noise = -np.log(
        -np.log(np.maximum(default_generator.uniform(room((batch, count, classes), np.float64)), 1e-300))
    )
    return ops.cast(
        np.argmax(np.expand_dims(logits, 1) + noise, axis=-1), dtype=dtype_of(call.get("dtype", 6)).name
    )
