"""How results of NumPy's functions lie in memory, which decides what is a view of them and so what a write reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.numeric import Numeric
from tinygraph.core.tensor import Handle
from tinygraph.core.views import lies_in_rows_here


def in_rows(found: Numeric) -> Any:
    """A result that lies in rows, as those of functions do that NumPy writes into an array of its own.

    In a capture, where layouts are not known, a copy says so; plans leave it out where nothing is written.
    """
    if not isinstance(found, Handle) or found.ndim < 2:
        return found
    value = found._value
    return found if isinstance(value, np.ndarray) and value.flags.c_contiguous else found.copy()


def laid_out_like(x: Numeric, found: Numeric) -> Any:
    """A result of the shape of x with its axes in the order of x's in memory, as in NumPy's copies by `order="K"`."""
    value = getattr(x, "_value", x)
    if not isinstance(value, np.ndarray) or np.shape(found) != value.shape:
        return found
    return laid_out(found, np.empty_like(value).strides)


def in_order_of(x: Any, found: Numeric) -> Any:
    """A result in columns if x lies so, and in no other way, as NumPy's `order="A"` has it; else in rows."""
    value = getattr(x, "_value", x)
    if not isinstance(value, np.ndarray) or not value.flags.fnc:
        return in_rows(found) if isinstance(value, np.ndarray) or lies_in_rows_here(x) else found
    return laid_out(found, range(1, np.ndim(found) + 1))


def laid_out(found: Any, strides: Sequence[int]) -> Any:
    """A result with its axes in memory in the order of some strides; of values that are not there yet, as it is."""
    value = getattr(found, "_value", found)
    if not isinstance(value, np.ndarray) or value.ndim < 2:
        return found
    axes = sorted(range(value.ndim), key=lambda i: -strides[i])
    if value.transpose(axes).flags.c_contiguous:
        return found
    back = [axes.index(i) for i in range(value.ndim)]
    return found.transpose(axes).copy().transpose(back)
