"""`Parameter`: a tensor that a module owns and an optimizer updates; and what `device=` and `dtype=` mean here."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.node import Leaf
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.errors import DTypeError, SettingError


class Parameter(Tensor):
    """A trainable leaf. Assigned to an attribute of a module, it is one of the module's parameters.

    Args:
        data: the initial value (array, tensor or number), which is copied and keeps its dtype.
        requires_grad: whether `.backward()` accumulates a gradient in `.grad`.

    Raises:
        DTypeError: a gradient is wanted of integers, or the data are not numeric.

    >>> Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: object, requires_grad: bool = True) -> None:
        # 0-d values stay arrays, so that an update is written in place whatever the rank
        array = np.array(data._concrete("Parameter()") if isinstance(data, Tensor) else data)
        if array.dtype.kind not in "biufcO":
            raise DTypeError(f"a parameter holds numbers, not an array of dtype {array.dtype}")
        if requires_grad and not type_of(array).differentiable:
            raise DTypeError(
                f"a parameter of dtype {array.dtype} cannot require a gradient: give floats, or requires_grad=False"
            )
        leaf = Leaf(array, requires_grad=requires_grad, kind="parameter")
        super().__init__(array, leaf if requires_grad else None, leaf)
        leaf.holder = weakref.ref(self)


def zeros_parameter(shape: Any, dtype: DTypeLike | None = None, device: Any = None) -> Parameter:
    """A parameter to be filled by an initialiser; float32 unless `dtype` says otherwise."""
    reserve(shape)
    return Parameter(np.zeros(shape, parameter_dtype(dtype, device)))


_left: ContextVar[int | None] = ContextVar("numbers that layers may still make", default=None)


@contextmanager
def limited_numbers(most: int) -> Iterator[None]:
    """In this block layers make at most so many numbers: a file of a few bytes can ask for any size."""
    token = _left.set(most)
    try:
        yield
    finally:
        _left.reset(token)


def reserve(shape: object) -> None:
    """What a layer does before it makes an array of this shape.

    Raises:
        SettingError: `limited_numbers` allows fewer.
    """
    left = _left.get()
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if left is None or not all(isinstance(size, int) for size in sizes):
        return  # what is no size, NumPy refuses
    wanted = prod(sizes)
    if wanted > left:
        raise SettingError(
            f"a shape of {list(sizes)} is {wanted} numbers, and {left} are left of those allowed"
        )
    _left.set(left - max(wanted, 0))


def parameter_dtype(dtype: DTypeLike | None = None, device: object = None) -> np.dtype[Any]:
    """The dtype that a layer's `dtype=` asks for; float32 by default.

    Raises:
        SettingError: `device` is not the CPU.
        DTypeError: `dtype` is not a floating or complex dtype of NumPy.
    """
    require_cpu(device)
    try:
        found = np.dtype(np.float32 if dtype is None else dtype)
    except TypeError:
        raise DTypeError(
            f"dtype={dtype!r} is no NumPy dtype; write for example np.float64 or 'float64'"
        ) from None
    if found.kind not in "fc":
        raise DTypeError(f"parameters need a floating or complex dtype, not {found}")
    return found


def require_cpu(device: object) -> None:
    """Refuse every device but the CPU.

    Raises:
        SettingError: another device was asked for.
    """
    if device is not None and str(device) != "cpu":
        raise SettingError(f"device={device!r}: tinygraph computes on the CPU; leave device out")
