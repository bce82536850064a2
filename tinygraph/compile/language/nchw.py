"""Convolutions of ordinary arrays (NCHW images, OIHW kernels) with layout changes at their borders.

The simple way into the generated convolution: each call owns the scratch memory of its layouts and depends on nothing
else. A planner that keeps images in planes from op to op uses `layouts.py` and `convolution.py` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.compile.language import convolution as direct
from tinygraph.compile.language import layouts
from tinygraph.compile.language.convolution import Convolution, Weights
from tinygraph.compile.language.planes import Planes, empty_aligned, planes
from tinygraph.compile.language.target import current_target

Array = np.ndarray[Any, Any]
Run = Callable[[], None]


def convolution(
    images: tuple[int, ...],
    kernel: tuple[int, ...],
    dtype: Any,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Convolution | None:
    """The convolution of images (N, C, H, W) with a kernel (O, C, h, w), or None where it is not supported.

    Supported are one or two spatial dimensions, float32 and float64, and one group.
    """
    dimensions = len(images) - 2
    if groups != 1 or dimensions not in (1, 2) or np.dtype(dtype).name not in ("float32", "float64"):
        return None
    if 0 in images or 0 in kernel:
        return None
    one = 2 - dimensions  # a row of pixels is an image of height 1
    sizes, taps, steps, gaps = (
        _pair((1,) * one + tuple(numbers)) for numbers in (images[2:], kernel[2:], stride, dilation)
    )
    pads = ((0, 0),) * one + tuple(padding)
    outputs = [
        (size + sum(pad) - gap * (tap - 1) - 1) // step + 1
        for size, pad, gap, tap, step in zip(sizes, pads, gaps, taps, steps, strict=True)
    ]
    if min(outputs) < 1:
        return None
    lanes = current_target().lanes(dtype)
    source = planes(*sizes, images[1], lanes)
    target = planes(outputs[0], outputs[1], kernel[0], lanes)
    made = Convolution(source, target, taps, steps, (pads[0][0], pads[1][0]), gaps, np.dtype(dtype).name)
    return made._replace(source=source._replace(halo=made.source_halo()))


def forward(convolution: Convolution, x: Array, kernel: Array, bias: Array | None, out: Array) -> Run:
    """A call that writes the convolution of contiguous arrays into `out`."""
    images, dtype = len(x), convolution.dtype
    narrow = convolution._replace(source=convolution.source._replace(padded=convolution.source.channels))
    weights = direct.forward_weights(narrow)
    source, result = _scratch(narrow.source, images, dtype), _scratch(narrow.target, images, dtype)
    packed = _packed(weights, dtype)
    steps: list[Run] = [
        layouts.to_planes(narrow.source, dtype).bind(x, source, counts=[images]).run,
        layouts.pack(weights, kernel.shape[0], kernel.shape[1], dtype).bind(kernel, packed).run,
    ]
    operands = [source, packed, result]
    if bias is not None:
        padded = np.zeros(narrow.target.padded, dtype)
        steps.append(lambda: np.copyto(padded[: len(bias)], bias))
        operands.insert(2, padded)
    steps.append(direct.forward(narrow, bias=bias is not None).bind(*operands, counts=[images]).run)
    steps.append(layouts.from_planes(narrow.target, dtype).bind(result, out, counts=[images]).run)
    return _chain(steps)


def input_gradient(convolution: Convolution, gradient: Array, kernel: Array, out: Array) -> Run:
    """A call that writes the gradient by the images into `out`."""
    images, dtype = len(gradient), convolution.dtype
    source = convolution.source._replace(halo=(0, 0, 0, 0))
    plain = convolution._replace(source=source)
    taken = plain.target._replace(halo=plain.gradient_halo())
    weights = direct.gradient_weights(plain)
    given, result, packed = (
        _scratch(taken, images, dtype),
        _scratch(source, images, dtype),
        _packed(weights, dtype),
    )
    return _chain(
        [
            layouts.to_planes(taken, dtype).bind(gradient, given, counts=[images]).run,
            layouts.pack_for_gradient(weights, kernel.shape[0], kernel.shape[1], dtype)
            .bind(kernel, packed)
            .run,
            direct.input_gradient(plain, taken).bind(given, packed, result, counts=[images]).run,
            layouts.from_planes(source, dtype).bind(result, out, counts=[images]).run,
        ]
    )


def kernel_gradient(convolution: Convolution, x: Array, gradient: Array, out: Array) -> Run:
    """A call that writes the gradient by the kernel into `out`."""
    images, dtype = len(x), convolution.dtype
    narrow = convolution._replace(source=convolution.source._replace(padded=convolution.source.channels))
    weights = direct.forward_weights(narrow)
    source, taken = _scratch(narrow.source, images, dtype), _scratch(narrow.target, images, dtype)
    packed = _packed(weights, dtype)
    return _chain(
        [
            layouts.to_planes(narrow.source, dtype).bind(x, source, counts=[images]).run,
            layouts.to_planes(narrow.target, dtype).bind(gradient, taken, counts=[images]).run,
            direct.kernel_gradient(narrow, narrow.target).bind(source, taken, packed, counts=[images]).run,
            layouts.unpack(weights, out.shape[0], out.shape[1], dtype).bind(packed, out).run,
        ]
    )


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    first, second = numbers
    return first, second


def _scratch(planes: Planes, images: int, dtype: str) -> Array:
    return empty_aligned(planes.shape(images), dtype)


def _packed(weights: Weights, dtype: str) -> Array:
    return empty_aligned(tuple(weights), dtype)


def _chain(steps: Sequence[Run]) -> Run:
    def run() -> None:
        for step in steps:
            step()

    return run
