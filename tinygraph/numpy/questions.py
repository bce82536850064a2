"""NumPy functions that a tensor's type answers, or whose answer carries no gradient: `np.shape`, `np.allclose` ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WITHOUT_VALUE: dict[Any, Callable[..., Any]] = {
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x, axis=None: x.size if axis is None else x.shape[axis],
    np.result_type: lambda *xs: np.result_type(*(x.dtype if hasattr(x, "requires_grad") else x for x in xs)),
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.zeros_like: lambda x, dtype=None, shape=None: np.zeros(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.ones_like: lambda x, dtype=None, shape=None: np.ones(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.full_like: lambda x, fill_value, dtype=None, shape=None: np.full(
        x.shape if shape is None else shape, fill_value, dtype or x.dtype
    ),
    np.empty_like: lambda x, dtype=None, shape=None: np.empty(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.array_repr: lambda x, *args, **kwargs: repr(x),
    np.array_str: lambda x, *args, **kwargs: str(x),
    np.allclose: lambda a, b, *args, **kwargs: np.allclose(_value(a), _value(b), *args, **kwargs),
    np.array_equal: lambda a, b, *args, **kwargs: np.array_equal(_value(a), _value(b), *args, **kwargs),
    np.isclose: lambda a, b, *args, **kwargs: np.isclose(_value(a), _value(b), *args, **kwargs),
    np.shares_memory: lambda a, b, *args: np.shares_memory(_value(a), _value(b), *args),
    np.may_share_memory: lambda a, b, *args: np.may_share_memory(_value(a), _value(b), *args),
}


def _value(x: Any) -> Any:
    return x.numpy() if hasattr(x, "requires_grad") else x
