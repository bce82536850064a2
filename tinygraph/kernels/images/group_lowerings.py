"""Convolutions in groups as lowerings: vectors over several small groups, or each group by the direct convolution.

The latter where a group's channels fill vectors of their own, or one that is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array, Shape
from tinygraph.kernels import partial_sums
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.images import direct, grouped, packing
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
    weights_in,
    weights_nbytes,
)
from tinygraph.kernels.images.direct import Convolution, ImageEpilogue, Weights
from tinygraph.kernels.images.grouped import Share
from tinygraph.kernels.images.planes import Planes, lanes_of
from tinygraph.kernels.lowering import Layouts, Lowering, Prepared, Run, in_order
from tinygraph.kernels.machine_code import Bound, Private
from tinygraph.kernels.threads import get_threads


class Packed(NamedTuple):
    """The weights of all groups.

    Attributes:
        weights: of all groups together, or of each one.
        pieces: how many of these follow each other.
        share: the channels of a group, of the map in question.
        dtype: of the numbers.
    """

    weights: Weights
    pieces: int
    share: Share
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.pieces * weights_nbytes(self.weights, self.dtype)

    @property
    def padded(self) -> int:
        """Channels that the vectors of one of them have."""
        return self.weights.blocks * self.weights.lanes

    def arrays(self, block: Array) -> list[Array]:
        """Each of them, in a block of bytes."""
        size = self.nbytes // self.pieces
        return [
            weights_in(self.weights, block[i * size : (i + 1) * size], self.dtype) for i in range(self.pieces)
        ]

    def pack(self, kernel: Array, packed: Sequence[Array], cpu: Cpu) -> list[Bound]:
        """The steps that pack a kernel (outputs of all groups, inputs of one, *size)."""
        outputs = len(kernel) // self.pieces
        made = packing.pack(self.weights, outputs, self.share.inputs, self.dtype, cpu)
        return [
            made.bind(kernel[i * outputs : (i + 1) * outputs], one, span=1) for i, one in enumerate(packed)
        ]

    def unpack(self, packed: Sequence[Array], kernel: Array, cpu: Cpu) -> list[Bound]:
        """The way back."""
        outputs = len(kernel) // self.pieces
        made = packing.unpack(self.weights, outputs, self.share.inputs, self.dtype, cpu)
        return [
            made.bind(one, kernel[i * outputs : (i + 1) * outputs], span=1) for i, one in enumerate(packed)
        ]


def _packed(made: Convolution, planes: Planes, share: Share, cpu: Cpu) -> Packed:
    """How the weights of a map to planes are packed."""
    height, width = made.deep.taps * made.kernel[0], made.kernel[1]
    lanes = cpu.lanes(made.dtype)
    if grouped.serves(share, height * width * share.inputs, lanes):
        weights = grouped.packed_weights(planes.channels, share.inputs, (height, width), lanes)
        return Packed(weights, 1, share, made.dtype)
    found = lanes_of(planes.group(share.outputs), lanes)
    weights = Weights(-(-share.outputs // found), height, width, share.inputs, found)
    return Packed(weights, made.groups, share, made.dtype)


def forward(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """As `lowerings.forward`."""
    borders = Borders(convolution, x, cpu)
    result = borders.written(convolution.result, layouts.outputs[0])
    source = borders.read(
        convolution.source, convolution.source_halo(), layouts.inputs[0], convolution.source_ends()
    )
    made = convolution._replace(source=source.planes, result=result.planes)
    packed = _packed(made, made.result, Share(made.outputs, made.inputs), cpu)
    kernel = Contiguous(layouts.inputs[1], borders.kernel_shape, made.dtype)
    padded_bias = packed.pieces * packed.padded * np.dtype(made.dtype).itemsize
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: ImageEpilogue | None = None,
    ) -> Run:
        steps: Steps = []
        weights, bias = packed.arrays(scratch[2]), third(inputs[:count])
        steps += packed.pack(kernel.read(inputs[1], scratch[3], steps), weights, cpu)
        images, written = source.read(inputs[0], scratch[0], steps), result.memory(outputs[0], scratch[1])
        spread: list[Array] = []
        if bias is not None:
            room = scratch[4][:padded_bias].view(made.dtype).reshape(packed.pieces, -1)
            given = np.asarray(bias).reshape(packed.pieces, -1)
            steps.append(copy(given, room[:, : given.shape[1]]))
            spread = list(room)
        extras = extras_of(epilogue, inputs[count:], outputs[1:])
        if packed.pieces == 1:
            sums = grouped.forward(made, packed.weights, bias=bool(spread), epilogue=epilogue, cpu=cpu)
        else:
            sums = direct.forward(
                made.group(), bias=bool(spread), epilogue=_of_group(epilogue, made.outputs), cpu=cpu
            )
        for i, one in enumerate(weights):
            places = _places(i * made.outputs, written, epilogue, extras)
            steps.append(
                sums.bind(_from(images, i * made.inputs), one, *spread[i : i + 1], *places, span=x[0])
            )
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((source.wanted, None, None)[:count], (result.wanted,))
    sizes = (source.nbytes, result.nbytes, packed.nbytes, kernel.nbytes, padded_bias)
    lowered = Lowering(bind, wanted, sizes, _name(packed), prepared=Prepared(1, (2, 3)))
    return taking_epilogues(lowered, result, cpu)


def input_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """As `lowerings.input_gradient`."""
    borders = Borders(convolution, x, cpu)
    result = borders.written(convolution.source, layouts.outputs[0])
    plain = convolution._replace(source=result.planes)
    given = borders.read(convolution.result, plain.gradient_halo(), layouts.inputs[0], plain.gradient_ends())
    made = plain._replace(result=given.planes)
    packed = _packed(made, made.source, Share(made.inputs, made.outputs), cpu)
    kernel_bytes = int(np.prod(borders.kernel_shape)) * np.dtype(made.dtype).itemsize
    count = len(layouts.inputs)

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        epilogue: ImageEpilogue | None = None,
    ) -> Run:
        steps: Steps = []
        weights = packed.arrays(scratch[2])
        turned = _turned(inputs[1], made)
        kernel = scratch[3].view(made.dtype).reshape(turned.shape)
        steps.append(copy(turned, kernel))
        steps += packed.pack(kernel.reshape(-1, *kernel.shape[2:]), weights, cpu)
        gradient, written = given.read(inputs[0], scratch[0], steps), result.memory(outputs[0], scratch[1])
        extras = extras_of(epilogue, inputs[count:], outputs[1:])
        if packed.pieces == 1:
            sums = grouped.input_gradient(made, given.planes, packed.weights, epilogue=epilogue, cpu=cpu)
        else:
            part = made.group()
            mine = _of_group(epilogue, made.inputs)
            sums = direct.input_gradient(part, part.result, epilogue=mine, cpu=cpu)
        for i, one in enumerate(weights):
            places = _places(i * made.inputs, written, epilogue, extras)
            steps.append(sums.bind(_from(gradient, i * made.outputs), one, *places, span=x[0]))
        result.write(outputs[0], scratch[1], steps)
        return in_order(*steps)

    wanted = Layouts((given.wanted, None, None)[:count], (result.wanted,))
    sizes = (given.nbytes, result.nbytes, packed.nbytes, kernel_bytes)
    name = f"{_name(packed)}, by input"
    return taking_epilogues(Lowering(bind, wanted, sizes, name, prepared=Prepared(1, (2, 3))), result, cpu)


def kernel_gradient(convolution: Convolution, x: Shape, layouts: Layouts, cpu: Cpu) -> Lowering:
    """As `lowerings.kernel_gradient`."""
    borders = Borders(convolution, x, cpu)
    source = borders.read(
        convolution.source, convolution.source_halo(), layouts.inputs[0], convolution.source_ends()
    )
    given = borders.read(convolution.result, (0, 0, 0, 0), layouts.inputs[1])
    made = convolution._replace(source=source.planes, result=given.planes)
    packed = _packed(made, made.result, Share(made.outputs, made.inputs), cpu)
    kernel = Contiguous(layouts.outputs[0], borders.kernel_shape, made.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        steps: Steps = []
        parts = [packed.arrays(part[: packed.nbytes]) for part in each_thread(scratch[2])]
        images, gradient = source.read(inputs[0], scratch[0], steps), given.read(inputs[1], scratch[1], steps)
        if packed.pieces == 1:
            products = grouped.kernel_gradient(made, given.planes, packed.weights, cpu=cpu)
        else:
            part = made.group()
            products = direct.kernel_gradient(part, part.result, cpu=cpu)
        for i, mine in enumerate(zip(*parts, strict=True)):
            places = _from(images, i * made.inputs), _from(gradient, i * made.outputs)
            steps.append(products.bind(*places, Private(mine), span=x[0]))
        if len(parts) > 1:
            whole = [part[: packed.nbytes].view(made.dtype) for part in each_thread(scratch[2])]
            steps.append(partial_sums.total(whole))
        contiguous = kernel.memory(outputs[0], scratch[3])
        steps += packed.unpack(parts[0], contiguous, cpu)
        kernel.write(outputs[0], scratch[3], steps)
        return in_order(*steps)

    own = get_threads() * aligned(packed.nbytes)
    sizes = (source.nbytes, given.nbytes, own, kernel.nbytes)
    wanted = Layouts((source.wanted, given.wanted), (None,))
    return Lowering(bind, wanted, sizes, f"{_name(packed)}, by kernel")


def _name(packed: Packed) -> str:
    return "convolution in groups" if packed.pieces == 1 else "direct convolution of each group"


def _turned(kernel: Array, made: Convolution) -> Array:
    """A view of a kernel with all taps reversed, and the channels of each group exchanged: (groups, C, O, *size)."""
    apart = kernel.reshape(made.groups, made.outputs, made.inputs, *kernel.shape[2:])
    return np.flip(np.swapaxes(apart, 1, 2), tuple(range(3, apart.ndim)))


def _from(memory: Array, channel: int) -> Array:
    """Memory that begins with a channel of its first pixel."""
    return memory.reshape(-1)[channel:]


def _of_group(epilogue: ImageEpilogue | None, channels: int) -> ImageEpilogue | None:
    """The epilogue of one group."""
    if epilogue is None:
        return None
    operands = tuple(one.group(channels) if isinstance(one, Planes) else one for one in epilogue.operands)
    return epilogue._replace(
        operands=operands, results=tuple(one.group(channels) for one in epilogue.results)
    )


def _places(
    channel: int, written: Array, epilogue: ImageEpilogue | None, extras: Sequence[Array]
) -> list[Array]:
    """The result and the arrays of an epilogue from a channel on."""
    planes = (*epilogue.operands, *epilogue.results) if epilogue else ()
    return [
        _from(written, channel),
        *(_from(one, channel * place.channel) for one, place in zip(extras, planes, strict=True)),
    ]
