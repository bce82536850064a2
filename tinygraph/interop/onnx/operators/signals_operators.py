"""Operators on signals: Fourier transforms, windows, filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import dtype_of
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    Operand,
    axis_of,
    dtype,
    number,
    operator,
    room,
    shape,
)


@operator("HannWindow", "HammingWindow", "BlackmanWindow")
def _window(call: Call, size: Operand) -> Any:
    count = room([int(number(size, "size"))], np.float64)[0]
    turn = 2 * np.pi * np.arange(count) / (count if call.get("periodic", 1) else count - 1)
    weights = {
        "HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08),
    }[call.op_type]  # fmt: skip
    made = weights[0] - weights[1] * np.cos(turn) + weights[2] * np.cos(2 * turn)
    return made.astype(dtype_of(call.get("output_datatype", 1)))


@operator("MelWeightMatrix")
def _mel_weights(
    call: Call, bins: Operand, length: Operand, rate: Operand, low: Operand, high: Operand
) -> Any:
    """Triangles on the mel scale, as a matrix from spectrum to bins."""
    count, size, per_second = (int(number(one, "operand")) for one in (bins, length, rate))
    edges = [2595 * np.log10(1 + float(number(one, "edge")) / 700) for one in (low, high)]
    room([size // 2 + 1, count], np.float64)
    points = 700 * (
        10 ** (np.arange(count + 2) * ((edges[1] - edges[0]) / (count + 2)) / 2595 + edges[0] / 2595) - 1
    )
    places = ((size + 1) * points // per_second).astype(int)
    made = np.zeros((size // 2 + 1, count))
    for i in range(count):
        first, middle, last = places[i : i + 3]
        if middle == first:
            made[middle, i] = 1
        else:
            made[first : middle + 1, i] = (np.arange(first, middle + 1) - first) / (middle - first)
        if last != middle:
            made[middle:last, i] = (last - np.arange(middle, last)) / (last - middle)
    return made.astype(dtype_of(call.get("output_datatype", 1)))


def _complex(x: Operand) -> Any:
    """Numbers whose parts lie along the last axis."""
    if shape(x)[-1] == 1:
        return x[..., 0]
    return ops.make_complex(x[..., 0], x[..., 1])


def _parts(x: Operand, wanted: Operand) -> Any:
    return ops.cast(np.stack([np.real(x), np.imag(x)], axis=-1), dtype=np.dtype(wanted).name)


@operator("DFT")
def _dft(call: Call, x: Operand, length: Operand = None, axis: Operand = None) -> Any:
    along = int(number(axis, "axis")) if axis is not None else call.get("axis", 1 if call.opset < 20 else -2)
    along = axis_of(along, np.ndim(x))
    count = int(number(length, "dft_length")) if length is not None else shape(x)[along]
    inverse, onesided = call.get("inverse", 0), call.get("onesided", 0)
    values = _complex(x)
    if inverse and onesided:  # a half, whose other half mirrors it
        count = count if length is not None else 2 * (shape(x)[along] - 1)
        return ops.cast(np.expand_dims(np.fft.irfft(values, count, axis=along), -1), dtype=dtype(x).name)
    made = (np.fft.ifft if inverse else np.fft.fft)(values, count, axis=along)
    if onesided:
        made = made[(slice(None),) * along + (slice(0, count // 2 + 1),)]
    return _parts(made, dtype(x))


@operator("STFT")
def _stft(call: Call, signal: Operand, step: Operand, weights: Operand = None, length: Operand = None) -> Any:
    by = int(number(step, "frame_step"))
    size = int(number(length, "frame_length")) if length is not None else shape(weights)[0]
    values = _complex(signal) if np.ndim(signal) == 3 else signal
    count = (shape(values)[1] - size) // by + 1
    room([shape(values)[0], max(count, 0), size], np.complex128)
    if by < 1 or count < 0:
        raise FileFormatError(f"frames of {size} every {by} do not fit a signal of {shape(values)[1]}")
    frames = values[:, np.arange(count)[:, None] * by + np.arange(size)]
    frames = frames if weights is None else frames * weights
    made = np.fft.fft(frames, axis=-1)
    return _parts(made[..., : size // 2 + 1] if call.get("onesided", 1) else made, dtype(signal))
