"""How kernels of images meet arrays: where they are, if they lie as a kernel wants it, or through scratch memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygraph.core.types import Array, Shape
from tinygraph.kernels import elementwise
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.images import packing
from tinygraph.kernels.images.direct import Convolution, ImageEpilogue, Weights
from tinygraph.kernels.images.planes import ALIGNMENT, Planes, Spread, lanes_for, lanes_of, rounded_up
from tinygraph.kernels.lowering import Epilogue, Layout, Lowering, Run, channels_last, rows
from tinygraph.kernels.program import Program, ProgramBuilder
from tinygraph.kernels.threads import get_threads

Steps = list[Run]
T = TypeVar("T")
Pairs = Sequence[tuple[int, int]]


def three(numbers: Sequence[T], missing: T) -> tuple[T, T, T]:
    """Something of depth, height and width: a row of pixels is an image of height 1, an image a volume of depth 1."""
    first, second, third = (*(missing,) * (3 - len(numbers)), *numbers)
    return first, second, third


class Borders:
    """Makes the borders of one convolution."""

    def __init__(self, convolution: Convolution, x: Shape, cpu: Cpu) -> None:
        self.batch, self.ndim, self.dtype, self.cpu = x[0], len(x), convolution.dtype, cpu
        self.channels = convolution.result.channels, convolution.inputs
        self.grouped = convolution.groups > 1
        taps = (convolution.deep.taps, *convolution.kernel)
        self.kernel_shape = (*self.channels, *taps[5 - self.ndim :])

    def read(
        self,
        planes: Planes,
        halo: tuple[int, int, int, int],
        layout: Layout | None,
        ends: tuple[int, int] = (0, 0),
    ) -> Border:
        """Images that a kernel reads, with a halo."""
        wanted = self._layout(planes._replace(halo=halo, ends=ends))
        direct = layout is not None and layout.covers(wanted)
        return self._border(planes, wanted, layout if direct else None)

    def written(self, planes: Planes, layout: Layout | None) -> Border:
        """Images that a kernel writes: in whole vectors, or in half ones where that saves a copy, or groups."""
        lanes = self.cpu.lanes(self.dtype)
        bare = planes._replace(halo=(0, 0, 0, 0), ends=(0, 0), padded=planes.channels)
        whole = lanes_for(planes.channels, lanes)
        if self.grouped or 2 * lanes_of(bare, lanes) >= whole:
            wanted = self._layout(bare)
            direct = layout is not None and layout.covers(wanted)
            return self._border(bare, wanted, layout if direct else None)
        padded = bare._replace(padded=rounded_up(planes.channels, whole))
        return self._border(padded, self._layout(padded), None)._replace(wanted=None)

    def _layout(self, planes: Planes) -> Layout:
        """Planes as the layout of an array: padded channels are a halo of theirs."""
        made = channels_last(self.ndim, _sides(planes)[5 - self.ndim :])
        return made._replace(
            halo=(made.halo[0], (0, planes.padded - planes.channels), *made.halo[2:]),
        )

    def _border(self, planes: Planes, wanted: Layout, given: Layout | None) -> Border:
        layout = given or wanted
        seen = _in_layout(planes, layout)
        shape = (self.batch, planes.channels, *(planes.depth, planes.height, planes.width)[5 - self.ndim :])
        return Border(seen, layout, wanted, given is not None, shape, self.dtype)


class Border(NamedTuple):
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
            steps.append(zeros(memory))
        steps.append(copy(array, self.layout.inside(memory, self.shape)))
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
            steps.append(copy(self.layout.inside(memory, self.shape), array))


class Contiguous(NamedTuple):
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
            steps.append(copy(array, memory))
        return memory

    def write(self, array: Array, scratch: Array, steps: Steps) -> None:
        if not self.direct:
            steps.append(copy(self.memory(array, scratch), array))


def copy(source: Array, result: Array) -> Run:
    """A call that copies between arrays of any strides."""
    return elementwise.bind(Program((source.dtype.name,), (), (0,)), [source], [result])


def zeros(array: Array) -> Run:
    """A call that fills an array with zeros."""
    build = ProgramBuilder()
    return elementwise.bind(build.program(build.constant(0.0, array.dtype.name)), [], [array])


# -- planes and layouts ------------------------------------------------------------------------------------------


def _sides(planes: Planes) -> Pairs:
    """The halo along depth, height and width."""
    top, bottom, left, right = planes.halo
    return planes.ends, (top, bottom), (left, right)


def _in_layout(planes: Planes, layout: Layout) -> Planes:
    """Planes with the halo of a layout with channels last."""
    ends, rows_around, columns_around = three(layout.halo[2:], (0, 0))
    return planes._replace(
        padded=planes.channels + layout.halo[1][1], halo=(*rows_around, *columns_around), ends=ends
    )


def planes_of(layout: Layout, shape: Shape) -> Planes:
    """Images in a layout with channels last as planes."""
    depth, height, width = three(shape[2:], 1)
    return _in_layout(Planes(height, width, shape[1], shape[1], depth=depth), layout)


def memory_of(array: Array, planes: Planes | Spread) -> Array:
    """The block of memory that a value in planes was made in."""
    if not isinstance(planes, Planes):
        return array
    layout = channels_last(array.ndim, _sides(planes)[5 - array.ndim :])
    beyond = (0, planes.padded - planes.channels)
    return layout._replace(halo=(layout.halo[0], beyond, *layout.halo[2:])).around(array)


def clear_halo(array: Array, layout: Layout) -> Run:
    """A call that writes zeros into the halo of images in a layout with channels last."""
    planes = planes_of(layout, array.shape)
    return packing.clear_halo(planes, array.dtype.name).bind(layout.around(array), span=len(array))


# -- epilogues ---------------------------------------------------------------------------------------------------


def taking_epilogues(lowered: Lowering, result: Border, cpu: Cpu) -> Lowering:
    """A convolution's lowering that can be asked for itself with an epilogue."""
    return lowered._replace(with_epilogue=functools.partial(_with_epilogue, lowered, result, cpu))


def _with_epilogue(lowered: Lowering, result: Border, cpu: Cpu, epilogue: Epilogue) -> Lowering | None:
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
    made = ImageEpilogue(epilogue.program, operands, results)
    bind: Any = lowered.bind
    return lowered._replace(bind=functools.partial(bind, epilogue=made), with_epilogue=None)


def _planes(layout: Layout | None, result: Border) -> Planes | None:
    """The planes of a value of the result's shape; None if a kernel of the result cannot meet it."""
    if layout is None or layout.order != result.layout.order or any(layout.halo[0]) or layout.halo[1][0]:
        return None
    found = planes_of(layout, result.shape)
    return found if found.padded == result.planes.padded else None


def _planes_or_steps(shape: Shape, layout: Layout | None, result: Border) -> Planes | Spread | None:
    """The same for a value that may be a number for each channel, or for all, which lie in rows."""
    if shape == result.shape:
        return _planes(layout, result)
    full = (1,) * (len(result.shape) - len(shape)) + shape
    if math.prod(shape) == 1:
        return Spread(0)
    channels = result.planes.channels
    alone = full[1] == channels == math.prod(shape) == result.planes.padded
    return Spread(1) if alone and layout == rows(len(shape)) else None


def extras_of(epilogue: ImageEpilogue | None, inputs: Sequence[Any], outputs: Sequence[Array]) -> list[Array]:
    """The memory of an epilogue's arrays."""
    if epilogue is None:
        return []
    places = (*epilogue.operands, *epilogue.results)
    return [
        memory_of(np.asarray(one), planes) for one, planes in zip((*inputs, *outputs), places, strict=True)
    ]


# -- weights -----------------------------------------------------------------------------------------------------


def aligned(nbytes: int) -> int:
    """So many bytes in whole cache lines."""
    return rounded_up(nbytes, ALIGNMENT)


def each_thread(scratch: Array) -> list[Array]:
    """Scratch memory in equal parts, one a thread."""
    return list(scratch.reshape(get_threads(), -1))


def weights_in(weights: Weights, block: Array, dtype: str) -> Array:
    """Packed weights in a block of bytes."""
    return block[: weights_nbytes(weights, dtype)].view(dtype).reshape(weights)


def weights_nbytes(weights: Weights, dtype: str) -> int:
    """Bytes of packed weights."""
    return math.prod(weights) * np.dtype(dtype).itemsize


def third(inputs: Sequence[Any]) -> Any:
    """A bias, or None."""
    return inputs[2] if len(inputs) > 2 else None
