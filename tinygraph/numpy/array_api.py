"""The array API for tensors: the standard's functions are NumPy's, and what makes arrays makes tensors.

`x.__array_namespace__()` gives this module. Written out here is what the standard has otherwise than NumPy: functions
that make arrays, those that answer with places, lists instead of tuples, and arguments that NumPy lacks.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.tensor import Tensor, tensor
from tinygraph.numpy.form import holds_tensor, operand

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric

__array_api_version__ = "2024.12"
__array_namespace_info__ = np.__array_namespace_info__


def array_namespace(api_version: str | None = None) -> ModuleType:
    """This module, if it knows the version of the standard that is asked for.

    Raises:
        ValueError: it does not.
    """
    if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"the array API of {api_version} is not known here; 2024.12 is")
    return sys.modules[__name__]


def _made(x: object, device: object = None) -> Any:
    """A tensor of what NumPy made.

    Raises:
        ValueError: it should live elsewhere than tensors do.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"tensors live on the device 'cpu', not on {device!r}")
    return x if isinstance(x, Tensor) else tensor(x)


# -- making arrays -----------------------------------------------------------------------------------------------------


def asarray(
    obj: Any, /, *, dtype: DTypeLike | None = None, device: object = None, copy: bool | None = None
) -> Any:
    """A tensor of numbers, lists or an array; a tensor as it is; of lists of tensors a stack that keeps gradients."""
    if isinstance(obj, Tensor) or holds_tensor(obj):
        found = operand(obj)
        found = found if dtype is None or found.dtype == dtype else found.astype(dtype)
        return _made(found.copy() if copy and found is obj else found, device)
    if copy is False:
        raise ValueError("tensors do not share the memory of arrays that are given: copy=False cannot be had")
    return _made(tensor(obj, dtype=dtype), device)


def from_dlpack(x: Any, /, *, device: object = None, copy: bool | None = None) -> Any:
    """A tensor of what another library holds."""
    return _made(np.from_dlpack(x), device)


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: DTypeLike | None = None, device: object = None
) -> Any:
    bounds: list[Any] = [0, start, step] if stop is None else [start, stop, step]
    return _made(np.arange(*bounds, dtype=dtype), device)


def empty(shape: int | tuple[int, ...], *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.empty(shape, float if dtype is None else dtype), device)


def zeros(shape: int | tuple[int, ...], *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.zeros(shape, float if dtype is None else dtype), device)


def ones(shape: int | tuple[int, ...], *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.ones(shape, dtype), device)


def full(
    shape: int | tuple[int, ...],
    fill_value: Numeric,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
) -> Any:
    if isinstance(fill_value, Tensor):
        found = np.broadcast_to(fill_value, shape)
        return _made(found if dtype is None else found.astype(dtype), device)
    return _made(np.full(shape, fill_value, dtype), device)


def empty_like(x: Numeric, /, *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.empty_like(x, dtype), device)


def zeros_like(x: Numeric, /, *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.zeros_like(x, dtype), device)


def ones_like(x: Numeric, /, *, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.ones_like(x, dtype), device)


def full_like(
    x: Numeric, /, fill_value: Numeric, *, dtype: DTypeLike | None = None, device: object = None
) -> Any:
    return _made(np.full_like(x, fill_value, dtype), device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike | None = None,
    device: object = None,
) -> Any:
    return _made(np.eye(n_rows, n_cols, k, float if dtype is None else dtype), device)


def linspace(
    start: Numeric,
    stop: Numeric,
    /,
    num: int,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    endpoint: bool = True,
) -> Any:
    return _made(np.linspace(start, stop, num, endpoint, dtype=dtype), device)


def meshgrid(*arrays: Numeric, indexing: Literal["xy", "ij"] = "xy") -> list[Any]:
    return [_made(one) for one in np.meshgrid(*arrays, indexing=indexing)]


def broadcast_arrays(*arrays: Numeric) -> list[Any]:
    return [_made(one) for one in np.broadcast_arrays(*arrays)]


# -- places, which NumPy's forms answer with arrays --------------------------------------------------------------------


def nonzero(x: Numeric, /) -> tuple[Any, ...]:
    return tuple(map(_made, np.nonzero(x)))


def argwhere(x: Numeric, /) -> Any:
    return _made(np.argwhere(x))


def count_nonzero(x: Numeric, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _made(np.count_nonzero(x, axis=axis, keepdims=keepdims))


def searchsorted(
    x1: Numeric, x2: Numeric, /, *, side: Literal["left", "right"] = "left", sorter: Numeric | None = None
) -> Any:
    return _made(np.searchsorted(x1, x2, side, sorter))


def isin(x1: Numeric, x2: Numeric, /, *, invert: bool = False) -> Any:
    return _made(np.isin(x1, x2, invert=invert))


def signbit(x: Numeric, /) -> Any:
    return _made(np.signbit(x))


def bitwise_left_shift(x1: Numeric, x2: Numeric, /) -> Any:
    return _made(np.left_shift(x1, x2))


def bitwise_right_shift(x1: Numeric, x2: Numeric, /) -> Any:
    return _made(np.right_shift(x1, x2))


# -- arguments that NumPy lacks ----------------------------------------------------------------------------------------


def clip(x: Numeric, /, min: Numeric | None = None, max: Numeric | None = None) -> Any:
    return np.clip(x, min, max)


def argsort(x: Numeric, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    if not descending:
        return _made(np.argsort(x, axis=axis, stable=stable))
    # equal elements keep their order: of the reversed array, from behind
    places = np.flip(np.argsort(np.flip(x, axis=axis), axis=axis, stable=stable), axis=axis)
    return _made(x.shape[axis] - 1 - places)


def sort(x: Numeric, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    found = np.sort(x, axis=axis, stable=stable)
    return np.flip(found, axis=axis) if descending else found


class _FloatInfo(NamedTuple):
    """What a floating-point dtype can hold, in Python's numbers; a complex one is asked about its parts."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


def finfo(type: object, /) -> _FloatInfo:
    one: Any = np.finfo(type.dtype if isinstance(type, Tensor | np.ndarray) else type)
    return _FloatInfo(
        int(one.bits), float(one.eps), float(one.max), float(one.min), float(one.smallest_normal), one.dtype
    )


class _Extension:
    """A module of NumPy's, with what the standard has otherwise."""

    def __init__(self, room: ModuleType, **own: object) -> None:
        self._room = room
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(self._room)})


def _fftfreq(n: int, /, *, d: float = 1.0, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.fft.fftfreq(n, d).astype(float if dtype is None else dtype), device)


def _rfftfreq(n: int, /, *, d: float = 1.0, dtype: DTypeLike | None = None, device: object = None) -> Any:
    return _made(np.fft.rfftfreq(n, d).astype(float if dtype is None else dtype), device)


fft = _Extension(np.fft, fftfreq=_fftfreq, rfftfreq=_rfftfreq)


def __getattr__(name: str) -> Any:
    """NumPy's own."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(np, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(np)})
