"""Common operators of the domain com.microsoft, which onnxruntime writes into the models that it optimises."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import TABLE, Call, Operand, dtype, operator, shape

DOMAIN = "com.microsoft"


@operator("Gelu", "BiasGelu", domain=DOMAIN)
def _gelu(call: Call, x: Operand, bias: Operand = None) -> Any:
    return ops.gelu(x if bias is None else x + bias)


@operator("FastGelu", domain=DOMAIN)
def _fast_gelu(call: Call, x: Operand, bias: Operand = None) -> Any:
    return ops.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=DOMAIN)
def _quick_gelu(call: Call, x: Operand) -> Any:
    return x * ops.sigmoid(x * call.get("alpha", 1.702))


@operator("SkipLayerNormalization", domain=DOMAIN)
def _skip_layer_normalization(
    call: Call, x: Operand, skip: Operand, scale: Operand, shift: Operand = None, bias: Operand = None
) -> Any:
    total = x + skip if bias is None else x + skip + bias
    made = ops.layer_norm(total, scale, shift, normalized_shape=shape(x)[-1:], eps=call.get("epsilon", 1e-12))
    return made, None, None, total


@operator("FusedMatMul", domain=DOMAIN)
def _fused_matmul(call: Call, x: Operand, y: Operand) -> Any:
    x = np.swapaxes(x, -1, -2) if call.get("transA", 0) else x
    y = np.swapaxes(y, -1, -2) if call.get("transB", 0) else y
    alpha = call.get("alpha", 1.0)
    return np.matmul(x, y) if alpha == 1 else np.matmul(x, y) * dtype(x).type(alpha)


@operator("FusedGemm", "FusedConv", domain=DOMAIN)
def _fused(call: Call, *operands: Operand) -> Any:
    """A product or convolution, then an activation."""
    first = TABLE["", call.op_type.removeprefix("Fused")]
    rest = operands[3:] if call.op_type == "FusedConv" else ()
    made = first.form(call, *operands[:3])
    made = made if not rest else made + rest[0]
    name = call.get("activation", "")
    if not name:
        return made
    row = TABLE.get(("", name))
    if row is None:
        raise FileFormatError(f"the activation {name!r:.60} is not known")
    numbers = call.get("activation_params", (call.get("activation_alpha", 0.01),))
    call.attributes = dict(zip(("alpha", "beta"), numbers, strict=False))
    if name == "Clip":
        return np.clip(made, *numbers)
    return row.form(call, made)


@operator("Attention", domain=DOMAIN)
def _attention(call: Call, x: Operand, weight: Operand, bias: Operand = None, mask: Operand = None) -> Any:
    """Self-attention with its projections in one matrix, over heads."""
    heads = call.need("num_heads")
    both = np.matmul(x, weight)
    both = both if bias is None else both + bias
    n, length, wide = shape(both)
    width = wide // 3

    def split(i: int) -> Any:
        return np.transpose(
            np.reshape(both[..., i * width : (i + 1) * width], (n, length, heads, -1)), (0, 2, 1, 3)
        )

    query, key, value = split(0), split(1), split(2)
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * dtype(x).type(
        call.get("scale", 0) or (width // heads) ** -0.5
    )
    far = dtype(x).type(call.get("mask_filter_value", -10000.0))
    if call.get("unidirectional", 0):
        scores = np.where(np.tri(length, dtype=bool), scores, far)
    if mask is not None:
        if np.ndim(mask) != 2:
            raise FileFormatError(
                f"a mask of {np.ndim(mask)} dimensions is not read here, only (batch, length)"
            )
        scores = np.where(np.reshape(np.not_equal(mask, 0), (n, 1, 1, length)), scores, far)
    made = np.matmul(ops.softmax(scores, axis=-1), value)
    return np.reshape(np.transpose(made, (0, 2, 1, 3)), (n, length, width))
