"""Forms that choose elements: by conditions, by order, by being new. What only says where is an array."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.numpy.constants import constant
from tinygraph.numpy.form import FORMS, axis_of, form, grouped, operand, refuse, value
from tinygraph.numpy.memory_order import in_rows, laid_out_like

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric

# Of these the answer is a place, a count, a truth or a text, which no small change of an operand changes.
CONSTANT = (
    np.nonzero, np.flatnonzero, np.argwhere, np.searchsorted, np.digitize, np.isin, np.array_equiv, np.argpartition,
    np.lexsort, np.unravel_index, np.ravel_multi_index, np.diag_indices_from, np.tril_indices_from,
    np.triu_indices_from, np.ix_, np.packbits, np.unpackbits,
    np.min_scalar_type, np.common_type, np.can_cast, np.iscomplex, np.isreal, np.linalg.matrix_rank, np.einsum_path,
    np.array2string, np.savetxt, np.save, np.savez, np.savez_compressed,
)  # fmt: skip


for _one in CONSTANT:
    FORMS[_one] = grouped(_one.__name__, constant(_one))


@form(np.count_nonzero)
def count_nonzero(a: Numeric, axis: Axis = None, *, keepdims: bool = False) -> Any:
    return np.sum(np.not_equal(a, 0), axis=axis, keepdims=keepdims)


@form(np.isneginf)
def isneginf(x: Numeric, out: object = None) -> Any:
    refuse(np.isneginf, "use the result", out=out)
    return np.equal(x, -np.inf)


@form(np.isposinf)
def isposinf(x: Numeric, out: object = None) -> Any:
    refuse(np.isposinf, "use the result", out=out)
    return np.equal(x, np.inf)


@form(np.choose)
def choose(a: Numeric, choices: Any, out: object = None, mode: str = "raise") -> Any:
    refuse(np.choose, "use the result", out=out)
    places, options = np.asarray(value(a)), [operand(one) for one in choices]
    count = len(options)
    if mode == "raise" and (np.any(places < 0) or np.any(places >= count)):
        raise ValueError("invalid entry in choice array")
    places = places % count if mode == "wrap" else np.clip(places, 0, count - 1)
    shape = np.broadcast_shapes(np.shape(places), *(one.shape for one in options))
    found = np.broadcast_to(options[-1], shape)
    for k in reversed(range(count - 1)):
        found = np.where(places == k, options[k], found)
    return found


@form(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    found = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        found = np.where(operand(condition), choice, found)
    return in_rows(found)


@form(np.piecewise, calls_back=True)
def piecewise(x: Numeric, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    conditions = condlist if isinstance(condlist, list | tuple) else [condlist]
    if np.ndim(conditions[0]) == 0 and x.ndim > 0:
        conditions = [condlist]
    conditions = [operand(one) for one in conditions]
    functions = list(funclist)
    if len(functions) == len(conditions) + 1:  # the last is for all the rest
        some = conditions[0]
        for one in conditions[1:]:
            some = np.logical_or(some, one)
        conditions.append(np.logical_not(some))
    if len(functions) != len(conditions):
        raise ValueError(f"with {len(conditions)} condition(s), as many functions or one more are expected")
    found = np.zeros(x.shape, x.dtype)
    for condition, function in zip(conditions, functions, strict=True):
        mask = value(condition)
        if not callable(function):
            found = np.where(mask, np.asarray(function, x.dtype), found)
        elif np.any(mask):
            # each function sees its own elements alone, as in NumPy
            found = _placed(found, mask, function(x[mask], *args, **kw), x.dtype)
    return laid_out_like(x, found)


def _placed(found: Any, mask: Numeric, part: Any, dtype: Any) -> Any:
    """The elements of `part` at the true places of a mask, one after the other."""
    part = np.broadcast_to(operand(part).astype(dtype), (int(np.sum(mask)),))
    places = np.where(mask, np.cumsum(mask.reshape(-1)).reshape(mask.shape) - 1, 0)
    return np.where(mask, part[places], found)


# -- by order ----------------------------------------------------------------------------------------------------------


@form(np.partition)
def partition(
    a: Numeric, kth: Any, axis: int | None = -1, kind: str = "introselect", order: object = None
) -> Any:
    refuse(np.partition, "it is for records", order=order)
    x, at = (operand(a).reshape(-1), 0) if axis is None else (operand(a), axis)
    return laid_out_like(x, np.take_along_axis(x, np.argpartition(x, kth, axis=at), at))


@form(np.sort_complex)
def sort_complex(a: Numeric) -> Any:
    x = np.sort(operand(a))
    return x if x.dtype.kind == "c" else x.astype(complex)


@form(np.unique)
def unique(
    ar: object,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The values are elements of the array, the first of each; all else is places and counts."""
    x = operand(ar)
    given = value(x)
    plain: Any = np.unique
    _, places, *rest = plain(given, True, return_inverse, return_counts, axis, equal_nan=equal_nan)
    found = x.reshape(-1)[places] if axis is None else np.take(x, places, axis=axis)
    wanted = [found, *([places] if return_index else []), *rest]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


@form(np.unique_values)
def unique_values(x: Numeric) -> Any:
    return unique(x, equal_nan=False)


@form(np.unique_inverse)
def unique_inverse(x: Numeric) -> Any:
    return type(np.unique_inverse(np.zeros(1)))(*unique(x, return_inverse=True, equal_nan=False))


@form(np.unique_all)
def unique_all(x: Numeric) -> Any:
    return type(np.unique_all(np.zeros(1)))(*unique(x, True, True, True, equal_nan=False))


FORMS[np.unique_counts] = grouped(
    "unique_counts",
    lambda x: type(np.unique_counts(np.zeros(1)))(*unique(x, return_counts=True, equal_nan=False)),
)


def _of_both(one: Any, other: Any, function: Any, **options: Any) -> Any:
    """Elements of two arrays, picked by a set function of NumPy's from their values."""
    both = np.concatenate([operand(one).reshape(-1), operand(other).reshape(-1)])
    wanted = function(value(one), value(other), **options)
    given = value(both)
    order = np.argsort(given, kind="stable")
    return both[order[np.searchsorted(given, wanted, sorter=order)]]


@form(np.union1d)
def union1d(ar1: object, ar2: object) -> Any:
    return _of_both(ar1, ar2, np.union1d)


@form(np.setdiff1d)
def setdiff1d(ar1: object, ar2: object, assume_unique: bool = False) -> Any:
    return _of_both(ar1, ar2, np.setdiff1d, assume_unique=assume_unique)


@form(np.setxor1d)
def setxor1d(ar1: object, ar2: object, assume_unique: bool = False) -> Any:
    return _of_both(ar1, ar2, np.setxor1d, assume_unique=assume_unique)


@form(np.intersect1d)
def intersect1d(ar1: object, ar2: object, assume_unique: bool = False, return_indices: bool = False) -> Any:
    found = _of_both(ar1, ar2, np.intersect1d, assume_unique=assume_unique)
    if not return_indices:
        return found
    return (found, *np.intersect1d(value(ar1), value(ar2), assume_unique, True)[1:])


# -- a function of the user's along axes -------------------------------------------------------------------------------


@form(np.apply_along_axis, calls_back=True)
def apply_along_axis(func1d: Any, axis: int, arr: Numeric, *args: Any, **kwargs: Any) -> Any:
    x = operand(arr)
    at = axis_of(axis, x.ndim)
    rows = np.moveaxis(x, at, -1)
    stack = rows.shape[:-1]
    if 0 in stack:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    flat = rows.reshape(prod(stack), x.shape[at])
    found = np.stack([operand(func1d(flat[i], *args, **kwargs)) for i in range(flat.shape[0])])
    inner = found.ndim - 1
    found = found.reshape((*stack, *found.shape[1:]))
    last = range(found.ndim - inner, found.ndim)
    return np.moveaxis(found, tuple(last), tuple(range(at, at + inner)))


@form(np.apply_over_axes, calls_back=True)
def apply_over_axes(func: Any, a: Numeric, axes: Any) -> Any:
    x = operand(a)
    for axis in np.atleast_1d(axes):
        found = func(x, int(axis))
        x = found if found.ndim == x.ndim else np.expand_dims(found, int(axis))
    return x
