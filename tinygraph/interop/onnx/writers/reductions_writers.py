"""Ops that reduce over axes, and normalisations, in ONNX's operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.types import reduced_axes
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

_REDUCTIONS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "logsumexp": "ReduceLogSumExp",
}


def _reduced(w: Writing, node: Node, operator: str, name: str, keep: bool | None = None) -> Any:
    axes = reduced_axes(settings_of(node)["axis"], len(shape_at(node, 0)))
    keep = settings_of(node)["keepdims"] if keep is None else keep
    if not axes:
        return w.add("Identity", name)
    return w.add(operator, name, w.ints(axes), keepdims=int(keep))


def _reduction(operator: str) -> Any:
    def write(w: Writing, node: Node, x: Entry) -> Any:
        wanted = types_of(node).dtype
        if dtype_at(node, 0).kind == "b" and wanted.kind == "b":
            made = _reduced(w, node, operator, w.cast(w.read(x), bool, np.int32))
            return w.cast(made, np.int32, bool)
        return _reduced(w, node, operator, w.cast(w.read(x), dtype_at(node, 0), wanted))

    return write


for _op, _name in _REDUCTIONS.items():
    FORMS[_op] = _reduction(_name)


def _truth(operator: str) -> Any:
    def write(w: Writing, node: Node, x: Entry) -> Any:
        truth = w.cast(w.cast(w.read(x), dtype_at(node, 0), bool), bool, np.int32)
        return w.cast(_reduced(w, node, operator, truth), np.int32, bool)

    return write


FORMS |= {"all": _truth("ReduceMin"), "any": _truth("ReduceMax")}


def _place(operator: str) -> Any:
    def write(w: Writing, node: Node, x: Entry) -> Any:
        axis, keep = settings_of(node)["axis"], settings_of(node)["keepdims"]
        if axis is None:
            made = w.add(operator, w.reshape(w.read(x), (-1,)), axis=0, keepdims=0)
            return w.reshape(made, types_of(node).shape)
        return w.add(operator, w.read(x), axis=axis, keepdims=int(keep))

    return write


FORMS |= {"argmax": _place("ArgMax"), "argmin": _place("ArgMin")}


def _cumulated(operator: str, since: int) -> Any:
    def write(w: Writing, node: Node, x: Entry) -> Any:
        if w.opset < since:
            raise FileFormatError(
                f"ONNX has {operator} since version {since}, and version {w.opset} is written"
            )
        wanted, axis = types_of(node).dtype, settings_of(node)["axis"]
        made = w.cast(w.read(x), dtype_at(node, 0), wanted)
        made = w.reshape(made, (-1,)) if axis is None else made
        return w.add(operator, made, w.scalar(axis or 0, np.int64))

    return write


FORMS |= {"cumsum": _cumulated("CumSum", 11), "cumprod": _cumulated("CumProd", 26)}


def _shared(operator: str) -> Any:
    def write(w: Writing, node: Node, x: Entry) -> Any:
        axis, shape, dtype = settings_of(node)["axis"], shape_at(node, 0), types_of(node).dtype
        made = w.cast(w.read(x), dtype_at(node, 0), dtype)
        if isinstance(axis, int):
            return w.add(operator, made, axis=axis)
        axes = reduced_axes(axis, len(shape))  # several axes: put last, taken as one
        order = [one for one in range(len(shape)) if one not in axes] + list(axes)
        turned = w.add("Transpose", made, perm=order)
        flat = w.reshape(
            turned,
            (*(shape[one] for one in order[: len(shape) - len(axes)]), math.prod(shape[one] for one in axes)),
        )
        made = w.reshape(w.add(operator, flat, axis=-1), [shape[one] for one in order])
        return w.add("Transpose", made, perm=np.argsort(order).tolist())

    return write


FORMS |= {"softmax": _shared("Softmax"), "log_softmax": _shared("LogSoftmax")}


@form
def _standardize(w: Writing, node: Node, x: Entry) -> Any:
    """x without its mean, over its deviation; and both."""
    types = node.output_types
    wide = types[1].dtype
    axes = w.ints(reduced_axes(settings_of(node)["axis"], len(shape_at(node, 0))))
    made = w.cast(w.read(x), dtype_at(node, 0), wide)
    mean = w.add("ReduceMean", made, axes, keepdims=1)
    centred = w.add("Sub", made, mean)
    variance = w.add("ReduceMean", w.add("Mul", centred, centred), axes, keepdims=1)
    deviation = w.add("Sqrt", w.add("Add", variance, w.scalar(settings_of(node)["eps"], wide)))
    return w.cast(w.add("Div", centred, deviation), wide, types[0].dtype), mean, variance


@form
def _det(w: Writing, node: Node, x: Entry) -> Any:
    return w.add("Det", w.read(x))
