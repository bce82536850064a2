"""Discrete Fourier transforms. Every function of np.fft is one of these with operands cut, padded or conjugated.

A transform is linear with a symmetric matrix, so its gradient is the same transform of g; no conjugate appears.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    ErrorSample,
    Numeric,
    Sample,
    SettingError,
    ShapeError,
    along,
    normalize_axes,
    op,
    ops,
)

_Z = [1.0 + 2.0j, 0.5, -1.0j]
_NORM = ErrorSample([1.0], norm="other", error=SettingError, match="backward")


@op(
    kind="other",
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.0, 1.0], expected=[8.0, -3.0 - 1.0j, 2.0, -3.0 + 1.0j]),
        Sample([_Z, _Z], axes=(0, -1), inverse=True),
        Sample(_Z, norm="ortho"),
    ],
    error_samples=[_NORM, ErrorSample([1.0], axes=(1,), error=ShapeError, match="axis 1")],
)
def fft(x: Numeric, *, axes: Any = (-1,), inverse: bool = False, norm: Any = "backward") -> Numeric:
    """Σ x_j exp(-2πi jk / n) along each of the axes, or the inverse transform;  the gradient is the same of g."""
    fft_types(np.asarray(x), axes=axes, inverse=inverse, norm=norm)
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)


@fft.vjp("x")
def fft_wrt_x(g: Numeric, axes: object, inverse: bool, norm: str) -> Numeric:
    """The same transform of g: its matrix is symmetric."""
    return ops.fft(g, axes=axes, inverse=inverse, norm=norm)


@fft.types
def fft_types(x: Any, *, axes: Any = (-1,), inverse: bool = False, norm: str = "backward") -> ArrayType:
    """The shape of x, in a complex dtype."""
    _require_norm(norm)
    normalize_axes(axes, x.ndim)
    return ArrayType(x.shape, _dtype(x))


fft.batch(along("axes"))


@op(
    kind="other",
    linear=("x",),
    samples=[
        Sample([1.0, 2.0, 4.0, 1.0], expected=[8.0, -3.0 - 1.0j, 2.0]),
        Sample([[1.0, 0.5], [-1.0, 2.0], [3.0, 1.5]], axis=0, norm="forward"),
    ],
    error_samples=[_NORM],
)
def rfft(x: Numeric, *, axis: int = -1, norm: Any = "backward") -> Numeric:
    """The first half of the transform of real numbers, whose other half is conjugate to it.

    The gradient is the real part of the transform of g, with zeros for the other half.
    """
    rfft_types(np.asarray(x), axis=axis, norm=norm)
    return np.fft.rfft(x, axis=axis, norm=norm)


@rfft.vjp("x")
def rfft_wrt_x(g: Numeric, x_type: ArrayType, axis: int, norm: str) -> Any:
    shape = list(g.shape)
    shape[axis] = x_type.shape[axis] - shape[axis]
    whole = ops.concatenate(g, np.zeros(shape, g.dtype), axis=axis)
    return ops.real(ops.fft(whole, axes=(axis,), norm=norm))


@rfft.types
def rfft_types(x: ArrayType, *, axis: int = -1, norm: str = "backward") -> ArrayType:
    """The shape of x with n // 2 + 1 numbers along `axis`, complex."""
    _require_norm(norm)
    (along,) = normalize_axes(axis, x.ndim)
    shape = list(x.shape)
    shape[along] = shape[along] // 2 + 1
    return ArrayType(tuple(shape), _dtype(x))


rfft.batch(along("axis"))


@op(
    kind="other",
    linear=("x",),
    samples=[
        Sample([8.0, -3.0 - 1.0j, 2.0], n=4, expected=[1.0, 2.0, 4.0, 1.0]),
        Sample([[1.0 + 0.5j, 2.0, 0.25], [0.5, -1.0j, 1.0]], n=3, axis=0, norm="ortho"),
    ],
    error_samples=[ErrorSample([1.0], n=3, error=SettingError, match="2 of them")],
)
def irfft(x: Any, *, n: int, axis: int = -1, norm: Any = "backward") -> Numeric:
    """The n real numbers whose transform has x as its first half.

    The gradient is the conjugate of `rfft` of g, twice that where the other half has a partner, scaled back.
    """
    irfft_types(np.asarray(x), n=n, axis=axis, norm=norm)
    return np.fft.irfft(x, n, axis=axis, norm=norm)


@irfft.vjp("x")
def irfft_wrt_x(g: Numeric, x_type: ArrayType, n: int, axis: int, norm: str) -> Any:
    count = x_type.shape[axis]
    weights = np.full(count, 2.0)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    weights = weights.reshape([count if i == axis % x_type.ndim else 1 for i in range(x_type.ndim)])
    opposite = {"backward": "forward", "forward": "backward"}.get(norm, norm)
    return ops.conj(ops.rfft(g, axis=axis, norm=opposite)) * weights.astype(g.dtype)


@irfft.types
def irfft_types(x: ArrayType, *, n: int, axis: int = -1, norm: str = "backward") -> ArrayType:
    """The shape of x with n numbers along `axis`, real."""
    _require_norm(norm)
    (along,) = normalize_axes(axis, x.ndim)
    if x.shape[along] != n // 2 + 1:
        raise SettingError(
            f"{n} numbers have a transform whose first half is {n // 2 + 1} of them, not {x.shape[along]}"
        )
    shape = list(x.shape)
    shape[along] = n
    return ArrayType(tuple(shape), np.empty(0, _dtype(x)).real.dtype)


irfft.batch(along("axis"))


def _require_norm(norm: str) -> None:
    if norm not in ("backward", "ortho", "forward"):
        raise SettingError(f'norm is "backward", "ortho" or "forward", not {norm!r}')


def _dtype(x: Numeric | ArrayType) -> Any:
    """Complex, of the precision that NumPy transforms in."""
    return np.fft.fft(np.ones(1, x.dtype)).dtype
