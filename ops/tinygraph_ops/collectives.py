"""Collectives: what the processes of a program make of their arrays together (`tg.parallel`).

Each process has a loss of its own; a gradient here is that of the sum of all of them, as in PyTorch's
`torch.distributed.nn.functional`. All four are linear, and each one's rule is one of them again. In a program of one
process they copy.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    DTypeError,
    ErrorSample,
    MissingRuleError,
    Numeric,
    Sample,
    SettingError,
    ShapeError,
    along,
    exchanging,
    leading,
    normalize_axes,
    of_each_call,
    one_by_one,
    op,
    ops,
    processes,
)

_REDUCTIONS = ("sum", "mean", "max", "min")


@op(
    kind="collective",
    samples=[
        Sample([1.0, -2.0], expected=[1.0, -2.0]),
        Sample([[1.5, 2.0, -1.0], [0.5, 3.0, 4.0]], reduction="mean"),
    ],
    error_samples=[
        ErrorSample([1.0], reduction="product", error=SettingError, match="product"),
        ErrorSample([True], error=DTypeError, match="bool"),
    ],
)
def all_reduce(x: Numeric, *, reduction: str = "sum") -> Numeric:
    """The sum of every process's x, for every process;  its gradient is the sum of their g.

    Args:
        reduction: "sum", "mean", "max" or "min"; the last two have no gradient.
    """
    _check(x.dtype, reduction)
    return exchanging().all_reduce(np.asarray(x), reduction)


@all_reduce.vjp("x")
def all_reduce_wrt_x(g: Numeric, *, reduction: str) -> Any:
    """g, reduced in the same way."""
    if reduction in ("max", "min"):
        raise MissingRuleError(
            f'all_reduce(reduction="{reduction}") has no gradient: use "sum" or "mean", or detach its operand'
        )
    return ops.all_reduce(of_each_call(g), reduction=reduction)


all_reduce.pushes("x")


@all_reduce.types
def all_reduce_types(x: ArrayType, *, reduction: str = "sum") -> ArrayType:
    """The type of x."""
    _check(x.dtype, reduction)
    return ArrayType(x.shape, x.dtype)


all_reduce.batch(leading)


# Exchanges under way: between the two ops a program does other things.
_under_way: dict[int, Any] = {}
_numbers = count(1)


@op(kind="collective", nondifferentiable="x")
def start_all_reduce(x: Numeric, *, reduction: str = "sum") -> Numeric:
    """Begins an `all_reduce`, whose result `finish_all_reduce` waits for;  gives the number of it. No gradient."""
    _check(x.dtype, reduction)
    number = next(_numbers)
    _under_way[number] = exchanging().start_all_reduce(np.asarray(x), reduction)
    return np.asarray(number)[()]


@start_all_reduce.types
def start_all_reduce_types(x: ArrayType, *, reduction: str = "sum") -> ArrayType:
    """A number."""
    _check(x.dtype, reduction)
    return ArrayType((), np.dtype(np.int64))


start_all_reduce.batch(one_by_one)


@op(kind="collective", nondifferentiable="number")
def finish_all_reduce(number: Any, *, shape: tuple[int, ...], dtype: str) -> Numeric:
    """The result of an `all_reduce` that was begun, once it is there;  no gradient.

    Args:
        shape, dtype: of what was exchanged.
    """
    return np.asarray(_under_way.pop(int(number)).wait())


@finish_all_reduce.types
def finish_all_reduce_types(number: ArrayType, *, shape: tuple[int, ...], dtype: str) -> ArrayType:
    """As it was exchanged."""
    return ArrayType(tuple(shape), np.dtype(dtype))


finish_all_reduce.batch(one_by_one)


@op(
    kind="collective",
    linear=("x",),
    samples=[Sample([1.0, -2.0], expected=[1.0, -2.0]), Sample([[1.5, 2.0, -1.0], [0.5, 3.0, 4.0]], axis=-1)],
    error_samples=[
        ErrorSample([1.0], axis=1, error=ShapeError, match="axis"),
        ErrorSample(1.0, error=ShapeError, match="axis"),
    ],
)
def all_gather(x: Numeric, *, axis: int = 0) -> Numeric:
    """Every process's x, one after another along an axis, for every process;  each gets its part of all g, summed."""
    return exchanging().all_gather(np.asarray(x), _axis(x, axis))


@all_gather.vjp("x")
def all_gather_wrt_x(g: Numeric, *, axis: int) -> Any:
    """The sum of all g, of which each process gets its part."""
    return ops.reduce_scatter(of_each_call(g), axis=axis)


all_gather.pushes("x")


@all_gather.types
def all_gather_types(x: ArrayType, *, axis: int = 0) -> ArrayType:
    """As many times as long along the axis as there are processes."""
    return _resized(x, axis, x.shape[_axis(x, axis)] * processes().size)


all_gather.batch(along("axis"))


@op(
    kind="collective",
    linear=("x",),
    samples=[Sample([1.0, -2.0], expected=[1.0, -2.0]), Sample([[1.5, 2.0, -1.0], [0.5, 3.0, 4.0]], axis=-1)],
    error_samples=[
        ErrorSample([1.0], axis=1, error=ShapeError, match="axis"),
        ErrorSample(1.0, error=ShapeError, match="axis"),
    ],
)
def reduce_scatter(x: Numeric, *, axis: int = 0) -> Numeric:
    """The sum of every process's x, of which each gets its part along an axis;  the g of all, one after another."""
    _parts(x, axis)
    return exchanging().reduce_scatter(np.asarray(x), _axis(x, axis))


@reduce_scatter.vjp("x")
def reduce_scatter_wrt_x(g: Numeric, *, axis: int) -> Any:
    """The g of all processes, one after another along the axis."""
    return ops.all_gather(of_each_call(g), axis=axis)


reduce_scatter.pushes("x")


@reduce_scatter.types
def reduce_scatter_types(x: ArrayType, *, axis: int = 0) -> ArrayType:
    """As many times shorter along the axis as there are processes."""
    return _resized(x, axis, _parts(x, axis))


reduce_scatter.batch(along("axis"))


@op(
    kind="collective",
    linear=("x",),
    samples=[Sample([1.0, -2.0], expected=[1.0, -2.0]), Sample([[1.5, 2.0, -1.0], [0.5, 3.0, 4.0]], root=0)],
    error_samples=[ErrorSample([1.0], root=-1, error=SettingError, match="root")],
)
def broadcast(x: Numeric, *, root: int = 0) -> Numeric:
    """The x of the process `root`, for every process;  it gets the sum of all g, the others zeros.

    The x of the others counts by its shape and dtype alone, which must be the same.
    """
    return exchanging().broadcast(np.asarray(x), _root(root))


@broadcast.vjp("x")
def broadcast_wrt_x(g: Numeric, *, root: int) -> Any:
    """The sum of all g where x was taken from, and zeros elsewhere."""
    total = ops.all_reduce(of_each_call(g))
    return total if processes().rank == root else total * 0.0


broadcast.pushes("x")


@broadcast.types
def broadcast_types(x: ArrayType, *, root: int = 0) -> ArrayType:
    """The type of x."""
    _root(root)
    return ArrayType(x.shape, x.dtype)


broadcast.batch(leading)


def _check(dtype: np.dtype[Any], reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise SettingError(f"reduction={reduction!r}; it can be {', '.join(map(repr, _REDUCTIONS))}")
    if dtype.kind == "b":
        raise DTypeError("all_reduce takes numbers, not bools: convert them with .astype(int)")
    if reduction == "mean" and dtype.kind in "iu":
        raise DTypeError(f"the mean of integers is none: convert the operand of {dtype} with .astype(float)")


def _axis(x: Numeric | ArrayType, axis: int) -> int:
    if not x.ndim:
        raise ShapeError("a 0-d array has no axis along which processes could have parts: x.reshape(1)")
    (found,) = normalize_axes(axis, x.ndim)
    return found


def _parts(x: Numeric | ArrayType, axis: int) -> int:
    """How long each process's part is."""
    length, size = x.shape[_axis(x, axis)], processes().size
    if length % size:
        raise ShapeError(f"axis {axis} of length {length} cannot be divided evenly among {size} processes")
    return length // size


def _resized(x: ArrayType, axis: int, length: int) -> ArrayType:
    """The type of x with another length of an axis."""
    place = _axis(x, axis)
    return ArrayType((*x.shape[:place], length, *x.shape[place + 1 :]), x.dtype)


def _root(root: int) -> int:
    if not 0 <= root < processes().size:
        raise SettingError(f"root={root!r} must be the rank of a process, from 0 to {processes().size - 1}")
    return root
