"""Winograd's minimal filtering F(4x4, 3x3): 3x3 convolutions with a quarter of the multiplications, and gradients.

A tile of 4x4 outputs is AᵀMA, where M sums over channels the products of BᵀdB (a 6x6 patch of the input) with GgGᵀ (the
kernel): 36 matrix products over all tiles, of 36 multiplications where the direct convolution makes 144. The gradient
by the kernel is Gᵀ(Σ BᵀdB ⊙ AyAᵀ)G over tiles of the gradient y. After Winograd, "Arithmetic Complexity of
Computations" (1980), and Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), whose matrices for
the points 0, ±1, ±2 these are.

Tiles pass in blocks whose transforms fit the second-level cache. Sizes that 4 does not divide: the last tiles reach
into the halo, where there are zeros, and only what lies in the result is written. Rounding: in float32 about ten times
that of the direct convolution, below 3e-5 of the largest result (`tests/kernels/test_winograd.py` holds the bound).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinygraph.kernels.builder import Function, Offset, Value, itemsize, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program
from tinygraph.kernels.images.direct import (
    Convolution,
    Deep,
    ImageEpilogue,
    Weights,
    forward_weights,
    load_along,
)
from tinygraph.kernels.images.planes import Planes, Spread, rounded_up
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

OUT, PATCH, POINTS = 4, 6, 36  # outputs and inputs of a tile along an axis, and products a tile
_L2_BYTES = 512 * 1024
ERROR = 3e-5  # of a result, as a part of the largest: the bound that `tests/kernels/test_winograd.py` holds
_APART = (
    16  # elements between the matrices of two points, so that they do not fall on the same lines of the cache
)
_LEAST_PIXELS = 12  # fewer outputs an image, and most of a tile is thrown away


class Tiling(NamedTuple):
    """How the outputs of a convolution are cut.

    Attributes:
        rows, columns: tiles of an image.
        block: tiles that pass together; a multiple of `height`.
        height: tiles of a register tile of the matrix products.
        vectors: vectors of outputs of a register tile.
    """

    rows: int
    columns: int
    block: int
    height: int
    vectors: int

    @property
    def tiles(self) -> int:
        """Tiles of one image."""
        return self.rows * self.columns

    def points(self, channels: int) -> int:
        """Elements from the matrix of one point to that of the next: (tiles of a block, channels)."""
        return self.block * channels + _APART

    def elements(self, channels: int) -> int:
        """Elements of the transforms of a block."""
        return POINTS * self.points(channels)


def choose_tiling(convolution: Convolution, images: int, cpu: Cpu | None = None) -> Tiling | None:
    """The tiling of a convolution of so many images, or None where the algorithm does not serve.

    It serves 3x3 kernels without stride and dilation, in float32, on channels that fill vectors, for targets that are
    not `exact`.
    """
    return _choose_tiling(convolution, images, cpu or this_cpu())


@functools.cache
def _choose_tiling(convolution: Convolution, images: int, cpu: Cpu) -> Tiling | None:
    made, lanes = convolution, cpu.lanes(convolution.dtype)
    if cpu.exact or made.groups > 1 or made.deep != Deep() or made.source.depth > 1:
        return None
    if made.kernel != (3, 3) or made.stride != (1, 1) or made.dilation != (1, 1) or made.dtype != "float32":
        return None
    if made.source.padded % lanes or made.result.padded % lanes or not images:
        return None
    if (
        made.result.height * made.result.width < _LEAST_PIXELS
        or min(made.padding) < 0
        or max(made.padding) > 2
    ):
        return None
    rows, columns = math.ceil(made.result.height / OUT), math.ceil(made.result.width / OUT)
    channels = made.source.padded + made.result.padded
    vectors = max(v for v in (1, 2) if made.result.padded // lanes % v == 0)
    tiles = images * rows * columns
    fitting = max(32, _L2_BYTES * 3 // 4 // (POINTS * channels * itemsize(made.dtype)))

    def time(height: int) -> float:
        """As in `direct.choose_tile`: multiplications and a share of the loads, for all that is computed."""
        block = max(1, fitting // height) * height
        whole, rest = divmod(tiles, block)
        computed = whole * block + rounded_up(rest, height)
        return computed / height * (max(height * vectors, 8) + 0.25 * height + 0.5 * vectors)

    most = (cpu.registers - 2 - vectors) // vectors
    height = min(range(1, most + 1), key=time)
    blocks = math.ceil(tiles / (max(1, fitting // height) * height))
    equal = math.ceil(tiles / blocks)  # the last block is as large as the others, as far as it can be
    return Tiling(rows, columns, rounded_up(equal, height), height, vectors)


def source_halo(convolution: Convolution) -> tuple[int, int, int, int]:
    """The halo that the forward kernel reads: the padding, and as far as the last tiles reach."""
    (above, left), made = convolution.padding, convolution
    reach = [rounded_up(size, OUT) + 2 for size in (made.result.height, made.result.width)]
    below, right = reach[0] - above - made.source.height, reach[1] - left - made.source.width
    return above, max(0, below), left, max(0, right)


def gradient_halo(convolution: Convolution) -> tuple[int, int, int, int]:
    """The halo of the output's gradient that the kernel gradient reads: up to the ends of the last tiles."""
    below, right = (-size % OUT for size in (convolution.result.height, convolution.result.width))
    return 0, below, 0, right


def reverse(convolution: Convolution, gradient: Planes) -> Convolution:
    """The gradient by the input as a convolution: of the output's gradient, with the kernel reversed."""
    above, left = convolution.padding
    return convolution._replace(source=gradient, result=convolution.source, padding=(2 - above, 2 - left))


# -- transforms: along one axis, of vectors of channels --------------------------------------------------------------


class _Matrices:
    """The one-dimensional transforms, with common subexpressions shared."""

    def __init__(self, code: Function, dtype: str, lanes: int) -> None:
        self.code, self.dtype, self.lanes = code, dtype, lanes

    def _times(self, number: float, a: Value, plus: Value) -> Value:
        return self.code.fma(splat(number, self.dtype, self.lanes), a, plus)

    def _scaled(self, number: float, a: Value) -> Value:
        return self.code.multiply(splat(number, self.dtype, self.lanes), a)

    def of_input(self, d: Sequence[Value]) -> list[Value]:
        """Bᵀ d"""
        add, subtract, times = self.code.add, self.code.subtract, self._times
        even, odd = times(-4, d[2], d[4]), times(-4, d[1], d[3])
        wide, narrow = subtract(d[4], d[2]), subtract(d[3], d[1])
        return [
            times(4, d[0], times(-5, d[2], d[4])),
            add(even, odd),
            subtract(even, odd),
            times(2, narrow, wide),
            times(-2, narrow, wide),
            times(4, d[1], times(-5, d[3], d[5])),
        ]

    def of_output(self, m: Sequence[Value]) -> list[Value]:
        """Aᵀ m"""
        add, subtract, times = self.code.add, self.code.subtract, self._times
        ones, signs = add(m[1], m[2]), subtract(m[1], m[2])
        twos, pairs = add(m[3], m[4]), subtract(m[3], m[4])
        return [
            add(add(m[0], ones), twos),
            times(2, pairs, signs),
            times(4, twos, ones),
            add(times(8, pairs, signs), m[5]),
        ]

    def of_gradient(self, y: Sequence[Value]) -> list[Value]:
        """A y"""
        add, subtract, times = self.code.add, self.code.subtract, self._times
        even, odd = add(y[0], y[2]), add(y[1], y[3])
        even_twos, odd_twos = times(4, y[2], y[0]), times(8, y[3], self._scaled(2, y[1]))
        return [
            y[0],
            add(even, odd),
            subtract(even, odd),
            add(even_twos, odd_twos),
            subtract(even_twos, odd_twos),
            y[3],
        ]

    def of_kernel(self, g: Sequence[Value]) -> list[Value]:
        """G g"""
        add, subtract, times = self.code.add, self.code.subtract, self._times
        outer, middle = self._scaled(-1 / 6, add(g[0], g[2])), self._scaled(1 / 6, g[1])
        quarter, half = times(1 / 24, g[0], self._scaled(1 / 6, g[2])), self._scaled(1 / 12, g[1])
        return [
            self._scaled(1 / 4, g[0]),
            subtract(outer, middle),
            add(outer, middle),
            add(quarter, half),
            subtract(quarter, half),
            g[2],
        ]

    def to_kernel(self, u: Sequence[Value]) -> list[Value]:
        """Gᵀ u"""
        add, subtract, times = self.code.add, self.code.subtract, self._times
        ones, signs = add(u[1], u[2]), subtract(u[2], u[1])
        twos, pairs = add(u[3], u[4]), subtract(u[3], u[4])
        return [
            times(1 / 4, u[0], times(-1 / 6, ones, self._scaled(1 / 24, twos))),
            times(1 / 6, signs, self._scaled(1 / 12, pairs)),
            add(u[5], times(-1 / 6, ones, self._scaled(1 / 6, twos))),
        ]


def _both_axes(
    along: Callable[[Sequence[Value]], list[Value]], block: list[list[Value]]
) -> list[list[Value]]:
    """A transform of the columns of a block, then of its rows."""
    columns = [along(column) for column in zip(*block, strict=True)]
    return [along(row) for row in zip(*columns, strict=True)]


# -- the forward pass ------------------------------------------------------------------------------------------------


def forward(
    convolution: Convolution,
    tiling: Tiling,
    *,
    bias: bool = False,
    epilogue: ImageEpilogue | None = None,
    cpu: Cpu | None = None,
) -> Kernel:
    """result = source * weights (+ bias), then the epilogue.

    The kernel's pointers: source, weights as `transform_weights` makes them, bias where there is one, result, the
    epilogue's operands and further results, and scratch of each thread for the transforms of inputs and outputs
    (`tiling.elements`). Its span: images.
    """
    return _forward(convolution, tiling, bias, epilogue, cpu or this_cpu())


@kept
def _forward(
    convolution: Convolution, tiling: Tiling, bias: bool, epilogue: ImageEpilogue | None, cpu: Cpu
) -> Kernel:
    convolution.source.check_halo(source_halo(convolution), "input")
    extras = epilogue.pointers if epilogue else []
    pointers = ["source", "weights", *(["bias"] if bias else []), "result", *extras, "inputs", "outputs"]
    last = epilogue or ImageEpilogue(Program((convolution.dtype,), (), (0,)))

    def write(code: Function) -> None:
        tiles = _Tiles(code, convolution, tiling, cpu)

        def block(first: Offset, count: Offset) -> None:
            tiles.each(first, count, tiles.transform_input)
            tiles.multiply(count)
            tiles.each(first, count, functools.partial(tiles.write_output, bias, last))

        tiles.each_block(block)

    return compile_kernel(
        "Winograd convolution", pointers, write, splits=tiling.tiles, distinct=True, cpu=cpu
    )


class _Tiles:
    """Writes the loops over tiles, and what is done to one."""

    def __init__(self, code: Function, convolution: Convolution, tiling: Tiling, cpu: Cpu) -> None:
        self.code, self.convolution, self.tiling, self.dtype = code, convolution, tiling, convolution.dtype
        self.lanes = cpu.lanes(self.dtype)
        self.matrices = _Matrices(code, self.dtype, self.lanes)
        self.inputs, self.outputs = convolution.source.padded, convolution.result.padded

    def each_block(self, body: Callable[[Offset, Offset], None]) -> None:
        """For each block of tiles: the first of them, and how many there are."""
        code, block = self.code, self.tiling.block
        first, last = code.counts["first"], code.counts["last"]
        code.loop(
            first, last, block, lambda b, _: body(b, code.smaller_index(block, code.offset(last, (b, -1))))
        )

    def each(
        self, first: Offset, count: Offset, body: Callable[[Offset, Offset, Offset, Offset], None]
    ) -> None:
        """For each tile of a block: its number there, its image, row and column."""

        def tile(t: Offset, _: list[Value]) -> None:
            image, within = self.code.divide_index(self.code.offset(first, t), self.tiling.tiles)
            row, column = self.code.divide_index(within, self.tiling.columns)
            body(t, image, row, column)

        self.code.loop(0, count, 1, tile)

    def transform_input(self, t: Offset, image: Offset, row: Offset, column: Offset) -> None:
        """BᵀdB of a patch of the source, to the scratch for inputs."""
        source, (above, left) = self.convolution.source, self.convolution.padding
        first = source.origin - above * source.row - left * source.pixel
        place = self._place(source, image, row, column, first)
        self._transform("source", place, source, PATCH, self.matrices.of_input, "inputs", t, self.inputs)

    def transform_gradient(
        self, gradient: Planes, t: Offset, image: Offset, row: Offset, column: Offset
    ) -> None:
        """AyAᵀ of a tile of the output's gradient, to the scratch for outputs."""
        place = self._place(gradient, image, row, column, gradient.origin)
        along = self.matrices.of_gradient
        self._transform("gradient", place, gradient, OUT, along, "outputs", t, self.outputs)

    def _place(
        self, planes: Planes | Spread, image: Offset, row: Offset, column: Offset, first: int
    ) -> Offset:
        return self.code.offset(
            (image, planes.image), (row, OUT * planes.row), (column, OUT * planes.pixel), first
        )

    def _transform(
        self,
        pointer: str,
        place: Offset,
        planes: Planes,
        size: int,
        along: Callable[[Sequence[Value]], list[Value]],
        scratch: str,
        t: Offset,
        channels: int,
    ) -> None:
        code = self.code
        start = code.at(code.pointers[pointer], place, self.dtype)
        result = code.at(code.pointers[scratch], code.offset((t, channels)), self.dtype)
        points = self.tiling.points(channels)

        def vector(c: Offset, _: list[Value]) -> None:
            here, there = code.at(start, c, self.dtype), code.at(result, c, self.dtype)
            block = [
                [
                    code.load(here, y * planes.row + x * planes.pixel, self.dtype, self.lanes)
                    for x in range(size)
                ]
                for y in range(size)
            ]
            for i, values in enumerate(_both_axes(along, block)):
                for j, value in enumerate(values):
                    code.store(value, there, (i * PATCH + j) * points)

        code.loop(0, channels, self.lanes, vector)

    def multiply(self, count: Offset) -> None:
        """outputs[point, t, k] = sum over c of inputs[point, t, c] weights[point, k, c].

        Of the tiles of the last rows some may lie beyond `count`: nobody reads them.
        """
        code, tiling, lanes, dtype = self.code, self.tiling, self.lanes, self.dtype
        vector = self.inputs * lanes  # the weights of one vector of outputs

        def tile(point: Offset, block: Offset, t: Offset) -> None:
            rows = code.at(
                code.pointers["inputs"],
                code.offset((point, tiling.points(self.inputs)), (t, self.inputs)),
                dtype,
            )
            weights = code.at(
                code.pointers["weights"],
                code.offset((point, self.inputs * self.outputs), (block, vector)),
                dtype,
            )

            def step(c: Offset, held: list[Value]) -> list[Value]:
                here, factors = code.at(rows, c, dtype), code.at(weights, code.offset((c, lanes)), dtype)
                loaded = [code.load(factors, v * vector, dtype, lanes) for v in range(tiling.vectors)]
                return _outer_product(code, here, self.inputs, tiling.height, loaded, held, dtype)

            sums = code.loop(
                0, self.inputs, 1, step, [splat(0, dtype, lanes)] * (tiling.height * tiling.vectors)
            )
            place = code.offset((point, tiling.points(self.outputs)), (t, self.outputs), (block, lanes))
            result = code.at(code.pointers["outputs"], place, dtype)
            for i, value in enumerate(sums):
                y, v = divmod(i, tiling.vectors)
                code.store(value, result, y * self.outputs + v * lanes)

        def matrix(point: Offset, _: list[Value]) -> None:
            code.loop(
                0,
                self.outputs // lanes,
                tiling.vectors,
                lambda b, _: code.loop(0, count, tiling.height, lambda t, _: tile(point, b, t)) and None,
            )

        code.loop(0, POINTS, 1, matrix)

    def write_output(
        self, bias: bool, epilogue: ImageEpilogue, t: Offset, image: Offset, row: Offset, column: Offset
    ) -> None:
        """AᵀMA of a tile through the epilogue to its place in the result, as far as that reaches."""
        code, result, dtype, lanes = self.code, self.convolution.result, self.dtype, self.lanes
        points = self.tiling.points(self.outputs)
        products = code.at(code.pointers["outputs"], code.offset((t, self.outputs)), dtype)
        starts = [
            (
                code.at(code.pointers[name], self._place(planes, image, row, column, planes.origin), kind),
                planes,
                kind,
            )
            for name, planes, kind in epilogue.arrays(result, dtype)
        ]

        def vector(c: Offset, _: list[Value]) -> None:
            here = code.at(products, c, dtype)
            arrays = [
                (code.at(start, code.offset((c, planes.channel)), kind), planes, kind)
                for start, planes, kind in starts
            ]
            block = [
                [code.load(here, (i * PATCH + j) * points, dtype, lanes) for j in range(PATCH)]
                for i in range(PATCH)
            ]
            values = _both_axes(self.matrices.of_output, block)
            if bias:
                added = code.load(code.pointers["bias"], c, dtype, lanes)
                values = [[code.add(value, added) for value in line] for line in values]
            self._each_inside(row, column, functools.partial(self._finish, epilogue, arrays, values))

        code.loop(0, self.outputs, lanes, vector)

    def _finish(
        self,
        epilogue: ImageEpilogue,
        arrays: Sequence[tuple[Value, Planes | Spread, str]],
        values: list[list[Value]],
        y: int,
        x: int,
    ) -> None:
        """One of a tile's outputs through the epilogue to its place."""
        code, count = self.code, len(epilogue.operands)
        loaded = [
            load_along(code, array, y * planes.row + x * planes.pixel, planes, dtype, self.lanes)
            for array, planes, dtype in arrays[:count]
        ]
        made = emit_program(code, epilogue.program, [values[y][x], *loaded], self.lanes)
        for one, (array, planes, _) in zip(made, arrays[count:], strict=True):
            code.store(one, array, y * planes.row + x * planes.pixel)

    def _each_inside(self, row: Offset, column: Offset, body: Callable[[int, int], None]) -> None:
        """For each output of a tile that lies in the result."""
        code, result = self.code, self.convolution.result
        over = [
            code.offset((row, OUT), OUT - result.height) if result.height % OUT else 0,
            code.offset((column, OUT), OUT - result.width) if result.width % OUT else 0,
        ]  # rows and columns of the tile that lie beyond the result, where positive

        def what_fits() -> None:
            for y in range(OUT):
                for x in range(OUT):
                    inside = code.both(code.at_most(over[0], OUT - 1 - y), code.at_most(over[1], OUT - 1 - x))
                    code.when(inside, functools.partial(body, y, x))

        def all_of_it() -> None:
            for y in range(OUT):
                for x in range(OUT):
                    body(y, x)

        code.when(code.both(code.at_most(over[0], 0), code.at_most(over[1], 0)), all_of_it, what_fits)


def _outer_product(
    code: Function,
    numbers: Value,
    apart: int,
    count: int,
    factors: list[Value],
    sums: list[Value],
    dtype: str,
) -> list[Value]:
    """Sums of `count` numbers, `apart` elements from each other, times each of the factors."""
    held = list(sums)
    for y in range(count):
        number = code.broadcast(code.load(numbers, y * apart, dtype), factors[0].type.count)
        for v, factor in enumerate(factors):
            held[y * len(factors) + v] = code.fma(number, factor, held[y * len(factors) + v])
    return held


# -- the gradient by the kernel --------------------------------------------------------------------------------------


def kernel_gradient(
    convolution: Convolution, gradient: Planes, tiling: Tiling, *, cpu: Cpu | None = None
) -> Kernel:
    """The gradient by the kernel, packed as `forward_weights`.

    The kernel's pointers: source, gradient, result, and scratch for the transforms of inputs and of the gradient
    (`tiling.elements`) and for the sums (36 matrices of all channels); threads have results and scratch of their own,
    the results to be added up. Its span: images.
    """
    return _kernel_gradient(convolution, gradient, tiling, cpu or this_cpu())


@kept
def _kernel_gradient(convolution: Convolution, gradient: Planes, tiling: Tiling, cpu: Cpu) -> Kernel:
    convolution.source.check_halo(source_halo(convolution), "input")
    gradient.check_halo(gradient_halo(convolution), "output's gradient")
    weights = forward_weights(convolution, cpu)
    made = convolution._replace(result=gradient)

    def write(code: Function) -> None:
        tiles = _Tiles(code, made, tiling, cpu)
        code.clear(
            code.pointers["sums"], 0, POINTS * weights.blocks * weights.inputs * weights.lanes, made.dtype
        )

        def block(first: Offset, count: Offset) -> None:
            tiles.each(first, count, tiles.transform_input)
            tiles.each(first, count, functools.partial(tiles.transform_gradient, gradient))
            _add_products(tiles, weights, count, cpu)

        tiles.each_block(block)
        _kernel_of_sums(code, weights, made.dtype, tiles.matrices)

    pointers = ["source", "gradient", "result", "inputs", "outputs", "sums"]
    name = "Winograd convolution kernel gradient"
    return compile_kernel(name, pointers, write, splits=tiling.tiles, distinct=True, cpu=cpu)


def _add_products(tiles: _Tiles, weights: Weights, count: Offset, cpu: Cpu) -> None:
    """sums[point, k, c] += sum over the tiles of a block of inputs[point, t, c] outputs[point, t, k]."""
    code, tiling, lanes, dtype = tiles.code, tiles.tiling, tiles.lanes, tiles.dtype
    vectors = tiling.vectors
    most = (cpu.registers - 2 - vectors) // vectors
    height = math.ceil(
        weights.inputs / math.ceil(weights.inputs / most)
    )  # equal tiles, the last perhaps smaller
    vector = weights.inputs * lanes

    def tile(point: Offset, block: Offset, c: Offset, rows: int) -> None:
        numbers = code.at(
            code.pointers["inputs"], code.offset((point, tiling.points(tiles.inputs)), c), dtype
        )
        factors = code.at(
            code.pointers["outputs"],
            code.offset((point, tiling.points(tiles.outputs)), (block, lanes)),
            dtype,
        )
        place = code.offset((point, weights.blocks * vector), (block, vector), (c, lanes))
        result = code.at(code.pointers["sums"], place, dtype)

        def step(t: Offset, held: list[Value]) -> list[Value]:
            here = code.at(numbers, code.offset((t, tiles.inputs)), dtype)
            there = code.at(factors, code.offset((t, tiles.outputs)), dtype)
            loaded = [code.load(there, v * lanes, dtype, lanes) for v in range(vectors)]
            return _outer_product(code, here, 1, rows, loaded, held, dtype)

        sums = code.loop(0, count, 1, step, [splat(0, dtype, lanes)] * (rows * vectors))
        for i, value in enumerate(sums):
            y, v = divmod(i, vectors)
            offset = y * lanes + v * vector
            code.store(code.add(code.load(result, offset, dtype, lanes), value), result, offset)

    def outputs(point: Offset, block: Offset) -> None:
        whole = weights.inputs // height * height
        code.loop(0, whole, height, lambda c, _: tile(point, block, c, height))
        if whole < weights.inputs:
            tile(point, block, whole, weights.inputs - whole)

    code.loop(
        0, POINTS, 1, lambda p, _: code.loop(0, weights.blocks, vectors, lambda b, _: outputs(p, b)) and None
    )


def _kernel_of_sums(code: Function, weights: Weights, dtype: str, matrices: _Matrices) -> None:
    """GᵀUG of all sums, to packed weights."""
    points, lanes = weights.blocks * weights.inputs * weights.lanes, weights.lanes

    def vector(i: list[Offset], _: list[Value]) -> None:
        here = code.at(
            code.pointers["sums"], code.offset((i[0], weights.inputs * lanes), (i[1], lanes)), dtype
        )
        block = [
            [code.load(here, (y * PATCH + x) * points, dtype, lanes) for x in range(PATCH)]
            for y in range(PATCH)
        ]
        there = code.at(code.pointers["result"], code.offset((i[0], weights.block), (i[1], lanes)), dtype)
        for y, line in enumerate(_both_axes(matrices.to_kernel, block)):
            for x, value in enumerate(line):
                code.store(value, there, (y * 3 + x) * weights.inputs * lanes)

    code.nest([weights.blocks, weights.inputs], vector)


# -- weights ---------------------------------------------------------------------------------------------------------


def transform_weights(weights: Weights, dtype: str, cpu: Cpu | None = None) -> Kernel:
    """GgGᵀ of packed weights. Pointers: the packed weights, the result (36 matrices of all channels).

    Its span: 1.
    """
    return _transform_weights(weights, dtype, cpu or this_cpu())


@kept
def _transform_weights(weights: Weights, dtype: str, cpu: Cpu) -> Kernel:
    points, lanes = weights.blocks * weights.inputs * weights.lanes, weights.lanes

    def write(code: Function) -> None:
        matrices = _Matrices(code, dtype, lanes)

        def vector(block_number: Offset, c: Offset) -> None:
            start = code.offset((block_number, weights.block), (c, lanes))
            here = code.at(code.pointers["weights"], start, dtype)
            block = [
                [code.load(here, (y * 3 + x) * weights.inputs * lanes, dtype, lanes) for x in range(3)]
                for y in range(3)
            ]
            place = code.offset((block_number, weights.inputs * lanes), (c, lanes))
            there = code.at(code.pointers["result"], place, dtype)
            for y, line in enumerate(_both_axes(matrices.of_kernel, block)):
                for x, value in enumerate(line):
                    code.store(value, there, (y * PATCH + x) * points)

        code.units(lambda b: code.loop(0, weights.inputs, 1, lambda c, _: vector(b, c)))

    return compile_kernel(
        "Winograd weights", ["weights", "result"], write, splits=weights.blocks, distinct=True, cpu=cpu
    )


def transformed_elements(weights: Weights) -> int:
    """Elements of the transformed weights, and of the sums of their gradient."""
    return POINTS * math.prod((weights.blocks, weights.inputs, weights.lanes))
