"""The direct convolution: forward, gradient by the input and by the kernel; a fully connected layer is its 1x1 case.

Implicit matrix multiplication over `Planes`: for each tile of pixels and vectors of output channels the sums stay in
registers while one loop runs over (kernel column, input channel), which is contiguous in images and weights, and
another over the kernel's rows ("taps"). Nothing is unrolled into columns (no im2col) and nothing is copied; strides,
dilation and the phases of a strided gradient are entries of a table of taps. After Georganas et al., "Anatomy of
High-Performance Deep Learning Convolutions on SIMD Architectures" (2018), and Zhang, Franchetti and Low, "High
Performance Zero-Memory Overhead Direct Convolutions" (2018).

Sizes that tiles do not divide: the last tile overlaps the one before it and writes equal numbers again; in the kernel's
gradient, where tiles are added to, there is a smaller tile instead. Volumes have one more coordinate, whose taps are
further entries of the table. A group of channels is a convolution of its own; small ones are in `grouped.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tinygraph.errors import ShapeError
from tinygraph.kernels.builder import Function, Offset, Value, itemsize, splat, width_of
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program
from tinygraph.kernels.images.planes import Planes, Spread, lanes_of
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

_L1_BYTES = 32 * 1024
_L2_BYTES = 512 * 1024
_FEWEST_SUMS = 8  # products in flight that keep the multipliers busy
Pixel = tuple[Offset, Offset, Offset, Offset]  # image, slice, row, column
_PixelBody = Callable[[Offset, Offset, list[Value]], list[Value]]


class Deep(NamedTuple):
    """The third dimension of a convolution of volumes: slices of a kernel, and how it moves along the depth."""

    taps: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Convolution(NamedTuple):
    """A convolution of images in `source` to images in `result`, or of volumes.

    Attributes:
        source: the input's planes; its halo is at least the padding.
        result: the output's planes. Planes that are written are written in vectors that divide their channels in
            memory, or in one that is cut off.
        kernel: its height and width.
        stride, dilation: vertical and horizontal.
        padding: zeros above and to the left; what is needed below and right follows from the result's size.
        dtype: "float32" or "float64".
        deep: the third dimension.
        groups: so many equal parts of the channels do not meet each other.
    """

    source: Planes
    result: Planes
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    dtype: str = "float32"
    deep: Deep = Deep()
    groups: int = 1

    @property
    def inputs(self) -> int:
        """Channels of the source that meet a channel of the result."""
        return self.source.channels // self.groups

    @property
    def outputs(self) -> int:
        """Channels of the result in a group."""
        return self.result.channels // self.groups

    def group(self) -> Convolution:
        """One of the groups; the others are as many channels further on."""
        if self.groups == 1:
            return self
        source, result = self.source.group(self.inputs), self.result.group(self.outputs)
        return self._replace(source=source, result=result, groups=1)

    def source_halo(self) -> tuple[int, int, int, int]:
        """The halo that the forward kernel reads."""
        sizes = ((self.source.height, self.result.height), (self.source.width, self.result.width))
        after = [
            (outputs - 1) * self.stride[i]
            + (self.kernel[i] - 1) * self.dilation[i]
            - self.padding[i]
            - (inputs - 1)
            for i, (inputs, outputs) in enumerate(sizes)
        ]
        return self.padding[0], max(0, after[0]), self.padding[1], max(0, after[1])

    def source_ends(self) -> tuple[int, int]:
        """The slices of zeros before and behind a volume that the forward kernel reads."""
        deep = self.deep
        reach = (self.result.depth - 1) * deep.stride + (deep.taps - 1) * deep.dilation - deep.padding
        return deep.padding, max(0, reach - (self.source.depth - 1))

    def gradient_ends(self) -> tuple[int, int]:
        """The same of the output's gradient, for the input-gradient kernel."""
        first = self.deep.padding - (self.deep.taps - 1) * self.deep.dilation
        last = self.source.depth - 1 + self.deep.padding
        stride = self.deep.stride
        return max(0, -(first // stride)), max(0, last // stride - (self.result.depth - 1))

    def gradient_halo(self) -> tuple[int, int, int, int]:
        """The halo of the output's gradient that the input-gradient kernel reads."""
        sizes = ((self.source.height, self.result.height), (self.source.width, self.result.width))
        halo = []
        for i, (inputs, outputs) in enumerate(sizes):
            first = self.padding[i] - (self.kernel[i] - 1) * self.dilation[i]
            last = inputs - 1 + self.padding[i]
            halo += [max(0, -(first // self.stride[i])), max(0, last // self.stride[i] - (outputs - 1))]
        return halo[0], halo[1], halo[2], halo[3]


class Weights(NamedTuple):
    """Packed weights: an array of shape (blocks, height, width, inputs, lanes); of volumes, slices on one another."""

    blocks: int
    height: int
    width: int
    inputs: int
    lanes: int

    @property
    def block(self) -> int:
        """Elements from the weights of one vector of outputs to those of the next."""
        return self.height * self.width * self.inputs * self.lanes


def forward_weights(convolution: Convolution, cpu: Cpu | None = None) -> Weights:
    """The layout of the kernel for the forward pass, and of its gradient."""
    lanes = lanes_of(convolution.result, (cpu or this_cpu()).lanes(convolution.dtype))
    blocks, (height, width) = -(-convolution.result.padded // lanes), convolution.kernel
    return Weights(blocks, convolution.deep.taps * height, width, convolution.source.padded, lanes)


def gradient_weights(convolution: Convolution, cpu: Cpu | None = None) -> Weights:
    """The layout of the kernel for the gradient by the input: channels exchanged, rows and columns reversed."""
    lanes = lanes_of(convolution.source, (cpu or this_cpu()).lanes(convolution.dtype))
    blocks, (height, width) = -(-convolution.source.padded // lanes), convolution.kernel
    return Weights(blocks, convolution.deep.taps * height, width, convolution.result.padded, lanes)


class ImageEpilogue(NamedTuple):
    """What happens to sums before they are written: a program whose first input is the sum.

    Attributes:
        program: its further inputs are read from arrays; its outputs are written to the result and to further arrays.
        operands: the planes of the arrays that are read, of the same size and padded channels as what is written, or
            other steps between their numbers.
        results: the planes of the further arrays that are written.
    """

    program: Program
    operands: tuple[Planes | Spread, ...] = ()
    results: tuple[Planes, ...] = ()

    @property
    def pointers(self) -> list[str]:
        """Names of the arrays that are read, then of the further ones that are written."""
        return [f"operand{i}" for i in range(len(self.operands))] + [
            f"written{i}" for i in range(len(self.results))
        ]

    def arrays(self, result: Planes, dtype: str) -> list[tuple[str, Planes | Spread, str]]:
        """The arrays that are read, then all that are written: their names, planes and dtypes."""
        count = len(self.operands)
        read = zip(self.pointers, self.operands, self.program.inputs[1:], strict=False)
        written = zip(["result", *self.pointers[count:]], (result, *self.results), strict=True)
        return [*read, *((name, planes, dtype) for name, planes in written)]


# -- forward and input gradient: sums over taps ----------------------------------------------------------------


class Taps(NamedTuple):
    """Sums that one nest of tiles computes.

    result[z, y, x] = sum over taps t and i < run of source[z, y, x][t[0] + i] * weights[t[1] + i]

    Attributes:
        slices, rows, columns: how many pixels.
        source_slice, source_row, source_pixel: from where pixel (z, y, x) starts to read in the source to where the
            next along each coordinate does, in elements.
        source_origin: where the first starts.
        first, step: which pixels of the result are written: slices, rows and columns.
        taps: offsets into source and weights.
        run: consecutive elements per tap.
        advance: rows of the source from one row of pixels to the next.
        tap_rows: which row of the source each tap reads for the first row of pixels; in the halo there are zeros.
    """

    slices: int
    rows: int
    columns: int
    source_slice: int
    source_row: int
    source_pixel: int
    source_origin: int
    first: tuple[int, int, int]
    step: tuple[int, int, int]
    taps: tuple[tuple[int, int], ...]
    run: int
    advance: int
    tap_rows: tuple[int, ...]

    def needed(self, row: int, rows: int, height: int) -> tuple[int, int]:
        """The range of taps that read more than the halo above and below, for some rows of pixels."""
        found = [
            t
            for t, first in enumerate(self.tap_rows)
            if any(0 <= first + (row + i) * self.advance < height for i in range(rows))
        ]
        return (found[0], found[-1] + 1) if found else (0, 0)


def forward(
    convolution: Convolution,
    *,
    bias: bool = True,
    epilogue: ImageEpilogue | None = None,
    cpu: Cpu | None = None,
) -> Kernel:
    """result = source * weights (+ bias), then the epilogue.

    The kernel's pointers: source, weights, bias where there is one, result, the epilogue's operands and further
    results. Its span: images.
    """
    return _forward(convolution, bias, epilogue, cpu or this_cpu())


@kept
def _forward(convolution: Convolution, bias: bool, epilogue: ImageEpilogue | None, cpu: Cpu) -> Kernel:
    source, result = convolution.source, convolution.result
    source.check_halo(convolution.source_halo(), "input", convolution.source_ends())
    weights = forward_weights(convolution, cpu)
    sums = forward_taps(convolution, weights, _merges(convolution, source, weights))
    return _compile_sums(
        "convolution", convolution.dtype, [sums], source, result, weights, bias, epilogue, cpu
    )


def _merges(convolution: Convolution, source: Planes, weights: Weights) -> bool:
    """Whether neighbouring columns of the kernel read what lies side by side: one long run."""
    return convolution.dilation[1] == 1 and source.pixel == weights.inputs


def forward_taps(convolution: Convolution, weights: Weights, merged: bool) -> Taps:
    """What the forward pass sums; with `merged` all columns of the kernel are one run."""
    source, result, deep = convolution.source, convolution.result, convolution.deep
    (above, left), (down, right), (dy, dx) = convolution.padding, convolution.stride, convolution.dilation
    height, width = convolution.kernel
    places = [
        (z, y, x) for z in range(deep.taps) for y in range(height) for x in range(1 if merged else width)
    ]
    taps = tuple(
        (
            z * deep.dilation * source.slice + y * dy * source.row + x * dx * source.pixel,
            ((z * height + y) * width + x) * weights.inputs * weights.lanes,
        )
        for z, y, x in places
    )
    return Taps(
        *(result.depth, result.height, result.width),
        *(deep.stride * source.slice, down * source.row, right * source.pixel),
        source.origin - deep.padding * source.slice - above * source.row - left * source.pixel,
        *((0, 0, 0), (1, 1, 1)),
        taps,
        (width if merged else 1) * weights.inputs,
        down,
        tuple(y * dy - above for _, y, _ in places),
    )


def input_gradient(
    convolution: Convolution,
    gradient: Planes,
    *,
    epilogue: ImageEpilogue | None = None,
    cpu: Cpu | None = None,
) -> Kernel:
    """The gradient by the source, written in the source's planes.

    A strided convolution has as many phases of input pixels as its strides' product; each phase meets its own taps.

    Args:
        convolution: the forward convolution.
        gradient: the planes of the output's gradient; their halo is at least `convolution.gradient_halo()`.
        epilogue: for example the mask of the activation that made the source.

    The kernel's pointers: gradient, weights (packed as `gradient_weights`), result, the epilogue's operands and
    further results. Its span: images.
    """
    return _input_gradient(convolution, gradient, epilogue, cpu or this_cpu())


@kept
def _input_gradient(
    convolution: Convolution, gradient: Planes, epilogue: ImageEpilogue | None, cpu: Cpu
) -> Kernel:
    gradient.check_halo(convolution.gradient_halo(), "output's gradient", convolution.gradient_ends())
    _check_gradient(convolution, gradient)
    weights = gradient_weights(convolution, cpu)
    phases = gradient_taps(convolution, gradient, weights, _merges(convolution, gradient, weights))
    name = "convolution input gradient"
    return _compile_sums(
        name, convolution.dtype, phases, gradient, convolution.source, weights, False, epilogue, cpu
    )


def gradient_taps(convolution: Convolution, gradient: Planes, weights: Weights, merged: bool) -> list[Taps]:
    """What the gradient by the source sums, for each phase of input pixels."""
    source = convolution.source
    slices = range(min(convolution.deep.stride, source.depth))
    rows, columns = (
        range(min(stride, size))
        for stride, size in zip(convolution.stride, (source.height, source.width), strict=True)
    )
    firsts = [(z, y, x) for z in slices for y in rows for x in columns]
    return [_phase(convolution, gradient, weights, first, merged) for first in firsts]


def _phase(
    convolution: Convolution,
    gradient: Planes,
    weights: Weights,
    first: tuple[int, int, int],
    merged: bool,
) -> Taps:
    """Input pixels (z, y, x) + i * stride: the taps that reach them, relative to output pixel i."""
    (height, width), deep, source = convolution.kernel, convolution.deep, convolution.source
    strides = (deep.stride, *convolution.stride)
    slices, rows, columns = (
        [
            (
                taps - 1 - k,
                (start + pad - k * step) // stride,
            )  # position in the reversed kernel, output pixel
            for k in reversed(range(taps))
            if (start + pad - k * step) % stride == 0
        ]
        for start, taps, pad, stride, step in zip(
            first,
            (deep.taps, height, width),
            (deep.padding, *convolution.padding),
            strides,
            (deep.dilation, *convolution.dilation),
            strict=True,
        )
    )
    run = weights.inputs
    if merged and strides[2] == 1:  # all columns, in the order of the pixels they meet
        columns, run = columns[:1], width * run
    places = [(one, two, three) for one in slices for two in rows for three in columns]
    taps = tuple(
        (
            h * gradient.slice + i * gradient.row + j * gradient.pixel,
            ((kz * height + ky) * width + kx) * weights.inputs * weights.lanes,
        )
        for (kz, h), (ky, i), (kx, j) in places
    )
    depth, many, wide = (
        -(-(size - start) // stride)
        for size, start, stride in zip(
            (source.depth, source.height, source.width), first, strides, strict=True
        )
    )
    moves = gradient.slice, gradient.row, gradient.pixel, gradient.origin
    tap_rows = tuple(i for _, (_, i), _ in places)
    return Taps(depth, many, wide, *moves, first, strides, taps, run, 1, tap_rows)


class Tile(NamedTuple):
    """Pixels and vectors whose sums are in registers together."""

    rows: int
    columns: int
    vectors: int


@functools.cache
def choose_tile(rows: int, columns: int, vectors: int, registers: int) -> Tile:
    """The tile that covers an area in the least time.

    The model: a step of the reduction costs its multiplications, and a fraction of its loads, of which those of
    weights come from a cache farther away; tiles with few multiplications wait for the first to finish.
    """
    best, least = Tile(1, 1, 1), math.inf
    for v in range(1, min(vectors, 4) + 1):
        for x in range(1, columns + 1):
            for y in range(1, rows + 1) if x == columns else (1,):
                sums = x * y * v
                if sums + v + 1 > registers:
                    break
                time = max(sums, 8) + 0.25 * x * y + 0.5 * v
                total = time * -(-rows // y) * -(-columns // x) * -(-vectors // v)
                if total < least:
                    best, least = Tile(y, x, v), total
    return best


def _compile_sums(
    name: str,
    dtype: str,
    parts: Sequence[Taps],
    source: Planes,
    result: Planes,
    weights: Weights,
    bias: bool,
    epilogue: ImageEpilogue | None,
    cpu: Cpu,
) -> Kernel:
    extras = epilogue.pointers if epilogue else []
    pointers = ["source", "weights", *(["bias"] if bias else []), "result", *extras]

    def write(code: Function) -> None:
        nests = [
            _Sums(code, dtype, part, source, result, weights, bias, epilogue, cpu)
            for part in parts
            if part.slices and part.rows and part.columns
        ]
        code.units(functools.partial(unit, nests))

    def unit(nests: Sequence[_Sums], number: Offset) -> None:
        """An image, or with one nest of tiles a block of its output channels."""
        if groups == 1:
            for nest in nests:
                nest.each_block(functools.partial(nest.write, number))
        elif streamed:
            group, image = nests[0].code.divide_index(number, nests[0].code.counts["span"])
            nests[0].write(image, nests[0].block(group))
        else:
            image, group = nests[0].code.divide_index(number, groups)
            nests[0].write(image, nests[0].block(group))

    streamed = _stream_images(source, weights, dtype)
    groups = 1
    if len(parts) == 1:
        tile = choose_tile(parts[0].rows, parts[0].columns, weights.blocks, cpu.registers)
        groups = math.ceil(weights.blocks / tile.vectors)
    return compile_kernel(name, pointers, write, splits=groups, distinct=True, cpu=cpu)


def _stream_images(source: Planes, weights: Weights, dtype: str) -> bool:
    """Whether all images pass by each block of weights, rather than all weights by each image.

    The weights of large layers do not fit the second-level cache; images are then often smaller.
    """
    total = weights.blocks * weights.block
    return total * itemsize(dtype) > _L2_BYTES and total > weights.blocks / 2 * source.image


class _Sums:
    """Writes the tiles of one `Taps`."""

    def __init__(
        self,
        code: Function,
        dtype: str,
        part: Taps,
        source: Planes,
        result: Planes,
        weights: Weights,
        bias: bool,
        epilogue: ImageEpilogue | None,
        cpu: Cpu,
    ) -> None:
        self.code, self.dtype, self.part, self.source, self.result = code, dtype, part, source, result
        self.weights, self.bias, self.epilogue = weights, bias, epilogue
        self.tile = choose_tile(part.rows, part.columns, weights.blocks, cpu.registers)
        self.pixels = [(y, x) for y in range(self.tile.rows) for x in range(self.tile.columns)]
        self.tables = (code.table([tap[0] for tap in part.taps]), code.table([tap[1] for tap in part.taps]))
        ranges = [
            part.needed(row, self.tile.rows, source.height) for row in range(part.rows - self.tile.rows + 1)
        ]
        self.whole = len(set(ranges)) == 1
        self.ranges = (
            ranges[0] if self.whole else [code.table(list(ends)) for ends in zip(*ranges, strict=True)]
        )

    def block(self, group: Offset) -> Offset:
        """The first vector of output channels of a group that tiles take at a time; the last groups may overlap."""
        last = self.weights.blocks - self.tile.vectors
        return self.code.smaller_index(self.code.offset((group, self.tile.vectors)), last)

    def each_block(self, body: Callable[[Offset], None]) -> None:
        """For the vectors of output channels that tiles take at a time."""
        groups = math.ceil(self.weights.blocks / self.tile.vectors)
        self.code.loop(0, groups, 1, lambda group, _: body(self.block(group)))

    def write(self, image: Offset, block: Offset) -> None:
        """All tiles of one image for a block of output channels."""
        code, part, tile = self.code, self.part, self.tile

        def rows(z: Offset, y: Offset) -> None:
            row = code.smaller_index(y, part.rows - tile.rows)

            def columns(x: Offset, _: list[Value]) -> None:
                self._tile((image, z, row, code.smaller_index(x, part.columns - tile.columns)), block)

            code.loop(0, part.columns, tile.columns, columns)

        def slices(z: Offset, _: list[Value]) -> None:
            code.loop(0, part.rows, tile.rows, lambda y, _: rows(z, y))

        code.loop(0, part.slices, 1, slices)

    def _tile(self, pixel: Pixel, block: Offset) -> None:
        code, part = self.code, self.part
        start = source_place(code, part, self.source, pixel)
        source = code.at(code.pointers["source"], start, self.dtype)
        weights = code.at(code.pointers["weights"], code.offset((block, self.weights.block)), self.dtype)
        lanes = self.weights.lanes
        channel = code.offset((block, lanes))
        sums = self._starting(channel)

        def tap(t: Offset, held: list[Value]) -> list[Value]:
            from_source, from_weights = (code.lookup(table, t) for table in self.tables)
            return self._run(
                code.at(source, from_source, self.dtype), code.at(weights, from_weights, self.dtype), held
            )

        first, last = self.ranges if self.whole else (code.lookup(table, pixel[2]) for table in self.ranges)
        sums = code.loop(first, last, 1, tap, sums)
        vectors = self.tile.vectors
        places = [(y, x, v) for y, x in self.pixels for v in range(vectors)]

        def finish(valid: int) -> None:
            """With so many channels in the last vector: the others are no memory, or another group's."""
            values = {
                (y, x, v * lanes): code.narrowed(one, valid) if v == vectors - 1 and valid < lanes else one
                for (y, x, v), one in zip(places, sums, strict=True)
            }
            write_pixels(code, part, self.result, self.epilogue, self.dtype, pixel, channel, values)

        rest = self.result.padded % lanes
        if rest:
            last = code.at_most(self.weights.blocks - vectors, block)
            code.when(last, lambda: finish(rest), lambda: finish(lanes))
        else:
            finish(lanes)

    def _starting(self, channel: Offset) -> list[Value]:
        code, lanes = self.code, self.weights.lanes
        if not self.bias:
            return [splat(0, self.dtype, lanes)] * (len(self.pixels) * self.tile.vectors)
        bias = code.pointers["bias"]
        start = [
            code.load(bias, code.offset(channel, v * lanes), self.dtype, lanes)
            for v in range(self.tile.vectors)
        ]
        return start * len(self.pixels)

    def _run(self, source: Value, weights: Value, sums: list[Value]) -> list[Value]:
        """The contiguous part of the reduction: every pixel's number times the vectors of weights."""
        code, part, lanes, vectors = self.code, self.part, self.weights.lanes, self.tile.vectors

        def steps(i: Offset, held: list[Value]) -> list[Value]:
            here = code.at(source, i, self.dtype)
            factors = code.at(weights, code.offset((i, lanes)), self.dtype)
            loaded = [code.load(factors, v * self.weights.block, self.dtype, lanes) for v in range(vectors)]
            for p, (y, x) in enumerate(self.pixels):
                offset = y * part.source_row + x * part.source_pixel
                number = code.broadcast(code.load(here, offset, self.dtype), lanes)
                for v in range(vectors):
                    held[p * vectors + v] = code.fma(number, loaded[v], held[p * vectors + v])
            return held

        return code.loop(0, part.run, 1, steps, sums)


def source_place(code: Function, part: Taps, source: Planes, pixel: Pixel) -> Offset:
    """Where in the source a pixel of a nest starts to read."""
    image, z, y, x = pixel
    return code.offset(
        (image, source.image),
        (z, part.source_slice),
        (y, part.source_row),
        (x, part.source_pixel),
        part.source_origin,
    )


def write_pixels(
    code: Function,
    part: Taps,
    result: Planes,
    epilogue: ImageEpilogue | None,
    dtype: str,
    pixel: Pixel,
    channel: Offset,
    values: Mapping[tuple[int, int, int], Value],
) -> None:
    """What an epilogue makes of sums, in its results.

    Args:
        pixel: image, slice, row and column, in the nest's own counts.
        channel: of the result.
        values: sums of neighbouring channels, by how many rows, columns and channels they are further on.
    """
    epilogue = epilogue or ImageEpilogue(Program((dtype,), (), (0,)))
    arrays = [
        (code.at(code.pointers[name], _result_place(code, part, planes, pixel, channel), kind), planes, kind)
        for name, planes, kind in epilogue.arrays(result, dtype)
    ]
    read, written = arrays[: len(epilogue.operands)], arrays[len(epilogue.operands) :]
    _, down, right = part.step
    for (y, x, further), value in values.items():

        def place(planes: Planes | Spread, y: int = y, x: int = x, further: int = further) -> int:
            return y * down * planes.row + x * right * planes.pixel + further * planes.channel

        width = width_of(value)
        loaded = [load_along(code, array, place(planes), planes, kind, width) for array, planes, kind in read]
        made = emit_program(code, epilogue.program, [value, *loaded], width)
        for one, (array, planes, _) in zip(made, written, strict=True):
            code.store(one, array, place(planes))


def _result_place(
    code: Function, part: Taps, planes: Planes | Spread, pixel: Pixel, channel: Offset
) -> Offset:
    moves = planes.slice, planes.row, planes.pixel
    first = sum(one * move for one, move in zip(part.first, moves, strict=True))
    return code.offset(
        (pixel[0], planes.image),
        *((i, step * move) for i, step, move in zip(pixel[1:], part.step, moves, strict=True)),
        (channel, planes.channel),
        planes.origin + first,
    )


def load_along(
    code: Function, array: Value, offset: Offset, planes: Planes | Spread, dtype: str, width: int
) -> Value:
    """Numbers of neighbouring channels."""
    if planes.channel:
        return code.load(array, offset, dtype, width)
    return code.broadcast(code.load(array, offset, dtype), width)


def _check_gradient(convolution: Convolution, gradient: Planes) -> None:
    result = convolution.result
    sizes = [(p.height, p.width, p.padded, p.depth) for p in (gradient, result)]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"the output's gradient has (height, width, channels in memory) {sizes[0][:3]}, the output "
            f"{sizes[1][:3]}; volumes of {sizes[0][3]} and {sizes[1][3]} slices"
        )


# -- kernel gradient: sums over pixels ---------------------------------------------------------------------------


def kernel_gradient(
    convolution: Convolution,
    gradient: Planes,
    *,
    bias: bool = False,
    accumulate: bool = False,
    cpu: Cpu | None = None,
) -> Kernel:
    """The gradient by the kernel, packed as `forward_weights`, and by the bias.

    A band of rows is met by all tiles of the kernel before the next: of the gradient what a block of outputs reads
    fits the first-level cache, of both all fits the second. Each band is summed in registers from zero, so that
    rounding errors stay those of short sums.

    Args:
        convolution: the forward convolution.
        gradient: the planes of the output's gradient; any halo.
        bias: also sum the gradient by the bias, one number per padded channel.
        accumulate: add to what the results hold instead of replacing it.

    The kernel's pointers: source, gradient, result, the bias's result where wanted; threads have results of their own,
    to be added up. Its span: images.
    """
    return _kernel_gradient(convolution, gradient, bias, accumulate, cpu or this_cpu())


@kept
def _kernel_gradient(
    convolution: Convolution, gradient: Planes, bias: bool, accumulate: bool, cpu: Cpu
) -> Kernel:
    convolution.source.check_halo(convolution.source_halo(), "input", convolution.source_ends())
    _check_gradient(convolution, gradient)
    weights = forward_weights(convolution, cpu)

    def write(code: Function) -> None:
        if not accumulate:
            code.clear(code.pointers["result"], 0, weights.blocks * weights.block, convolution.dtype)
            if bias:
                code.clear(code.pointers["bias"], 0, gradient.padded, convolution.dtype)
        if gradient.height and gradient.width:
            products = _Products(code, convolution, gradient, weights, bias, cpu)
            code.units(products.write)

    pointers = ["source", "gradient", "result", *(["bias"] if bias else [])]
    name = "convolution kernel gradient"
    return compile_kernel(name, pointers, write, splits=1, distinct=True, cpu=cpu)


class _Products:
    """Writes the loops of one kernel gradient."""

    def __init__(
        self,
        code: Function,
        convolution: Convolution,
        gradient: Planes,
        weights: Weights,
        bias: bool,
        cpu: Cpu,
    ) -> None:
        self.code, self.gradient, self.weights, self.bias = code, gradient, weights, bias
        self.dtype, self.source = convolution.dtype, convolution.source
        self.vectors = max(v for v in (1, 2, 3) if weights.blocks % v == 0)
        part = forward_taps(convolution, weights, _merges(convolution, convolution.source, weights))
        self.run, self.first, self.taps = part.run, part.source_origin, len(part.taps)
        most = (cpu.registers - 2 - self.vectors) // self.vectors
        self.inputs = -(-self.run // -(-self.run // most))  # equal tiles, the last perhaps smaller
        size = itemsize(self.dtype)
        reused = (
            gradient.width * self.vectors * weights.lanes * size
        )  # bytes of a row that all tiles of a block read
        row = (convolution.stride[0] * self.source.row + gradient.row) * size
        fitting = min(_L1_BYTES // 2 // reused, _L2_BYTES // 2 // row)
        self.rows = max(1, min(gradient.height, fitting))
        self.table = code.table([offset for offset, _ in part.taps])
        self.deeper, self.down, self.right = part.source_slice, part.source_row, part.source_pixel

    def write(self, image: Offset) -> None:
        """All products of one image."""
        code = self.code

        def band(z: Offset, top: Offset) -> None:
            rows = code.smaller_index(self.rows, code.offset((top, -1), self.gradient.height))
            first = code.offset((image, self.source.image), (z, self.deeper), (top, self.down), self.first)
            images = code.at(code.pointers["source"], first, self.dtype)
            place = code.offset(
                (image, self.gradient.image),
                (z, self.gradient.slice),
                (top, self.gradient.row),
                self.gradient.origin,
            )
            gradient = code.at(code.pointers["gradient"], place, self.dtype)
            if self.bias:
                code.loop(
                    0, self.weights.blocks, self.vectors, lambda b, _: self._sum_bias(gradient, rows, b)
                )
            code.loop(
                0, self.weights.blocks, self.vectors, lambda b, _: self._block(images, gradient, rows, b)
            )

        def slices(z: Offset, _: list[Value]) -> None:
            code.loop(0, self.gradient.height, self.rows, lambda top, _: band(z, top))

        code.loop(0, self.gradient.depth, 1, slices)

    def _block(self, images: Value, gradient: Value, rows: Offset, block: Offset) -> None:
        code, weights = self.code, self.weights
        gradient = code.at(gradient, code.offset((block, weights.lanes)), self.dtype)
        result = code.at(code.pointers["result"], code.offset((block, weights.block)), self.dtype)

        def tap(t: Offset, _: list[Value]) -> None:
            source = code.at(images, code.lookup(self.table, t), self.dtype)
            sums = code.at(result, code.offset((t, self.run * weights.lanes)), self.dtype)
            whole = self.run // self.inputs * self.inputs
            code.loop(
                0,
                whole,
                self.inputs,
                lambda i, _: self._tile(source, gradient, sums, rows, block, i, self.inputs),
            )
            if whole < self.run:
                self._tile(source, gradient, sums, rows, block, whole, self.run - whole)

        code.loop(0, self.taps, 1, tap)

    def _tile(
        self,
        source: Value,
        gradient: Value,
        result: Value,
        rows: Offset,
        block: Offset,
        first: Offset,
        count: int,
    ) -> None:
        """The weights of `count` inputs and some vectors of outputs, summed over a band of rows."""
        code, lanes, vectors = self.code, self.weights.lanes, self.vectors
        source = code.at(source, first, self.dtype)
        result = code.at(result, code.offset((first, lanes)), self.dtype)

        def pixels(y: Offset, x: Offset, held: list[Value]) -> list[Value]:
            here = code.at(source, code.offset((y, self.down), (x, self.right)), self.dtype)
            there = code.at(
                gradient, code.offset((y, self.gradient.row), (x, self.gradient.pixel)), self.dtype
            )
            factors = [self._vector(there, block, v) for v in range(vectors)]
            for i in range(count):
                number = code.broadcast(code.load(here, i, self.dtype), lanes)
                for v in range(vectors):
                    held[i * vectors + v] = code.fma(number, factors[v], held[i * vectors + v])
            return held

        # few sums would wait for one another: neighbouring pixels then have sums of their own
        apart = 2 if count * vectors < _FEWEST_SUMS else 1
        sums = [splat(0, self.dtype, lanes)] * (count * vectors)
        sums = self._over_pixels(rows, pixels, sums, apart)
        for i in range(count):
            for v in range(vectors):
                place = i * lanes + v * self.weights.block
                before = code.load(result, place, self.dtype, lanes)
                code.store(code.add(before, sums[i * vectors + v]), result, place)

    def _vector(self, there: Value, block: Offset, v: int) -> Value:
        """A vector of a pixel's channels from a block on; behind the last channel nothing is read."""
        code, lanes, channels = self.code, self.weights.lanes, self.gradient.padded
        if channels % lanes == 0:
            return code.load(there, v * lanes, self.dtype, lanes)
        rest = code.offset(channels - v * lanes, (block, -lanes))
        if isinstance(rest, int):
            return code.load_first(there, v * lanes, self.dtype, lanes, min(rest, lanes))
        return code.load_where(code.lanes_below(rest, lanes), there, v * lanes, self.dtype)

    def _sum_bias(self, gradient: Value, rows: Offset, block: Offset) -> None:
        code, lanes, vectors = self.code, self.weights.lanes, self.vectors
        channel = code.offset((block, lanes))
        gradient = code.at(gradient, channel, self.dtype)

        def pixel(y: Offset, x: Offset, held: list[Value]) -> list[Value]:
            there = code.at(
                gradient, code.offset((y, self.gradient.row), (x, self.gradient.pixel)), self.dtype
            )
            return [code.add(held[v], self._vector(there, block, v)) for v in range(vectors)]

        sums = self._over_pixels(rows, pixel, [splat(0, self.dtype, lanes)] * vectors)
        for v in range(vectors):
            place = code.offset(channel, v * lanes)
            before = code.load(code.pointers["bias"], place, self.dtype, lanes)
            code.store(code.add(before, sums[v]), code.pointers["bias"], place)

    def _over_pixels(self, rows: Offset, body: _PixelBody, sums: list[Value], apart: int = 1) -> list[Value]:
        """Sums over all pixels of some rows; each of `apart` neighbouring pixels has its own while they are made."""
        code, width, count = self.code, self.gradient.width, len(sums)

        def together(y: Offset, x: Offset, held: list[Value]) -> list[Value]:
            sets = [held[i * count : (i + 1) * count] for i in range(apart)]
            return [one for i, mine in enumerate(sets) for one in body(y, code.offset(x, i), mine)]

        def row(y: Offset, held: list[Value]) -> list[Value]:
            whole = width // apart * apart
            held = code.loop(0, whole, apart, lambda x, inner: together(y, x, inner), held)
            for x in range(whole, width):
                held[:count] = body(y, x, held[:count])
            return held

        made = code.loop(0, rows, 1, row, sums * apart)
        return [functools.reduce(code.add, made[i::count]) for i in range(count)]
