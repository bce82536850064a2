"""scipy.signal on tensors: convolutions and correlations of any number of axes, linear filters, detrending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import floating, grouped, operand
from tinygraph.scipy.passing import passed_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric


def __getattr__(name: str) -> Any:
    return passed_on("signal", name)


def _grouped(body: Any) -> Any:
    return grouped(body.__name__, body)


@_grouped
def fftconvolve(in1: object, in2: object, mode: str = "full", axes: Axis = None) -> Any:
    """The convolution along all axes, or some, by Fourier transforms."""
    one, other = operand(in1), operand(in2)
    if one.ndim == other.ndim == 0:
        return one * other
    if not one.size or not other.size:
        return np.zeros(0, np.result_type(one.dtype, other.dtype, np.float32))
    over = range(one.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
    over = [axis % one.ndim for axis in over]
    sizes = [one.shape[axis] + other.shape[axis] - 1 for axis in over]
    found: Any
    if "c" in (one.dtype.kind, other.dtype.kind):
        found = np.fft.ifftn(np.fft.fftn(one, sizes, over) * np.fft.fftn(other, sizes, over), axes=over)
    else:
        found = np.fft.irfftn(np.fft.rfftn(one, sizes, over) * np.fft.rfftn(other, sizes, over), sizes, over)
    return _cut(found, one.shape, other.shape, mode, over)


def _cut(found: Any, one: Any, other: Any, mode: str, axes: Any) -> Any:
    """The part of a full convolution that a mode keeps."""
    if mode == "full":
        return found
    if mode not in ("same", "valid"):
        raise ValueError(f"mode is 'full', 'same' or 'valid', not {mode!r}")
    index: list[Any] = [slice(None)] * found.ndim
    if mode == "valid" and any(one[axis] < other[axis] for axis in axes):
        one, other = other, one
    for axis in axes:
        size = one[axis] if mode == "same" else one[axis] - other[axis] + 1
        start = (found.shape[axis] - size) // 2
        index[axis] = slice(start, start + size)
    return found[tuple(index)]


@_grouped
def convolve(in1: object, in2: object, mode: str = "full", method: str = "auto") -> Any:
    """The convolution of arrays of as many axes; that of vectors directly, of more axes by Fourier transforms."""
    one, other = operand(in1), operand(in2)
    if one.ndim == other.ndim == 0:
        return one * other
    if one.ndim == 1 and method != "fft":
        return _cut(np.convolve(one, other), one.shape, other.shape, mode, [0])
    if method == "direct":
        raise NumpyFunctionError(
            "scipy.signal.convolve on tensors of several axes goes by Fourier transforms: method='fft'"
        )
    found = fftconvolve(one, other, mode)
    return np.round(found).astype(one.dtype) if one.dtype.kind in "iu" and other.dtype.kind in "iu" else found


@_grouped
def correlate(in1: object, in2: object, mode: str = "full", method: str = "auto") -> Any:
    """The cross-correlation: the convolution with the second array turned around and conjugated."""
    other = np.conj(np.flip(operand(in2)))
    return convolve(in1, other, mode, method)


@_grouped
def convolve2d(
    in1: object, in2: object, mode: str = "full", boundary: str = "fill", fillvalue: object = 0
) -> Any:
    """The convolution of matrices, with zeros beyond their borders."""
    if boundary != "fill" or np.any(np.asarray(fillvalue) != 0):
        raise NumpyFunctionError(
            "scipy.signal.convolve2d on tensors has zeros beyond the borders: use np.pad before it"
        )
    one, other = operand(in1), operand(in2)
    if not one.size or not other.size:
        raise NumpyFunctionError(
            f"scipy.signal.convolve2d on tensors takes matrices with elements, not of the shapes {one.shape} and "
            f"{other.shape}"
        )
    return fftconvolve(one, other, mode)


@_grouped
def lfilter(b: Numeric, a: Numeric, x: Any, axis: int = -1, zi: object = None) -> Any:
    """A linear filter of coefficients b and a: Σ a_k y_(n-k) = Σ b_k x_(n-k), by its impulse response."""
    if zi is not None:
        raise NumpyFunctionError("scipy.signal.lfilter on tensors starts from rest, without zi=")
    b, a, x = np.atleast_1d(operand(b)), np.atleast_1d(operand(a)), operand(x)
    count = x.shape[axis]
    response: list[Any] = []
    for n in range(count):
        total: Any = b[n] if n < b.size else 0.0 * b[0]
        for k in range(1, min(n + 1, a.size)):
            total = total - a[k] * response[n - k]
        response.append(total / a[0])
    matrix = np.tril(np.stack(response)[np.abs(np.arange(count)[:, None] - np.arange(count))])
    return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix.T), -1, axis)


@_grouped
def detrend(data: object, axis: int = -1, type: str = "linear") -> Any:
    """The data without their mean, or without the line that fits them best."""
    x = floating(data)
    if type == "constant":
        return x - np.mean(x, axis=axis, keepdims=True)
    rows = np.moveaxis(x, axis, -1)
    places = (np.arange(rows.shape[-1]) - (rows.shape[-1] - 1) / 2).astype(np.empty(0, rows.dtype).real.dtype)
    slope = np.sum(rows * places, axis=-1, keepdims=True) / np.sum(places**2)
    return np.moveaxis(rows - np.mean(rows, axis=-1, keepdims=True) - slope * places, -1, axis)
