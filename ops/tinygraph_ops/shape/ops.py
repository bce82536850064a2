"""Shape and layout: elements move or repeat, and none is computed. Selecting elements is in `indexing.py`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    Array,
    ArrayType,
    Axis,
    DTypeError,
    ErrorSample,
    Expansion,
    Numeric,
    NumpyFunctionError,
    Read,
    Sample,
    SettingError,
    Shape,
    ShapeError,
    Sizes,
    along,
    batch_size,
    broadcast_places,
    composite,
    indices,
    leading,
    moved,
    normalize_axes,
    op,
    ops,
    padded_by_rule,
    same_order,
    settled,
    shifted,
    spread,
    value,
)

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code

_MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
_CUBE = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]
MOST_PARTS = 100_000  # of a split: each is an output, with a type of its own


def _last_wins(first: dict[str, Any], then: dict[str, Any], x: ArrayType) -> dict[str, Any]:
    """Of two in a row only the second matters."""
    return then


def _order(settings: dict[str, Any], ndim: int) -> tuple[int, ...]:
    """The axes of a transposition, none of them negative."""
    axes = settings["axes"]
    return tuple(range(ndim)[::-1]) if axes is None else tuple(axis % ndim for axis in axes)


def _joined_axes(first: dict[str, Any], then: dict[str, Any], x: ArrayType) -> dict[str, Any] | None:
    """The one transposition that does what two do; None if they undo each other."""
    inner, outer = _order(first, x.ndim), _order(then, x.ndim)
    axes = tuple(inner[axis] for axis in outer)
    return None if axes == tuple(range(x.ndim)) else {"axes": axes}


def _joined_dtypes(first: dict[str, Any], then: dict[str, Any], x: ArrayType) -> Any:
    """Of two conversions only the second matters if the first keeps every number as it is."""
    return then if _holds(np.dtype(first["dtype"]), x.dtype) else NotImplemented


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether every number of one dtype is one of another: an int64 of more than 53 bits is no float64."""
    if wide.kind not in "biuf" or narrow.kind not in "biuf" or not np.can_cast(narrow, wide):
        return False
    return wide.kind != "f" or narrow.kind not in "iu" or 8 * narrow.itemsize <= np.finfo(wide).nmant


def _as_reshape(x: ArrayType, out: ArrayType, settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The same with `reshape`, which names every size."""
    return reshape, {"shape": out.shape}


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "join": _last_wins, "moves": True},
    linear=("x",),
    samples=[
        Sample(_MATRIX, shape=(3, 2), expected=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        Sample(_CUBE, shape=(2, -1)),
        Sample([7.0], shape=(), expected=7.0),
    ],
    error_samples=[ErrorSample(_MATRIX, shape=(4, 2), error=ShapeError, match="6 elements")],
)
def reshape(x: Numeric, *, shape: Shape) -> Numeric:
    """The elements of x, in order, in another shape; one size may be -1."""
    return np.reshape(x, shape)


reshape.expand(same_order)


@reshape.vjp("x")
def reshape_wrt_x(g: Numeric, x_type: ArrayType) -> Numeric:
    """g in the shape of x."""
    return ops.reshape(g, shape=x_type.shape)


reshape.pushes("x")


@reshape.view
def reshape_put(value: Numeric, x: Numeric) -> Numeric:
    """`value` in the shape of x."""
    return ops.reshape(value, shape=np.shape(x))


@reshape.types
def reshape_types(x: ArrayType, *, shape: int | Shape) -> ArrayType:
    """The given sizes, one of which may be -1: whatever is left."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    known = prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes = tuple(x.size // known if size == -1 else size for size in sizes)
    if min(sizes, default=0) < 0 or prod(sizes) != x.size:
        raise ShapeError(
            f"an array of shape {x.shape} has {x.size} elements, which cannot take the shape {shape}"
        )
    return ArrayType(sizes, x.dtype)


@reshape.batch
def reshape_batched(batched: Sequence[bool], x: Numeric, *, shape: object) -> Any:
    """Each example in the new shape, the batch axis left in front."""
    one = reshape_types(ArrayType(x.shape[1:], x.dtype), shape=shape)
    return ops.reshape(x, shape=(x.shape[0], *one.shape))


@reshape.numpy(np.reshape)
def np_reshape(a: Numeric, shape: Any = None, order: str = "C", *, copy: bool | None = None) -> Any:
    """`np.reshape`; in Fortran's order the first axis runs fastest, which is C's order of the axes reversed."""
    if _layout_order("np.reshape", a, order) == "F":
        sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        found = ops.transpose(reshape(ops.transpose(a), shape=sizes[::-1]))
    else:
        found = reshape(a, shape=shape)
    return ops.copy(found) if copy else found


def _layout_order(name: str, x: Any, order: str) -> str:
    """C or F of NumPy's orders: A and K are those of the memory.

    Raises:
        NumpyFunctionError: a memory of neither is asked for.
    """
    if order in ("C", "F"):
        return order
    if order not in ("A", "K"):
        raise ValueError(f"order is 'C', 'F', 'A' or 'K', not {order!r}")
    flags = value(x).flags
    if flags.c_contiguous or (order == "A" and not flags.f_contiguous):
        return "C"
    if flags.f_contiguous:
        return "F"
    raise NumpyFunctionError(f"{name} on tensors takes order='K' of memory in C's or in Fortran's order only")


@reshape.numpy(np.ravel)
def np_ravel(a: Any, order: str = "C") -> Any:
    """`np.ravel`; see `np_reshape` for the orders."""
    return a.ravel() if _layout_order("np.ravel", a, order) == "C" else np_reshape(a, (-1,), "F")


@op(
    kind="shape",
    facts={"join": _joined_axes, "moves": True, "permutation": _order},
    linear=("x",),
    numpy=np.transpose,
    samples=[
        Sample(_MATRIX, expected=[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]),
        Sample(_CUBE, axes=(2, 0, 1)),
        Sample(_CUBE, axes=(-1, -3, -2)),
    ],
    error_samples=[ErrorSample(_MATRIX, axes=(0, 0), error=ShapeError, match="twice")],
)
def transpose(x: Numeric, *, axes: Axis = None) -> Numeric:
    """x with its axes in the order `axes` (reversed by default)."""
    return x.transpose(axes) if x.__class__ is np.ndarray else np.transpose(x, axes)


@transpose.vjp("x")
def transpose_wrt_x(g: Numeric, x_type: ArrayType, axes: Axis) -> Numeric:
    """g with its axes put back."""
    return ops.transpose(g, axes=_inverse(axes, x_type.ndim))


transpose.pushes("x")


@transpose.view
def transpose_put(value: Numeric, x: Numeric, axes: Axis) -> Numeric:
    """`value` with its axes put back."""
    return ops.transpose(value, axes=_inverse(axes, np.ndim(x)))


@transpose.types
def transpose_types(x: ArrayType, *, axes: tuple[int, ...] | None = None) -> ArrayType:
    """The sizes of x in the order `axes`."""
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axes)
    if len(normalize_axes(order, x.ndim)) != x.ndim:
        raise ShapeError(f"axes {axes} must name each of the {x.ndim} axes once")
    return ArrayType(tuple(x.shape[axis] for axis in order), x.dtype)


@transpose.batch
def transpose_batched(batched: Sequence[bool], x: Numeric, *, axes: tuple[int, ...] | None) -> Any:
    """Each example with its axes in order, the batch axis left in front."""
    order = range(x.ndim - 1)[::-1] if axes is None else axes
    return ops.transpose(x, axes=(0, *shifted(tuple(order), x.ndim - 1)))


@transpose.expand
def transpose_expansion(x: ArrayType, *, axes: tuple[int, ...] | None) -> Expansion:
    """Each element is one of x, with its index permuted."""
    return _permuted(x, range(x.ndim)[::-1] if axes is None else axes)


def _permuted(x: ArrayType, order: Sequence[int]) -> Expansion:
    """The expansion of an op whose result has the axes of x in that order."""
    at, _ = indices(x.ndim)
    order = [axis % x.ndim for axis in order]
    places = [at[order.index(axis)] for axis in range(x.ndim)]
    return moved(x, tuple(x.shape[axis] for axis in order), places)


def _inverse(axes: Any, ndim: int) -> tuple[int, ...] | None:
    """The order of axes that undoes `axes`."""
    if axes is None:
        return None
    order = [axis % ndim for axis in axes]
    return tuple(order.index(axis) for axis in range(ndim))


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "join": _last_wins, "read_only": True, "spreads": True},
    linear=("x",),
    numpy=np.broadcast_to,
    samples=[
        Sample([1.0, 2.0], shape=(2, 2), expected=[[1.0, 2.0], [1.0, 2.0]]),
        Sample([[1.0], [2.0]], shape=(2, 3)),
        Sample(5.0, shape=(2,)),
    ],
    error_samples=[ErrorSample([1.0, 2.0], shape=(2, 3), error=ShapeError, match="cannot be broadcast")],
)
def broadcast_to(x: Numeric, *, shape: Shape) -> Numeric:
    """x repeated along new axes and axes of size 1 up to `shape` (a read-only view);  gradients are summed."""
    return np.broadcast_to(x, shape)


@broadcast_to.expand
def broadcast_to_expansion(x: ArrayType, *, shape: int | Shape) -> Expansion:
    """Each element is one of x, at place 0 along axes of size 1."""
    shape = shape if isinstance(shape, tuple) else (shape,)
    at, _ = indices(len(shape))
    return moved(x, shape, broadcast_places(at, x.shape))


@broadcast_to.vjp("x")
def broadcast_to_wrt_x(g: Numeric) -> Numeric:
    """g: the engine sums over what was spread."""
    return g  # the engine sums over what was spread


broadcast_to.pushes("x")


@broadcast_to.types
def broadcast_to_types(x: ArrayType, *, shape: int | Shape) -> ArrayType:
    """The given shape, to which that of x must broadcast."""
    shape = shape if isinstance(shape, tuple) else (shape,)
    pairs = list(zip(reversed(x.shape), reversed(shape), strict=False))
    if len(x.shape) > len(shape) or not all(old in (1, new) for old, new in pairs):
        raise ShapeError(
            f"shape {x.shape} cannot be broadcast to {shape}: sizes must be equal, or 1 in the operand"
        )
    return ArrayType(shape, x.dtype)


@broadcast_to.batch
def broadcast_to_batched(batched: Sequence[bool], x: Numeric, *, shape: object) -> Any:
    shape = shape if isinstance(shape, tuple) else (shape,)
    new = (1,) * (len(shape) + 1 - x.ndim)
    return ops.broadcast_to(
        ops.reshape(x, shape=(x.shape[0], *new, *x.shape[1:])), shape=(x.shape[0], *shape)
    )


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "join": _joined_dtypes, "converts": True},
    linear=("x",),
    samples=[
        Sample([1.0, 2.5], dtype="complex128", expected=[1.0 + 0.0j, 2.5 + 0.0j]),
        Sample(_MATRIX, dtype="float64"),
    ],
    error_samples=[ErrorSample([1.0], dtype="str", error=DTypeError, match="numeric")],
)
def cast(x: Array, *, dtype: DTypeLike) -> Numeric:
    """x converted to another dtype;  the gradient is converted back. Nothing flows through integers."""
    array = x if hasattr(x, "astype") else np.asarray(x)
    return array.astype(_numeric(dtype), copy=False)


@cast.emit(bools=True, integers=True)
def cast_emitted(code: Code, x: Lanes, *, dtype: str) -> Lanes:
    """One conversion."""
    return code.cast(x, np.dtype(dtype).name)


cast.expand(same_order)
cast.batch(leading)


@cast.vjp("x")
def cast_wrt_x(g: Numeric) -> Numeric:
    """g: the engine gives a gradient its operand's dtype."""
    return g  # the engine gives a gradient its operand's dtype


@cast.jvp("x")
def cast_along_x(t: Numeric) -> Numeric:
    """t; the engine gives a tangent its result's dtype."""
    return t


@cast.types
def cast_types(x: ArrayType, *, dtype: DTypeLike) -> ArrayType:
    """The shape of x in the dtype that is asked for."""
    return ArrayType(x.shape, _numeric(dtype))


def _numeric(dtype: DTypeLike) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind not in "biufcO":
        raise DTypeError(f"dtype {found} is not numeric")
    return found


@op(
    kind="shape",
    facts={"identity_on_same_type": True},
    linear=("x",),
    types="like_first",
    samples=[Sample([1.0, 2.0], expected=[1.0, 2.0]), Sample(_MATRIX)],
)
def identity(x: Numeric) -> Numeric:
    """x itself."""
    return x


identity.expand(same_order)
identity.batch(leading)


@identity.vjp("x")
def identity_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


identity.pushes("x")


@op(
    kind="shape",
    linear=("x",),
    types="like_first",
    nondifferentiable="x",
    facts={"read_only": True},
    samples=[Sample([1.0, 2.0], expected=[1.0, 2.0], smooth=False)],
)
def detach(x: Numeric) -> Numeric:
    """x itself, where gradients stop."""
    return x


detach.expand(same_order)
detach.batch(leading)


@op(
    kind="shape",
    linear=("x",),
    types="like_first",
    facts={"identity_on_same_type": True},  # where nothing is written any more, as in a graph
    samples=[Sample([1.0, 2.0], expected=[1.0, 2.0]), Sample(_MATRIX, order="K")],
)
def copy(x: Numeric, *, order: Literal["C", "F", "A", "K"] = "C") -> Numeric:
    """x in memory of its own: in rows, or as NumPy's orders say; "K" is as x lies, as ufuncs and `np.copy` do it."""
    return np.array(x, order=order)


@copy.numpy(np.copy)
def np_copy(a: Numeric, order: Literal["C", "F", "A", "K"] = "K", subok: object = False) -> Any:
    """`np.copy`, which keeps the layout, where the method `copy` does not."""
    return ops.copy(a, order=order)


copy.expand(same_order)
copy.batch(leading)


@copy.vjp("x")
def copy_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


copy.pushes("x")


# -- axes exchanged, added and removed ---------------------------------------------------------------------------------


def _viewed(x: ArrayType, view: Any, *arguments: Any) -> ArrayType:
    """The type of a view, found on a stand-in: these forwards return views, or fail by themselves."""
    try:
        return ArrayType(view(x.stand_in(), *arguments).shape, x.dtype)
    except ValueError as error:
        raise ShapeError(f"{error}") from None


def _exchanged(settings: dict[str, Any], ndim: int) -> tuple[int, ...]:
    """The order of axes of which two are exchanged."""
    order = list(range(ndim))
    first, second = settings["axis1"], settings["axis2"]
    order[first], order[second] = order[second], order[first]
    return tuple(order)


@op(
    kind="shape",
    facts={
        "permutation": _exchanged,
        "form": lambda x, out, settings: (transpose, {"axes": _exchanged(settings, x.ndim)}),
    },
    linear=("x",),
    numpy=np.swapaxes,
    samples=[Sample(_MATRIX, axis1=0, axis2=-1, expected=[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])],
    error_samples=[ErrorSample(_MATRIX, axis1=0, axis2=2, error=ShapeError, match="axis2")],
)
def swapaxes(x: Numeric, *, axis1: int, axis2: int) -> Numeric:
    """x with two axes exchanged."""
    return x.swapaxes(axis1, axis2) if x.__class__ is np.ndarray else np.swapaxes(x, axis1, axis2)


@swapaxes.types
def swapaxes_types(x: ArrayType, *, axis1: int, axis2: int) -> ArrayType:
    """The shape of x with two sizes exchanged."""
    return _viewed(x, np.swapaxes, axis1, axis2)


swapaxes.batch(along("axis1", "axis2"))


@swapaxes.expand
def swapaxes_expansion(x: ArrayType, *, axis1: int, axis2: int) -> Expansion:
    """Each element is one of x, with two indices exchanged."""
    return _permuted(x, _exchanged({"axis1": axis1, "axis2": axis2}, x.ndim))


@swapaxes.vjp("x")
def swapaxes_wrt_x(g: Numeric, axis1: int, axis2: int) -> Numeric:
    """g with the two axes exchanged."""
    return ops.swapaxes(g, axis1=axis1, axis2=axis2)


swapaxes.pushes("x")


@swapaxes.view
def swapaxes_put(value: Numeric, x: Numeric, axis1: int, axis2: int) -> Numeric:
    """`value` with the two axes exchanged."""
    return ops.swapaxes(value, axis1=axis1, axis2=axis2)


def _moved(settings: dict[str, Any], ndim: int) -> tuple[int, ...]:
    """The order of axes of which some are moved."""
    source, destination = (
        [axis % ndim for axis in (given if isinstance(given, tuple) else (given,))]
        for given in (settings["source"], settings["destination"])
    )
    order = [axis for axis in range(ndim) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return tuple(order)


@op(
    kind="shape",
    facts={
        "permutation": _moved,
        "form": lambda x, out, settings: (transpose, {"axes": _moved(settings, x.ndim)}),
    },
    linear=("x",),
    numpy=np.moveaxis,
    samples=[
        Sample(_MATRIX, source=0, destination=-1, expected=[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]),
        Sample(_CUBE, source=(0, 1), destination=(2, 0)),
    ],
    error_samples=[ErrorSample(_MATRIX, source=3, destination=0, error=ShapeError, match="source")],
)
def moveaxis(x: Array, *, source: Sizes, destination: Sizes) -> Numeric:
    """x with the axes `source` moved to the places `destination`, the others in order."""
    return np.moveaxis(x, source, destination)


@moveaxis.types
def moveaxis_types(x: ArrayType, *, source: Sizes, destination: Sizes) -> ArrayType:
    """The shape that `np.moveaxis` leaves."""
    return _viewed(x, np.moveaxis, source, destination)


moveaxis.batch(along("source", "destination"))


@moveaxis.expand
def moveaxis_expansion(x: ArrayType, *, source: Sizes, destination: Sizes) -> Expansion:
    """Each element is one of x, with its index permuted."""
    return _permuted(x, _moved({"source": source, "destination": destination}, x.ndim))


@moveaxis.vjp("x")
def moveaxis_wrt_x(g: Numeric, source: Sizes, destination: Sizes) -> Numeric:
    """g with the axes moved back."""
    return ops.moveaxis(g, source=destination, destination=source)


moveaxis.pushes("x")


@moveaxis.view
def moveaxis_put(value: Numeric, x: Numeric, source: Sizes, destination: Sizes) -> Numeric:
    """`value` with the axes moved back."""
    return ops.moveaxis(value, source=destination, destination=source)


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "form": _as_reshape},
    linear=("x",),
    numpy=np.expand_dims,
    samples=[Sample([1.0, 2.0], axis=0, expected=[[1.0, 2.0]]), Sample(_MATRIX, axis=(1, -1))],
    error_samples=[ErrorSample([1.0], axis=3, error=ShapeError, match="axis 3")],
)
def expand_dims(x: Numeric, *, axis: int) -> Numeric:
    """x with new axes of size 1 at the places `axis` of the result."""
    return np.expand_dims(x, axis)


@expand_dims.types
def expand_dims_types(x: ArrayType, *, axis: Axis) -> ArrayType:
    """The shape of x with 1 at the new axes."""
    return _viewed(x, np.expand_dims, axis)


@expand_dims.batch
def expand_dims_batched(batched: Sequence[bool], x: Numeric, *, axis: Axis) -> Any:
    one = expand_dims_types(ArrayType(x.shape[1:], x.dtype), axis=axis)
    return ops.reshape(x, shape=(x.shape[0], *one.shape))


expand_dims.expand(same_order)


@expand_dims.vjp("x")
def expand_dims_wrt_x(g: Numeric, x_type: ArrayType) -> Numeric:
    """g in the shape of x."""
    return ops.reshape(g, shape=x_type.shape)


expand_dims.pushes("x")


@expand_dims.view
def expand_dims_put(value: Numeric, x: Numeric) -> Numeric:
    """`value` in the shape of x."""
    return ops.reshape(value, shape=np.shape(x))


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "form": _as_reshape},
    linear=("x",),
    numpy=np.squeeze,
    samples=[
        Sample([[1.0, 2.0]], expected=[1.0, 2.0]),
        Sample(_CUBE, axis=0),
        Sample([[[3.0]]], axis=(0, -1), expected=[3.0]),
    ],
    error_samples=[ErrorSample(_MATRIX, axis=0, error=ShapeError, match="size not equal to one")],
)
def squeeze(x: Numeric, *, axis: Axis = None) -> Numeric:
    """x without its axes of size 1, or without those in `axis`."""
    return np.squeeze(x, axis)


@squeeze.types
def squeeze_types(x: ArrayType, *, axis: Axis = None) -> ArrayType:
    """The shape of x without axes of size 1."""
    return _viewed(x, np.squeeze, axis)


@squeeze.batch
def squeeze_batched(batched: Sequence[bool], x: Numeric, *, axis: Axis) -> Any:
    one = squeeze_types(ArrayType(x.shape[1:], x.dtype), axis=axis)
    return ops.reshape(x, shape=(x.shape[0], *one.shape))


squeeze.expand(same_order)


@squeeze.vjp("x")
def squeeze_wrt_x(g: Numeric, x_type: ArrayType) -> Numeric:
    """g in the shape of x."""
    return ops.reshape(g, shape=x_type.shape)


squeeze.pushes("x")


@squeeze.view
def squeeze_put(value: Numeric, x: Numeric) -> Numeric:
    """`value` in the shape of x."""
    return ops.reshape(value, shape=np.shape(x))


@op(
    kind="shape",
    facts={"identity_on_same_type": True, "form": _as_reshape},
    linear=("x",),
    samples=[
        Sample(_MATRIX, expected=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        Sample(_CUBE, start_axis=1),
        Sample(_CUBE, start_axis=-3, end_axis=1, expected=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        Sample(5.0, expected=[5.0]),
    ],
    error_samples=[
        ErrorSample(_CUBE, start_axis=3, error=ShapeError, match="axis 3 is out of range"),
        ErrorSample(_CUBE, start_axis=2, end_axis=1, error=SettingError, match="comes after"),
    ],
)
def flatten(x: Numeric, *, start_axis: int = 0, end_axis: int = -1) -> Numeric:
    """x with the axes from `start_axis` to `end_axis` joined into one."""
    return np.reshape(x, _flattened(np.shape(x), start_axis, end_axis))


flatten.expand(same_order)


@flatten.vjp("x")
def flatten_wrt_x(g: Numeric, x_type: ArrayType) -> Numeric:
    """g in the shape of x."""
    return ops.reshape(g, shape=x_type.shape)


flatten.pushes("x")


@flatten.view
def flatten_put(value: Numeric, x: Numeric) -> Numeric:
    """`value` in the shape of x."""
    return ops.reshape(value, shape=np.shape(x))


@flatten.types
def flatten_types(x: ArrayType, *, start_axis: int = 0, end_axis: int = -1) -> ArrayType:
    """The shape of x with the axes from `start_axis` to `end_axis` joined."""
    return ArrayType(_flattened(x.shape, start_axis, end_axis), x.dtype)


@flatten.batch
def flatten_batched(batched: Sequence[bool], x: Numeric, *, start_axis: int, end_axis: int) -> Any:
    return ops.reshape(x, shape=(x.shape[0], *_flattened(x.shape[1:], start_axis, end_axis)))


def _flattened(shape: tuple[int, ...], start_axis: int, end_axis: int) -> tuple[int, ...]:
    shape = shape or (1,)
    (start,), (end,) = normalize_axes(start_axis, len(shape)), normalize_axes(end_axis, len(shape))
    if start > end:
        raise SettingError(f"start_axis {start_axis} comes after end_axis {end_axis}")
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])


# -- joining and splitting ---------------------------------------------------------------------------------------------


@op(
    kind="shape",
    linear=("xs",),
    samples=[
        Sample([1.0, 2.0], [3.0], expected=[1.0, 2.0, 3.0]),
        Sample(_MATRIX, [[7.0], [8.0]], axis=-1),
        Sample(_CUBE, axis=1),
    ],
    error_samples=[
        ErrorSample([[1.0]], [[1.0, 2.0]], error=ShapeError, match="axis 1"),
        ErrorSample([[1.0]], [1.0], error=ShapeError, match="dimensions"),
    ],
)
def concatenate(*xs: Numeric, axis: int = 0) -> Numeric:
    """The operands one after another along an axis they have;  each gets its part of the gradient."""
    return np.concatenate(xs, axis=axis)


@concatenate.vjp("xs")
def concatenate_wrt_xs(g: Numeric, xs_type: Any, axis: int) -> Any:
    """g, split where the operands met."""
    return ops.split(g, sections=_ends([x.shape[axis] for x in xs_type])[:-1], axis=axis)


concatenate.pushes("xs")


@concatenate.types
def concatenate_types(*xs: ArrayType, axis: int = 0) -> ArrayType:
    """Sizes along `axis` added up; all others must agree."""
    first = _same_rank("concatenate", xs)
    (along,) = normalize_axes(axis, first.ndim)
    for i, x in enumerate(xs):
        for other in range(first.ndim):
            if other != along and x.shape[other] != first.shape[other]:
                raise ShapeError(
                    f"operands 0 and {i} differ on axis {other}: sizes {first.shape[other]} and {x.shape[other]}; "
                    f"only axis {along}, along which they are joined, may differ"
                )
    total = sum(x.shape[along] for x in xs)
    return ArrayType((*first.shape[:along], total, *first.shape[along + 1 :]), _common_dtype(xs))


@concatenate.batch
def concatenate_batched(batched: Any, *xs: Any, axis: int) -> Any:
    """The examples of all operands joined; those without a batch axis are repeated for each."""
    size = batch_size(batched, xs)
    full = [x if one else spread(x, size) for x, one in zip(xs, batched, strict=True)]
    return ops.concatenate(*full, axis=shifted(axis, full[0].ndim - 1))


@concatenate.expand
def concatenate_expansion(*xs: ArrayType, axis: int) -> Expansion:
    """Each element is one of the only operand that reaches there."""
    shape = concatenate_types(*xs, axis=axis).shape
    (along,) = normalize_axes(axis, len(shape))
    at, _ = indices(len(shape))
    starts = (0, *_ends([x.shape[along] for x in xs]))
    reads = (
        Read(i, x.shape, (*at[:along], at[along] - starts[i], *at[along + 1 :])) for i, x in enumerate(xs)
    )
    return Expansion(shape, tuple(reads), join="only")


@concatenate.numpy(np.concatenate)
def np_concatenate(arrays: Sequence[Numeric], axis: int | None = 0, **options: object) -> Any:
    """`np.concatenate`; axis=None flattens the operands first."""
    if axis is None:
        arrays, axis = [ops.reshape(x, shape=(-1,)) for x in arrays], 0
    return _joined("np.concatenate", arrays, concatenate(*arrays, axis=axis), options)


@op(
    kind="shape",
    linear=("xs",),
    samples=[
        Sample([1.0, 2.0], [3.0, 4.0], expected=[[1.0, 2.0], [3.0, 4.0]]),
        Sample(_MATRIX, _MATRIX, axis=-1),
        Sample(_MATRIX, _MATRIX, _MATRIX, axis=1),
    ],
    error_samples=[ErrorSample([1.0], [1.0, 2.0], error=ShapeError, match="shape")],
)
def stack(*xs: Numeric, axis: int = 0) -> Numeric:
    """The operands, of one shape, side by side along a new axis;  each gets its part of the gradient."""
    return np.stack(xs, axis=axis)


@stack.vjp("xs")
def stack_wrt_xs(g: Numeric, xs_type: ArrayType, axis: int) -> Any:
    """g at each operand's place along the new axis."""
    before = (("slice", None, None, None),) * (axis % g.ndim)
    return tuple(ops.index(g, pattern=(*before, i)) for i in range(len(xs_type)))


stack.pushes("xs")


@stack.types
def stack_types(*xs: ArrayType, axis: int = 0) -> ArrayType:
    """The common shape with a new axis as long as there are operands."""
    first = _same_rank("stack", xs)
    for i, x in enumerate(xs):
        if x.shape != first.shape:
            raise ShapeError(
                f"operands 0 and {i} have the shapes {first.shape} and {x.shape}; stack needs one shape"
            )
    (along,) = normalize_axes(axis, first.ndim + 1)
    return ArrayType((*first.shape[:along], len(xs), *first.shape[along:]), _common_dtype(xs))


@stack.batch
def stack_batched(batched: Any, *xs: Any, axis: int) -> Any:
    size = batch_size(batched, xs)
    full = [x if one else spread(x, size) for x, one in zip(xs, batched, strict=True)]
    return ops.stack(*full, axis=shifted(axis, full[0].ndim))


@stack.expand
def stack_expansion(*xs: ArrayType, axis: int) -> Expansion:
    """Each element is one of the operand that its index along the new axis names."""
    shape = stack_types(*xs, axis=axis).shape
    (along,) = normalize_axes(axis, len(shape))
    at, _ = indices(len(shape))
    one = (*shape[:along], 1, *shape[along + 1 :])
    reads = (Read(i, one, (*at[:along], at[along] - i, *at[along + 1 :])) for i in range(len(xs)))
    return Expansion(shape, tuple(reads), join="only")


@stack.numpy(np.stack)
def np_stack(arrays: Sequence[Numeric], axis: int = 0, **options: object) -> Any:
    """`np.stack`."""
    return _joined("np.stack", arrays, stack(*arrays, axis=axis), options)


def _same_rank(name: str, xs: tuple[Any, ...]) -> ArrayType:
    if not xs:
        raise ShapeError(f"{name} needs at least one array")
    ranks = [np.ndim(x) if not isinstance(x, ArrayType) else x.ndim for x in xs]
    if len(set(ranks)) > 1:
        raise ShapeError(
            f"operands have {' and '.join(map(str, sorted(set(ranks))))} dimensions; {name} needs one number"
        )
    first: ArrayType = xs[0]
    return first


def _common_dtype(xs: tuple[ArrayType, ...]) -> np.dtype[Any]:
    return np.result_type(*(x.dtype for x in xs))


def _joined(name: str, xs: Sequence[Any], found: Any, options: dict[str, Any]) -> Any:
    """What was joined, in the dtype and at the place that NumPy's options ask for; each operand must be cast to it."""
    wanted, casting = options.get("dtype") or found.dtype, options.get("casting", "same_kind")
    for dtype in (getattr(x, "dtype", None) or np.asarray(x).dtype for x in xs):
        if not np.can_cast(dtype, wanted, casting):
            raise TypeError(f"{name}: {dtype} cannot be cast to {np.dtype(wanted)} by the rule {casting!r}")
    return settled(name, found, **options)


@concatenate.numpy(np.vstack)
def np_vstack(tup: Sequence[Numeric], **options: object) -> Any:
    """`np.vstack`: rows below one another."""
    rows = (ops.reshape(x, shape=(1, -1)) if np.ndim(x) < 2 else x for x in tup)
    return _joined("np.vstack", tup, concatenate(*rows), options)


@concatenate.numpy(np.hstack)
def np_hstack(tup: Sequence[Numeric], **options: object) -> Any:
    """`np.hstack`: joined along the second axis, vectors along their only one."""
    parts = [ops.reshape(x, shape=(1,)) if np.ndim(x) == 0 else x for x in tup]
    found = concatenate(*parts, axis=0 if np.ndim(parts[0]) == 1 else 1)
    return _joined("np.hstack", tup, found, options)


def _parts(
    x: ArrayType, outputs: Sequence[ArrayType], settings: dict[str, Any]
) -> list[tuple[Any, dict[str, Any]]]:
    """The parts of a split as slices."""
    bounds = _bounds(x.shape, settings["sections"], settings["axis"])
    before = (("slice", None, None, None),) * (settings["axis"] % x.ndim)
    return [
        (ops.index, {"pattern": (*before, ("slice", start, stop, None))}) for start, stop in pairwise(bounds)
    ]


@op(
    kind="shape",
    linear=("x",),
    facts={"parts": _parts},
    samples=[
        Sample([1.0, 2.0, 3.0, 4.0], sections=2, expected=([1.0, 2.0], [3.0, 4.0])),
        Sample(_MATRIX, sections=(1, 1), axis=-1),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0, 3.0], sections=2, error=ShapeError, match="equal parts"),
        ErrorSample([1.0, 2.0, 3.0], sections=(2, 1), error=SettingError, match="ascending"),
    ],
)
def split(x: Array, *, sections: int | Sequence[int], axis: int = 0) -> Any:
    """x cut along an axis: into `sections` equal parts, or before each of the positions `sections`. A tuple."""
    bounds = _bounds(np.shape(x), sections, axis)
    before = (slice(None),) * (axis % np.ndim(x))
    return tuple(x[(*before, slice(start, stop))] for start, stop in pairwise(bounds))


@split.vjp("x")
def split_wrt_x(g: Any, axis: int) -> Any:
    """The cotangents of the parts, joined."""
    return ops.concatenate(*g, axis=axis)


split.pushes("x")


@split.view
def split_put(value: Numeric, x: Numeric, sections: int | Sequence[int], axis: int, output: int) -> Numeric:
    """x with `value` in place of one part."""
    bounds = _bounds(np.shape(x), sections, axis)
    before = (("slice", None, None, None),) * (axis % np.ndim(x))
    return ops.index_set(x, value, pattern=(*before, ("slice", bounds[output], bounds[output + 1], None)))


@split.types
def split_types(x: ArrayType, *, sections: int | Sequence[int], axis: int = 0) -> tuple[ArrayType, ...]:
    """One type for each part."""
    bounds = _bounds(x.shape, sections, axis)
    along = axis % x.ndim
    sizes = [stop - start for start, stop in pairwise(bounds)]
    return tuple(ArrayType((*x.shape[:along], size, *x.shape[along + 1 :]), x.dtype) for size in sizes)


split.batch(along("axis"))


def _bounds(shape: tuple[int, ...], sections: int | Sequence[int], axis: int) -> list[int]:
    """Where the parts of a split begin and end."""
    (along,) = normalize_axes(axis, len(shape))
    size = shape[along]
    if isinstance(sections, int):
        if sections < 1:
            raise SettingError(f"sections is {sections}; it must be at least 1")
        if size % sections:
            raise ShapeError(f"axis {axis} of size {size} cannot be split into {sections} equal parts")
        if sections > MOST_PARTS:
            raise SettingError(f"sections is {sections}; an op has at most {MOST_PARTS} outputs")
        return list(range(0, size + 1, size // sections)) if size else [0] * (sections + 1)
    positions = [min(position, size) for position in sections]
    if positions != sorted(positions) or min(positions, default=0) < 0:
        raise SettingError(f"sections {sections} must be positions in ascending order, from 0 up")
    return [0, *positions, size]


@split.numpy(np.split)
def np_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """`np.split`."""
    sections = indices_or_sections
    return split(
        ary, sections=sections if isinstance(sections, int) else tuple(map(int, sections)), axis=axis
    )


@split.numpy(np.array_split)
def np_array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """`np.array_split`: the first parts are one longer where the sizes do not divide."""
    sections = indices_or_sections
    if isinstance(sections, int):
        size = ary.shape[axis]
        sections = _ends([size // sections + (i < size % sections) for i in range(sections)])[:-1]
    return split(ary, sections=tuple(map(int, sections)), axis=axis)


def _ends(sizes: list[int]) -> tuple[int, ...]:
    return tuple(np.cumsum(sizes, dtype=int).tolist())


# -- repeated, padded and reordered ------------------------------------------------------------------------------------


@op(
    kind="shape",
    linear=("x",),
    samples=[
        Sample([1.0, 2.0], pad_width=1, expected=[0.0, 1.0, 2.0, 0.0]),
        Sample(_MATRIX, pad_width=((0, 1), (2, 0)), constant_values=-1.5),
        Sample([1.0, 2.0, 3.0], pad_width=(2, 1), mode="reflect", expected=[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
        Sample(_MATRIX, pad_width=((1, 2), (0, 3)), mode="edge"),
        Sample(_MATRIX, pad_width=3, mode="symmetric"),
        Sample(_MATRIX, pad_width=((0, 0), (5, 1)), mode="wrap"),
    ],
    error_samples=[
        ErrorSample([1.0], pad_width=((1, 1), (1, 1)), error=ShapeError, match="pad_width"),
        ErrorSample([1.0], pad_width=-1, error=SettingError, match="negative"),
        ErrorSample([1.0], pad_width=1, mode="median", error=SettingError, match="reflect"),
    ],
)
def pad(x: Numeric, *, pad_width: object, mode: str = "constant", constant_values: Any = 0) -> Numeric:
    """x with elements added around it: a constant, or its own (reflect, symmetric, edge, wrap), as in NumPy.

    `pad_width` is one number, one (before, after) for every axis, or one such pair for each.
    """
    widths = _widths(np.shape(x), pad_width, mode)
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_values) if widths else np.array(x)
    return _padded(x, widths, mode)


@pad.vjp("x")
def pad_wrt_x(g: Numeric, x_type: ArrayType, pad_width: Numeric, mode: str) -> Numeric:
    """g without its border; for other modes each element of it added where it was copied from."""
    widths = _widths(x_type.shape, pad_width, mode)
    if mode == "constant":
        inside = zip(widths, x_type.shape, strict=True)
        return ops.index(
            g, pattern=tuple(("slice", before, before + size, None) for (before, _), size in inside)
        )
    # where every element of the result came from
    origins = [
        _padded(np.arange(size), width, mode) for size, width in zip(x_type.shape, widths, strict=True)
    ]
    return ops.scatter(g, *np.ix_(*origins), pattern=("array",) * len(origins), shape=x_type.shape)


@pad.jvp("x")
def pad_along_x(t: Numeric, pad_width: object, mode: str) -> Numeric:
    """t, with zeros where constants are."""
    return ops.pad(t, pad_width=pad_width, mode=mode)


def _padded(x: Numeric, widths: Any, mode: Any) -> Numeric:
    return np.pad(x, widths, mode=mode)


@pad.types
def pad_types(
    x: ArrayType, *, pad_width: object, mode: str = "constant", constant_values: object = 0
) -> ArrayType:
    """The shape of x with both widths added on each axis."""
    widths = _widths(x.shape, pad_width, mode)
    return ArrayType(tuple(size + sum(width) for size, width in zip(x.shape, widths, strict=True)), x.dtype)


@pad.batch
def pad_batched(
    batched: Sequence[bool], x: Numeric, *, pad_width: object, mode: str, constant_values: object
) -> Any:
    widths = ((0, 0), *_widths(x.shape[1:], pad_width, mode))
    if not isinstance(constant_values, int | float | complex | bool):  # like the widths, as NumPy takes them
        pairs = np.broadcast_to(np.asarray(constant_values), (x.ndim - 1, 2)).tolist()
        constant_values = ((0, 0), *map(tuple, pairs))
    return ops.pad(x, pad_width=widths, mode=mode, constant_values=constant_values)


@pad.expand
def pad_expansion(
    x: ArrayType, *, pad_width: Numeric, mode: str, constant_values: Numeric
) -> Expansion | None:
    """Each element is one of x or the constant; None for modes that copy."""
    if mode != "constant" or not isinstance(constant_values, int | float):
        return None
    widths = _widths(x.shape, pad_width, mode)
    at, _ = indices(x.ndim)
    shape = tuple(size + sum(width) for size, width in zip(x.shape, widths, strict=True))
    read = Read(0, x.shape, tuple(i - before for i, (before, _) in zip(at, widths, strict=True)))
    return Expansion(shape, (read,), padding=float(constant_values))


def _widths(shape: tuple[int, ...], pad_width: object, mode: str) -> tuple[tuple[int, int], ...]:
    modes = ("constant", "edge", "reflect", "symmetric", "wrap")
    if mode not in modes:
        raise SettingError(f"mode {mode!r} is none of {', '.join(modes)}")
    try:
        pairs = np.broadcast_to(np.asarray(pad_width), (len(shape), 2)).tolist()
    except ValueError:
        raise ShapeError(
            f"pad_width {pad_width} does not fit {len(shape)} dimensions: give one number, one (before, after), or "
            f"one such pair for each dimension"
        ) from None
    widths = tuple((before, after) for before, after in pairs)
    if any(width < 0 for pair in widths for width in pair):
        raise SettingError(f"pad_width {pad_width} is negative somewhere; cut with a slice instead")
    return widths


@pad.numpy(np.pad)
def np_pad(array: Numeric, pad_width: object, mode: Any = "constant", **options: Any) -> Any:
    """`np.pad`; modes that compute what they put there are made of other functions."""
    plain = isinstance(mode, str) and mode in ("constant", "edge", "reflect", "symmetric", "wrap")
    if plain and options.get("reflect_type", "even") == "even":
        options.pop("reflect_type", None)
        return pad(array, pad_width=pad_width, mode=mode, **options)
    return padded_by_rule(array, pad_width, mode, **options)


@op(
    kind="shape",
    linear=("x",),
    types="like_first",
    numpy=np.flip,
    samples=[Sample([1.0, 2.0], expected=[2.0, 1.0]), Sample(_MATRIX, axis=1), Sample(_CUBE, axis=(0, -1))],
    error_samples=[ErrorSample([1.0], axis=1, error=ShapeError)],
)
def flip(x: Numeric, *, axis: Axis = None) -> Numeric:
    """x in reverse order along `axis` (every axis by default)."""
    return np.flip(x, axis)


@flip.expand
def flip_expansion(x: ArrayType, *, axis: Axis) -> Expansion:
    """Each element is one of x, counted from the other end."""
    at, _ = indices(x.ndim)
    axes = normalize_axes(axis, x.ndim)
    places = [at[i] * -1 + (x.shape[i] - 1) if i in axes else at[i] for i in range(x.ndim)]
    return moved(x, x.shape, places)


@flip.vjp("x")
def flip_wrt_x(g: Numeric, axis: Axis) -> Numeric:
    """g, flipped again."""
    return ops.flip(g, axis=axis)


flip.pushes("x")


flip.batch(along("axis", unset="every axis"))


@flip.view
def flip_put(value: Numeric, x: Numeric, axis: Axis) -> Numeric:
    """`value`, flipped again."""
    return ops.flip(value, axis=axis)


@op(
    kind="shape",
    linear=("x",),
    types="like_first",
    numpy=np.roll,
    samples=[
        Sample([1.0, 2.0, 3.0], shift=1, expected=[3.0, 1.0, 2.0]),
        Sample(_MATRIX, shift=(1, -2), axis=(0, 1)),
        Sample(_MATRIX, shift=2),
    ],
    error_samples=[ErrorSample([1.0], shift=1, axis=1, error=ShapeError)],
)
def roll(x: Numeric, *, shift: Sizes, axis: Axis = None) -> Numeric:
    """x with its elements moved on by `shift` places along `axis`, around the end; of x flattened by default."""
    return np.roll(x, shift, axis)


@roll.expand
def roll_expansion(x: ArrayType, *, shift: Sizes, axis: Axis) -> Expansion:
    """Each element is one of x, from before or from beyond the end of each axis that is rolled."""
    shape = (x.size,) if axis is None else x.shape
    axes = (0,) if axis is None else normalize_axes(axis, x.ndim)
    shifts = [0] * len(shape)
    for one, by in np.broadcast(axes, shift):
        shifts[one] += int(by)
    at, _ = indices(len(shape))
    ways = [
        (i,) if not size or not by % size else (i - by % size, i - by % size + size)
        for i, by, size in zip(at, shifts, shape, strict=True)
    ]
    return Expansion(shape, tuple(Read(0, shape, places) for places in product(*ways)), join="only")


@roll.vjp("x")
def roll_wrt_x(g: Numeric, shift: Any, axis: Axis) -> Numeric:
    """g, rolled back."""
    back = tuple(-one for one in shift) if isinstance(shift, tuple) else -shift
    return ops.roll(g, shift=back, axis=axis)


roll.pushes("x")


@roll.batch
def roll_batched(batched: Sequence[bool], x: Numeric, *, shift: object, axis: Axis) -> Any:
    """Each example rolled by itself, flattened first where `axis` is None."""
    if axis is not None:
        return ops.roll(x, shift=shift, axis=shifted(axis, x.ndim - 1))
    flat = ops.reshape(x, shape=(x.shape[0], prod(x.shape[1:])))
    by = sum(shift) if isinstance(shift, tuple) else shift
    return ops.reshape(ops.roll(flat, shift=by, axis=1), shape=x.shape)


@op(
    kind="shape",
    linear=("x",),
    numpy=np.tile,
    samples=[
        Sample([1.0, 2.0], reps=2, expected=[1.0, 2.0, 1.0, 2.0]),
        Sample(_MATRIX, reps=(2, 1, 3)),
        Sample(_CUBE, reps=2),
    ],
    error_samples=[ErrorSample([1.0], reps=-1, error=SettingError, match="reps")],
)
def tile(x: Numeric, *, reps: Sizes) -> Numeric:
    """x repeated as a whole, `reps` times along each of the last axes;  gradients of the copies are summed."""
    _aligned(np.shape(x), reps)
    return np.tile(x, reps)


@tile.vjp("x")
def tile_wrt_x(g: Numeric, x_type: ArrayType, reps: Sizes) -> Numeric:
    """g, summed over the repetitions."""
    counts, sizes = _aligned(x_type.shape, reps)
    pairs = tuple(n for pair in zip(counts, sizes, strict=True) for n in pair)
    total = ops.sum(ops.reshape(g, shape=pairs), axis=tuple(range(0, len(pairs), 2)))
    return ops.reshape(total, shape=x_type.shape)


tile.pushes("x")


@tile.types
def tile_types(x: ArrayType, *, reps: Sizes) -> ArrayType:
    """The sizes of x times the repetitions, aligned at the last axis."""
    counts, sizes = _aligned(x.shape, reps)
    return ArrayType(tuple(count * size for count, size in zip(counts, sizes, strict=True)), x.dtype)


@tile.batch
def tile_batched(batched: Sequence[bool], x: Numeric, *, reps: Any) -> Any:
    counts, sizes = _aligned(x.shape[1:], reps)
    return ops.tile(ops.reshape(x, shape=(x.shape[0], *sizes)), reps=(1, *counts))


def _aligned(shape: tuple[int, ...], reps: Sizes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Repetitions and sizes of one length, with ones in front of the shorter."""
    counts = reps if isinstance(reps, tuple) else (reps,)
    if min(counts, default=0) < 0:
        raise SettingError(f"reps {reps} must not be negative")
    rank = max(len(counts), len(shape))
    return (1,) * (rank - len(counts)) + counts, (1,) * (rank - len(shape)) + shape


@op(
    kind="shape",
    linear=("x",),
    samples=[
        Sample([1.0, 2.0], repeats=2, expected=[1.0, 1.0, 2.0, 2.0]),
        Sample(_MATRIX, repeats=3, axis=-1),
        Sample(_MATRIX, repeats=2, axis=0),
        Sample(_MATRIX, repeats=2),
        Sample(_MATRIX, repeats=(2, 0, 1), axis=1),
        Sample(_CUBE, repeats=(1, 2), axis=-1),
        Sample(_MATRIX, repeats=(2, 0, 1, 1, 0, 2)),
    ],
    error_samples=[ErrorSample([1.0, 2.0], repeats=(1, 2, 3), error=ShapeError, match="repeats")],
)
def repeat(x: Numeric, *, repeats: Numeric, axis: int | None = None) -> Numeric:
    """Each element `repeats` times (a number, or one for each) along `axis`, of x flattened by default."""
    return np.repeat(x, repeats, axis)


@repeat.numpy(np.repeat)
def np_repeat(a: Numeric, repeats: object, axis: int | None = None) -> Any:
    """`np.repeat` with repeats as whole numbers."""
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "biu":
        raise SettingError(f"np.repeat: repeats must be whole numbers, not {counts.dtype}")
    return repeat(a, repeats=counts.astype(int).tolist(), axis=axis)


@repeat.vjp("x")
def repeat_wrt_x(g: Numeric, x_type: ArrayType, repeats: Numeric, axis: int | None) -> Numeric:
    """g, summed over the copies of each element."""
    shape = (x_type.size,) if axis is None or not x_type.ndim else x_type.shape
    along = 0 if axis is None else axis % len(shape)
    if isinstance(repeats, tuple) and len(repeats) == 1:
        (repeats,) = repeats
    if isinstance(repeats, int):
        copies = ops.reshape(g, shape=(*shape[: along + 1], repeats, *shape[along + 1 :]))
        return ops.reshape(ops.sum(copies, axis=along + 1), shape=x_type.shape)
    origins = np.repeat(np.arange(shape[along]), repeats)
    pattern = (("slice", None, None, None),) * along + ("array",)
    return ops.reshape(ops.scatter(g, origins, pattern=pattern, shape=shape), shape=x_type.shape)


repeat.pushes("x")


@repeat.types
def repeat_types(x: ArrayType, *, repeats: Numeric, axis: int | None = None) -> ArrayType:
    """The sizes of x, with the repetitions added up along `axis`; flattened where it is None."""
    shape = (x.size,) if axis is None or not x.ndim else x.shape
    (along,) = normalize_axes(0 if axis is None else axis, len(shape))
    counts: tuple[Any, ...] = repeats if isinstance(repeats, tuple) else (repeats,)
    if len(counts) not in (1, shape[along]) or min(counts) < 0:
        raise ShapeError(
            f"repeats {repeats} must be a number, or one for each of the {shape[along]} elements, none negative"
        )
    size = counts[0] * shape[along] if len(counts) == 1 else sum(counts)
    return ArrayType((*shape[:along], size, *shape[along + 1 :]), x.dtype)


@repeat.batch
def repeat_batched(batched: Sequence[bool], x: Numeric, *, repeats: object, axis: int | None) -> Any:
    if axis is None or x.ndim == 1:
        x, axis = ops.reshape(x, shape=(x.shape[0], prod(x.shape[1:]))), 0
    return ops.repeat(x, repeats=repeats, axis=shifted(axis, x.ndim - 1))


@composite(numpy=np.tril, samples=[Sample([[1.0, 2.0], [3.0, 4.0]], expected=[[1.0, 0.0], [3.0, 4.0]])])
def tril(x: Numeric, k: int = 0) -> Numeric:
    """The lower triangle of the last two axes, up to the k-th diagonal; zero above."""
    return ops.where(np.tri(*_matrix("tril", x), k=k, dtype=bool), x, _zero(x))


@composite(numpy=np.triu, samples=[Sample([[1.0, 2.0], [3.0, 4.0]], expected=[[1.0, 2.0], [0.0, 4.0]])])
def triu(x: Numeric, k: int = 0) -> Numeric:
    """The upper triangle of the last two axes, from the k-th diagonal; zero below."""
    return ops.where(np.tri(*_matrix("triu", x), k=k - 1, dtype=bool), _zero(x), x)


def _zero(x: Numeric) -> int:
    """0, of bools False: an int would make them ints."""
    return False if getattr(x, "dtype", None) == np.bool_ else 0


def _matrix(name: str, x: Numeric) -> tuple[int, int]:
    shape = np.shape(x)
    if len(shape) < 2:
        raise ShapeError(f"{name} needs at least 2 dimensions; x has shape {shape}")
    return shape[-2], shape[-1]
