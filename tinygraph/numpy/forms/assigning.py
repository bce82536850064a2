"""Forms that write into their first argument: a tensor is written as `x[index] = value` writes it, an array is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import numpy_name
from tinygraph.core.tensor import Tensor
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import axis_of, form, operand, value

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def _require_tensor(function: object, x: object) -> None:
    if not isinstance(x, Tensor):
        raise NumpyFunctionError(
            f"{numpy_name(function)} would write a tensor's numbers into an array, which has no gradient: make the "
            f"array a tensor first, with tg.tensor(array)"
        )


@form(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    _require_tensor(np.copyto, dst)
    src = operand(src)
    if not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(
            f"Cannot cast array data from {src.dtype} to {dst.dtype} according to the rule {casting!r}"
        )
    dst[...] = (src if where is True else np.where(where, src, dst)).astype(dst.dtype)


@form(np.fill_diagonal)
def fill_diagonal(a: Any, val: object, wrap: bool = False) -> None:
    _require_tensor(np.fill_diagonal, a)
    places = np.zeros(a.shape, bool)
    np.fill_diagonal(places, True, wrap)
    flat = operand(val).reshape(-1)
    count = int(places.sum())
    a[places] = flat[np.arange(count) % flat.size].astype(a.dtype)


@form(np.put)
def put(a: Any, ind: object, v: object, mode: str = "raise") -> None:
    _require_tensor(np.put, a)
    places = np.asarray(value(ind)).reshape(-1)
    if mode == "wrap":
        places = places % a.size
    elif mode == "clip":
        places = np.clip(places, 0, a.size - 1)
    flat = operand(v).reshape(-1)
    if places.size and flat.size:
        a[np.unravel_index(np.where(places < 0, places + a.size, places), a.shape)] = flat[
            np.arange(places.size) % flat.size
        ].astype(a.dtype)


@form(np.place)
def place(arr: Numeric, mask: object, vals: object) -> None:
    _require_tensor(np.place, arr)
    places = np.flatnonzero(value(mask))
    if places.size and operand(vals).size == 0:
        raise ValueError("Cannot insert from an empty array!")
    put(arr, places, vals)


@form(np.putmask)
def putmask(a: Any, mask: Any, values: Numeric) -> None:
    _require_tensor(np.putmask, a)
    flat = operand(values).reshape(-1)
    spread = flat[np.arange(a.size) % flat.size].reshape(a.shape)
    a[...] = np.where(mask, spread, a).astype(a.dtype)


@form(np.put_along_axis)
def put_along_axis(arr: Any, indices: object, values: Numeric, axis: int | None) -> None:
    _require_tensor(np.put_along_axis, arr)
    if axis is None:
        put(arr, indices, values)
        return
    at = axis_of(axis, arr.ndim)
    places = value(indices)
    grids: list[Any] = list(np.ix_(*(np.arange(n) for n in arr.shape)))
    grids[at] = places
    arr[tuple(grids)] = operand(values).astype(arr.dtype)
