"""Forms that split, stack and join, and that put elements in or leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.numpy.form import along, axis_of, form, operand, refuse
from tinygraph.numpy.memory_order import in_order_of

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


@form(np.vsplit)
def vsplit(ary: Numeric, indices_or_sections: Any) -> Any:
    if ary.ndim < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return np.split(ary, indices_or_sections, axis=0)


@form(np.hsplit)
def hsplit(ary: Numeric, indices_or_sections: Any) -> Any:
    if ary.ndim == 0:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return np.split(ary, indices_or_sections, axis=1 if ary.ndim > 1 else 0)


@form(np.dsplit)
def dsplit(ary: Numeric, indices_or_sections: Any) -> Any:
    if ary.ndim < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return np.split(ary, indices_or_sections, axis=2)


@form(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    if x.ndim == 0:
        raise ValueError("Input array must be at least 1-d.")
    moved = np.moveaxis(x, axis, 0)
    return tuple(moved[i] for i in range(moved.shape[0]))


@form(np.dstack)
def dstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_3d(operand(one)) for one in tup], axis=2)


@form(np.column_stack)
def column_stack(tup: Any) -> Any:
    columns = [operand(one) for one in tup]
    return np.concatenate([x.reshape(-1, 1) if x.ndim < 2 else x for x in columns], axis=1)


@form(np.block)
def block(arrays: object) -> Any:
    depth = _depth(arrays)
    rank = max(depth, _rank(arrays))
    joined = _joined(arrays, depth, rank)
    return joined if depth else joined.copy()


def _depth(arrays: object) -> int:
    if isinstance(arrays, tuple):
        raise TypeError("np.block takes lists of lists; a tuple is an operand nowhere")
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(one) for one in arrays}
    if len(depths) != 1:
        raise ValueError("List depths are mismatched, or a list is empty")
    return depths.pop() + 1


def _rank(arrays: object) -> int:
    return max(map(_rank, arrays)) if isinstance(arrays, list) else operand(arrays).ndim


def _joined(arrays: object, depth: int, rank: int) -> Any:
    if not isinstance(arrays, list):
        x = operand(arrays)
        return x.reshape((1,) * (rank - x.ndim) + tuple(x.shape))
    return np.concatenate([_joined(one, depth - 1, rank) for one in arrays], axis=rank - depth)


@form(np.append)
def append(arr: Numeric, values: Numeric, axis: int | None = None) -> Any:
    arr, values = operand(arr), operand(values)
    if axis is None:
        arr, values, axis = arr.reshape(-1), values.reshape(-1), 0
    return np.concatenate([arr, values], axis=axis)


@form(np.insert)
def insert(arr: Numeric, obj: Any, values: Any, axis: int | None = None) -> Any:
    arr, values = operand(arr), operand(values)
    if axis is None:
        arr, axis = arr.reshape(-1), 0
    at = axis_of(axis, arr.ndim)
    # where everything stands, found by inserting into the places: the new ones are numbered behind the old
    size = arr.shape[at]
    single = np.ndim(obj) == 0 and not isinstance(obj, slice)
    if single:  # as NumPy does, values are one block then
        values = values.reshape((1,) * (arr.ndim - values.ndim) + tuple(values.shape))
        values = np.moveaxis(values, 0, at)
        count = values.shape[at]
        order = np.insert(np.arange(size), [obj] * count, size + np.arange(count))
    else:
        count = np.insert(np.zeros(size), obj, 0).size - size
        order = np.insert(np.arange(size), obj, size + np.arange(count))
    shape = tuple(count if i == at else n for i, n in enumerate(arr.shape))
    new = np.broadcast_to(values.astype(arr.dtype), shape)
    return in_order_of(arr, np.concatenate([arr, new], axis=at)[along(at, order)])


@form(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    arr = operand(arr)
    if axis is None:
        arr, axis = arr.reshape(-1), 0
    at = axis_of(axis, arr.ndim)
    found = arr[along(at, np.delete(np.arange(arr.shape[at]), obj))]
    single = isinstance(obj, slice) or np.ndim(obj) == 0
    return in_order_of(arr, found) if single else found  # else NumPy's is made by a mask, as this one


@form(np.ediff1d)
def ediff1d(ary: Numeric, to_end: object = None, to_begin: object = None) -> Any:
    flat = operand(ary).reshape(-1)
    parts = [operand(to_begin).reshape(-1)] if to_begin is not None else []
    parts.append(flat[1:] - flat[:-1])
    parts += [operand(to_end).reshape(-1)] if to_end is not None else []
    return parts[0] if len(parts) == 1 else np.concatenate([one.astype(flat.dtype) for one in parts])


@form(np.kron)
def kron(a: Numeric, b: Numeric) -> Any:
    a, b = operand(a), operand(b)
    rank = max(a.ndim, b.ndim)
    left = a.reshape((1,) * (rank - a.ndim) + tuple(a.shape))
    right = b.reshape((1,) * (rank - b.ndim) + tuple(b.shape))
    spread = [size for n in left.shape for size in (n, 1)]
    tiled = [size for n in right.shape for size in (1, n)]
    products = left.reshape(spread) * right.reshape(tiled)
    return products.reshape([m * n for m, n in zip(left.shape, right.shape, strict=True)])


@form(np.compress)
def compress(condition: Any, a: Numeric, axis: int | None = None, out: object = None) -> Any:
    refuse(np.compress, "use the result", out=out)
    places = np.flatnonzero(condition)
    return np.take(a, places, axis=axis)


@form(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return operand(arr).reshape(-1)[np.flatnonzero(condition)]
