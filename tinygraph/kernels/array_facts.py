"""What kernels ask of arrays thousands of times while a plan is built, asked the cheap way."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.types import Array


def _read_address(array: Array) -> int:
    """Read as extensions in C do: behind the head of the object."""
    return ctypes.c_size_t.from_address(id(array) + object.__basicsize__).value


def _asked_address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]  # takes a microsecond
    return address


_probe = np.zeros(1)
_is_cpython = sys.implementation.name == "cpython"
_reads = _is_cpython and _read_address(_probe) == _asked_address(_probe)
_address = _read_address if _reads else _asked_address


def address_of(array: Array) -> int:
    """Where the elements of an array lie.

    >>> x = np.arange(3.0)
    >>> address_of(x[1:]) - address_of(x)
    8
    """
    return _address(array)


def dtype_name(dtype: DTypeLike) -> str:
    """`np.dtype(dtype).name`, which NumPy puts together each time.

    >>> dtype_name(np.dtype("float32"))
    'float32'
    """
    return _name(np.dtype(dtype))


@functools.lru_cache(256)
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name
