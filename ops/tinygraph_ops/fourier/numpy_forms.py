"""np.fft by the transforms that are ops: operands cut or padded to n, axis after axis, and halves of spectra."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import Numeric, form, normalize_axes, operand, ops, refuse

_OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _fitted(x: Numeric, n: int | None, axis: int) -> Any:
    """The first n elements along an axis, with zeros behind them where there are fewer."""
    size = x.shape[axis]
    if n is None or n == size:
        return x
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    if n < size:
        return x[(slice(None),) * normalize_axes(axis, x.ndim)[0] + (slice(n),)]
    (at,) = normalize_axes(axis, x.ndim)
    return np.pad(x, [(0, n - size) if i == at else (0, 0) for i in range(x.ndim)])


def _norm(norm: object) -> str:
    if norm is not None and norm not in _OPPOSITE:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    return norm or "backward"


def _sizes(x: Numeric, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    axes = [int(axis) for axis in axes]
    sizes = [None] * len(axes) if s is None else [None if n == -1 else int(n) for n in s]
    if len(sizes) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    return sizes, axes


def _one(function: object, inverse: bool) -> None:
    @form(function)
    def transform(a: Numeric, n: Any = None, axis: int = -1, norm: Any = None, out: object = None) -> Any:
        refuse(function, "use the result", out=out)
        return ops.fft(_fitted(operand(a), n, axis), axes=(axis,), inverse=inverse, norm=_norm(norm))


def _many(function: object, inverse: bool, default: object) -> None:
    @form(function)
    def transform(
        a: Numeric, s: object = None, axes: object = default, norm: object = None, out: object = None
    ) -> Any:
        refuse(function, "use the result", out=out)
        x = operand(a)
        sizes, over = _sizes(x, s, axes)
        for axis in reversed(range(len(over))):  # an axis named twice is transformed twice
            x = ops.fft(
                _fitted(x, sizes[axis], over[axis]), axes=(over[axis],), inverse=inverse, norm=_norm(norm)
            )
        return x


_one(np.fft.fft, False)
_one(np.fft.ifft, True)
_many(np.fft.fft2, False, (-2, -1))
_many(np.fft.ifft2, True, (-2, -1))
_many(np.fft.fftn, False, None)
_many(np.fft.ifftn, True, None)


@form(np.fft.rfft)
def rfft(a: Numeric, n: Any = None, axis: int = -1, norm: Any = None, out: object = None) -> Any:
    refuse(np.fft.rfft, "use the result", out=out)
    return ops.rfft(_fitted(operand(a), n, axis), axis=axis, norm=_norm(norm))


@form(np.fft.irfft)
def irfft(a: Numeric, n: Any = None, axis: int = -1, norm: Any = None, out: object = None) -> Any:
    refuse(np.fft.irfft, "use the result", out=out)
    x = operand(a)
    n = 2 * (x.shape[axis] - 1) if n is None else int(n)
    return ops.irfft(_fitted(x, n // 2 + 1, axis), n=n, axis=axis, norm=_norm(norm))


@form(np.fft.hfft)
def hfft(a: Numeric, n: object = None, axis: int = -1, norm: object = None, out: object = None) -> Any:
    refuse(np.fft.hfft, "use the result", out=out)
    return irfft(np.conj(a), n, axis, _OPPOSITE[_norm(norm)])


@form(np.fft.ihfft)
def ihfft(a: Numeric, n: object = None, axis: int = -1, norm: object = None, out: object = None) -> Any:
    refuse(np.fft.ihfft, "use the result", out=out)
    return np.conj(rfft(a, n, axis, _OPPOSITE[_norm(norm)]))


def _real(function: object, default: object) -> None:
    @form(function)
    def transform(
        a: Numeric, s: object = None, axes: object = default, norm: object = None, out: object = None
    ) -> Any:
        refuse(function, "use the result", out=out)
        x = operand(a)
        sizes, over = _sizes(x, s, axes)
        x = rfft(x, sizes[-1], over[-1], norm)
        for n, axis in zip(sizes[-2::-1], over[-2::-1], strict=True):
            x = ops.fft(_fitted(x, n, axis), axes=(axis,), norm=_norm(norm))
        return x


def _back_to_real(function: object, default: object) -> None:
    @form(function)
    def transform(
        a: Numeric, s: object = None, axes: object = default, norm: object = None, out: object = None
    ) -> Any:
        refuse(function, "use the result", out=out)
        x = operand(a)
        sizes, over = _sizes(x, s, axes)
        for n, axis in zip(sizes[:-1], over[:-1], strict=True):
            x = ops.fft(_fitted(x, n, axis), axes=(axis,), inverse=True, norm=_norm(norm))
        return irfft(x, sizes[-1], over[-1], norm)


_real(np.fft.rfft2, (-2, -1))
_real(np.fft.rfftn, None)
_back_to_real(np.fft.irfft2, (-2, -1))
_back_to_real(np.fft.irfftn, None)


def _shift(function: object, direction: int) -> None:
    @form(function)
    def shifted(x: Numeric, axes: object = None) -> Any:
        over = range(x.ndim) if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
        over = tuple(int(axis) for axis in over)
        by = tuple(x.shape[axis] // 2 if direction > 0 else -(x.shape[axis] // 2) for axis in over)
        return np.roll(x, by, axis=over)


_shift(np.fft.fftshift, 1)
_shift(np.fft.ifftshift, -1)
