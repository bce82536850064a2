"""Operators that change types and precision: casts and quantisation, through which gradients pass straight."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import (
    NARROW,
    OF_DTYPE,
    dtype_of,
    is_float,
    is_narrow_float,
    limits,
)
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    Quantized,
    axis_of,
    dtype,
    operator,
    shape,
    static,
)


@operator("Cast", "CastLike")
def _cast(call: Call, x: Operand, like: Operand = None) -> Any:
    to = call.need("to") if call.op_type == "Cast" else call.element_types[1]
    call.made_types[0] = to
    if not to or call.element_types[0] in (0, 8):
        raise FileFormatError("texts are not cast here")
    return _cast_to(x, call.element_types[0], to, bool(call.get("saturate", 1)), call.get("round_mode", "up"))


def _cast_to(x: Operand, of: int, to: int, saturate: bool, mode: str) -> Any:
    held = dtype_of(to)
    if to not in NARROW:
        return x if dtype(x) == held else ops.cast(x, dtype=held.name)
    if NARROW[to].format:
        x = x if dtype(x) == np.float32 else ops.cast(x, dtype="float32")
        if of == to:
            return x
        return ops.round_to_format(x, format=NARROW[to].format, saturate=saturate, mode=mode)
    low, high = limits(to)
    if is_float(of):
        x = ops.cast(
            np.clip(np.trunc(x) if is_narrow_float(of) or of in (1, 10, 11) else x, -(2.0**31), 2.0**31),
            dtype="int64",
        )
    wrapped = np.remainder(ops.cast(x, dtype="int64") - low, high - low + 1) + low
    return ops.cast(wrapped, dtype=held.name)


@operator("BitCast")
def _bit_cast(call: Call, x: Operand) -> Any:
    to = dtype_of(call.need("to"))
    if call.need("to") in NARROW or call.element_types[0] in NARROW:
        raise FileFormatError("the bits of this type are not those of what holds it here")
    return static(x, "bits").view(to)


def _spread(x: Operand, like: Operand, axis: int, block: int = 0) -> Any:
    """A scale of the whole, of each place along an axis, or of blocks along it, beside `like`."""
    if np.ndim(x) == 0 or (np.ndim(x) == 1 and shape(x) == (1,) and not block):
        return np.reshape(x, ())
    if np.ndim(x) == 1:
        sizes = [1] * np.ndim(like)
        sizes[axis] = -1
        return np.reshape(x, tuple(sizes))
    return np.repeat(x, block, axis=axis)[tuple(slice(0, one) for one in shape(like))] if block else x


@operator("DequantizeLinear")
def _dequantize(call: Call, x: Operand, scale: Operand, zero: Operand = None) -> Any:
    axis = axis_of(call.get("axis", 1), np.ndim(_inside(x))) if np.ndim(scale) and np.size(scale) > 1 else 0
    wanted = dtype_of(call.get("output_dtype")) if call.get("output_dtype", 0) else dtype(scale)
    call.made_types[0] = OF_DTYPE[wanted]
    value = _as_float(x, wanted)
    if zero is not None:
        value = value - _spread(_as_float(zero, wanted), value, axis, call.get("block_size", 0))
    return value * _spread(
        ops.cast(scale, dtype=wanted.name) if dtype(scale) != wanted else scale,
        value,
        axis,
        call.get("block_size", 0),
    )


def _inside(x: Operand) -> Any:
    return x.value if isinstance(x, Quantized) else x


def _as_float(x: Operand, wanted: Operand) -> Any:
    value = _inside(x)
    return value if dtype(value) == wanted else ops.cast(value, dtype=np.dtype(wanted).name)


@operator("QuantizeLinear")
def _quantize(call: Call, x: Operand, scale: Operand, zero: Operand = None) -> Any:
    to = call.element_types[2] if zero is not None else call.get("output_dtype", 0) or 2
    axis = axis_of(call.get("axis", 1), np.ndim(x)) if np.ndim(scale) and np.size(scale) > 1 else 0
    block = call.get("block_size", 0)
    return _quantized(
        call, x, _spread(scale, x, axis, block), None if zero is None else _spread(zero, x, axis, block), to
    )


def _quantized(call: Call, x: Operand, scale: Operand, zero: Operand, to: int) -> Any:
    """x / scale + zero as a value of a narrow type: integers that gradients pass straight through, within bounds."""
    x = x if dtype(x).kind == "f" else ops.cast(x, dtype="float32")
    precision = call.get("precision", 0)
    scale = scale if not precision else ops.cast(scale, dtype=dtype_of(precision).name)
    scaled = x / (scale if dtype(scale) == dtype(x) else ops.cast(scale, dtype=dtype(x).name))
    call.made_types[0] = to
    if is_narrow_float(to):
        saturate = bool(call.get("saturate", 1))
        found = scaled if zero is None else scaled + _as_float(zero, dtype(scaled))
        found = found if dtype(found) == np.float32 else ops.cast(found, dtype="float32")
        return ops.round_to_format(found, format=NARROW[to].format, saturate=saturate, mode="up")
    low, high = limits(to)
    found = ops.round_straight_through(scaled)
    found = found if zero is None else found + _as_float(zero, dtype(found))
    found = np.clip(found, low, high)
    return Quantized(found, to) if hasattr(found, "_edge") else found.astype(dtype_of(to))


@operator("DynamicQuantizeLinear")
def _dynamic_quantize(call: Call, x: Operand) -> Any:
    low, high = np.minimum(np.min(x), np.float32(0)), np.maximum(np.max(x), np.float32(0))
    scale = (high - low) / np.float32(255)
    scale = np.where(np.equal(scale, 0), np.float32(1), scale)
    zero = ops.round_straight_through(np.clip(-low / scale, 0.0, 255.0))
    if not hasattr(x, "_edge"):
        return _quantized(call, x, scale, zero, 2), np.asarray(scale), np.asarray(zero).astype(np.uint8)
    return _quantized(call, x, scale, zero, 2), scale, Quantized(zero, 2)


def _centred(x: Operand, zero: Operand, wide: Operand, rows: bool = False) -> Any:
    """Integers without their zero point, as floats that hold all products, where gradients pass, or as integers."""
    value = _as_float(x, wide)
    if zero is None:
        return value
    zero = _as_float(zero, wide)
    return value - (np.expand_dims(zero, -1) if rows and np.ndim(zero) else zero)


def _wide(*xs: Operand) -> Any:
    return np.float64 if any(isinstance(one, Quantized) for one in xs) else np.int32


@operator("MatMulInteger")
def _matmul_integer(
    call: Call, a: Operand, b: Operand, a_zero: Operand = None, b_zero: Operand = None
) -> Any:
    wide = _wide(a, b)
    made = np.matmul(_centred(a, a_zero, wide, rows=True), _centred(b, b_zero, wide))
    return Quantized(made, 6) if wide is np.float64 else made


@operator("ConvInteger")
def _conv_integer(
    call: Call, x: Operand, kernel: Operand, x_zero: Operand = None, kernel_zero: Operand = None
) -> Any:
    from tinygraph.interop.onnx.operators.windows_operators import conv

    zero = (
        kernel_zero
        if kernel_zero is None or not np.ndim(_inside(kernel_zero))
        else _spread(kernel_zero, kernel, 0)
    )
    made = conv(call, _centred(x, x_zero, np.float64), _centred(kernel, zero, np.float64))
    return Quantized(made, 6) if _wide(x, kernel) is np.float64 else ops.cast(made, dtype="int32")


@operator("QLinearMatMul")
def _qlinear_matmul(
    call: Call,
    a: Operand,
    a_scale: Operand,
    a_zero: Operand,
    b: Operand,
    b_scale: Operand,
    b_zero: Operand,
    scale: Operand,
    zero: Operand,
) -> Any:
    left = _centred(a, a_zero, np.float64, rows=True)
    right = _centred(b, b_zero, np.float64)
    of_a = _as_float(a_scale, np.float64)
    factor = (np.expand_dims(of_a, -1) if np.ndim(of_a) else of_a) * _as_float(b_scale, np.float64)
    made = np.matmul(left, right) * factor
    return _quantized(call, made, _as_float(scale, np.float64), zero, call.element_types[7])


@operator("QLinearConv")
def _qlinear_conv(
    call: Call,
    x: Operand,
    x_scale: Operand,
    x_zero: Operand,
    w: Operand,
    w_scale: Operand,
    w_zero: Operand,
    scale: Operand,
    zero: Operand,
    bias: Operand = None,
) -> Any:
    from tinygraph.interop.onnx.operators.windows_operators import conv

    kernel = _centred(w, _spread(_inside(w_zero), w, 0), np.float64)
    made = conv(call, _centred(x, x_zero, np.float64), kernel)
    beside = (1, -1) + (1,) * (np.ndim(made) - 2)
    if bias is not None:
        made = made + np.reshape(_as_float(bias, np.float64), beside)
    factor = _as_float(x_scale, np.float64) * _as_float(w_scale, np.float64)
    made = made * (np.reshape(factor, beside) if np.ndim(factor) else factor)
    return _quantized(call, made, _as_float(scale, np.float64), zero, call.element_types[7])
