"""Generated kernels for the three convolutions: how they lower to the kernel language's direct convolution.

What that does not support (groups, three dimensions, operands that are not contiguous) keeps its NumPy forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import kernel_language
from tinygraph_ops.convolution import convolution, convolution_kernel_gradient, convolution_transpose
from tinygraph_ops.window_geometry import Geometry, convolution_geometry, convolution_transpose_geometry

Run = Callable[[], None] | None


def _lowered(geometry: Geometry, arrays: Sequence[Any], map_name: str, *operands: Any) -> Run:
    """One of the language's three maps on arrays, or None where it does not serve them."""
    language = kernel_language()
    present = [array for array in arrays if array is not None]
    if language is None or any(not array.flags.c_contiguous for array in present):
        return None
    if len({array.dtype for array in present}) != 1 or not all(array.size for array in present):
        return None
    described = language.nchw.convolution(
        geometry.x_shape,
        geometry.kernel_shape,
        present[0].dtype,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
    )
    if described is None or not _same_windows(geometry):
        return None
    run: Run = getattr(language.nchw, map_name)(described, *operands)
    return run


def _same_windows(geometry: Geometry) -> bool:
    """Whether the windows are all that fit, which is what the language assumes."""
    fitting = convolution_geometry(
        geometry.x_shape,
        geometry.kernel_shape,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.groups,
    )
    return fitting.output_shape == geometry.output_shape


@convolution.lower
def convolution_kernel(
    inputs: Sequence[Any], outputs: Sequence[Any], *, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Run:
    x, kernel, bias = (*inputs, None)[:3]
    geometry = convolution_geometry(x.shape, kernel.shape, stride, padding, dilation, groups)
    return _lowered(geometry, (x, kernel, bias, *outputs), "forward", x, kernel, bias, outputs[0])


@convolution_transpose.lower
def convolution_transpose_kernel(
    inputs: Sequence[Any], outputs: Sequence[Any], *, stride: Any, padding: Any, output_padding: Any, dilation: Any,
    groups: Any,
) -> Run:  # fmt: skip
    x, kernel, bias = (*inputs, None)[:3]
    if bias is not None:
        return None
    geometry = convolution_transpose_geometry(
        x.shape, kernel.shape, stride, padding, output_padding, dilation, groups
    )
    return _lowered(geometry, (x, kernel, *outputs), "input_gradient", x, kernel, outputs[0])


@convolution_kernel_gradient.lower
def convolution_kernel_gradient_kernel(
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Run:
    x, cotangent = inputs
    shape = (cotangent.shape[1], x.shape[1] // groups, *size)
    geometry = convolution_geometry(x.shape, shape, stride, padding, dilation, groups)
    if geometry.output_shape != cotangent.shape or np.shape(outputs[0]) != shape:
        return None
    return _lowered(geometry, (x, cotangent, *outputs), "kernel_gradient", x, cotangent, outputs[0])
