"""Convolutions in small groups, depthwise ones among them: vectors run over the channels of several groups.

Where a group has one to four channels, a vector of outputs meets a vector of inputs lane by lane: the inputs of all
groups of a vector are loaded together, and a shuffle brings each lane the input it needs (none in a depthwise
convolution, where they are where they are needed). A tile is some neighbouring pixels of a row; what several taps of
the kernel read of a row is loaded once. Planes, taps, phases and epilogues are those of the direct convolution. After
Zhang, Lo and Lu, "High Performance Depthwise and Pointwise Convolutions on Mobile Devices" (2020). The last vector of
channels is narrower where they are no multiple: nothing beside the channels is read or written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinygraph.kernels.builder import Function, Offset, Value, lane_index, splat, width_of
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.images.direct import (
    Convolution,
    ImageEpilogue,
    Pixel,
    Taps,
    Weights,
    forward_taps,
    gradient_taps,
    source_place,
    write_pixels,
)
from tinygraph.kernels.images.planes import Planes
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept

_SMALL = 8  # channels that make a vector of their own
_MOST_INPUTS = 4  # vectors of inputs for one of outputs
_MOST_PRODUCTS = 400  # of a tile, written out; more are a loop over the taps
_MOST_WEIGHTS = 512  # of an output, in the gradient by the kernel, all written out
_TILE_PIXELS = 8
_BAND_PIXELS = 128  # whose products are summed in registers from zero


class Share(NamedTuple):
    """Channels of a group: those that a map writes, and those that it reads."""

    outputs: int
    inputs: int


def serves(share: Share, weights: int, lanes: int) -> bool:
    """Whether groups are so small that vectors run over several.

    Args:
        share: of the map in question; the gradient by the input has the two exchanged.
        weights: how many numbers of the kernel an output has.
        lanes: of a vector.
    """
    small = share.outputs < _SMALL and lanes % share.outputs == 0
    return small and share.inputs <= _MOST_INPUTS * share.outputs and weights <= _MOST_WEIGHTS


def packed_weights(channels: int, inputs: int, taps: tuple[int, int], lanes: int) -> Weights:
    """The layout of the kernel: blocks of channels of all groups, each with the inputs of its own group."""
    return Weights(-(-channels // lanes), *taps, inputs, lanes)


def forward(
    convolution: Convolution,
    weights: Weights,
    *,
    bias: bool = True,
    epilogue: ImageEpilogue | None = None,
    cpu: Cpu | None = None,
) -> Kernel:
    """result = source * weights (+ bias), then the epilogue.

    The kernel's pointers: source, weights (as `packed_weights`), bias where there is one, result, the epilogue's
    operands and further results. Its span: images.
    """
    return _forward(convolution, weights, bias, epilogue, cpu or this_cpu())


@kept
def _forward(
    convolution: Convolution, weights: Weights, bias: bool, epilogue: ImageEpilogue | None, cpu: Cpu
) -> Kernel:
    source, result = convolution.source, convolution.result
    source.check_halo(convolution.source_halo(), "input", convolution.source_ends())
    share = Share(convolution.outputs, convolution.inputs)
    parts = [forward_taps(convolution, weights, merged=False)]
    made = _Map(convolution.dtype, source, result, weights, share, bias, epilogue)
    return made.compiled("convolution in groups", parts, cpu)


def input_gradient(
    convolution: Convolution,
    gradient: Planes,
    weights: Weights,
    *,
    epilogue: ImageEpilogue | None = None,
    cpu: Cpu | None = None,
) -> Kernel:
    """The gradient by the source, written in the source's planes.

    The kernel's pointers: gradient, weights (of the reversed kernel with its channels exchanged within each group, as
    `packed_weights`), result, the epilogue's operands and further results. Its span: images.
    """
    return _input_gradient(convolution, gradient, weights, epilogue, cpu or this_cpu())


@kept
def _input_gradient(
    convolution: Convolution, gradient: Planes, weights: Weights, epilogue: ImageEpilogue | None, cpu: Cpu
) -> Kernel:
    gradient.check_halo(convolution.gradient_halo(), "output's gradient", convolution.gradient_ends())
    share = Share(convolution.inputs, convolution.outputs)
    parts = gradient_taps(convolution, gradient, weights, merged=False)
    made = _Map(convolution.dtype, gradient, convolution.source, weights, share, False, epilogue)
    return made.compiled("convolution in groups, input gradient", parts, cpu)


class _Map(NamedTuple):
    """A map from planes to planes by packed weights."""

    dtype: str
    source: Planes
    result: Planes
    weights: Weights
    share: Share
    bias: bool
    epilogue: ImageEpilogue | None

    def compiled(self, name: str, parts: Sequence[Taps], cpu: Cpu) -> Kernel:
        """The kernel; its units of work are rows of pixels, or images where there are several phases."""
        extras = self.epilogue.pointers if self.epilogue else []
        pointers = ["source", "weights", *(["bias"] if self.bias else []), "result", *extras]
        parts = [part for part in parts if part.slices and part.rows and part.columns]
        alone = parts[0] if len(parts) == 1 else None

        def write(code: Function) -> None:
            rows = [_Rows(code, self, part, cpu) for part in parts]

            def unit(number: Offset) -> None:
                if alone is not None:
                    image, line = code.divide_index(number, alone.slices * alone.rows)
                    rows[0].write(image, *code.divide_index(line, alone.rows))
                    return
                for one in rows:
                    one.write_image(number)

            code.units(unit)

        splits = alone.slices * alone.rows if alone is not None else 1
        return compile_kernel(name, pointers, write, splits=splits, distinct=True, cpu=cpu)


class _Rows:
    """Writes rows of pixels of one nest of taps."""

    def __init__(self, code: Function, made: _Map, part: Taps, cpu: Cpu) -> None:
        self.code, self.made, self.part = code, made, part
        self.pixels = min(part.columns, _TILE_PIXELS if cpu.registers >= 32 else _TILE_PIXELS // 2)
        products = len(part.taps) * made.share.inputs * self.pixels
        self.tables = None
        if products > _MOST_PRODUCTS:
            self.tables = [code.table(list(offsets)) for offsets in zip(*part.taps, strict=True)]

    def write_image(self, image: Offset) -> None:
        """All rows of an image."""
        self.code.nest(
            [self.part.slices, self.part.rows], lambda place, _: self.write(image, place[0], place[1])
        )

    def write(self, image: Offset, z: Offset, y: Offset) -> None:
        """One row, all channels."""
        code, part = self.code, self.part

        def block(number: Offset, valid: int) -> None:
            def columns(x: Offset, _: list[Value]) -> None:
                column = code.smaller_index(x, part.columns - self.pixels)
                self._tile((image, z, y, column), number, valid)

            code.loop(0, part.columns, self.pixels, columns)

        each_block(code, self.made.result.channels, self.made.weights.lanes, block)

    def _tile(self, pixel: Pixel, block: Offset, valid: int) -> None:
        code, made, part = self.code, self.made, self.part
        lanes = made.weights.lanes
        channel = code.offset((block, lanes))
        first = code.offset(
            source_place(code, part, made.source, pixel),
            (block, lanes // made.share.outputs * made.share.inputs),
        )
        source = code.at(code.pointers["source"], first, made.dtype)
        weights = code.at(code.pointers["weights"], code.offset((block, made.weights.block)), made.dtype)
        sums = [splat(0, made.dtype, valid)] * self.pixels
        if made.bias:
            sums = [code.load(code.pointers["bias"], channel, made.dtype, valid)] * self.pixels
        if self.tables is None:
            operands = Operands(code, source, made.dtype, made.share, valid)
            for at, place in part.taps:
                sums = self._tap(operands, at, weights, place, valid, sums)
        else:
            tables = self.tables

            def tap(t: Offset, held: list[Value]) -> list[Value]:
                at, place = (code.lookup(table, t) for table in tables)
                here = Operands(code, code.at(source, at, made.dtype), made.dtype, made.share, valid)
                return self._tap(here, 0, code.at(weights, place, made.dtype), 0, valid, held)

            sums = code.loop(0, len(part.taps), 1, tap, sums)
        values = {(0, x, 0): one for x, one in enumerate(sums)}
        write_pixels(code, part, made.result, made.epilogue, made.dtype, pixel, channel, values)

    def _tap(
        self, operands: Operands, at: int, weights: Value, place: int, valid: int, sums: list[Value]
    ) -> list[Value]:
        """The products of one tap with the pixels of a tile."""
        code, made, step = self.code, self.made, self.part.source_pixel
        for i in range(made.share.inputs):
            factor = code.load(weights, place + i * made.weights.lanes, made.dtype, valid)
            sums = [code.fma(operands(at + x * step, i), factor, one) for x, one in enumerate(sums)]
        return sums


class Operands:
    """Inputs as vectors of outputs meet them, each loaded and shuffled once.

    Args:
        source: where the inputs of the vector's first group are, of the first pixel.
        share: how many lanes a group has, and how many inputs.
        lanes: of the vector.
    """

    def __init__(self, code: Function, source: Value, dtype: str, share: Share, lanes: int) -> None:
        self._code, self._source, self._dtype, self._share, self._lanes = code, source, dtype, share, lanes
        self._loaded: dict[int, Value] = {}
        self._met: dict[tuple[int, int], Value] = {}

    def __call__(self, offset: int, i: int) -> Value:
        """In each lane the i-th input of its group, for the pixel so many elements further on."""
        outputs, inputs = self._share
        if offset not in self._loaded:
            width = self._lanes // outputs * inputs
            self._loaded[offset] = self._code.load(self._source, offset, self._dtype, width)
        vector = self._loaded[offset]
        if outputs == inputs == 1:
            return vector
        if (offset, i) not in self._met:
            lanes = [lane // outputs * inputs + i for lane in range(self._lanes)]
            self._met[offset, i] = _picked(self._code, vector, lanes)
        return self._met[offset, i]


def _picked(code: Function, vector: Value, lanes: Sequence[int]) -> Value:
    """Some lanes of a vector, which may be a single number."""
    if width_of(vector) == 1:
        return code.broadcast(vector, len(lanes))
    if len(lanes) == 1:
        return code.ir.extract_element(vector, lane_index(lanes[0]))
    return code.shuffle(vector, vector, lanes)


def each_block(code: Function, channels: int, lanes: int, body: Callable[[Offset, int], None]) -> None:
    """For each vector of channels its number, and how many lanes it has; the last one may have fewer."""
    whole, rest = divmod(channels, lanes)
    code.loop(0, whole, 1, lambda number, _: body(number, lanes))
    if rest:
        body(whole, rest)


# -- kernel gradient ---------------------------------------------------------------------------------------------


def kernel_gradient(
    convolution: Convolution, gradient: Planes, weights: Weights, *, cpu: Cpu | None = None
) -> Kernel:
    """The gradient by the kernel, as `packed_weights`.

    The kernel's pointers: source, gradient, result; threads have results of their own, to be added up. Its span:
    images.
    """
    return _kernel_gradient(convolution, gradient, weights, cpu or this_cpu())


@kept
def _kernel_gradient(convolution: Convolution, gradient: Planes, weights: Weights, cpu: Cpu) -> Kernel:
    convolution.source.check_halo(convolution.source_halo(), "input", convolution.source_ends())

    def write(code: Function) -> None:
        code.clear(code.pointers["result"], 0, weights.blocks * weights.block, convolution.dtype)
        code.units(_GroupProducts(code, convolution, gradient, weights, cpu).write)

    name = "convolution in groups, kernel gradient"
    return compile_kernel(name, ["source", "gradient", "result"], write, splits=1, distinct=True, cpu=cpu)


class _GroupProducts:
    """Writes the loops of one kernel gradient: bands of rows, vectors of channels, weights that fit registers."""

    def __init__(
        self, code: Function, convolution: Convolution, gradient: Planes, weights: Weights, cpu: Cpu
    ) -> None:
        self.code, self.gradient, self.weights = code, gradient, weights
        self.dtype, self.source = convolution.dtype, convolution.source
        self.channels = convolution.result.channels
        self.share = Share(convolution.outputs, convolution.inputs)
        self.part = forward_taps(convolution, weights, merged=False)
        # of each weight: where its pixels are in the source, which input of the group, and where it is in a block
        numbers = [
            (at, i, place + i * weights.lanes)
            for at, place in self.part.taps
            for i in range(self.share.inputs)
        ]
        most = cpu.registers - 6
        self.apart = max(1, min(4, most // len(numbers)))  # few sums would wait for one another
        chunk = -(-len(numbers) // -(-len(numbers) // most))
        self.chunks = [numbers[i : i + chunk] for i in range(0, len(numbers), chunk)]
        self.rows = max(1, min(gradient.height, _BAND_PIXELS // max(1, gradient.width)))

    def write(self, image: Offset) -> None:
        """All products of one image."""
        code, gradient, part = self.code, self.gradient, self.part

        def band(z: Offset, top: Offset) -> None:
            rows = code.smaller_index(self.rows, code.offset((top, -1), gradient.height))
            first = source_place(code, part, self.source, (image, z, top, 0))
            given = code.offset(
                (image, gradient.image), (z, gradient.slice), (top, gradient.row), gradient.origin
            )
            each_block(
                code, self.channels, self.weights.lanes, functools.partial(self._block, rows, first, given)
            )

        def slices(z: Offset, _: list[Value]) -> None:
            code.loop(0, gradient.height, self.rows, lambda top, _: band(z, top))

        code.loop(0, gradient.depth, 1, slices)

    def _block(self, rows: Offset, first: Offset, given: Offset, block: Offset, valid: int) -> None:
        code, lanes = self.code, self.weights.lanes
        inputs = code.offset(first, (block, lanes // self.share.outputs * self.share.inputs))
        source = code.at(code.pointers["source"], inputs, self.dtype)
        gradient = code.at(code.pointers["gradient"], code.offset(given, (block, lanes)), self.dtype)
        result = code.at(code.pointers["result"], code.offset((block, self.weights.block)), self.dtype)
        for chunk in self.chunks:
            sums = self._summed(source, gradient, rows, chunk, valid)
            for one, (_, _, place) in zip(sums, chunk, strict=True):
                before = code.load(result, place, self.dtype, valid)
                code.store(code.add(before, one), result, place)

    def _summed(
        self, source: Value, gradient: Value, rows: Offset, chunk: Sequence[tuple[int, int, int]], valid: int
    ) -> list[Value]:
        """The products of some weights' pixels with the gradient, over a band of rows."""
        code, part, count = self.code, self.part, len(chunk)
        width, apart = self.gradient.width, min(self.apart, max(1, self.gradient.width))

        def pixels(y: Offset, x: Offset, held: list[Value], many: int) -> list[Value]:
            here = code.at(source, code.offset((y, part.source_row), (x, part.source_pixel)), self.dtype)
            there = code.offset((y, self.gradient.row), (x, self.gradient.pixel))
            operands = Operands(code, here, self.dtype, self.share, valid)
            for n in range(many):
                factor = code.load(gradient, code.offset(there, n * self.gradient.pixel), self.dtype, valid)
                for k, (at, i, _) in enumerate(chunk):
                    number = operands(at + n * part.source_pixel, i)
                    held[n * count + k] = code.fma(number, factor, held[n * count + k])
            return held

        def row(y: Offset, held: list[Value]) -> list[Value]:
            whole = width // apart * apart
            held = code.loop(0, whole, apart, lambda x, inner: pixels(y, x, inner, apart), held)
            for x in range(whole, width):
                held = pixels(y, x, held, 1)
            return held

        made = code.loop(0, rows, 1, row, [splat(0, self.dtype, valid)] * (count * apart))
        return [functools.reduce(code.add, made[k::count]) for k in range(count)]
