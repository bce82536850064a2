"""Kernels of the three convolutions: the kernel language's direct convolution, or NumPy's in memory of the plan.

The latter serve what the language does not support (other dtypes, four dimensions), and everything without llvmlite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygraph import kernels
from tinygraph.plugin import Array, ArrayType, Layouts, Lowering, Padding, Sizes, Types
from tinygraph_ops.arithmetic import add
from tinygraph_ops.convolution.ops import convolution, convolution_kernel_gradient, convolution_transpose
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering, same_float
from tinygraph_ops.windows import minimal
from tinygraph_ops.windows import sliding as windows
from tinygraph_ops.windows.geometry import Geometry, convolution_geometry, convolution_transpose_geometry

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu


def _lowered(
    geometry: Geometry,
    types: Types,
    layouts: Layouts,
    cpu: Cpu,
    which: Literal["forward", "input_gradient", "kernel_gradient"],
) -> Lowering | None:
    """One of the language's three maps, or None where it does not serve these types."""
    present = [one for one in (*types.inputs, *types.outputs) if one is not None]
    if not kernels.available() or not all(one.size for one in present):
        return None
    if len({one.dtype for one in present}) != 1:
        return None
    from tinygraph.kernels.images import lowerings

    described = lowerings.convolution(
        geometry.x_shape,
        geometry.kernel_shape,
        present[0].dtype,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
        outputs=geometry.output_shape[2:],
    )
    if described is None:
        return None
    return lowerings.MAPS[which](described, geometry.x_shape, layouts, cpu)


def _on_numpy(
    types: Types, geometry: Geometry, cpu: object, function: Callable[..., Array], reverse: bool = False
) -> Lowering | None:
    """One of the functions in `windows`, or its namesake in `minimal`, which may take the operands in reverse."""
    if not same_float(types):
        return None
    dtype, name = types.outputs[0].dtype, f"NumPy {function.__name__.replace('_', ' ')}"
    # of few multiplications, but for those who want every digit
    mapped = windows.mirrored(geometry) if function is windows.convolve_input_gradient else geometry
    if not getattr(cpu, "exact", False) and minimal.serves(mapped, dtype):
        function = getattr(minimal, function.__name__)
        sizes, name = minimal.scratch_sizes(function, geometry), f"NumPy Winograd{name.removeprefix('NumPy')}"
    else:
        sizes = windows.scratch_sizes(function, geometry, dtype)

    def make(inputs: Sequence[Any], outputs: Sequence[Array], *buffers: Array) -> Run:
        (x, y, *bias), (out,) = inputs, outputs
        scratch = windows.Scratch(dtype, dict(zip(sizes, buffers, strict=True)))
        run = partial(function, *((y, x) if reverse else (x, y)), geometry, out, scratch)
        if not bias or bias[0] is None:
            return run
        spread = bias[0].reshape(-1, *[1] * (out.ndim - 2))
        return in_order(run, partial(np.add, out, spread, out))

    scratch_types = (ArrayType((size,), dtype) for size in sizes.values())
    return numpy_lowering(make, name, *scratch_types)


@convolution.lower
def convolution_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Lowering | None:
    """The generated forward map where it serves, else NumPy's in memory of the plan."""
    x, kernel = types.inputs[:2]
    geometry = convolution_geometry(x.shape, kernel.shape, stride, padding, dilation, groups)
    generated = _lowered(geometry, types, layouts, cpu, "forward")
    return generated or _on_numpy(types, geometry, cpu, windows.convolve)


@convolution_transpose.lower
def convolution_transpose_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, stride: Sizes, padding: Padding, output_padding: Sizes,
    dilation: Sizes, groups: int,
) -> Lowering | None:  # fmt: skip
    """The generated gradient of the input, which this is but for its bias, else NumPy's."""
    x, kernel, bias = (*types.inputs, None)[:3]
    geometry = convolution_transpose_geometry(
        x.shape, kernel.shape, stride, padding, output_padding, dilation, groups
    )
    generated = _lowered(geometry, types, layouts, cpu, "input_gradient")
    if generated is not None and bias is not None:
        generated = _with_bias(generated, layouts)
    return generated or _on_numpy(types, geometry, cpu, windows.convolve_input_gradient)


def _with_bias(lowered: Lowering, layouts: Layouts) -> Lowering | None:
    """A map of images and a kernel, to whose result a bias is added behind it."""
    from tinygraph.kernels import elementwise
    from tinygraph.kernels.program import ProgramBuilder

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run | None:
        run, (out,) = lowered.bind(inputs[:2], outputs, scratch), outputs
        if run is None:
            return None
        build = ProgramBuilder()
        result, one = build.input(out.dtype), build.input(out.dtype)
        spread = np.asarray(inputs[2]).reshape(-1, *[1] * (out.ndim - 2))
        added = build.program(build.step(add, result, one))
        return in_order(run, elementwise.bind(added, [out, spread], [out]))

    wanted = lowered.layouts and lowered.layouts._replace(inputs=(*lowered.layouts.inputs[:2], None))
    return lowered._replace(bind=bind, layouts=wanted, with_epilogue=None)


@convolution_kernel_gradient.lower
def convolution_kernel_gradient_kernel(
    types: Types,
    layouts: Layouts,
    cpu: Cpu,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: Any,
) -> Lowering | None:
    """The generated gradient of the kernel, or NumPy's."""
    x, cotangent = types.inputs
    shape = (cotangent.shape[1], x.shape[1] // groups, *size)
    geometry = convolution_geometry(x.shape, shape, stride, padding, dilation, groups)
    if types.outputs[0].shape != shape:
        return None
    geometry = replace(geometry, output_shape=cotangent.shape)  # of the windows that fit, some may be meant
    generated = _lowered(geometry, types, layouts, cpu, "kernel_gradient")
    return generated or _on_numpy(types, geometry, cpu, windows.convolve_kernel_gradient, reverse=True)
