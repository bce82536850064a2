"""The array API for tensors: the standard's functions are NumPy's, and what makes arrays makes tensors.

`x.__array_namespace__()` gives this module.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from tinygraph.core.tensor import Tensor, tensor
from tinygraph.numpy.form import holds_tensor, operand

__array_api_version__ = "2024.12"
__array_namespace_info__ = np.__array_namespace_info__

_MAKING = (
    "arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like", "tri", "zeros",
    "zeros_like",
)  # fmt: skip
# Answered with arrays by NumPy's form, with tensors here, as the standard has them.
_PLACES = ("argwhere", "nonzero", "searchsorted", "count_nonzero", "isin", "signbit")


def array_namespace(api_version: str | None = None) -> ModuleType:
    """This module, if it knows the version of the standard that is asked for.

    Raises:
        ValueError: it does not.
    """
    if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"the array API of {api_version} is not known here; 2024.12 is")
    return sys.modules[__name__]


def asarray(obj: Any, /, *, dtype: Any = None, device: object = None, copy: bool | None = None) -> Any:
    """A tensor of numbers, lists or an array; a tensor as it is; of lists of tensors a stack that keeps gradients."""
    if isinstance(obj, Tensor) or holds_tensor(obj):
        found = operand(obj)
        found = found if dtype is None or found.dtype == dtype else found.astype(dtype)
        return found.copy() if copy and found is obj else found
    if copy is False:
        raise ValueError("tensors do not share the memory of arrays that are given: copy=False cannot be had")
    return tensor(obj, dtype=dtype)


def from_dlpack(x: Any, /, *, device: object = None, copy: bool | None = None) -> Any:
    """A tensor of what another library holds."""
    return tensor(np.from_dlpack(x))


def _as_tensors(found: object) -> Any:
    if isinstance(found, tuple):
        return tuple(map(_as_tensors, found))
    return tensor(found) if isinstance(found, np.ndarray | np.generic) else found


def __getattr__(name: str) -> Any:
    """NumPy's own; of functions that make arrays, what they make as tensors."""
    if name.startswith("__"):
        raise AttributeError(name)
    found = getattr(np, name)
    if name not in _MAKING and name not in _PLACES:
        return found

    def made(*args: object, **options: object) -> Any:
        return _as_tensors(found(*args, **options))

    made.__name__ = made.__qualname__ = name
    return made


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(np)})
