"""Products, convolutions and pools, and the ops that are their derivatives, in ONNX's operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.interop.onnx.model_writing import (
    Entry,
    Writing,
    dtype_at,
    form,
    settings_of,
    shape_at,
    types_of,
)


def _cast(w: Writing, node: Node, *operands: Entry) -> list[str | None]:
    dtype = types_of(node).dtype
    return [
        None if one is None else w.cast(w.read(one, dtype), dtype_at(node, i), dtype)
        for i, one in enumerate(operands)
    ]


@form
def _matmul(w: Writing, node: Node, x: Entry, y: Entry) -> Any:
    """Vectors are made matrices first: onnxruntime 1.32 joins a transpose with the product of a vector, and errs."""
    first, second = _cast(w, node, x, y)
    assert first is not None
    assert second is not None
    vectors = len(shape_at(node, 0)) == 1, len(shape_at(node, 1)) == 1
    if not any(vectors):
        return w.add("MatMul", first, second)
    first = w.reshape(first, (1, -1)) if vectors[0] else first
    second = w.reshape(second, (-1, 1)) if vectors[1] else second
    return w.reshape(w.add("MatMul", first, second), types_of(node).shape)


@form
def _einsum(w: Writing, node: Node, *xs: Entry) -> Any:
    """Every `...` of ONNX's stands for as many axes; NumPy adds those that an operand lacks in front of its own."""
    equation: str = settings_of(node)["subscripts"]
    given = _cast(w, node, *(one for one in xs if one is not None))
    terms = equation.partition("->")[0].split(",")
    counts = [len(shape_at(node, i)) - len(term.replace("...", "")) for i, term in enumerate(terms)]
    for i, (term, count) in enumerate(zip(terms, counts, strict=True)):
        if "..." in term and count < max(counts):
            place = term.index("...")
            given[i] = w.add("Unsqueeze", given[i], w.ints(range(place, place + max(counts) - count)))
    return w.add("Einsum", *given, equation=equation)


def _many(value: Entry, rank: int) -> list[int]:
    return [int(value)] * rank if isinstance(value, int) else [int(one) for one in value]


def _pads(node: Node, padding: Entry, size: Entry, dilation: list[int], rank: int) -> list[int]:
    """Paddings as ONNX lists them: all before, then all after."""
    if padding == "valid":
        return [0] * 2 * rank
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        return [one // 2 for one in totals] + [one - one // 2 for one in totals]
    pairs = [
        (one, one) if isinstance(one, int) else tuple(one)
        for one in ([padding] * rank if isinstance(padding, int) else padding)
    ]
    return [a for a, _ in pairs] + [b for _, b in pairs]


@form
def _convolution(w: Writing, node: Node, x: Entry, kernel: Entry, bias: Entry = None) -> Any:
    size = shape_at(node, 1)[2:]
    rank, settings = len(size), settings_of(node)
    dilation = _many(settings["dilation"], rank)
    return w.add(
        "Conv",
        *_cast(w, node, x, kernel, bias),
        kernel_shape=list(size),
        strides=_many(settings["stride"], rank),
        dilations=dilation,
        pads=_pads(node, settings["padding"], size, dilation, rank),
        group=settings["groups"],
    )


@form
def _convolution_transpose(w: Writing, node: Node, x: Entry, kernel: Entry, bias: Entry = None) -> Any:
    size = shape_at(node, 1)[2:]
    rank, settings = len(size), settings_of(node)
    dilation, stride = _many(settings["dilation"], rank), _many(settings["stride"], rank)
    if any(
        extra >= step for extra, step in zip(_many(settings["output_padding"], rank), stride, strict=True)
    ):
        return _lengthened(w, node, dilation, stride)
    return w.add(
        "ConvTranspose",
        *_cast(w, node, x, kernel, bias),
        kernel_shape=list(size),
        strides=stride,
        dilations=dilation,
        pads=_pads(node, settings["padding"], size, dilation, rank),
        output_padding=_many(settings["output_padding"], rank),
        group=settings["groups"],
    )


def _lengthened(w: Writing, node: Node, dilation: list[int], stride: list[int]) -> Any:
    """A transposed convolution whose output is asked to be longer than a stride: zeros at its ends, before the bias."""
    settings, size = settings_of(node), shape_at(node, 1)[2:]
    rank = len(size)
    x, kernel, *bias = _cast(w, node, *node.inputs)
    made = w.add("ConvTranspose", x, kernel, strides=stride, dilations=dilation, group=settings["groups"])
    made = w.add("Pad", made, w.ints([0] * (rank + 4) + _many(settings["output_padding"], rank)))
    starts = _pads(node, settings["padding"], size, dilation, rank)[:rank]
    stops = [start + size for start, size in zip(starts, types_of(node).shape[2:], strict=True)]
    made = w.add("Slice", made, w.ints(starts), w.ints(stops), w.ints(range(2, 2 + rank)))
    if not bias or bias[0] is None:
        return made
    return w.add("Add", made, w.reshape(bias[0], (1, -1, *[1] * rank)))


@form
def _convolution_kernel_gradient(w: Writing, node: Node, x: Entry, cotangent: Entry) -> Any:
    """A convolution in which channels and examples, strides and dilations have changed places."""
    settings, groups = settings_of(node), settings_of(node)["groups"]
    n, channels, *spatial = shape_at(node, 0)
    out = shape_at(node, 1)[1]
    kernel, rank = types_of(node).shape, len(spatial)
    each = channels // groups
    image, flow = _cast(w, node, x, cotangent)
    assert image is not None
    assert flow is not None
    image = w.add(
        "Transpose", w.reshape(image, (n, groups, each, *spatial)), perm=[2, 1, 0, *range(3, 3 + rank)]
    )
    image = w.reshape(image, (each, groups * n, *spatial))
    flow = w.add("Transpose", flow, perm=[1, 0, *range(2, 2 + rank)])
    dilation, stride = _many(settings["dilation"], rank), _many(settings["stride"], rank)
    made = w.add(
        "Conv",
        image,
        flow,
        strides=dilation,
        dilations=stride,
        pads=_pads(node, settings["padding"], kernel[2:], dilation, rank),
        group=groups,
    )
    made = w.add("Slice", made, w.ints([0] * rank), w.ints(kernel[2:]), w.ints(range(2, 2 + rank)))
    made = w.add("Transpose", made, perm=[1, 0, *range(2, 2 + rank)])
    return made if kernel[0] == out else w.reshape(made, kernel)


def _pool(node: Node) -> tuple[int, dict[str, Any]]:
    settings = settings_of(node)
    shape = shape_at(node, 0) if "spatial_shape" not in settings else (0, 0, *settings["spatial_shape"])
    rank = len(shape) - 2
    size = _many(settings["size"], rank)
    padding = _many(settings["padding"], rank)
    stride = size if settings["stride"] is None else _many(settings["stride"], rank)
    return rank, {
        "kernel_shape": size,
        "strides": stride,
        "pads": padding * 2,
        "ceil_mode": int(settings["ceil_mode"]),
    }


@form
def _max_pool(w: Writing, node: Node, x: Entry) -> Any:
    rank, how = _pool(node)
    return w.add("MaxPool", w.read(x), dilations=_many(settings_of(node)["dilation"], rank), **how)


@form
def _max_pool_index(w: Writing, node: Node, x: Entry) -> Any:
    rank, how = _pool(node)
    found = w.add(
        "MaxPool", w.read(x), outputs=2, dilations=_many(settings_of(node)["dilation"], rank), **how
    )
    return w.add("Mod", found[1], w.scalar(math.prod(shape_at(node, 0)[2:]), np.int64))


@form
def _average_pool(w: Writing, node: Node, x: Entry) -> Any:
    _, how = _pool(node)
    made, *_ = _cast(w, node, x)
    return w.add("AveragePool", made, count_include_pad=int(settings_of(node)["count_include_pad"]), **how)


def _counts(positions: Entry, spatial: Entry, how: dict[str, Any], include: bool) -> Any:
    """How many elements each window averages."""
    total: Entry = np.ones((1, 1) + (1,) * len(spatial))
    rank = len(spatial)
    for i, (count, size) in enumerate(zip(positions, spatial, strict=True)):
        k, s, p = how["kernel_shape"][i], how["strides"][i], how["pads"][i]
        start = np.arange(count) * s - p
        low, high = (-p, size + p) if include else (0, size)
        each = np.minimum(start + k, high) - np.maximum(start, low)
        total = total * each.reshape([-1 if j == i + 2 else 1 for j in range(rank + 2)])
    return total


@form
def _average_pool_input_gradient(w: Writing, node: Node, cotangent: Entry) -> Any:
    """Each share goes back to all of its window: a transposed convolution with ones."""
    rank, how = _pool(node)
    n, channels, *spatial = types_of(node).shape
    positions = shape_at(node, 0)[2:]
    counts = _counts(positions, spatial, how, settings_of(node)["count_include_pad"])
    shares, *_ = _cast(w, node, cotangent)
    assert shares is not None
    return _spread(
        w,
        node,
        w.add("Div", shares, w.constant(counts.astype(types_of(node).dtype))),
        how,
        n,
        channels,
        spatial,
        positions,
        rank,
    )


def _spread(
    w: Writing,
    node: Node,
    shares: str,
    how: Entry,
    n: int,
    channels: int,
    spatial: Entry,
    positions: Entry,
    rank: int,
) -> Any:
    size, stride, pads = how["kernel_shape"], how["strides"], how["pads"]
    ones = w.constant(np.ones((1, 1, *size), types_of(node).dtype))
    made = w.add(
        "ConvTranspose",
        w.reshape(shares, (n * channels, 1, *positions)),
        ones,
        kernel_shape=list(size),
        strides=list(stride),
    )
    whole = [(p - 1) * s + k for p, s, k in zip(positions, stride, size, strict=True)]
    ends = [max(one + pads[i] - full, 0) for i, (one, full) in enumerate(zip(spatial, whole, strict=True))]
    if any(ends):
        made = w.add("Pad", made, w.ints([0] * (rank + 2) + [0, 0, *ends]))
    starts = list(pads[:rank])
    stops = [a + b for a, b in zip(starts, spatial, strict=True)]
    made = w.add("Slice", made, w.ints(starts), w.ints(stops), w.ints(range(2, 2 + rank)))
    return w.reshape(made, types_of(node).shape)


def _shares(w: Writing, old: int, new: int, dtype: np.dtype[Any]) -> str:
    """The (old, new) matrix of an adaptive pool along one axis: which elements each mean is of, and how much of it.

    Of free sizes it is computed in the model: mean i is of i old // new <= k < ceil((i + 1) old / new).
    """
    i, k = np.arange(new), np.arange(old)[:, None]
    if w.sized is None:
        start, stop = i * old // new, -(-(i + 1) * old // new)
        return w.constant(((k >= start) & (k < stop)).astype(dtype) / (stop - start).astype(dtype))
    length, count = w.ints([old]), w.ints([new])
    start = w.add("Div", w.add("Mul", w.constant(i), length), count)
    last = w.add("Add", w.add("Mul", w.constant(i + 1), length), w.ints([new - 1]))
    stop, places = w.add("Div", last, count), w.constant(k)
    inside = w.add("And", w.add("GreaterOrEqual", places, start), w.add("Less", places, stop))
    width = w.cast(w.add("Sub", stop, start), np.int64, dtype)
    made: str = w.add("Div", w.cast(inside, bool, dtype), width)
    return made


def _along_each_axis(w: Writing, name: str, matrices: Sequence[str]) -> str:
    """The spatial axes of (batch, channels, *spatial), each times a matrix."""
    rank = len(matrices) + 2
    for axis, matrix in enumerate(matrices, start=2):
        swapped = list(range(rank))
        swapped[axis], swapped[-1] = rank - 1, axis
        made = w.add("MatMul", w.add("Transpose", name, perm=swapped), matrix)
        name = w.add("Transpose", made, perm=swapped)
    return name


def _tiles(spatial: Sequence[int], positions: Sequence[int]) -> dict[str, Any] | None:
    """An adaptive pool as a pool, if the positions divide the image."""
    if any(a % b for a, b in zip(spatial, positions, strict=True)):
        return None
    size = [a // b for a, b in zip(spatial, positions, strict=True)]
    return {"kernel_shape": size, "strides": size, "pads": [0] * 2 * len(size)}


@form
def _adaptive_average_pool(w: Writing, node: Node, x: Entry) -> Any:
    made, *_ = _cast(w, node, x)
    assert made is not None
    spatial, positions = shape_at(node, 0)[2:], types_of(node).shape[2:]
    if all(one == 1 for one in positions):
        return w.add("GlobalAveragePool", made)
    how = _tiles(spatial, positions) if w.sized is None else None
    if how is not None:
        return w.add("AveragePool", made, **how)
    dtype = types_of(node).dtype
    matrices = [_shares(w, old, new, dtype) for old, new in zip(spatial, positions, strict=True)]
    return _along_each_axis(w, made, matrices)


@form
def _adaptive_average_pool_input_gradient(w: Writing, node: Node, cotangent: Entry) -> Any:
    n, channels, *spatial = types_of(node).shape
    positions, dtype = shape_at(node, 0)[2:], types_of(node).dtype
    shares, *_ = _cast(w, node, cotangent)
    assert shares is not None
    if all(one == 1 for one in positions):
        shares = w.add("Div", shares, w.scalar(math.prod(spatial), dtype))
        return w.add("Expand", shares, w.ints(types_of(node).shape))
    how = _tiles(spatial, positions) if w.sized is None else None
    if how is None:
        there = [_shares(w, old, new, dtype) for old, new in zip(spatial, positions, strict=True)]
        return _along_each_axis(w, shares, [w.add("Transpose", one, perm=[1, 0]) for one in there])
    each = w.scalar(math.prod(how["kernel_shape"]), dtype)
    return _spread(w, node, w.add("Div", shares, each), how, n, channels, spatial, positions, len(spatial))
