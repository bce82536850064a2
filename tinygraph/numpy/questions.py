"""NumPy functions that a tensor's type answers, or whose answer carries no gradient: `np.shape`, `np.allclose` ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.tensor import CapturedNumber, Handle
from tinygraph.core.views import lies_in_rows_here
from tinygraph.errors import CaptureError
from tinygraph.numpy.constants import constant, in_program

WITHOUT_VALUE: dict[Any, Callable[..., Any]] = {
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x, axis=None: x.size if axis is None else x.shape[axis],
    np.result_type: lambda *xs: np.result_type(*(x.dtype if hasattr(x, "requires_grad") else x for x in xs)),
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.zeros_like: lambda x, *args, **options: _like(np.zeros_like, x, *args, **options),
    np.ones_like: lambda x, *args, **options: _like(np.ones_like, x, *args, **options),
    np.full_like: lambda *args, **options: _full_like(*args, **options),
    np.empty_like: lambda x, *args, **options: _like(np.empty_like, x, *args, **options),
    np.array_repr: lambda x, *args, **kwargs: repr(x),
    np.array_str: lambda x, *args, **kwargs: str(x),
    np.allclose: constant(np.allclose),
    np.array_equal: constant(np.array_equal),
    np.isclose: constant(np.isclose),
    np.shares_memory: lambda a, b, *args: np.shares_memory(_value(a), _value(b), *args),
    np.may_share_memory: lambda a, b, *args: np.may_share_memory(_value(a), _value(b), *args),
}


def _like(
    function: Callable[..., Any],
    x: Any,
    dtype: DTypeLike | None = None,
    order: Literal["K", "A", "C", "F"] = "K",
    subok: bool = True,
    shape: int | tuple[int, ...] | None = None,
    *,
    device: object = None,
) -> Any:
    """An array in the layout of the tensor's value. In a capture, where it has none, in rows if it is sure to lie so;
    else an op of the program, since the layout decides which reshapes of the result are views.
    """
    value = getattr(x, "_value", x)
    if not isinstance(value, np.ndarray):
        if isinstance(x, Handle) and order in "KA" and shape is None and not lies_in_rows_here(x):
            made = in_program("ones_like" if function is np.ones_like else "zeros_like", x)
            return made if dtype is None else made.astype(dtype)
        value = np.broadcast_to(np.empty((), x.dtype), x.shape)
        order = "C" if order in "KA" else order
    return function(value, dtype=dtype, order=order, subok=False, shape=shape)


def _full_like(
    a: Any,
    fill_value: Any,
    dtype: DTypeLike | None = None,
    order: Literal["K", "A", "C", "F"] = "K",
    subok: bool = True,
    shape: int | tuple[int, ...] | None = None,
    *,
    device: object = None,
) -> Any:
    """An array; of a tensor's number a tensor, through which its gradient flows."""
    dtype = a.dtype if dtype is None else np.dtype(dtype)
    if not hasattr(fill_value, "requires_grad"):
        made = _like(np.ones_like, a, dtype, order, shape=shape)
        if isinstance(made, Handle):  # times, as 1 keeps what it meets
            return made * np.asarray(fill_value).astype(dtype)
        made[...] = fill_value
        return made
    if isinstance(fill_value, CapturedNumber) and dtype.kind in "iu":
        if fill_value.dtype.kind not in "biu":
            raise CaptureError(
                f"np.full_like of {dtype} with a Python float or complex number in a captured program: eagerly it "
                f"depends on the number whether that raises. Pass an integer"
            )
        # a sum notices what does not fit
        return _like(np.zeros_like, a, dtype, order, shape=shape) + fill_value
    return np.broadcast_to(fill_value, np.shape(a) if shape is None else shape).astype(dtype)


def _value(x: Any) -> Any:
    return x.numpy() if hasattr(x, "requires_grad") else x
