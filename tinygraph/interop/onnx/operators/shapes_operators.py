"""Operators on shapes and places: what moves, repeats, joins and parts elements, and the integers that say how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    axis_of,
    dtype,
    ints,
    number,
    operator,
    room,
    shape,
    static,
)


@operator("Shape")
def _shape_form(call: Call, x: Operand) -> Any:
    sizes = shape(x)
    start, end = call.get("start", 0), call.get("end", len(sizes))
    return np.array(sizes[max(start + len(sizes), 0) if start < 0 else start : end], np.int64)


@operator("Size")
def _size(call: Call, x: Operand) -> Any:
    return np.array(math.prod(shape(x)), np.int64)


@operator("Reshape", carries=True)
def _reshape(call: Call, x: Operand, wanted: Operand = None) -> Any:
    target = list(ints(wanted, "shape") if wanted is not None else call.need("shape"))
    if not call.get("allowzero", 0):
        old = shape(x)
        target = [old[i] if one == 0 and i < len(old) else one for i, one in enumerate(target)]
    return np.reshape(x, tuple(target))


@operator("Flatten", carries=True)
def _flatten(call: Call, x: Operand) -> Any:
    sizes = shape(x)
    axis = call.get("axis", 1)
    axis = axis + len(sizes) if axis < 0 else axis
    return np.reshape(x, (math.prod(sizes[:axis]), math.prod(sizes[axis:])))


@operator("Transpose", carries=True)
def _transpose(call: Call, x: Operand) -> Any:
    return np.transpose(x, call.get("perm") or tuple(range(np.ndim(x)))[::-1])


def _axes(call: Call, axes: Operand) -> tuple[int, ...] | None:
    if axes is not None:
        return ints(axes, "axes")
    found = call.get("axes")
    return None if found is None else tuple(found)


@operator("Squeeze", carries=True)
def _squeeze(call: Call, x: Operand, axes: Operand = None) -> Any:
    found = _axes(call, axes)
    return np.squeeze(x, found) if found is not None else np.squeeze(x)


@operator("Unsqueeze", carries=True)
def _unsqueeze(call: Call, x: Operand, axes: Operand = None) -> Any:
    found = _axes(call, axes) or ()
    rank = np.ndim(x) + len(found)
    new = {axis_of(one, rank) for one in found}
    if len(new) != len(found):
        raise FileFormatError(f"the axes {found} name one axis twice")
    sizes = iter(shape(x))
    return np.reshape(x, tuple(1 if i in new else next(sizes) for i in range(rank)))


@operator("Concat")
def _concat(call: Call, *xs: Operand) -> Any:
    axis = call.get("axis", 1)
    return xs[0] if len(xs) == 1 else np.concatenate(xs, axis=axis)


@operator("Expand", carries=True)
def _expand(call: Call, x: Operand, wanted: Operand) -> Any:
    target = np.broadcast_shapes(shape(x), ints(wanted, "shape"))
    return x if target == shape(x) else np.broadcast_to(x, room(target, dtype(x)))


@operator("Tile", carries=True)
def _tile(call: Call, x: Operand, repeats: Operand) -> Any:
    times = ints(repeats, "repeats")
    room([a * b for a, b in zip(shape(x), times, strict=True)], dtype(x))
    return np.tile(x, times)


@operator("Split")
def _split(call: Call, x: Operand, sizes: Operand = None) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    length = shape(x)[axis]
    parts = ints(sizes, "split") if sizes is not None else call.get("split")
    if parts is None:
        count = call.get("num_outputs", len(call.outputs))
        each = -(-length // count)
        parts = [min(each, max(length - i * each, 0)) for i in range(count)]
    if sum(parts) != length:
        raise FileFormatError(f"the parts {tuple(parts)} do not come to the {length} along axis {axis}")
    return tuple(np.split(x, tuple(np.cumsum(parts)[:-1].tolist()), axis=axis))


@operator("Slice", carries=True)
def _slice_form(
    call: Call,
    x: Operand,
    starts: Operand = None,
    ends: Operand = None,
    axes: Operand = None,
    steps: Operand = None,
) -> Any:
    first = ints(starts, "starts") if starts is not None else tuple(call.need("starts"))
    last = ints(ends, "ends") if ends is not None else tuple(call.need("ends"))
    along = ints(axes, "axes") if axes is not None else tuple(call.get("axes", range(len(first))))
    by = ints(steps, "steps") if steps is not None else (1,) * len(first)
    index = [slice(None)] * np.ndim(x)
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        index[axis_of(axis, np.ndim(x))] = _slice(start, end, step, shape(x)[axis])
    return x[tuple(index)]


def _slice(start: int, end: int, step: int, length: int) -> slice:
    """ONNX clamps the ends; a slice backwards to the very front has no end."""
    start, end = (one + length if one < 0 else one for one in (start, end))
    if step == 0:
        raise FileFormatError("a step is 0")
    if step > 0:
        return slice(min(max(start, 0), length), min(max(end, 0), length), step)
    start, end = min(max(start, -1), length - 1), min(max(end, -1), length - 1)
    return slice(0, 0, 1) if start <= end else slice(start, None if end < 0 else end, step)


@operator("Pad")
def _pad(call: Call, x: Operand, pads: Operand = None, value: Operand = None, axes: Operand = None) -> Any:
    mode = call.get("mode", "constant")
    amounts = ints(pads, "pads") if pads is not None else tuple(call.need("pads"))
    rank = np.ndim(x)
    along = [axis_of(one, rank) for one in (ints(axes, "axes") if axes is not None else range(rank))]
    if len(amounts) != 2 * len(along):
        raise FileFormatError(f"{len(amounts)} pads for {len(along)} axes")
    widths = [(0, 0)] * rank
    for i, axis in enumerate(along):
        widths[axis] = (amounts[i], amounts[i + len(along)])
    x = (
        x[
            tuple(
                slice(max(-before, 0), size - max(-after, 0))
                for (before, after), size in zip(widths, shape(x), strict=True)
            )
        ]
        if min(amounts, default=0) < 0
        else x
    )
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    room([a + b + c for a, (b, c) in zip(shape(x), widths, strict=True)], dtype(x))
    if mode != "constant":
        return ops.pad(x, pad_width=widths, mode=mode)
    constant = call.get("value", 0.0) if value is None else number(value, "constant_value")
    return ops.pad(x, pad_width=widths, constant_values=constant)


@operator("Range")
def _range_form(call: Call, start: Operand, limit: Operand, delta: Operand) -> Any:
    first, last, step = (static(one, "bounds").reshape(()) for one in (start, limit, delta))
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)
    return (first + np.arange(room([count], first.dtype)[0]).astype(first.dtype) * step).astype(first.dtype)


@operator("ConstantOfShape")
def _constant_of_shape(call: Call, wanted: Operand) -> Any:
    value = call.get("value")
    value = np.zeros(1, np.float32) if value is None else value
    return np.full(room(ints(wanted, "shape"), value.dtype), value.reshape(-1)[0])


@operator("Constant")
def _constant(call: Call) -> Any:
    for name, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in call.attributes:
            return np.array(call.need(name), kind)
    if "value_string" in call.attributes or "value_strings" in call.attributes:
        return np.array(call.get("value_string", call.get("value_strings")), object)
    if "value" in call.attributes:
        call.made_types[0] = call.protos["value"].t.data_type
        return call.need("value")
    raise FileFormatError("it is a constant without a value of a kind that is read here")


@operator("EyeLike")
def _eye_like(call: Call, x: Operand) -> Any:
    from tinygraph.interop.onnx.element_types import dtype_of

    kind = dtype_of(call.get("dtype")) if call.get("dtype") else dtype(x)
    rows, columns = room(shape(x), kind)
    return np.eye(rows, columns, k=call.get("k", 0), dtype=kind)


@operator("DepthToSpace")
def _depth_to_space(call: Call, x: Operand) -> Any:
    n, c, h, w = shape(x)
    b = call.need("blocksize")
    if call.get("mode", "DCR") == "DCR":
        parted = np.transpose(np.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        parted = np.transpose(np.reshape(x, (n, c // b**2, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return np.reshape(parted, (n, c // b**2, h * b, w * b))


@operator("SpaceToDepth")
def _space_to_depth(call: Call, x: Operand) -> Any:
    n, c, h, w = shape(x)
    b = call.need("blocksize")
    parted = np.reshape(x, (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if call.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return np.reshape(np.transpose(parted, order), (n, c * b**2, h // b, w // b))


@operator("Trilu")
def _trilu(call: Call, x: Operand, k: Operand = None) -> Any:
    by = 0 if k is None else int(number(k, "k"))
    rows, columns = shape(x)[-2:]
    by = max(min(by, columns + 1), -rows - 1)
    keep = np.tri(rows, columns, by - 1 if call.get("upper", 1) else by, dtype=bool)
    return ops.where(~keep if call.get("upper", 1) else keep, x, np.zeros((), dtype(x)))


@operator("CenterCropPad")
def _center_crop_pad(call: Call, x: Operand, wanted: Operand) -> Any:
    target, rank = ints(wanted, "shape"), np.ndim(x)
    axes = [axis_of(one, rank) for one in call.get("axes", range(rank))]
    index, widths = [slice(None)] * rank, [(0, 0)] * rank
    for axis, size in zip(axes, target, strict=True):
        old = shape(x)[axis]
        if size < old:
            index[axis] = slice((old - size) // 2, (old - size) // 2 + size)
        else:
            widths[axis] = ((size - old) // 2, size - old - (size - old) // 2)
    room([a + sum(b) for a, b in zip(shape(x), widths, strict=True)], dtype(x))
    return ops.pad(x[tuple(index)], pad_width=widths)


@operator("ReverseSequence")
def _reverse_sequence(call: Call, x: Operand, lengths: Operand) -> Any:
    time, batch = call.get("time_axis", 0), call.get("batch_axis", 1)
    size = shape(x)[time]
    steps = np.arange(size)[:, None]
    order = np.where(steps < lengths, lengths - 1 - steps, steps)
    if batch < time:
        order = np.transpose(order)
    spread = [1] * np.ndim(x)
    spread[time], spread[batch] = size, shape(x)[batch]
    return ops.take_along_axis(x, np.broadcast_to(np.reshape(order, tuple(spread)), shape(x)), axis=time)


@operator("Col2Im")
def _col2im(call: Call, x: Operand, image: Operand, block: Operand) -> Any:
    """Columns added up where their windows lay: the transpose of gathering windows."""
    sizes, window = ints(image, "image_shape"), ints(block, "block_shape")
    rank = len(sizes)
    strides, dilations = call.get("strides", (1,) * rank), call.get("dilations", (1,) * rank)
    pads = call.get("pads", (0,) * 2 * rank)
    padded = [n + pads[i] + pads[i + rank] for i, n in enumerate(sizes)]
    n, columns, count = shape(x)
    channels = columns // math.prod(window)
    at = []
    for i in range(rank):
        steps = (padded[i] - dilations[i] * (window[i] - 1) - 1) // strides[i] + 1
        at.append(np.arange(window[i])[:, None] * dilations[i] + np.arange(steps) * strides[i])
    flat = np.zeros((1,) * 2 * rank, np.int64)
    for i, places in enumerate(at):
        spread = [1] * 2 * rank
        spread[i], spread[i + rank] = places.shape
        flat = flat * padded[i] + places.reshape(spread)
    taps = flat.shape[:rank]
    index = np.broadcast_to(flat.reshape(1, 1, -1), (n, channels, math.prod(taps) * count))
    room([n, channels, *padded], dtype(x))
    values = np.reshape(x, (n, channels, math.prod(window) * count))
    made = ops.scatter_windows(values, np.ascontiguousarray(index), spatial_shape=(math.prod(padded),))
    inside = tuple(slice(pads[i], pads[i] + one) for i, one in enumerate(sizes))
    return np.reshape(made, (n, channels, *padded))[(slice(None), slice(None), *inside)]
