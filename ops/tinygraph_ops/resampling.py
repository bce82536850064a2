"""Resampling: one axis of a grid read at other places, between its elements, and the way back.

As ops of their own, with sizes as settings, they serve every size of their operand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from math import floor
from typing import Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Numeric,
    Sample,
    SettingError,
    ShapeError,
    along,
    op,
    ops,
)

MODES = ("nearest", "nearest-exact", "linear", "cubic")
_ROWS = [[1.0, 2.0, 4.0], [-1.0, 0.5, 3.0]]


@op(
    kind="indexing",
    linear="x",
    samples=[
        Sample([1.0, 2.0], size=4, expected=[1.0, 1.0, 2.0, 2.0]),
        Sample([1.0, 2.0, 3.0], size=2, mode="nearest-exact", expected=[1.0, 3.0]),
        Sample([0.0, 4.0], size=4, mode="linear", expected=[0.0, 1.0, 3.0, 4.0]),
        Sample([0.0, 3.0], size=4, mode="linear", align_corners=True, expected=[0.0, 1.0, 2.0, 3.0]),
        Sample([1.0, 2.0, 4.0, 8.0], factor=0.5, mode="nearest", expected=[1.0, 4.0]),
        Sample([0.0, 1.0], size=1, mode="linear", align_corners=True, expected=[0.0]),
        Sample(_ROWS, size=5, mode="linear", axis=0, factor=2.5),
        Sample(_ROWS, size=5, mode="cubic", axis=-1),
        Sample(_ROWS, size=7, mode="cubic", align_corners=True),
        Sample(_ROWS, size=7, axis=1),
        Sample([1.0, 2.0, 4.0, 8.0, 16.0], factor=0.7, mode="linear"),
    ],
    error_samples=[
        ErrorSample(1.0, size=2, error=ShapeError, match="axis"),
        ErrorSample(_ROWS, size=2, axis=2, error=ShapeError, match="axis 2"),
        ErrorSample(_ROWS, size=0, error=SettingError, match="size is 0"),
        ErrorSample(_ROWS, error=SettingError, match="size or factor"),
        ErrorSample(_ROWS, factor=0.1, error=SettingError, match="size is 0"),
        ErrorSample(_ROWS, size=2, factor=-1.0, error=SettingError, match="factor is -1"),
        ErrorSample(_ROWS, size=2, mode="lanczos", error=SettingError, match="mode is 'lanczos'"),
        ErrorSample([[1], [2]], size=3, mode="linear", error=DTypeError, match="int64"),
    ],
)
def resample(
    x: Numeric,
    *,
    size: int | None = None,
    axis: int = -1,
    factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """out[i] = sum over neighbours k of w_k(p_i) x[k], along one axis, p_i = (i + 1/2) / factor - 1/2.

    Args:
        x: an array with at least one element along `axis`.
        size: how many elements there are afterwards; floor(elements of x * factor) by default.
        factor: how many elements there are for one of x; size / (elements of x) by default.
        mode: "nearest" (the element at floor(i / factor)), "nearest-exact" (at the place rounded), "linear" between two
            neighbours or "cubic" between four (Keys, 1981, with a = -3/4).
        align_corners: of "linear" and "cubic": the first and last element stay where they are, whatever `factor` says.

    Returns:
        x with `size` elements along `axis`, of the same dtype.

    Raises:
        ShapeError: x has no such axis, or nothing along it.
        SettingError: an unknown mode, neither size nor factor, or one that is not positive.
        DTypeError: "linear" or "cubic" between values that are not floating.

    >>> import numpy as np
    >>> resample(np.array([0.0, 4.0]), size=4, mode="linear")
    array([0., 1., 3., 4.])
    """
    made = resample_types(x, size=size, axis=axis, factor=factor, mode=mode, align_corners=align_corners)
    parts = _neighbours(x.shape[axis], made.shape[axis], factor, mode, align_corners)
    return reduce(ops.add, (_times(ops.take(x, where, axis=axis), by, axis) for where, by in parts))


@op(
    kind="indexing",
    linear="x",
    samples=[
        Sample([1.0, 2.0, 3.0, 4.0], size=2, expected=[3.0, 7.0]),
        Sample([1.0, 2.0, 3.0, 4.0], size=2, mode="linear", expected=[3.25, 6.75]),
        Sample([1.0, 2.0], size=3, mode="nearest-exact", expected=[1.0, 0.0, 2.0]),
        Sample(_ROWS, size=5, mode="cubic", axis=0, factor=0.6),
        Sample(_ROWS, size=2, mode="cubic", align_corners=True),
        Sample(_ROWS, size=4, mode="linear", factor=0.7),
    ],
    error_samples=[
        ErrorSample(_ROWS, size=2, axis=-3, error=ShapeError, match="axis -3"),
        ErrorSample(_ROWS, size=-1, error=SettingError, match="size is -1"),
        ErrorSample([[1], [2]], size=3, mode="cubic", error=DTypeError, match="int64"),
    ],
)
def resample_adjoint(
    x: Numeric,
    *,
    size: int,
    axis: int = -1,
    factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """The transpose of `resample`: out[k] = sum over i of w_k(p_i) x[i], each element given back to where it was read.

    Settings are those of `resample`, but that `size` is how many elements that had before.

    >>> import numpy as np
    >>> resample_adjoint(np.array([1.0, 2.0, 3.0, 4.0]), size=2)
    array([3., 7.])
    """
    resample_types(x, size=size, axis=axis, factor=factor, mode=mode, align_corners=align_corners)
    along = axis % x.ndim
    made: Any = np.zeros((*x.shape[:along], size, *x.shape[along + 1 :]), x.dtype)
    for where, by in _neighbours(size, x.shape[axis], factor, mode, align_corners):
        made = ops.add_at(made, (*(slice(None),) * along, where), _times(x, by, axis))
    return made


@resample.types
@resample_adjoint.types
def resample_types(
    x: ArrayType,
    *,
    size: int | None = None,
    axis: int = -1,
    factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> ArrayType:
    """The operand's type, with another size along one axis."""
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"there is no axis {axis} in x of shape {shape}")
    if mode not in MODES:
        raise SettingError(f"mode is {mode!r}; it must be one of {', '.join(map(repr, MODES))}")
    if factor is not None and not factor > 0:
        raise SettingError(f"factor is {factor}; it must be positive")
    if size is None:
        if factor is None:
            raise SettingError("it needs size or factor")
        size = floor(shape[axis] * factor)
    if not shape[axis]:
        raise ShapeError(f"x of shape {shape} has nothing along axis {axis} that could be read")
    if size < 1:
        raise SettingError(f"size is {size}; it must be at least 1")
    if mode in ("linear", "cubic") and x.dtype.kind not in "fc":
        raise DTypeError(f"mode {mode!r} needs floating values, not {x.dtype}; use x.astype(float)")
    along = axis % len(shape)
    return ArrayType((*shape[:along], size, *shape[along + 1 :]), x.dtype)


@resample.vjp("x")
def resample_wrt_x(
    g: Numeric,
    x_type: ArrayType,
    *,
    axis: int,
    factor: float | None,
    mode: str,
    align_corners: bool,
) -> Any:
    return resample_adjoint(
        g, size=x_type.shape[axis], axis=axis, factor=factor, mode=mode, align_corners=align_corners
    )


@resample_adjoint.vjp("x")
def resample_adjoint_wrt_x(
    g: Numeric,
    x_type: ArrayType,
    *,
    axis: int,
    factor: float | None,
    mode: str,
    align_corners: bool,
) -> Any:
    return resample(
        g, size=x_type.shape[axis], axis=axis, factor=factor, mode=mode, align_corners=align_corners
    )


resample.batch(along("axis"))
resample_adjoint.batch(along("axis"))


def _neighbours(
    old: int, new: int, factor: float | None, mode: str, corners: bool
) -> Iterator[tuple[Array, Array | None]]:
    """Which elements the new ones read, one for each of them, and times what; None for as they are."""
    step = old / new if factor is None else 1 / factor
    places = np.arange(new)
    if mode.startswith("nearest"):
        exact = 0.5 if mode == "nearest-exact" else 0.0
        yield np.clip(np.floor((places + exact) * step).astype(np.intp), 0, old - 1), None
        return
    if corners:
        centres = places * ((old - 1) / (new - 1) if new > 1 else 0.0)
    else:
        centres = (places + 0.5) * step - 0.5
        if mode == "linear":
            centres = np.maximum(centres, 0)
    before = np.floor(centres).astype(np.intp)
    share = centres - before
    for offset, weights in (_cubic(share) if mode == "cubic" else {0: 1 - share, 1: share}).items():
        yield np.clip(before + offset, 0, old - 1), weights


def _cubic(t: Array, a: float = -0.75) -> dict[int, Array]:
    """The factors of the four neighbours at -1, 0, 1 and 2, for a place t after neighbour 0  (Keys, 1981)."""

    def near(x: Array) -> Array:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Array) -> Array:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return {-1: far(t + 1), 0: near(t), 1: near(1 - t), 2: far(2 - t)}


def _times(x: Numeric, factors: Array | None, axis: int) -> Any:
    if factors is None:
        return x
    return x * factors.astype(x.dtype).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
