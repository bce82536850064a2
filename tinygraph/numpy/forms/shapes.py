"""Forms that move axes and elements: at least so many axes, mirrored, rotated, spread on grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.tensor import Tensor
from tinygraph.numpy.form import FORMS, axis_of, form, operand, refuse

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric


def _each(function: Any, arrays: tuple[Any, ...]) -> Any:
    found = tuple(function(operand(one)) for one in arrays)
    return found[0] if len(found) == 1 else found


@form(np.atleast_1d)
def atleast_1d(*arys: object) -> Any:
    return _each(lambda x: x.reshape(1) if x.ndim == 0 else x, arys)


@form(np.atleast_2d)
def atleast_2d(*arys: object) -> Any:
    return _each(lambda x: x.reshape(1, -1) if x.ndim < 2 else x, arys)


@form(np.atleast_3d)
def atleast_3d(*arys: object) -> Any:
    shape = {0: (1, 1, 1), 1: (1, -1, 1)}
    return _each(
        lambda x: x[..., None] if x.ndim == 2 else x.reshape(shape[x.ndim]) if x.ndim < 2 else x, arys
    )


@form(np.fliplr)
def fliplr(m: Numeric) -> Any:
    return np.flip(m, axis=1)


@form(np.flipud)
def flipud(m: Numeric) -> Any:
    return np.flip(m, axis=0)


@form(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    first, second = (axis_of(axis, m.ndim) for axis in axes)
    if first == second:
        raise ValueError("axes must be different")
    if k % 4 == 2:
        return np.flip(m, axis=(first, second))
    if k % 4 == 0:
        return m[:]
    turned = np.flip(m, axis=second) if k % 4 == 1 else m
    turned = np.swapaxes(turned, first, second)
    return turned if k % 4 == 1 else np.flip(turned, axis=second)


@form(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    axis = axis_of(axis, a.ndim)
    start = start + a.ndim if start < 0 else start
    return np.moveaxis(a, axis, start - 1 if start > axis else start)


@form(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Numeric) -> Any:
    if x.ndim < 2:
        raise ValueError(f"a matrix has two axes or more; this has the shape {x.shape}")
    return np.swapaxes(x, -1, -2)


@form(np.broadcast_arrays)
def broadcast_arrays(*args: object, subok: bool = False) -> Any:
    refuse(np.broadcast_arrays, "there are no subclasses of tensors", subok=subok)
    arrays = [operand(one) for one in args]
    shape = np.broadcast_shapes(*(one.shape for one in arrays))
    return tuple(np.broadcast_to(one, shape) for one in arrays)


@form(np.meshgrid)
def meshgrid(*xi: object, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing is 'xy' or 'ij', not {indexing!r}")
    count = len(xi)
    grids = [operand(x).reshape([-1 if i == k else 1 for k in range(count)]) for i, x in enumerate(xi)]
    if indexing == "xy" and count > 1:
        grids = [np.swapaxes(grid, 0, 1) for grid in grids]
    if not sparse:
        grids = list(FORMS[np.broadcast_arrays](*grids))
    return tuple(grid.copy() if copy else grid for grid in grids)


@form(np.resize)
def resize(a: Numeric, new_shape: Any) -> Any:
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    count, flat = int(np.prod(shape)), operand(a).reshape(-1)
    if flat.size == 0:
        return np.zeros(shape, flat.dtype)
    return flat[np.arange(count) % flat.size].reshape(shape)


@form(np.astype)
def astype(x: Numeric, dtype: DTypeLike, /, *, copy: bool = True, device: object = None) -> Any:
    return x.astype(dtype, copy=copy)


@form(np.around)
def around(a: Any, decimals: int = 0, out: Any = None) -> Any:
    return np.round(a, decimals, out)


@form(np.real_if_close)
def real_if_close(a: Numeric, tol: float = 100) -> Any:
    if a.dtype.kind != "c":
        return a
    bound = tol * np.finfo(a.dtype).eps if tol > 1 else tol
    return (
        np.real(a) if np.all(np.absolute(np.imag(a.detach() if isinstance(a, Tensor) else a)) < bound) else a
    )


@form(np.diagflat)
def diagflat(v: Numeric, k: int = 0) -> Any:
    return np.diag(operand(v).reshape(-1), k)


@form(np.vander)
def vander(x: Numeric, N: int | None = None, increasing: bool = False) -> Any:
    x = operand(x)
    count = x.size if N is None else N
    powers = np.arange(count)
    return x[:, None] ** (powers if increasing else powers[::-1])


@form(np.trim_zeros)
def trim_zeros(filt: object, trim: str = "fb", axis: Axis = None) -> Any:
    x = operand(filt)
    places = np.nonzero(x) if x.ndim else ()
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    index: list[Any] = [slice(None)] * x.ndim
    for one in axes:
        at = axis_of(one, x.ndim)
        if places[at].size == 0:
            index[at] = slice(0, 0)
        else:
            start = int(places[at].min()) if "f" in trim.lower() else None
            index[at] = slice(start, int(places[at].max()) + 1 if "b" in trim.lower() else None)
    return x[tuple(index)]
