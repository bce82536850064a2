"""Operators on windows: convolutions and pools, with ONNX's rounding, and its paddings that differ at both ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import Call, Operand, dtype, operator, room, shape

Pairs = list[tuple[int, int]]


def _pads(
    call: Call, sizes: Sequence[int], window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pairs:
    """The padding (before, after) of each spatial dimension."""
    rank = len(sizes)
    auto = call.get("auto_pad", "NOTSET") or "NOTSET"
    if auto == "NOTSET":
        pads = call.get("pads", (0,) * 2 * rank)
        if len(pads) != 2 * rank:
            raise FileFormatError(f"{len(pads)} pads for {rank} spatial dimensions")
        return list(zip(pads[:rank], pads[rank:], strict=True))
    if auto == "VALID":
        return [(0, 0)] * rank
    made = []
    for size, width, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        made.append(
            (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
        )
    return made


def _settings(call: Call, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    strides = tuple(call.get("strides") or (1,) * rank)
    dilations = tuple(call.get("dilations") or (1,) * rank)
    if len(strides) != rank or len(dilations) != rank:
        raise FileFormatError(f"strides {strides} and dilations {dilations} for {rank} spatial dimensions")
    return strides, dilations


def _one(values: Sequence[Any]) -> Any:
    """One number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


@operator("Conv")
def conv(call: Call, x: Operand, kernel: Operand, bias: Operand = None) -> Any:
    rank = np.ndim(x) - 2
    strides, dilations = _settings(call, rank)
    pads = _pads(call, shape(x)[2:], shape(kernel)[2:], strides, dilations)
    even = all(before == after for before, after in pads)
    return ops.convolution(
        x,
        kernel,
        bias,
        stride=_one(strides),
        padding=_one([before for before, _ in pads]) if even else tuple(pads),
        dilation=_one(dilations),
        groups=call.get("group", 1),
    )


@operator("ConvTranspose")
def _conv_transpose(call: Call, x: Operand, kernel: Operand, bias: Operand = None) -> Any:
    """Paddings that differ are cut off (or, where the output is asked to be larger, added) at the ends."""
    rank = np.ndim(x) - 2
    strides, dilations = _settings(call, rank)
    extra = tuple(call.get("output_padding") or (0,) * rank)
    wanted, auto = call.get("output_shape"), call.get("auto_pad", "NOTSET") or "NOTSET"
    spans = [
        (n - 1) * s + (k - 1) * d + 1
        for n, k, s, d in zip(shape(x)[2:], shape(kernel)[2:], strides, dilations, strict=True)
    ]
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(shape(x)[2:], strides, strict=True)]
    if wanted is not None:
        cut = []
        for span, one, more in zip(spans, wanted[-rank:], extra, strict=True):
            total = span + more - one
            half = total // 2
            cut.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
    else:
        cut = _pads(call, shape(x)[2:], shape(kernel)[2:], strides, dilations)
    if all(before == after >= 0 for before, after in cut) and all(
        e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)
    ):
        return ops.convolution_transpose(
            x, kernel, bias, stride=_one(strides), padding=_one([one for one, _ in cut]),
            output_padding=_one(extra), dilation=_one(dilations), groups=call.get("group", 1),
        )  # fmt: skip
    whole = ops.convolution_transpose(
        x, kernel, None, stride=_one(strides), dilation=_one(dilations), groups=call.get("group", 1)
    )
    ends = [(max(-before, 0), max(more - after, 0)) for (before, after), more in zip(cut, extra, strict=True)]
    room(
        [*shape(whole)[:2], *(a + sum(b) for a, b in zip(shape(whole)[2:], ends, strict=True))], dtype(whole)
    )
    whole = ops.pad(whole, pad_width=[(0, 0), (0, 0), *ends]) if any(map(any, ends)) else whole
    inside = [
        slice(max(before, 0), size - max(after - more, 0))
        for (before, after), more, size in zip(cut, extra, shape(whole)[2:], strict=True)
    ]
    made = whole[(slice(None), slice(None), *inside)]
    return made if bias is None else made + np.reshape(bias, (-1,) + (1,) * rank)


def _pooled(call: Call, x: Operand, fill: float | None) -> tuple[Any, dict[str, Any], Pairs]:
    """x, padded where its ends differ, the settings of a pool, and all of the padding."""
    window = tuple(call.need("kernel_shape"))
    rank = len(window)
    strides, dilations = _settings(call, rank)
    pads = _pads(call, shape(x)[2:], window, strides, dilations)
    ceil = bool(call.get("ceil_mode", 0)) and (call.get("auto_pad", "NOTSET") or "NOTSET") == "NOTSET"
    settings = {"size": window, "stride": strides, "padding": 0, "dilation": dilations}
    if (
        fill is not None
        and not ceil
        and all(a == b and 2 * a <= k for (a, b), k in zip(pads, window, strict=True))
    ):
        return x, settings | {"padding": tuple(a for a, _ in pads)}, pads
    ends = _ends(shape(x)[2:], window, strides, dilations, pads, ceil)
    room([*shape(x)[:2], *(a + b + c for a, (b, c) in zip(shape(x)[2:], ends, strict=True))], dtype(x))
    widths = [(0, 0), (0, 0), *ends]
    fill = 0 if fill is None else fill
    return (ops.pad(x, pad_width=widths, constant_values=fill) if any(map(any, ends)) else x), settings, pads


def _ends(
    sizes: Operand, window: Operand, strides: Operand, dilations: Operand, pads: Pairs, ceil: bool
) -> Pairs:
    """The padding, lengthened at its end to where a last window that sticks out ends."""
    made = []
    for size, k, s, d, (before, after) in zip(sizes, window, strides, dilations, pads, strict=True):
        reach = d * (k - 1) + 1
        if ceil:
            steps = -(-(size + before + after - reach) // s) + 1
            if (steps - 1) * s >= size + before:
                steps -= 1
            after = max((steps - 1) * s + reach - size - before, after)
        made.append((before, after))
    return made


@operator("MaxPool")
def _max_pool(call: Call, x: Operand) -> Any:
    kind = dtype(x)
    lowest = -np.inf if kind.kind == "f" else np.iinfo(kind).min
    padded, settings, _ = _pooled(call, x, lowest)
    made = ops.max_pool(padded, **settings)
    if not call.wants(1):
        return made
    index = ops.max_pool_index(padded, **settings)
    offsets = [0] * (np.ndim(x) - 2) if padded is x else [one for one, _ in _ends_of(call, x)]
    return made, _flat_places(call, index, shape(padded), shape(x), offsets)


def _ends_of(call: Call, x: Operand) -> Pairs:
    window = tuple(call.need("kernel_shape"))
    strides, dilations = _settings(call, len(window))
    return _pads(call, shape(x)[2:], window, strides, dilations)


def _flat_places(call: Call, index: Operand, padded: Operand, sizes: Operand, offsets: Operand) -> Any:
    """Positions in the whole of x, rows first (or columns first), of positions within padded planes."""
    at = []
    for size in reversed(padded[2:]):
        at.append(np.remainder(index, size))
        index = np.floor_divide(index, size)
    at = [one - offset for one, offset in zip(reversed(at), offsets, strict=True)]
    flat, step = 0, 1
    order = range(len(at)) if call.get("storage_order", 0) else reversed(range(len(at)))
    for i in order:
        flat, step = flat + at[i] * step, step * sizes[2 + i]
    n, c = sizes[:2]
    planes = np.arange(n * c).reshape((n, c) + (1,) * len(at)) * step
    return flat + planes


@operator("AveragePool")
def _average_pool(call: Call, x: Operand) -> Any:
    """Padding counts, or does not; what a last window has beyond it never counts."""
    window = tuple(call.need("kernel_shape"))
    strides, dilations = _settings(call, len(window))
    pads = _pads(call, shape(x)[2:], window, strides, dilations)
    include = bool(call.get("count_include_pad", 0))
    plain = all(one == 1 for one in dilations) and not call.get("ceil_mode", 0)
    if plain and all(a == b and 2 * a <= k for (a, b), k in zip(pads, window, strict=True)):
        padding = tuple(a for a, _ in pads)
        return ops.average_pool(
            x, size=window, stride=strides, padding=padding, count_include_pad=include or not any(padding)
        )
    padded, _, _ = _pooled(call, x, None)
    widths = [(0, 0), (0, 0), *pads] if include else [(0, 0)] * np.ndim(x)
    counted = np.pad(np.ones((1, 1, *shape(x)[2:]), dtype(x)), widths, constant_values=1)
    before = [(0, 0), (0, 0)] + [(0 if include else a, 0) for a, _ in pads]
    counted = np.pad(counted, before)
    rest = [(0, 0), (0, 0)] + [(0, a - b) for a, b in zip(shape(padded)[2:], counted.shape[2:], strict=True)]
    counted = np.pad(counted, rest)
    return _summed(padded, window, strides, dilations) / _summed(counted, window, strides, dilations)


def _summed(x: Operand, window: Operand, strides: Operand, dilations: Operand) -> Any:
    """Sums over windows, one tap after another."""
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(shape(x)[2:], window, strides, dilations, strict=True)
    ]
    if math.prod(window) > 20_000:
        raise FileFormatError(f"a window of {window} is too large for its settings")
    total: Operand = 0
    for tap in np.ndindex(*window):
        index = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
        ]
        total = total + x[(slice(None), slice(None), *index)]
    return total


@operator("LpPool")
def _lp_pool(call: Call, x: Operand) -> Any:
    window = tuple(call.need("kernel_shape"))
    strides, dilations = _settings(call, len(window))
    p = call.get("p", 2)
    padded, _, _ = _pooled(call, x, None)
    return np.power(_summed(np.power(np.abs(padded), p), window, strides, dilations), 1 / p)


@operator("MaxUnpool")
def _max_unpool(call: Call, x: Operand, index: Operand, wanted: Operand = None) -> Any:
    from tinygraph.interop.onnx.operators.operator_table import ints

    window = tuple(call.need("kernel_shape"))
    rank = len(window)
    strides, _ = _settings(call, rank)
    pads = call.get("pads", (0,) * 2 * rank)
    sizes = tuple(
        (n - 1) * s + k - pads[i] - pads[i + rank]
        for i, (n, s, k) in enumerate(zip(shape(x)[2:], strides, window, strict=True))
    )
    full = (*shape(x)[:2], *sizes)
    target = full if wanted is None else ints(wanted, "output_shape")
    flat = np.reshape(index, (-1,))
    room(full, dtype(x))
    made = ops.index_set(np.zeros(math.prod(full), dtype(x)), np.reshape(x, (-1,)), flat, pattern=("array",))
    made = np.reshape(made, full)
    return (
        made
        if target == full
        else ops.pad(made, pad_width=[(0, a - b) for a, b in zip(target, full, strict=True)])
    )
