"""NumPy functions called on tensors: what `Tensor.__array_ufunc__` and `.__array_function__` lead to.

Options are honoured here and in `call_options.py`, or refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import numpy_name, ops
from tinygraph.core.tensor import Tensor
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.adapters import adapter_of
from tinygraph.numpy.call_options import written
from tinygraph.numpy.form import axis_of, operand, value
from tinygraph.numpy.questions import WITHOUT_VALUE

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_DETACH = "call it on tensor.detach().numpy() if no gradient is wanted"

# What a ufunc's methods are called elsewhere: np.add.reduce is np.sum.
_REDUCTIONS = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min, np.logical_and: np.all,
    np.logical_or: np.any,
}  # fmt: skip
_ACCUMULATIONS = {np.add: np.cumsum, np.multiply: np.cumprod}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_ufunc__`."""
    if not kwargs and method == "__call__":
        return adapter_of(ufunc)(*inputs)
    name = numpy_name(ufunc)
    out = kwargs.pop("out", None)
    if out is not None and not all(one is None or isinstance(one, Tensor) for one in out):
        return written(name, out, out)  # which refuses arrays
    for option, usual in (("casting", "same_kind"), ("order", "K"), ("subok", True)):
        if kwargs.pop(option, usual) != usual:
            raise NumpyFunctionError(
                f"{name} on tensors does not take another {option}= than {usual!r}; or {_DETACH}"
            )
    if method == "__call__":
        found = _called(ufunc, name, inputs, kwargs, out)
    elif method in METHODS:
        found = METHODS[method](ufunc, name, *inputs, **kwargs)
    else:
        raise NumpyFunctionError(f"{name} has no method {method} on tensors; {_DETACH}")
    return found if out is None else written(name, out if isinstance(found, tuple) else out[0], found)


def _called(
    ufunc: np.ufunc, name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any], out: tuple[Any, ...] | None
) -> Any:
    answer = adapter_of(ufunc)
    if "axes" in kwargs and ufunc.signature is not None:
        return _at_axes(ufunc, inputs, kwargs.pop("axes"), kwargs)
    where, dtype = kwargs.pop("where", True), kwargs.pop("dtype", None)
    for option in kwargs.keys() - _settings(answer) if kwargs else ():
        raise NumpyFunctionError(f"{name} on tensors does not take {option}=; {_DETACH}")
    if dtype is not None:
        inputs = tuple(_as_loop(name, one, dtype) for one in inputs)
    if where is True:
        return answer(*inputs, **kwargs)
    if out is None:
        raise NumpyFunctionError(
            f"{name} with where= and without out= leaves memory as it was found: write np.where(mask, ..., ...), or "
            f"pass a tensor as out="
        )
    # outside of the mask operands are ones, so that nothing there makes a gradient that is not finite
    mask = value(where)
    found = answer(*(np.where(mask, one, np.ones((), operand(one).dtype)) for one in inputs), **kwargs)
    return np.where(mask, found, out[0])


def _at_axes(
    ufunc: np.ufunc, inputs: tuple[Any, ...], axes: Sequence[int | tuple[int, ...]], kwargs: dict[str, Any]
) -> Any:
    """A product of matrices or vectors that stand at other axes than the last ones."""
    places = [(one,) if isinstance(one, int) else tuple(one) for one in axes]
    moved = [
        np.moveaxis(operand(x), at, tuple(range(-len(at), 0))) for x, at in zip(inputs, places, strict=False)
    ]
    found = ufunc(*moved, **kwargs)
    at = places[len(inputs)] if len(places) > len(inputs) else ()
    return np.moveaxis(found, tuple(range(-len(at), 0)), at) if at else found


def _as_loop(name: str, x: Numeric, dtype: Any) -> Any:
    """An operand in the dtype in which a ufunc is told to compute."""
    x = operand(x)
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise TypeError(f"Cannot cast an operand of {name} from {x.dtype} to {np.dtype(dtype)}")
    return x.astype(dtype)


# -- methods -----------------------------------------------------------------------------------------------------------


def _reduce(
    ufunc: np.ufunc, name: str, x: Numeric, axis: object = 0, dtype: Any = None, **options: object
) -> Any:
    if ufunc in _REDUCTIONS:
        given = {} if dtype is None else {"dtype": dtype}
        return adapter_of(_REDUCTIONS[ufunc])(x, axis=axis, **given, **options)
    keepdims, initial = options.pop("keepdims", False), options.pop("initial", np._NoValue)
    _refuse_options(f"{name}.reduce", options)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if len(axes) > 1 and ufunc.identity is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified"
        )
    for one in sorted((axis_of(one, x.ndim) for one in axes), reverse=True):
        parts = _along(x if dtype is None else x.astype(dtype), one)
        start = parts.pop(0) if initial is np._NoValue or initial is None else operand(initial)
        for part in parts:
            start = ufunc(start, part)
        x, initial = (np.expand_dims(start, one) if keepdims else start), np._NoValue
    return x


def _accumulate(ufunc: np.ufunc, name: str, x: Numeric, axis: int = 0, dtype: Any = None) -> Any:
    x = x if dtype is None else x.astype(dtype)
    if ufunc in _ACCUMULATIONS:
        return adapter_of(_ACCUMULATIONS[ufunc])(x, axis=axis)
    found: list[Any] = []
    for part in _along(x, axis_of(axis, x.ndim)):
        found.append(ufunc(found[-1], part) if found else part)
    return np.stack(found, axis=axis) if found else x


def _reduceat(
    ufunc: np.ufunc, name: str, x: Numeric, indices: Numeric, axis: int = 0, dtype: Any = None
) -> Any:
    at, places = axis_of(axis, x.ndim), np.asarray(value(indices))
    before = (slice(None),) * at
    ends = [*places[1:], x.shape[at]]
    parts = [
        _reduce(ufunc, name, x[(*before, slice(start, end))], at, dtype)
        if start < end
        else x[(*before, int(start))]
        for start, end in zip(places, ends, strict=True)
    ]
    return np.stack(parts, axis=at)


def _outer(ufunc: np.ufunc, name: str, left: Any, right: Any, **options: Any) -> Any:
    left = operand(left)
    return call_ufunc(ufunc, "__call__", (left[(..., *(None,) * np.ndim(right))], right), options)


def _at(ufunc: np.ufunc, name: str, x: object, indices: object, *others: object) -> None:
    """x[indices] = ufunc(x[indices], ...), once for each time that a place is named."""
    if not isinstance(x, Tensor):
        raise NumpyFunctionError(
            f"{name}.at would write a tensor's numbers into an array, which has no gradient: make it a tensor first"
        )
    if ufunc in (np.add, np.subtract):
        x[...] = ops.add_at(x, indices, others[0] if ufunc is np.add else -operand(others[0]))
        return
    counts = np.zeros(x.shape, int)
    np.add.at(counts, value(indices), 1)
    if counts.size and counts.max() > 1:
        raise NumpyFunctionError(
            f"{name}.at on tensors names each place once; only np.add.at and np.subtract.at repeat"
        )
    x[indices] = ufunc(x[indices], *others)


METHODS: dict[str, Callable[..., Any]] = {
    "reduce": _reduce, "accumulate": _accumulate, "reduceat": _reduceat, "outer": _outer, "at": _at,
}  # fmt: skip


def _along(x: Numeric, axis: int) -> list[Any]:
    return [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])]


def _refuse_options(name: str, options: dict[str, Any]) -> None:
    for option, given in options.items():
        if given is not np._NoValue and given is not None and given is not True:
            raise NumpyFunctionError(f"{name} on tensors does not take {option}=; or {_DETACH}")


def _settings(answer: Callable[..., Any]) -> frozenset[str]:
    """The options of a ufunc that what answers it has as settings, such as the axis of np.vecdot."""
    parameters = inspect.signature(getattr(answer, "forward", answer)).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def call_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_function__`."""
    answer = WITHOUT_VALUE.get(function) or adapter_of(function)
    try:
        return answer(*args, **kwargs)
    except TypeError as error:
        refused = _not_taken(answer, args, kwargs)
        if refused is None:
            raise
        raise NumpyFunctionError(f"{numpy_name(function)} on tensors: {refused}; or {_DETACH}") from error


def _not_taken(answer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What is wrong if a form does not have the arguments of a call."""
    signature = inspect.signature(answer)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"{error}, the op behind it takes {signature}"
    return None
