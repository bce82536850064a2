"""Options of NumPy's functions that no op has: `dtype=`, `where=`, `initial=` and `out=`, done around the op."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import numpy_name
from tinygraph.core.tensor import Tensor
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import operand, value

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# What an element that `where=` leaves out counts as, and how `initial=` joins the result.
NEUTRAL: dict[Any, tuple[Any, Callable[..., Any] | None]] = {
    np.sum: (0, np.add),
    np.prod: (1, np.multiply),
    np.max: (None, np.maximum),
    np.amax: (None, np.maximum),
    np.min: (None, np.minimum),
    np.amin: (None, np.minimum),
    np.all: (True, None),
    np.any: (False, None),
    np.cumsum: (None, None),
    np.cumprod: (None, None),
}
MOMENTS = (np.mean, np.var, np.std)
_OPTIONS = frozenset({"dtype", "out", "where", "initial", "mean", "correction"})


def with_options(function: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    """What answers a reduction, and takes its options too."""
    signature = inspect.signature(function)

    def reduced(*args: object, **kwargs: object) -> Any:
        if len(args) < 3 and not kwargs.keys() & _OPTIONS:
            return plain(*args, **kwargs)
        bound = signature.bind(*args, **kwargs).arguments
        given = {name: one for name, one in bound.items() if one is not np._NoValue and one is not None}
        if "axis" in bound:
            given["axis"] = bound["axis"]
        out = given.pop("out", None)
        x = operand(given.pop(next(iter(bound))))
        if "dtype" in given and not (function in MOMENTS and x.dtype.kind in "biu"):
            x = x.astype(given["dtype"])
        dtype = given.pop("dtype", None)
        if function in MOMENTS:
            found = _moment(function, x if dtype is None else x.astype(dtype), given)
        else:
            found = _folded(function, plain, x, given)
        if dtype is not None and found.dtype != dtype:  # sums of small integers are of large ones
            found = found.astype(dtype)
        return found if out is None else written(numpy_name(function), out, found)

    reduced.__signature__ = signature  # type: ignore[attr-defined]
    return reduced


def _folded(function: object, plain: Callable[..., Any], x: Numeric, given: dict[str, Any]) -> Any:
    neutral, join = NEUTRAL[function]
    initial, where = given.pop("initial", None), given.pop("where", True)
    if where is not True:
        left_out = initial if neutral is None else neutral
        if left_out is None:
            raise ValueError(f"{numpy_name(function)} with where= has no identity: pass initial=")
        x = np.where(where, x, np.asarray(left_out, None if isinstance(left_out, bool) else x.dtype))
    if initial is None or join is None:
        return plain(x, **given)
    if neutral is None and x.size == 0:
        kept = plain(np.ones_like(x), **given) if 0 not in np.shape(x) else None
        return kept if kept is not None else np.asarray(initial, x.dtype)
    found = plain(x, **given)
    return join(
        found, np.asarray(value(initial), found.dtype) if not isinstance(initial, Tensor) else initial
    )


def _moment(function: object, x: Numeric, given: dict[str, Any]) -> Any:
    """Mean, variance or standard deviation of the elements that a mask chooses, about a mean that may be given."""
    axis, kept = given.get("axis"), bool(given.get("keepdims", False))
    where = given.get("where", True)
    x = x if x.dtype.kind in "fcO" else x.astype(float)
    mask = np.broadcast_to(np.asarray(value(where), bool), x.shape)
    real = np.empty(0, x.dtype).real.dtype

    def total(y: Numeric, keepdims: bool) -> Any:
        return np.sum(np.where(mask, y, np.zeros((), y.dtype)), axis=axis, keepdims=keepdims)

    count = np.sum(mask, axis=axis, keepdims=True).astype(real)
    if function is np.mean:
        found = total(x, kept)
        return found / count.reshape(found.shape)
    centre = given["mean"] if "mean" in given else total(x, True) / count
    apart = x - centre
    squares = np.real(apart * np.conj(apart)) if x.dtype.kind == "c" else apart * apart
    found = total(squares, kept)
    removed = given.get("correction", given.get("ddof", 0))
    found = found / np.maximum(count - removed, 0).reshape(found.shape)
    return found if function is np.var else np.sqrt(found)


def written(name: str, out: object, found: object) -> Any:
    """A result where `out=` says: a tensor then stands for it; an array is refused."""
    targets = out if isinstance(out, tuple) else (out,)
    results = found if isinstance(found, tuple) else (found,)
    for target, result in zip(targets, results, strict=True):
        if target is None:
            continue
        if not isinstance(target, Tensor):
            raise NumpyFunctionError(
                f"{name}(..., out=...) would write into an array, which carries no gradient; use the returned tensor "
                f"instead, or pass a tensor as out="
            )
        if not np.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"Cannot cast the output of {name} from {result.dtype} to {target.dtype}")
        target[...] = np.broadcast_to(result, target.shape).astype(target.dtype)
    chosen = tuple(r if t is None else t for t, r in zip(targets, results, strict=True))
    return chosen if isinstance(found, tuple) else chosen[0]


def settled(
    name: str, found: Any, *, dtype: Any = None, out: object = None, casting: str = "same_kind"
) -> Any:
    """A result in the dtype, and at the place, that a function's options ask for.

    Raises:
        TypeError: the dtype is not reached by the casting rule.
    """
    if dtype is not None and found.dtype != dtype:
        if not np.can_cast(found.dtype, dtype, casting):  # type: ignore[arg-type]
            raise TypeError(
                f"Cannot cast the result of {name} from {found.dtype} to {np.dtype(dtype)} by the rule {casting!r}"
            )
        found = found.astype(dtype)
    return found if out is None else written(name, out, found)
