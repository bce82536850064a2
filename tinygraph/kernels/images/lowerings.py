"""Convolutions of images (batch, channels, *spatial) in any layout: direct or after Winograd, as lowerings.

Operands that lie in memory as the kernels want them, channels last with a halo, are read and written where they are;
others go through scratch memory. What the kernels themselves do is in `direct.py` and `winograd.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.types import Array, Shape
from tinygraph.kernels import elementwise, partial_sums
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.images import direct, packing, winograd
from tinygraph.kernels.images.direct import Convolution, Weights
from tinygraph.kernels.images.planes import ALIGNMENT, Planes, Spread, lanes_for, lanes_of, rounded_up
from tinygraph.kernels.images.winograd import Tiling
from tinygraph.kernels.lowering import Epilogue, Layout, Layouts, Lowering, Run, channels_last, in_order, rows
from tinygraph.kernels.machine_code import Private
from tinygraph.kernels.program import Program, ProgramBuilder
from tinygraph.kernels.threads import get_threads

Steps = list[Run]


def convolution(
    images: Shape,
    kernel: Shape,
    dtype: DTypeLike,
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
    source = Planes(*sizes, images[1], images[1])
    target = Planes(outputs[0], outputs[1], kernel[0], kernel[0])
    made = Convolution(source, target, taps, steps, (pads[0][0], pads[1][0]), gaps, np.dtype(dtype).name)
    return made._replace(source=source._replace(halo=made.source_halo()))


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    first, second = numbers
    return first, second


# -- the three maps ------------------------------------------------------------------------------------------------


def forward(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """Images (N, C, *spatial), a kernel and a bias or None to images (N, O, *output).

    Args:
        convolution: as `convolution` describes it.
        x: the shape of the images.
        layouts: of the operands and the result.
    """
    borders = _Borders(convolution, x, cpu)
    result = borders.written(convolution.target, layouts.outputs[0])
    tiling = winograd.choose_tiling(convolution._replace(target=result.planes), _share(x), cpu)
    halo = winograd.source_halo(convolution) if tiling else convolution.source_halo()
    source = borders.read(convolution.source, halo, layouts.inputs[0])
    made = convolution._replace(source=source.planes, target=result.planes)
    weights = direct.forward_weights(made, cpu)
    kernel = _Contiguous(layouts.inputs[1], borders.kernel_shape, made.dtype)
    padded_bias = weights.blocks * weights.lanes * np.dtype(made.dtype).itemsize
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: direct.ImageEpilogue | None = None,
    ) -> Run:
        images, bias = inputs[0], _third(inputs[:count])
        steps: Steps = []
        packed = _weights(weights, scratch[2], made.dtype)
        plain = kernel.read(inputs[1], scratch[3], steps)
        steps.append(packing.pack(weights, *borders.channels, made.dtype, cpu).bind(plain, packed, span=1))
        operands = [source.read(images, scratch[0], steps), packed, result.memory(outputs[0], scratch[1])]
        if bias is not None:
            spread = scratch[4][:padded_bias].view(made.dtype)
            steps.append(_copy(np.asarray(bias), spread[: len(bias)]))
            operands.insert(2, spread)
        extras = _extras(epilogue, inputs[count:], outputs[1:])
        if tiling:
            _minimal(made, tiling, weights, operands, scratch[5:], x[0], cpu, steps, epilogue, extras)
        else:
            sums = direct.forward(made, bias=bias is not None, epilogue=epilogue, cpu=cpu)
            steps.append(sums.bind(*operands, *extras, span=x[0]))
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((source.wanted, None, None)[:count], (result.wanted,))
    sizes = (source.nbytes, result.nbytes, _nbytes(weights, made.dtype), kernel.nbytes, padded_bias)
    lowered = Lowering(bind, wanted, (*sizes, *_transforms(made, tiling, weights)), _name(tiling))
    lowered = lowered._replace(notes=_notes(tiling))
    return lowered._replace(with_epilogue=functools.partial(_with_epilogue, lowered, result, cpu))


def input_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """The gradient by the output (N, O, *output) and a kernel to the gradient by the images, of shape `x`."""
    borders = _Borders(convolution, x, cpu)
    result = borders.written(convolution.source, layouts.outputs[0])
    plain = convolution._replace(source=result.planes)
    turned = winograd.reverse(plain, convolution.target)
    tiling = winograd.choose_tiling(turned, _share(x), cpu)
    halo = winograd.source_halo(turned) if tiling else plain.gradient_halo()
    given = borders.read(convolution.target, halo, layouts.inputs[0])
    made, turned = plain._replace(target=given.planes), turned._replace(source=given.planes)
    weights = direct.gradient_weights(made, cpu)
    kernel = _Contiguous(layouts.inputs[1], borders.kernel_shape, made.dtype)
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: direct.ImageEpilogue | None = None,
    ) -> Run:
        steps: Steps = []
        packed = _weights(weights, scratch[2], made.dtype)
        contiguous = kernel.read(inputs[1], scratch[3], steps)
        pack = packing.pack_for_gradient(weights, *borders.channels, made.dtype, cpu)
        steps.append(pack.bind(contiguous, packed, span=1))
        operands = [given.read(inputs[0], scratch[0], steps), packed, result.memory(outputs[0], scratch[1])]
        extras = _extras(epilogue, inputs[count:], outputs[1:])
        if tiling:
            _minimal(turned, tiling, weights, operands, scratch[4:], x[0], cpu, steps, epilogue, extras)
        else:
            sums = direct.input_gradient(made, given.planes, epilogue=epilogue, cpu=cpu)
            steps.append(sums.bind(*operands, *extras, span=x[0]))
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((given.wanted, None, None)[:count], (result.wanted,))
    sizes = (given.nbytes, result.nbytes, _nbytes(weights, made.dtype), kernel.nbytes)
    lowered = Lowering(
        bind, wanted, (*sizes, *_transforms(turned, tiling, weights)), f"{_name(tiling)}, by input"
    )
    lowered = lowered._replace(notes=_notes(tiling))
    return lowered._replace(with_epilogue=functools.partial(_with_epilogue, lowered, result, cpu))


def kernel_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """Images of shape `x` and the gradient by the output to the gradient by the kernel (O, C, *size)."""
    borders = _Borders(convolution, x, cpu)
    tiling = winograd.choose_tiling(convolution, _share(x), cpu)
    halo = winograd.source_halo(convolution) if tiling else convolution.source_halo()
    source = borders.read(convolution.source, halo, layouts.inputs[0])
    reach = winograd.gradient_halo(convolution) if tiling else (0, 0, 0, 0)
    given = borders.read(convolution.target, reach, layouts.inputs[1])
    made = convolution._replace(source=source.planes, target=given.planes)
    weights = direct.forward_weights(made, cpu)
    kernel = _Contiguous(layouts.outputs[0], borders.kernel_shape, made.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        steps: Steps = []
        parts = [_weights(weights, part, made.dtype) for part in _each_thread(scratch[2])]
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

    packed = get_threads() * _aligned(_nbytes(weights, made.dtype))
    sizes = (source.nbytes, given.nbytes, packed, kernel.nbytes)
    wanted = Layouts((source.wanted, given.wanted), (None,))
    transforms = _transforms(made, tiling, weights, threads=get_threads())
    name = f"{_name(tiling)}, by kernel"
    return Lowering(bind, wanted, (*sizes, *transforms), name, notes=_notes(tiling))


def _share(images: Shape) -> int:
    """How many images a thread has, if threads have equally many."""
    return math.ceil(images[0] / get_threads())


def _aligned(nbytes: int) -> int:
    return rounded_up(nbytes, ALIGNMENT)


def _each_thread(scratch: Array) -> list[Array]:
    """Scratch memory in equal parts, one a thread."""
    return list(scratch.reshape(get_threads(), -1))


def _own(scratch: Array, dtype: str) -> Private:
    return Private([part.view(dtype) for part in _each_thread(scratch)])


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
    channels = made.source.padded, made.target.padded
    size = np.dtype(made.dtype).itemsize
    of_weights = _aligned(winograd.transformed_elements(weights) * size)
    return (
        threads * of_weights,
        *(get_threads() * _aligned(tiling.elements(one) * size) for one in channels),
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
    """Add the steps of Winograd's algorithm on a source, packed weights, perhaps a bias, a target and an epilogue's."""
    transformed, seen, made_of = scratch[0].view(made.dtype), *(_own(one, made.dtype) for one in scratch[1:])
    transform = winograd.transform_weights(weights, made.dtype, cpu)
    steps.append(transform.bind(operands[1], transformed, span=1))
    source, _, *others = operands
    kernel = winograd.forward(made, tiling, bias=len(operands) == 4, epilogue=epilogue, cpu=cpu)
    steps.append(kernel.bind(source, transformed, *others, *extras, seen, made_of, span=images))


MAPS = {"forward": forward, "input_gradient": input_gradient, "kernel_gradient": kernel_gradient}


def clear_halo(array: Array, layout: Layout) -> Run:
    """A call that writes zeros into the halo of images in a layout with channels last."""
    ndim = array.ndim
    pairs = ((0, 0),) * (4 - ndim) + layout.halo[2:]
    height, width = (1, *array.shape[2:])[-2:]
    planes = Planes(height, width, array.shape[1], array.shape[1], (*pairs[0], *pairs[1]))
    return packing.clear_halo(planes, array.dtype.name).bind(layout.around(array), span=len(array))


# -- epilogues ---------------------------------------------------------------------------------------------------


def _with_epilogue(lowered: Lowering, result: _Border, cpu: Cpu, epilogue: Epilogue) -> Lowering | None:
    """A convolution with an epilogue, where its arrays lie as the result does, or have a number for each channel.

    Results are written in whole pixels, so that nothing is read or written beside the channels in memory.
    """
    if not result.direct or any(one is None for one in epilogue.written):
        return None
    read = [
        _planes_or_steps(shape, layout, result)
        for shape, layout in zip(epilogue.shapes, epilogue.layouts, strict=True)
    ]
    written = [_planes(layout, result) for layout in epilogue.written[1:]]
    operands = tuple(one for one in read if one is not None)
    results = tuple(one for one in written if one is not None)
    if len(operands) < len(read) or len(results) < len(written):
        return None
    made = direct.ImageEpilogue(epilogue.program, operands, results)
    bind: Any = lowered.bind
    return lowered._replace(bind=functools.partial(bind, epilogue=made), with_epilogue=None)


def _planes(layout: Layout | None, result: _Border) -> Planes | None:
    """The planes of a value of the result's shape; None if a kernel of the result cannot meet it."""
    if layout is None or layout.order != result.layout.order or any(layout.halo[0]) or layout.halo[1][0]:
        return None
    found = _planes_of(layout, result.shape)
    return found if found.padded == result.planes.padded else None


def _planes_or_steps(shape: Shape, layout: Layout | None, result: _Border) -> Planes | Spread | None:
    """The same for a value that may be a number for each channel, or for all, which lie in rows."""
    if shape == result.shape:
        return _planes(layout, result)
    full = (1,) * (len(result.shape) - len(shape)) + shape
    if math.prod(shape) == 1:
        return Spread(0)
    channels = result.planes.channels
    alone = full[1] == channels == math.prod(shape) == result.planes.padded
    return Spread(1) if alone and layout == rows(len(shape)) else None


def _planes_of(layout: Layout, shape: Shape) -> Planes:
    """Images in a layout with channels last as planes."""
    pairs = ((0, 0),) * (4 - len(shape)) + layout.halo[2:]
    height, width = (1, *shape[2:])[-2:]
    padded = shape[1] + layout.halo[1][1]
    return Planes(height, width, shape[1], padded, (*pairs[0], *pairs[1]))


def _extras(
    epilogue: direct.ImageEpilogue | None, inputs: Sequence[Any], outputs: Sequence[Array]
) -> list[Array]:
    """The memory of an epilogue's arrays."""
    if epilogue is None:
        return []
    places = (*epilogue.operands, *epilogue.results)
    return [
        _memory_of(np.asarray(one), planes) for one, planes in zip((*inputs, *outputs), places, strict=True)
    ]


def _memory_of(array: Array, planes: Planes | Spread) -> Array:
    """The block of memory that a value in planes was made in."""
    if not isinstance(planes, Planes):
        return array
    top, bottom, left, right = planes.halo
    halo = ((top, bottom), (left, right))[4 - array.ndim :]
    layout = channels_last(array.ndim, halo)
    beyond = (0, planes.padded - planes.channels)
    return layout._replace(halo=(layout.halo[0], beyond, *layout.halo[2:])).around(array)


# -- weights -----------------------------------------------------------------------------------------------------


def _weights(weights: Weights, block: Array, dtype: str) -> Array:
    return block[: _nbytes(weights, dtype)].view(dtype).reshape(weights)


def _nbytes(weights: Weights, dtype: str) -> int:
    return math.prod(weights) * np.dtype(dtype).itemsize


def _third(inputs: Sequence[Any]) -> Any:
    return inputs[2] if len(inputs) > 2 else None


# -- how kernels meet arrays -------------------------------------------------------------------------------------


class _Borders:
    """Makes the borders of one convolution."""

    def __init__(self, convolution: Convolution, x: Shape, cpu: Cpu) -> None:
        self.batch, self.ndim, self.dtype, self.cpu = x[0], len(x), convolution.dtype, cpu
        self.channels = convolution.target.channels, convolution.source.channels
        self.kernel_shape = (*self.channels, *convolution.kernel[4 - self.ndim :])

    def read(self, planes: Planes, halo: tuple[int, int, int, int], layout: Layout | None) -> _Border:
        """Images that a kernel reads, with a halo."""
        wanted = self._layout(planes._replace(halo=halo))
        direct = layout is not None and layout.covers(wanted)
        return self._border(planes, wanted, layout if direct else None)

    def written(self, planes: Planes, layout: Layout | None) -> _Border:
        """Images that a kernel writes: in whole vectors, or in half ones where that saves a copy."""
        lanes = self.cpu.lanes(self.dtype)
        bare = planes._replace(halo=(0, 0, 0, 0), padded=planes.channels)
        whole = lanes_for(planes.channels, lanes)
        if 2 * lanes_of(bare, lanes) >= whole:
            wanted = self._layout(bare)
            direct = layout is not None and layout.covers(wanted)
            return self._border(bare, wanted, layout if direct else None)
        padded = bare._replace(padded=rounded_up(planes.channels, whole))
        return self._border(padded, self._layout(padded), None)._replace(wanted=None)

    def _layout(self, planes: Planes) -> Layout:
        """Planes as the layout of an array: padded channels are a halo of theirs."""
        top, bottom, left, right = planes.halo
        made = channels_last(self.ndim, ((top, bottom), (left, right))[4 - self.ndim :])
        return made._replace(
            halo=(made.halo[0], (0, planes.padded - planes.channels), *made.halo[2:]),
        )

    def _border(self, planes: Planes, wanted: Layout, given: Layout | None) -> _Border:
        layout = given or wanted
        spatial = ((0, 0),) * (4 - self.ndim) + layout.halo[2:]
        seen = planes._replace(
            padded=planes.channels + layout.halo[1][1], halo=(*spatial[0], *spatial[1]),
        )  # fmt: skip
        shape = (self.batch, planes.channels, *(planes.height, planes.width)[4 - self.ndim :])
        return _Border(seen, layout, wanted, given is not None, shape, self.dtype)


class _Border(NamedTuple):
    """How a kernel meets an array of images: where it is, or through scratch memory.

    Attributes:
        planes: as the kernel sees it.
        layout: the same as the layout of an array.
        wanted: the layout that would need no scratch.
        direct: whether the array is in that layout.
    """

    planes: Planes
    layout: Layout
    wanted: Layout | None
    direct: bool
    shape: Shape
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of scratch; a vector more than the images, since kernels may read a whole one at the last pixel."""
        size = self.layout.size(self.shape) * np.dtype(self.dtype).itemsize
        return 0 if self.direct else size + ALIGNMENT

    def memory(self, array: Array, scratch: Array) -> Array:
        """What the kernel gets: the images with their halo."""
        if self.direct:
            return self.layout.around(array)
        size = self.layout.size(self.shape)
        return scratch[: size * np.dtype(self.dtype).itemsize].view(self.dtype)

    def read(self, array: Array, scratch: Array, steps: Steps) -> Array:
        """The same, filled by the steps that are added."""
        memory = self.memory(array, scratch)
        if self.direct:
            return memory
        if array.flags.c_contiguous:
            kernel = packing.to_planes(self.planes, self.dtype)
            steps.append(kernel.bind(array, memory, span=self.shape[0]))
            return memory
        if self.layout.has_halo:
            steps.append(_zeros(memory))
        steps.append(_copy(array, self.layout.inside(memory, self.shape)))
        return memory

    def write(self, array: Array, scratch: Array, steps: Steps) -> None:
        """Add the steps that bring what the kernel wrote to the array."""
        if self.direct:
            return
        memory = self.memory(array, scratch)
        if array.flags.c_contiguous:
            kernel = packing.from_planes(self.planes, self.dtype)
            steps.append(kernel.bind(memory, array, span=self.shape[0]))
        else:
            steps.append(_copy(self.layout.inside(memory, self.shape), array))


class _Contiguous(NamedTuple):
    """How a kernel meets an array that it wants contiguous."""

    layout: Layout | None
    shape: Shape
    dtype: str

    @property
    def direct(self) -> bool:
        return self.layout == rows(len(self.shape))

    @property
    def nbytes(self) -> int:
        return 0 if self.direct else math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def memory(self, array: Array, scratch: Array) -> Array:
        return array if self.direct else scratch[: self.nbytes].view(self.dtype).reshape(self.shape)

    def read(self, array: Array, scratch: Array, steps: Steps) -> Array:
        memory = self.memory(array, scratch)
        if not self.direct:
            steps.append(_copy(array, memory))
        return memory

    def write(self, array: Array, scratch: Array, steps: Steps) -> None:
        if not self.direct:
            steps.append(_copy(self.memory(array, scratch), array))


def _copy(source: Array, result: Array) -> Run:
    """A call that copies between arrays of any strides."""
    return elementwise.bind(Program((source.dtype.name,), (), (0,)), [source], [result])


def _zeros(array: Array) -> Run:
    """A call that fills an array with zeros."""
    build = ProgramBuilder()
    return elementwise.bind(build.program(build.constant(0.0, array.dtype.name)), [], [array])
