"""Operators that read between the places of a grid: Resize, GridSample, regions of interest, deformed convolutions.

Places that depend on constants alone become constant matrices or indices; those that are computed carry gradients.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    axis_of,
    dtype,
    ints,
    operator,
    room,
    shape,
    static,
)


@operator("Resize")
def _resize(
    call: Call, x: Operand, roi: Operand = None, scales: Operand = None, sizes: Operand = None
) -> Any:
    if call.opset < 11:  # (x, scales), by floors of asymmetric places
        return _resized(call, x, static(roi, "scales"), None, None, "asymmetric", "floor")
    rank = np.ndim(x)
    axes = [axis_of(one, rank) for one in call.get("axes", range(rank))]
    region = None
    mode = call.get("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize":
        given = static(roi, "roi").astype(float)
        region = np.array([[0.0] * rank, [1.0] * rank])
        region[0, axes], region[1, axes] = given[: len(axes)], given[len(axes) :]
    factors, target = None, None
    if scales is not None and np.size(static(scales, "scales")):
        factors = np.ones(rank)
        factors[axes] = static(scales, "scales")
    else:
        target = list(shape(x))
        for axis, size in zip(axes, ints(sizes, "sizes"), strict=True):
            target[axis] = size
    return _resized(call, x, factors, target, region, mode, call.get("nearest_mode", "round_prefer_floor"))


@operator("Upsample")
def _upsample(call: Call, x: Operand, scales: Operand = None) -> Any:
    factors = static(scales, "scales") if scales is not None else np.array(call.need("scales"))
    return _resized(call, x, factors, None, None, "asymmetric", "floor")


def _resized(
    call: Call, x: Operand, factors: Operand, target: Operand, region: Operand, mode: str, nearest: str
) -> Any:
    """One axis after another, each by a constant matrix, or by picking."""
    sizes, scaled = shape(x), target is None
    if target is None:
        # as the decimals that were meant: 0.7 of 10 elements are 7, which its float32, 0.69999999, is short of
        factors = np.array([float(str(one)) for one in np.asarray(factors, np.float32)])
        spans = np.ones(len(sizes)) if region is None else region[1] - region[0]
        target = [
            math.floor(size * span * factor) for size, span, factor in zip(sizes, spans, factors, strict=True)
        ]
    else:
        factors = np.array([b / a for a, b in zip(sizes, target, strict=True)])
        target, factors = _kept_ratio(call, sizes, target, factors)
    room(target, dtype(x))
    outside = np.zeros(tuple(target), bool) if mode == "tf_crop_and_resize" else None
    for axis, (size, new, factor) in enumerate(zip(sizes, target, factors, strict=True)):
        if size == new and factor == 1 and region is None:
            continue
        how = _as_op(call, x, mode, nearest, size, int(new), float(factor), scaled)
        if how is not None:
            x = ops.resample(x, axis=axis, **how)
            continue
        at = _places(mode, size, new, float(factor), None if region is None else region[:, axis])
        if outside is not None:
            beyond = (at < 0) | (at > size - 1)
            outside |= beyond.reshape([-1 if i == axis else 1 for i in range(len(sizes))])
        x = _along_axis(call, x, axis, at, float(factor), nearest)
    if outside is not None and outside.any():
        x = np.where(outside, dtype(x).type(call.get("extrapolation_value", 0.0)), x)
    return x


# Places and rounding of elements that are picked, and what `resample` calls it.
PICKED = {("asymmetric", "floor"): "nearest", ("half_pixel", "round_prefer_ceil"): "nearest-exact"}


def _as_op(
    call: Call, x: Operand, places: str, nearest: str, size: int, new: int, factor: float, scaled: bool
) -> dict[str, Any] | None:
    """The settings of `resample` that read the same places of an axis in the same way; None if there are none."""
    mode = call.get("mode", "nearest")
    extent: dict[str, Any] = {"size": new} if factor == new / size and not scaled else {"factor": factor}
    if mode == "nearest":
        picked = PICKED.get((places, nearest))
        return None if picked is None else {"mode": picked, **extent}
    if call.get("antialias", 0) or call.get("exclude_outside", 0) or dtype(x).kind != "f":
        return None
    if mode == "cubic" and call.get("cubic_coeff_a", -0.75) != -0.75:
        return None
    aligned = places == "align_corners" and new == size * factor
    if mode not in ("linear", "cubic") or not (places == "half_pixel" or aligned):
        return None
    return {"mode": mode, "align_corners": aligned, **extent}


def _kept_ratio(call: Call, sizes: Operand, target: Operand, factors: Operand) -> tuple[Any, Any]:
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return target, factors
    axes = [axis_of(one, len(sizes)) for one in call.get("axes", range(len(sizes)))]
    chosen = (min if policy == "not_larger" else max)(factors[one] for one in axes)
    target, factors = list(target), factors.copy()
    for one in axes:
        factors[one], target[one] = chosen, math.floor(chosen * sizes[one] + 0.5)
    return target, factors


def _places(mode: str, size: int, new: int, factor: float, region: Operand) -> Array:
    """Where the new elements lie among the old ones."""
    i, span = np.arange(new, dtype=np.float64), factor * size
    if mode == "half_pixel":
        return (i + 0.5) / factor - 0.5
    if mode == "half_pixel_symmetric":
        adjusted = new / span
        return size / 2 * (1 - adjusted) + (i + 0.5) / factor - 0.5
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / factor - 0.5 if span > 1 else np.zeros(new)
    if mode == "align_corners":
        return i * (size - 1) / (span - 1) if span > 1 else np.zeros(new)
    if mode == "asymmetric":
        return i / factor
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / factor
    if mode == "tf_crop_and_resize":
        start, end = (float(one) for one in region)
        if new > 1:
            return start * (size - 1) + i * (end - start) * (size - 1) / (new - 1)
        return np.full(new, 0.5 * (start + end) * (size - 1))
    raise FileFormatError(f"coordinate_transformation_mode={mode!r:.60} is not known")


def _along_axis(call: Call, x: Operand, axis: int, at: Array, factor: float, nearest: str) -> Any:
    size, mode = shape(x)[axis], call.get("mode", "nearest")
    if mode == "nearest":
        round_it: dict[str, Callable[[Array], Array]] = {
            "round_prefer_floor": lambda p: np.ceil(p - 0.5), "round_prefer_ceil": lambda p: np.floor(p + 0.5),
            "floor": np.floor, "ceil": np.ceil,
        }  # fmt: skip
        if nearest not in round_it:
            raise FileFormatError(f"nearest_mode={nearest!r:.60} is not known")
        chosen = np.clip(round_it[nearest](np.round(at, 9)), 0, size - 1).astype(int)
        return np.take(x, chosen, axis=axis)
    room([len(at), size], np.float64)
    matrix = _weights(call, mode, at, size, min(factor, 1.0) if call.get("antialias", 0) else 1.0)
    kind = dtype(x) if dtype(x).kind == "f" else np.dtype(np.float64)
    made = np.matmul(np.moveaxis(x, axis, -1), matrix.T.astype(kind))
    made = np.moveaxis(made, -1, axis)
    return (
        made
        if kind == dtype(x)
        else ops.cast(np.rint(made) if dtype(x).kind in "iu" else made, dtype=dtype(x).name)
    )


def _weights(call: Call, mode: str, at: Array, size: int, squeeze: float) -> Array:
    """How much of each old element each new one has."""
    reach = {"linear": 1, "cubic": 2}.get(mode)
    if reach is None:
        raise FileFormatError(f"mode={mode!r:.60} is not known")
    a = call.get("cubic_coeff_a", -0.75)
    matrix = np.zeros((len(at), size))
    for row, place in enumerate(at):
        first = math.floor(place - reach / squeeze) + 1
        taps = np.arange(
            first, math.floor(place + reach / squeeze) + 1 + (squeeze == 1 and place == math.floor(place))
        )
        distance = np.abs(taps - place) * squeeze
        weights = np.clip(1 - distance, 0, None) if mode == "linear" else _cubic(distance, a)
        if call.get("exclude_outside", 0):
            weights = np.where((taps < 0) | (taps >= size), 0, weights)
        if call.get("exclude_outside", 0) or squeeze != 1:
            weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(taps, 0, size - 1), weights)
    return matrix


def _cubic(x: Operand, a: float) -> Any:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(np.less_equal(x, 1), near, np.where(np.less(x, 2), far, 0 * x))


# -- places that are computed ----------------------------------------------------------------------------------------


def _floor_index(at: Operand) -> Any:
    return ops.cast(np.floor(at), dtype="int64")


def _read(x: Operand, places: Sequence[Any], padding: str) -> Any:
    """x[n, :, places], channels last; places are integers of shape (n, ...), those outside by the padding."""
    sizes = shape(x)[2:]
    inside: Operand = None
    index = []
    for place, size in zip(places, sizes, strict=True):
        if padding == "zeros":
            fits = np.logical_and(np.greater_equal(place, 0), np.less(place, size))
            inside = fits if inside is None else np.logical_and(inside, fits)
        index.append(np.clip(place, 0, size - 1))
    batch = np.arange(shape(x)[0]).reshape((-1,) + (1,) * (np.ndim(index[0]) - 1))
    found = np.moveaxis(x, 1, -1)[(batch, *index)]
    return found if inside is None else np.where(np.expand_dims(inside, -1), found, np.zeros((), dtype(x)))


def _linear(x: Operand, places: Sequence[Any], padding: str) -> Any:
    """x between its places, linearly along each axis; channels last."""
    low = [_floor_index(one) for one in places]
    shares = [one - ops.cast(below, dtype=dtype(one).name) for one, below in zip(places, low, strict=True)]
    total: Operand = 0
    for corner in itertools.product((0, 1), repeat=len(places)):
        weight: Operand = 1
        for share, side in zip(shares, corner, strict=True):
            weight = weight * (share if side else 1 - share)
        at = [below + side for below, side in zip(low, corner, strict=True)]
        total = total + _read(x, at, padding) * np.expand_dims(weight, -1)
    return total


def _reflected(at: Operand, low: float, high: float) -> Any:
    """Places mirrored at both ends until they lie between."""
    span = high - low
    if span <= 0:
        return 0 * at
    rest = np.remainder(at - low, 2 * span)
    return low + np.where(np.greater(rest, span), 2 * span - rest, rest)


@operator("GridSample")
def _grid_sample(call: Call, x: Operand, grid: Operand) -> Any:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(
        call.get("mode", "linear"), call.get("mode", "linear")
    )
    padding, aligned = call.get("padding_mode", "zeros"), bool(call.get("align_corners", 0))
    sizes = shape(x)[2:]
    places = []
    for i, size in enumerate(sizes):
        unit = grid[..., len(sizes) - 1 - i]
        places.append((unit + 1) * ((size - 1) / 2) if aligned else ((unit + 1) * size - 1) / 2)

    def within(at: Operand, size: int) -> Any:
        if padding == "border":
            return np.clip(at, 0, size - 1)
        if padding == "reflection":
            bounds = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
            return np.clip(_reflected(at, *bounds), 0, size - 1)
        return at

    if mode != "cubic":
        places = [within(at, size) for at, size in zip(places, sizes, strict=True)]
    outside = "zeros" if padding == "zeros" else "border"
    if mode == "linear":
        made = _linear(x, places, outside)
    elif mode == "nearest":
        made = _read(x, [ops.cast(np.rint(at), dtype="int64") for at in places], outside)
    elif mode == "cubic":
        made = _cubic_sample(x, places, within, outside)
    else:
        raise FileFormatError(f"mode={mode!r:.60} is not known")
    return np.moveaxis(made, -1, 1)


def _cubic_sample(x: Operand, places: Sequence[Any], within: Operand, padding: str) -> Any:
    low = [_floor_index(one) for one in places]
    total: Operand = 0
    for taps in itertools.product((-1, 0, 1, 2), repeat=len(places)):
        weight: Operand = 1
        at = []
        for place, below, tap, size in zip(places, low, taps, shape(x)[2:], strict=True):
            weight = weight * _cubic(np.abs(place - ops.cast(below + tap, dtype=dtype(place).name)), -0.75)
            at.append(ops.cast(np.rint(within(ops.cast(below + tap, dtype="float64"), size)), dtype="int64"))
        total = total + _read(x, at, padding) * np.expand_dims(weight, -1)
    return total


@operator("AffineGrid")
def _affine_grid(call: Call, theta: Operand, size: Operand) -> Any:
    sizes = ints(size, "size")
    spatial = sizes[2:]
    room([sizes[0], *spatial, len(spatial)], np.float64)
    axes = []
    for one in spatial:
        if call.get("align_corners", 0):
            axes.append(np.linspace(-1, 1, one) if one > 1 else np.zeros(1))
        else:
            axes.append((2 * np.arange(one) + 1) / one - 1)
    grid = np.meshgrid(*axes, indexing="ij")
    points = (
        np.stack([*reversed(grid), np.ones(spatial)], axis=-1)
        .astype(dtype(theta))
        .reshape(-1, len(spatial) + 1)
    )
    return np.reshape(np.matmul(points, np.swapaxes(theta, 1, 2)), (sizes[0], *spatial, len(spatial)))


@operator("RoiAlign")
def _roi_align(call: Call, x: Operand, rois: Operand, batch: Operand) -> Any:
    """The mean (or maximum) of so many samples in each bin of each region."""
    height, width = call.get("output_height", 1), call.get("output_width", 1)
    half = (
        0.5
        if call.get(
            "coordinate_transformation_mode", "half_pixel" if call.opset >= 16 else "output_half_pixel"
        )
        == "half_pixel"
        else 0.0
    )
    ratio, scale = call.get("sampling_ratio", 0), float(np.float32(call.get("spatial_scale", 1.0)))
    corners = rois * scale - half
    ends = [corners[:, 2 + i] - corners[:, i] for i in range(2)]
    spans = [one if half else np.maximum(one, 1.0) for one in ends]  # x, y
    made = []
    counts = [(ratio, ratio)] * shape(rois)[0]
    if ratio <= 0:
        known = [static(one, "rois") for one in spans]
        counts = [
            (max(math.ceil(known[1][r] / height), 1), max(math.ceil(known[0][r] / width), 1))
            for r in range(shape(rois)[0])
        ]
    for r, (down, across) in enumerate(counts):
        room([height * down, width * across], np.float64)
        y = corners[r, 1] + spans[1][r] * ((np.arange(height * down) + 0.5) / (height * down)).astype(
            dtype(x)
        )
        right = corners[r, 0] + spans[0][r] * ((np.arange(width * across) + 0.5) / (width * across)).astype(
            dtype(x)
        )
        made.append(_region(call, x[batch[r]], y, right, (height, down, width, across)))
    return np.stack(made) if made else np.zeros((0, shape(x)[1], height, width), dtype(x))


def _region(call: Call, x: Operand, y: Operand, right: Operand, parts: tuple[int, int, int, int]) -> Any:
    rows, columns = shape(x)[-2:]
    grid = []
    valid: Operand = True
    for place, size, spread in ((y, rows, (-1, 1)), (right, columns, (1, -1))):
        fits = np.logical_and(np.greater_equal(place, -1.0), np.less_equal(place, float(size)))
        valid = np.logical_and(valid, np.reshape(fits, spread))
        grid.append(np.reshape(np.clip(place, 0, size - 1), spread))
    both = np.broadcast_shapes(shape(grid[0]), shape(grid[1]))
    grid = [np.expand_dims(np.broadcast_to(one, both), 0) for one in grid]
    x = np.expand_dims(x, 0)
    height, down, width, across = parts
    if call.get("mode", "avg") == "avg":
        found = np.where(valid[..., None], _linear(x, grid, "border")[0], np.zeros((), dtype(x)))
        return np.transpose(
            np.mean(np.reshape(found, (height, down, width, across, -1)), axis=(1, 3)), (2, 0, 1)
        )
    found = np.where(valid[..., None], _largest_corner(x, grid)[0], np.zeros((), dtype(x)))
    return np.transpose(np.max(np.reshape(found, (height, down, width, across, -1)), axis=(1, 3)), (2, 0, 1))


def _largest_corner(x: Operand, places: Sequence[Any]) -> Any:
    """Of the four weighed corners the largest: ONNX's maximum, which does not add them up first."""
    low = [_floor_index(one) for one in places]
    shares = [one - ops.cast(below, dtype=dtype(one).name) for one, below in zip(places, low, strict=True)]
    best: Operand = None
    for corner in itertools.product((0, 1), repeat=2):
        weight: Operand = 1
        for share, side in zip(shares, corner, strict=True):
            weight = weight * (share if side else 1 - share)
        one = (
            _read(x, [below + side for below, side in zip(low, corner, strict=True)], "border")
            * weight[..., None]
        )
        best = one if best is None else np.maximum(best, one)
    return best


@operator("MaxRoiPool")
def _max_roi_pool(call: Call, x: Operand, rois: Operand) -> Any:
    height, width = call.need("pooled_shape")
    scale = call.get("spatial_scale", 1.0)
    made = []
    for region in static(rois, "rois"):
        n = int(region[0])
        left, top, right, bottom = (math.floor(float(one) * scale + 0.5) for one in region[1:])
        tall, wide = max(bottom - top + 1, 1), max(right - left + 1, 1)
        rows = []
        for i, j in itertools.product(range(height), range(width)):
            start = [
                min(max(a + math.floor(k * b / c), 0), d)
                for a, k, b, c, d in (
                    (top, i, tall, height, shape(x)[2]),
                    (left, j, wide, width, shape(x)[3]),
                )
            ]
            end = [
                min(max(a + math.ceil((k + 1) * b / c), 0), d)
                for a, k, b, c, d in (
                    (top, i, tall, height, shape(x)[2]),
                    (left, j, wide, width, shape(x)[3]),
                )
            ]
            empty = start[0] >= end[0] or start[1] >= end[1]
            rows.append(
                np.zeros(shape(x)[1], dtype(x))
                if empty
                else np.max(x[n, :, start[0] : end[0], start[1] : end[1]], axis=(1, 2))
            )
        made.append(np.reshape(np.stack(rows, axis=-1), (shape(x)[1], height, width)))
    return np.stack(made)


@operator("DeformConv")
def _deform_conv(
    call: Call, x: Operand, kernel: Operand, offset: Operand, bias: Operand = None, mask: Operand = None
) -> Any:
    """A convolution whose taps are moved by offsets: samples between places, then one product."""
    rank = np.ndim(x) - 2
    strides, dilations = call.get("strides", (1,) * rank), call.get("dilations", (1,) * rank)
    pads, groups, parts = call.get("pads", (0,) * 2 * rank), call.get("group", 1), call.get("offset_group", 1)
    n, channels = shape(x)[:2]
    window, out = shape(kernel)[2:], shape(offset)[2:]
    taps = math.prod(window)
    moves = np.reshape(offset, (n, parts, taps, rank, *out))
    shares = None if mask is None else np.reshape(mask, (n, parts, taps, *out))
    each = channels // parts
    columns = []
    for part in range(parts):
        planes = x[:, part * each : (part + 1) * each]
        for number, tap in enumerate(np.ndindex(*window)):
            places = []
            for i in range(rank):
                spread = [1] * (rank + 1)
                spread[1 + i] = -1
                start = (np.arange(out[i]) * strides[i] - pads[i] + tap[i] * dilations[i]).reshape(spread)
                places.append(moves[:, part, number, i] + start.astype(dtype(x)))
            found = np.moveaxis(_linear(planes, places, "zeros"), -1, 1)
            columns.append(found if shares is None else found * np.expand_dims(shares[:, part, number], 1))
    stacked = np.reshape(np.stack(columns, axis=0), (parts, taps, n, each, math.prod(out)))
    stacked = np.reshape(
        np.transpose(stacked, (2, 0, 3, 1, 4)), (n, groups, channels // groups * taps, math.prod(out))
    )
    weight = np.reshape(kernel, (groups, shape(kernel)[0] // groups, -1))
    made = np.reshape(np.matmul(weight, stacked), (n, shape(kernel)[0], *out))
    return made if bias is None else made + np.reshape(bias, (1, -1) + (1,) * rank)
