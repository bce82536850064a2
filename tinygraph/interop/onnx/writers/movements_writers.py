"""Ops that move, repeat and join elements, in ONNX's operators; shapes are constants."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from tinygraph.core.node import Node, is_recorded
from tinygraph.core.types import normalize_axes
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.model_writing import (
    FORMS,
    Entry,
    Writing,
    dtype_at,
    form,
    settings_of,
    shape_at,
    types_of,
)


@form
def _reshape(w: Writing, node: Node, x: Entry) -> Any:
    return w.reshape(w.read(x), types_of(node).shape)


FORMS |= dict.fromkeys(("expand_dims", "flatten", "squeeze"), _reshape)


@form
def _broadcast_to(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Expand", w.read(x), w.ints(types_of(node).shape))


def _turned(w: Writing, x: Entry, order: Entry) -> Any:
    return w.add("Transpose", w.read(x), perm=[int(one) for one in order])


@form
def _transpose(w: Writing, node: Node, x: Entry) -> Any:
    rank, axes = len(shape_at(node, 0)), settings_of(node)["axes"]
    return _turned(w, x, range(rank)[::-1] if axes is None else [one % rank for one in axes])


@form
def _swapaxes(w: Writing, node: Node, x: Entry) -> Any:
    rank = len(shape_at(node, 0))
    return _turned(w, x, _swapped(rank, node))


def _swapped(rank: int, node: Node) -> list[int]:
    order = list(range(rank))
    first, second = (settings_of(node)[name] % rank for name in ("axis1", "axis2"))
    order[first], order[second] = order[second], order[first]
    return order


@form
def _moveaxis(w: Writing, node: Node, x: Entry) -> Any:
    rank = len(shape_at(node, 0))
    source, target = (
        [one % rank for one in (given if isinstance(given, tuple) else (given,))]
        for given in (settings_of(node)["source"], settings_of(node)["destination"])
    )
    order = [one for one in range(rank) if one not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return _turned(w, x, order)


def _joined(w: Writing, node: Node, names: list[str], axis: int) -> Any:
    return w.add("Concat", *names, axis=axis)


def _cast(w: Writing, node: Node) -> list[str]:
    dtype = types_of(node).dtype
    return [w.cast(w.read(one, dtype), dtype_at(node, i), dtype) for i, one in enumerate(node.inputs)]


@form
def _concatenate(w: Writing, node: Node, *xs: Entry) -> Any:
    return _joined(w, node, _cast(w, node), settings_of(node)["axis"])


@form
def _stack(w: Writing, node: Node, *xs: Entry) -> Any:
    axis = settings_of(node)["axis"] % len(types_of(node).shape)
    names = [w.add("Unsqueeze", one, w.ints([axis])) for one in _cast(w, node)]
    return _joined(w, node, names, axis)


@form
def _split(w: Writing, node: Node, x: Entry) -> Any:
    axis = settings_of(node)["axis"] % len(shape_at(node, 0))
    sizes = [types.shape[axis] for types in node.output_types]
    made = w.add("Split", w.read(x), w.ints(sizes), outputs=len(sizes), axis=axis)
    return made


def picked(w: Writing, name: str, axis: int, places: Entry) -> Any:
    """Elements along an axis, by constant indices."""
    return w.add("Gather", name, w.ints(np.asarray(places).tolist()), axis=axis)


@form
def _flip(w: Writing, node: Node, x: Entry) -> Any:
    made = w.read(x)
    for axis in normalize_axes(settings_of(node)["axis"], len(shape_at(node, 0))):
        made = picked(w, made, axis, np.arange(shape_at(node, 0)[axis])[::-1])
    return made


@form
def _roll(w: Writing, node: Node, x: Entry) -> Any:
    shape, axis, shift = shape_at(node, 0), settings_of(node)["axis"], settings_of(node)["shift"]
    if axis is None:
        flat = w.reshape(w.read(x), (-1,))
        size = int(np.prod(shape))
        return w.reshape(picked(w, flat, 0, np.roll(np.arange(size), shift)), shape)
    made = w.read(x)
    axes = axis if isinstance(axis, tuple) else (axis,)
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
    for one, by in zip(axes, shifts, strict=True):
        made = picked(w, made, one, np.roll(np.arange(shape[one]), by))
    return made


@form
def _repeat(w: Writing, node: Node, x: Entry) -> Any:
    shape, axis = shape_at(node, 0), settings_of(node)["axis"]
    made = w.read(x) if axis is not None else w.reshape(w.read(x), (-1,))
    size = shape[axis] if axis is not None else int(np.prod(shape))
    return picked(w, made, axis or 0, np.repeat(np.arange(size), settings_of(node)["repeats"]))


@form
def _tile(w: Writing, node: Node, x: Entry) -> Any:
    times = settings_of(node)["reps"]
    times = times if isinstance(times, tuple) else (times,)
    shape = shape_at(node, 0)
    rank = max(len(times), len(shape))
    made = w.read(x) if len(shape) == rank else w.reshape(w.read(x), (1,) * (rank - len(shape)) + shape)
    return w.add("Tile", made, w.ints((1,) * (rank - len(times)) + tuple(times)))


@form
def _pad(w: Writing, node: Node, x: Entry) -> Any:
    before, mode = shape_at(node, 0), settings_of(node)["mode"]
    widths = np.broadcast_to(np.asarray(settings_of(node)["pad_width"]), (len(before), 2)).tolist()
    amounts = [a for a, _ in widths] + [b for _, b in widths]
    names = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in names or (
        mode == "reflect" and any(max(w) >= size for w, size in zip(widths, before, strict=True))
    ):
        made = w.read(x)  # by indices, as NumPy has it
        for axis, (width, size) in enumerate(zip(widths, before, strict=True)):
            if any(width):
                made = picked(w, made, axis, np.pad(np.arange(size), width, mode=mode))
        return made
    value = (
        w.scalar(settings_of(node)["constant_values"], types_of(node).dtype) if mode == "constant" else None
    )
    return w.add("Pad", w.read(x), w.ints(amounts), value, mode=mode)


def constant_index(node: Node, first: int) -> bool:
    """Whether the index arrays of a node, from an operand on, are all constants."""
    return not any(is_recorded(one) for one in node.inputs[first:])


def refuse_masks(node: Node, first: int) -> None:
    """Raise where an index is a mask, whose result has a shape that depends on values."""
    if any(dtype_at(node, i).kind == "b" for i in range(first, len(node.inputs))):
        raise FileFormatError("an index by a mask has no form in ONNX here")


@form
def _resample(w: Writing, node: Node, x: Entry) -> Any:
    settings, rank = settings_of(node), len(shape_at(node, 0))
    axis, mode, factor = settings["axis"] % rank, settings["mode"], settings["factor"]
    places = "align_corners" if settings["align_corners"] else "half_pixel"
    how: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": places}
    if mode.startswith("nearest"):
        exact = mode == "nearest-exact"
        how |= {
            "mode": "nearest",
            "coordinate_transformation_mode": "half_pixel" if exact else "asymmetric",
            "nearest_mode": "round_prefer_ceil" if exact else "floor",
        }
    old, new = shape_at(node, 0)[axis], types_of(node).shape[axis]
    if factor is None or settings["align_corners"]:
        return w.add("Resize", w.read(x), "", "", w.ints(types_of(node).shape), **how)
    factors = np.ones(rank, np.float32)
    factors[axis] = factor
    if floor(old * factors[axis]) != new:
        raise FileFormatError(f"{new} elements of {old} with the factor {factor} are no Resize of ONNX's")
    return w.add("Resize", w.read(x), "", w.constant(factors), **how)
