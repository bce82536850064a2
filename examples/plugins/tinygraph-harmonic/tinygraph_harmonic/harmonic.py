"""The cosine transform (DCT-II and its inverse) and the Hartley transform, orthonormal and real.

An orthonormal transform's derivative is its inverse. Sources: Ahmed, Natarajan, Rao, "Discrete Cosine Transform", 1974;
its computation by one FFT of the same length from Makhoul, "A fast cosine transform in one and two dimensions", 1980;
Bracewell, "Discrete Hartley transform", 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ErrorSample, Sample, ShapeError, normalize_axes, op

_HALF = 0.5**0.5
_GRID = [[1.0, -2.0, 0.5, 3.0, -1.5], [0.25, 2.0, -0.75, 1.25, -3.0], [4.0, -0.5, 1.5, -2.5, 0.75]]
_CUBE = np.arange(24.0).reshape(2, 3, 4) % 7 - 3.0
_ERRORS = [
    ErrorSample(1.0, error=ShapeError, match="scalar"),
    ErrorSample(_GRID, axis=2, error=ShapeError, match="axis 2"),
    ErrorSample(np.zeros((2, 0)), error=ShapeError, match="no elements along axis -1"),
    ErrorSample([1 + 2j], error=DTypeError, match="complex128"),
    ErrorSample([1, 2], error=DTypeError, match="int64"),
]


@op(
    linear="x",
    samples=[
        Sample([3.0, 1.0], expected=[4 * _HALF, 2 * _HALF]),
        Sample([4 * _HALF, 2 * _HALF], inverse=True, expected=[3.0, 1.0]),
        Sample([1.0, 1.0, 1.0, 1.0], expected=[2.0, 0.0, 0.0, 0.0]),
        Sample([1.0, 0.0, 0.0], expected=[3**-0.5, _HALF, 6**-0.5]),
        Sample([5.0], expected=[5.0]),
        Sample(_GRID),
        Sample(_GRID, axis=0),
        Sample(_GRID, axis=0, inverse=True),
        Sample(_CUBE, axis=-2),
        Sample(_CUBE, inverse=True),
    ],
    error_samples=_ERRORS,
)
def dct(x: Any, *, axis: int = -1, inverse: bool = False) -> Any:
    """out_k = c_k Σ_n x_n cos(π k (2n + 1) / 2N), c_0 = √(1/N), else √(2/N) (DCT-II);  d/dx = the inverse (DCT-III).

    Args:
        x: real, of any shape with at least one element along `axis`.
        axis: along which to transform.
        inverse: x_n = Σ_k c_k X_k cos(π k (2n + 1) / 2N) instead.

    Returns:
        An array like x.

    Raises:
        ShapeError: no such axis, or nothing along it.
        DTypeError: x is not real.

    >>> import numpy as np
    >>> dct(np.ones(4))
    array([2., 0., 0., 0.])
    """
    dct_types(x, axis=axis)
    last = np.moveaxis(x, axis, -1)
    out = _inverse_cosine(last) if inverse else _cosine(last)
    return np.moveaxis(out, -1, axis)


@dct.types
def dct_types(x: ArrayType, *, axis: int = -1, inverse: bool = False) -> ArrayType:
    shape = getattr(x, "shape", ())
    if not shape:
        raise ShapeError("x is a scalar; a transform needs an axis")
    (along,) = normalize_axes(axis, len(shape))
    if not shape[along]:
        raise ShapeError(
            f"x of shape {shape} has no elements along axis {axis}, so there is nothing to transform"
        )
    if x.dtype.kind != "f":
        raise DTypeError(f"x must be real, not {x.dtype}; use x.astype(float), or transform .real and .imag")
    return ArrayType(shape, x.dtype)


@dct.vjp("x")
def dct_wrt_x(g: Any, axis: int, inverse: bool) -> Any:
    return dct(g, axis=axis, inverse=not inverse)


@dct.jvp("x")
def dct_along_x(t: Any, axis: int, inverse: bool) -> Any:
    return dct(t, axis=axis, inverse=inverse)


def _cosine(x: Any) -> Any:
    # the even elements forwards, then the odd ones backwards: the cosine transform is the real part of its turned FFT
    folded = np.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1)
    spectrum = np.fft.fft(folded)
    out = (spectrum * _turns(x)).real
    return _scaled(out)


def _inverse_cosine(x: Any) -> Any:
    length = x.shape[-1]
    scaled = _scaled(x)
    mirrored = np.concatenate([np.zeros_like(x[..., :1]), scaled[..., :0:-1]], axis=-1)
    spectrum = (scaled - 1j * mirrored) * _turns(x).conj()
    # half of every coefficient but the first is in its mirror image
    spectrum[..., 1:] /= 2
    folded = np.fft.fft(spectrum.conj()).real
    out = np.empty(x.shape, x.dtype)
    out[..., ::2] = folded[..., : (length + 1) // 2]
    out[..., 1::2] = folded[..., (length + 1) // 2 :][..., ::-1]
    return out


def _turns(x: Any) -> Any:
    """e^(-iπk/2N), of the precision of x."""
    turns = np.exp(-0.5j * np.pi * np.arange(x.shape[-1]) / x.shape[-1])
    return turns.astype(np.result_type(x.dtype, np.complex64))


def _scaled(x: Any) -> Any:
    """x times c_k."""
    length = x.shape[-1]
    scale = np.full(length, (2 / length) ** 0.5, x.dtype)
    scale[0] = (1 / length) ** 0.5
    return x * scale


@op(
    linear="x",
    facts={"involution": True},
    samples=[
        Sample([3.0, 1.0], expected=[4 * _HALF, 2 * _HALF]),
        Sample([0.0, 2.0, 0.0, 0.0], expected=[1.0, 1.0, -1.0, -1.0]),
        Sample([0.0, 0.0, 0.0, 2.0], expected=[1.0, -1.0, -1.0, 1.0]),
        Sample(_GRID),
        Sample(_GRID, axis=0),
        Sample(_CUBE, axis=1),
    ],
    error_samples=_ERRORS,
)
def hartley(x: Any, *, axis: int = -1) -> Any:
    """out_k = √(1/N) Σ_n x_n (cos 2πkn/N + sin 2πkn/N);  d/dx = the same transform, which is its own inverse.

    Args:
        x: real, of any shape with at least one element along `axis`.
        axis: along which to transform.

    Returns:
        An array like x.

    Raises:
        ShapeError: no such axis, or nothing along it.
        DTypeError: x is not real.

    >>> import numpy as np
    >>> hartley(np.array([0.0, 2.0, 0.0, 0.0]))
    array([ 1.,  1., -1., -1.])
    """
    dct_types(x, axis=axis)
    spectrum = np.fft.fft(x, axis=axis, norm="ortho")
    return spectrum.real - spectrum.imag


@hartley.types
def hartley_types(x: ArrayType, *, axis: int = -1) -> ArrayType:
    stated: ArrayType = dct_types(x, axis=axis)
    return stated


@hartley.vjp("x")
def hartley_wrt_x(g: Any, axis: int) -> Any:
    return hartley(g, axis=axis)


@hartley.jvp("x")
def hartley_along_x(t: Any, axis: int) -> Any:
    return hartley(t, axis=axis)
