"""Convolutions of images (batch, channels, *spatial) in any layout: direct or after Winograd, as lowerings.

Operands that lie in memory as the kernels want them, channels last with a halo, are read and written where they are;
others go through scratch memory. What the kernels themselves do is in `direct.py` and `winograd.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.types import Array, Shape
from tinygraph.kernels import partial_sums
from tinygraph.kernels.array_facts import dtype_name
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.images import direct, group_lowerings, packing, winograd
from tinygraph.kernels.images.borders import (
    Borders,
    Contiguous,
    Steps,
    aligned,
    copy,
    each_thread,
    extras_of,
    taking_epilogues,
    third,
    three,
    weights_in,
    weights_nbytes,
)
from tinygraph.kernels.images.direct import Convolution, Deep, Weights
from tinygraph.kernels.images.planes import Planes
from tinygraph.kernels.images.winograd import Tiling
from tinygraph.kernels.lowering import Layouts, Lowering, Prepared, Run, in_order
from tinygraph.kernels.machine_code import Private
from tinygraph.kernels.threads import get_threads


def convolution(
    images: Shape,
    kernel: Shape,
    dtype: DTypeLike,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    outputs: Sequence[int] | None = None,
) -> Convolution | None:
    """The convolution of images (N, C, *spatial) with a kernel (O, C / groups, *size), or None if not supported.

    Supported are one to three spatial dimensions, float32 and float64.

    Args:
        outputs: spatial sizes of the result; by default all windows that fit.
    """
    if len(images) not in (3, 4, 5) or dtype_name(dtype) not in ("float32", "float64"):
        return None
    if 0 in images or 0 in kernel:
        return None
    # a row of pixels is an image of height 1, an image a volume of depth 1
    sizes, taps, steps, gaps = (three(numbers, 1) for numbers in (images[2:], kernel[2:], stride, dilation))
    pads = three(padding, (0, 0))
    fitting = [
        (size + sum(pad) - gap * (tap - 1) - 1) // step + 1
        for size, pad, gap, tap, step in zip(sizes, pads, gaps, taps, steps, strict=True)
    ]
    made_of = three(fitting, 1) if outputs is None else three(outputs, 1)
    if min(fitting) < 1 or min(made_of) < 1:
        return None
    made = Convolution(
        source=Planes(sizes[1], sizes[2], images[1], images[1], depth=sizes[0]),
        result=Planes(made_of[1], made_of[2], kernel[0], kernel[0], depth=made_of[0]),
        kernel=taps[1:],
        stride=steps[1:],
        padding=(pads[1][0], pads[2][0]),
        dilation=gaps[1:],
        dtype=dtype_name(dtype),
        deep=Deep(taps[0], steps[0], pads[0][0], gaps[0]),
        groups=groups,
    )
    source = made.source
    return made._replace(source=source._replace(halo=made.source_halo(), ends=made.source_ends()))


# -- the three maps ------------------------------------------------------------------------------------------------


def forward(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """Images (N, C, *spatial), a kernel and a bias or None to images (N, O, *output).

    Args:
        convolution: as `convolution` describes it.
        x: the shape of the images.
        layouts: of the operands and the result.
    """
    if convolution.groups > 1:
        return group_lowerings.forward(convolution, x, layouts, cpu)
    borders = Borders(convolution, x, cpu)
    result = borders.written(convolution.result, layouts.outputs[0])
    tiling = winograd.choose_tiling(convolution._replace(result=result.planes), _share(x), cpu)
    halo = winograd.source_halo(convolution) if tiling else convolution.source_halo()
    source = borders.read(convolution.source, halo, layouts.inputs[0], convolution.source_ends())
    made = convolution._replace(source=source.planes, result=result.planes)
    weights = direct.forward_weights(made, cpu)
    kernel = Contiguous(layouts.inputs[1], borders.kernel_shape, made.dtype)
    padded_bias = weights.blocks * weights.lanes * np.dtype(made.dtype).itemsize
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: direct.ImageEpilogue | None = None,
    ) -> Run:
        images, bias = inputs[0], third(inputs[:count])
        steps: Steps = []
        packed = weights_in(weights, scratch[2], made.dtype)
        plain = kernel.read(inputs[1], scratch[3], steps)
        steps.append(packing.pack(weights, *borders.channels, made.dtype, cpu).bind(plain, packed, span=1))
        operands = [source.read(images, scratch[0], steps), packed, result.memory(outputs[0], scratch[1])]
        if bias is not None:
            spread = scratch[4][:padded_bias].view(made.dtype)
            steps.append(copy(np.asarray(bias), spread[: len(bias)]))
            operands.insert(2, spread)
        extras = extras_of(epilogue, inputs[count:], outputs[1:])
        if tiling:
            _minimal(made, tiling, weights, operands, scratch[5:], x[0], cpu, steps, epilogue, extras)
        else:
            sums = direct.forward(made, bias=bias is not None, epilogue=epilogue, cpu=cpu)
            steps.append(sums.bind(*operands, *extras, span=x[0]))
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((source.wanted, None, None)[:count], (result.wanted,))
    sizes = (source.nbytes, result.nbytes, weights_nbytes(weights, made.dtype), kernel.nbytes, padded_bias)
    lowered = Lowering(
        bind,
        wanted,
        (*sizes, *_transforms(made, tiling, weights)),
        _name(tiling),
        prepared=Prepared(1, (2, 3, 5) if tiling else (2, 3)),
    )
    return taking_epilogues(lowered._replace(notes=_notes(tiling)), result, cpu)


def input_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """The gradient by the output (N, O, *output) and a kernel to the gradient by the images, of shape `x`."""
    if convolution.groups > 1:
        return group_lowerings.input_gradient(convolution, x, layouts, cpu)
    borders = Borders(convolution, x, cpu)
    result = borders.written(convolution.source, layouts.outputs[0])
    plain = convolution._replace(source=result.planes)
    turned = winograd.reverse(plain, convolution.result)
    tiling = winograd.choose_tiling(turned, _share(x), cpu)
    halo = winograd.source_halo(turned) if tiling else plain.gradient_halo()
    given = borders.read(convolution.result, halo, layouts.inputs[0], plain.gradient_ends())
    made, turned = plain._replace(result=given.planes), turned._replace(source=given.planes)
    weights = direct.gradient_weights(made, cpu)
    kernel = Contiguous(layouts.inputs[1], borders.kernel_shape, made.dtype)
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: direct.ImageEpilogue | None = None,
    ) -> Run:
        steps: Steps = []
        packed = weights_in(weights, scratch[2], made.dtype)
        contiguous = kernel.read(inputs[1], scratch[3], steps)
        pack = packing.pack_for_gradient(weights, *borders.channels, made.dtype, cpu)
        steps.append(pack.bind(contiguous, packed, span=1))
        operands = [given.read(inputs[0], scratch[0], steps), packed, result.memory(outputs[0], scratch[1])]
        extras = extras_of(epilogue, inputs[count:], outputs[1:])
        if tiling:
            _minimal(turned, tiling, weights, operands, scratch[4:], x[0], cpu, steps, epilogue, extras)
        else:
            sums = direct.input_gradient(made, given.planes, epilogue=epilogue, cpu=cpu)
            steps.append(sums.bind(*operands, *extras, span=x[0]))
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((given.wanted, None, None)[:count], (result.wanted,))
    sizes = (given.nbytes, result.nbytes, weights_nbytes(weights, made.dtype), kernel.nbytes)
    lowered = Lowering(
        bind,
        wanted,
        (*sizes, *_transforms(turned, tiling, weights)),
        f"{_name(tiling)}, by input",
        prepared=Prepared(1, (2, 3, 4) if tiling else (2, 3)),
    )
    return taking_epilogues(lowered._replace(notes=_notes(tiling)), result, cpu)


def kernel_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """Images of shape `x` and the gradient by the output to the gradient by the kernel (O, C, *size)."""
    if convolution.groups > 1:
        return group_lowerings.kernel_gradient(convolution, x, layouts, cpu)
    borders = Borders(convolution, x, cpu)
    tiling = winograd.choose_tiling(convolution, _share(x), cpu)
    halo = winograd.source_halo(convolution) if tiling else convolution.source_halo()
    source = borders.read(convolution.source, halo, layouts.inputs[0], convolution.source_ends())
    reach = winograd.gradient_halo(convolution) if tiling else (0, 0, 0, 0)
    given = borders.read(convolution.result, reach, layouts.inputs[1])
    made = convolution._replace(source=source.planes, result=given.planes)
    weights = direct.forward_weights(made, cpu)
    kernel = Contiguous(layouts.outputs[0], borders.kernel_shape, made.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        steps: Steps = []
        parts = [weights_in(weights, part, made.dtype) for part in each_thread(scratch[2])]
        images, gradient = source.read(inputs[0], scratch[0], steps), given.read(inputs[1], scratch[1], steps)
        if tiling:
            products = winograd.kernel_gradient(made, given.planes, tiling, cpu=cpu)
            sums, seen, made_of = (_own(one, made.dtype) for one in scratch[4:])
            bound = products.bind(images, gradient, Private(parts), seen, made_of, sums, span=x[0])
        else:
            products = direct.kernel_gradient(made, given.planes, cpu=cpu)
            bound = products.bind(images, gradient, Private(parts), span=x[0])
        steps.append(bound)
        if len(parts) > 1:
            steps.append(partial_sums.total([part.reshape(-1) for part in parts]))
        contiguous = kernel.memory(outputs[0], scratch[3])
        unpack = packing.unpack(weights, *borders.channels, made.dtype, cpu)
        steps.append(unpack.bind(parts[0], contiguous, span=1))
        kernel.write(outputs[0], scratch[3], steps)
        return in_order(*steps)

    packed = get_threads() * aligned(weights_nbytes(weights, made.dtype))
    sizes = (source.nbytes, given.nbytes, packed, kernel.nbytes)
    wanted = Layouts((source.wanted, given.wanted), (None,))
    transforms = _transforms(made, tiling, weights, threads=get_threads())
    name = f"{_name(tiling)}, by kernel"
    return Lowering(bind, wanted, (*sizes, *transforms), name, notes=_notes(tiling))


def _share(images: Shape) -> int:
    """How many images a thread has, if threads have equally many."""
    return math.ceil(images[0] / get_threads())


def _own(scratch: Array, dtype: str) -> Private:
    return Private([part.view(dtype) for part in each_thread(scratch)])


def _name(tiling: Tiling | None) -> str:
    return "Winograd convolution" if tiling else "direct convolution"


def _notes(tiling: Tiling | None) -> tuple[str, ...]:
    """What Winograd's algorithm rounds, as the tests hold it."""
    return (f"rounding errors below {winograd.ERROR:g} of the largest result",) if tiling else ()


def _transforms(
    made: Convolution, tiling: Tiling | None, weights: Weights, threads: int = 1
) -> tuple[int, ...]:
    """Bytes of what Winograd's algorithm makes in between: of the weights, and in each thread of inputs and outputs.

    Of the weights there is one for all threads, unless their gradient is summed.
    """
    if tiling is None:
        return ()
    channels = made.source.padded, made.result.padded
    size = np.dtype(made.dtype).itemsize
    of_weights = aligned(winograd.transformed_elements(weights) * size)
    return (
        threads * of_weights,
        *(get_threads() * aligned(tiling.elements(one) * size) for one in channels),
    )


def _minimal(
    made: Convolution,
    tiling: Tiling,
    weights: Weights,
    operands: list[Array],
    scratch: Sequence[Array],
    images: int,
    cpu: Cpu,
    steps: Steps,
    epilogue: direct.ImageEpilogue | None,
    extras: Sequence[Array],
) -> None:
    """Add the steps of Winograd's algorithm on a source, packed weights, perhaps a bias, a result and an epilogue's."""
    transformed, seen, made_of = scratch[0].view(made.dtype), *(_own(one, made.dtype) for one in scratch[1:])
    transform = winograd.transform_weights(weights, made.dtype, cpu)
    steps.append(transform.bind(operands[1], transformed, span=1))
    source, _, *others = operands
    kernel = winograd.forward(made, tiling, bias=len(operands) == 4, epilogue=epilogue, cpu=cpu)
    steps.append(kernel.bind(source, transformed, *others, *extras, seen, made_of, span=images))


MAPS = {"forward": forward, "input_gradient": input_gradient, "kernel_gradient": kernel_gradient}
