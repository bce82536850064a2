"""Kernels that change layouts: arrays as users see them (NCHW, OIHW) to and from planes and packed weights.

All are one transposition of small square blocks held in registers, with offsets given by each layout. The last block
of a size that is no multiple overlaps the one before it.
"""

from __future__ import annotations

from collections.abc import Callable

from tinygraph.kernels.builder import Function, Offset, Value
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.images.direct import Weights
from tinygraph.kernels.images.planes import Planes
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept

Place = Callable[[Offset], Offset]


def to_planes(planes: Planes, dtype: str = "float32", cpu: Cpu | None = None) -> Kernel:
    """(images, channels, height, width) to planes, or volumes; halo and padded channels become zero.

    The kernel's pointers: source, result, both contiguous. Its span: images.
    """
    return _to_planes(planes, dtype, cpu or this_cpu())


@kept
def _to_planes(planes: Planes, dtype: str, cpu: Cpu) -> Kernel:
    pixels = planes.depth * planes.height * planes.width
    hollow = any(planes.halo) or any(planes.ends) or planes.padded != planes.channels

    def write(code: Function) -> None:
        def image(n: Offset) -> None:
            source = code.at(code.pointers["source"], code.offset((n, planes.channels * pixels)), dtype)
            result = code.at(code.pointers["result"], code.offset((n, planes.image)), dtype)
            if hollow:
                code.clear(result, 0, planes.image, dtype)
            transposed = _Transposition(code, dtype, cpu, source, result)
            transposed.write(
                planes.channels,
                pixels,
                lambda c: code.offset((c, pixels)),
                lambda p: _pixel_place(code, planes, p),
            )

        code.units(image)

    return compile_kernel("to planes", ["source", "result"], write, splits=1, distinct=True, cpu=cpu)


def from_planes(planes: Planes, dtype: str = "float32", cpu: Cpu | None = None) -> Kernel:
    """Planes to (images, channels, height, width), or to volumes.

    The kernel's pointers: source, result, both contiguous. Its span: images.
    """
    return _from_planes(planes, dtype, cpu or this_cpu())


@kept
def _from_planes(planes: Planes, dtype: str, cpu: Cpu) -> Kernel:
    pixels = planes.depth * planes.height * planes.width

    def write(code: Function) -> None:
        def image(n: Offset) -> None:
            source = code.at(code.pointers["source"], code.offset((n, planes.image)), dtype)
            result = code.at(code.pointers["result"], code.offset((n, planes.channels * pixels)), dtype)
            transposed = _Transposition(code, dtype, cpu, source, result)
            transposed.write(
                pixels,
                planes.channels,
                lambda p: _pixel_place(code, planes, p),
                lambda c: code.offset((c, pixels)),
            )

        code.units(image)

    return compile_kernel("from planes", ["source", "result"], write, splits=1, distinct=True, cpu=cpu)


def _pixel_place(code: Function, planes: Planes, pixel: Offset) -> Offset:
    """Where the channels of a pixel start, by its number in the image."""
    if planes.slice == planes.height * planes.width * planes.pixel:
        return code.offset((pixel, planes.pixel), planes.origin)
    line, x = code.divide_index(pixel, planes.width)
    z, y = code.divide_index(line, planes.height) if planes.depth > 1 else (0, line)
    return code.offset((z, planes.slice), (y, planes.row), (x, planes.pixel), planes.origin)


def clear_halo(planes: Planes, dtype: str = "float32", cpu: Cpu | None = None) -> Kernel:
    """Zeros in the halo of planes; what is inside stays. The kernel's pointer: the planes. Its span: images."""
    return _clear_halo(planes, dtype, cpu or this_cpu())


@kept
def _clear_halo(planes: Planes, dtype: str, cpu: Cpu) -> Kernel:
    width, between = planes.width * planes.pixel, planes.row - planes.width * planes.pixel
    first = planes.origin - planes.ends[0] * planes.slice
    last = first + (planes.height - 1) * planes.row + width

    def write(code: Function) -> None:
        def one(start: Value) -> None:
            """A slice."""
            code.clear(start, 0, first, dtype)
            if between:  # what is right of a row and what is left of the next lie side by side

                def row(y: Offset, _: list[Value]) -> None:
                    code.clear(start, code.offset((y, planes.row), first + width), between, dtype)

                code.loop(0, planes.height - 1, 1, row)
            code.clear(start, last, planes.slice - last, dtype)

        def image(n: Offset) -> None:
            start = code.at(code.pointers["planes"], code.offset((n, planes.image)), dtype)
            before, behind = (end * planes.slice for end in planes.ends)
            if before:
                code.clear(start, 0, before, dtype)
            if behind:
                code.clear(start, planes.image - behind, behind, dtype)

            def slices(z: Offset, _: list[Value]) -> None:
                one(code.at(start, code.offset((z, planes.slice), before), dtype))

            code.loop(0, planes.depth, 1, slices)

        code.units(image)

    return compile_kernel("clear halo", ["planes"], write, splits=1, cpu=cpu)


# -- weights -----------------------------------------------------------------------------------------------------


def pack(
    weights: Weights, outputs: int, inputs: int, dtype: str = "float32", cpu: Cpu | None = None
) -> Kernel:
    """A kernel of shape (outputs, inputs, height, width) to `forward_weights`. Pointers: source, result.

    Its span: 1.
    """
    return _pack(weights, outputs, inputs, dtype, cpu or this_cpu())


@kept
def _pack(weights: Weights, outputs: int, inputs: int, dtype: str, cpu: Cpu) -> Kernel:
    taps = weights.height * weights.width

    def write(code: Function) -> None:
        def block(first: Offset, count: int, result: Value) -> None:
            source = code.at(code.pointers["source"], code.offset((first, inputs * taps)), dtype)
            _Transposition(code, dtype, cpu, source, result).write(
                count,
                inputs * taps,
                lambda row: code.offset((row, inputs * taps)),
                lambda column: _weight_place(code, weights, column),
            )

        _each_block(code, weights, outputs, dtype, "result", block, _is_padded(weights, outputs, inputs))

    return compile_kernel(
        "pack weights", ["source", "result"], write, splits=weights.blocks, distinct=True, cpu=cpu
    )


def unpack(
    weights: Weights, outputs: int, inputs: int, dtype: str = "float32", cpu: Cpu | None = None
) -> Kernel:
    """`forward_weights` to a kernel of shape (outputs, inputs, height, width). Pointers: source, result.

    Its span: 1.
    """
    return _unpack(weights, outputs, inputs, dtype, cpu or this_cpu())


@kept
def _unpack(weights: Weights, outputs: int, inputs: int, dtype: str, cpu: Cpu) -> Kernel:
    taps = weights.height * weights.width

    def write(code: Function) -> None:
        def block(first: Offset, count: int, source: Value) -> None:
            result = code.at(code.pointers["result"], code.offset((first, inputs * taps)), dtype)
            _Transposition(code, dtype, cpu, source, result).write(
                inputs * taps,
                count,
                lambda row: _weight_place(code, weights, row),
                lambda column: code.offset((column, inputs * taps)),
            )

        _each_block(code, weights, outputs, dtype, "source", block)

    return compile_kernel(
        "unpack weights", ["source", "result"], write, splits=weights.blocks, distinct=True, cpu=cpu
    )


def pack_for_gradient(
    weights: Weights, outputs: int, inputs: int, dtype: str = "float32", cpu: Cpu | None = None
) -> Kernel:
    """A kernel of shape (outputs, inputs, height, width) to `gradient_weights`. Pointers: source, result.

    Its span: 1.
    """
    return _pack_for_gradient(weights, outputs, inputs, dtype, cpu or this_cpu())


@kept
def _pack_for_gradient(weights: Weights, outputs: int, inputs: int, dtype: str, cpu: Cpu) -> Kernel:
    taps = weights.height * weights.width

    def write(code: Function) -> None:
        def block(first: Offset, count: int, start: Value) -> None:
            def output(k: Offset, _: list[Value]) -> None:
                place = code.offset((k, inputs * taps), (first, taps))
                source = code.at(code.pointers["source"], place, dtype)
                result = code.at(start, code.offset((k, weights.lanes)), dtype)
                if taps == 1:  # nothing to transpose
                    code.store(code.load(source, 0, dtype, count), result)
                    return
                step = weights.inputs * weights.lanes
                _Transposition(code, dtype, cpu, source, result).write(
                    count,
                    taps,
                    lambda row: code.offset((row, taps)),
                    lambda tap: code.offset((tap, -step), (taps - 1) * step),  # in reverse
                )

            code.loop(0, outputs, 1, output)

        _each_block(code, weights, inputs, dtype, "result", block, _is_padded(weights, inputs, outputs))

    name = "pack weights for gradient"
    return compile_kernel(name, ["source", "result"], write, splits=weights.blocks, distinct=True, cpu=cpu)


def _weight_place(code: Function, weights: Weights, number: Offset) -> Offset:
    """Where in a block of packed weights (input, tap) is, by its number in the kernel's own order."""
    i, tap = code.divide_index(number, weights.height * weights.width)
    return code.offset((tap, weights.inputs * weights.lanes), (i, weights.lanes))


def _each_block(
    code: Function,
    weights: Weights,
    channels: int,
    dtype: str,
    pointer: str,
    body: Callable[[Offset, int, Value], None],
    cleared: bool = False,
) -> None:
    """For each vector of channels, a unit of work: the first, how many there are, and where its weights start."""
    whole, rest = divmod(channels, weights.lanes)

    def unit(b: Offset) -> None:
        start = code.at(code.pointers[pointer], code.offset((b, weights.block)), dtype)
        if cleared:
            code.clear(start, 0, weights.block, dtype)

        def block(count: int) -> None:
            body(code.offset((b, weights.lanes)), count, start)

        if rest:
            code.when(code.at_most(b, whole - 1), lambda: block(weights.lanes), lambda: block(rest))
        else:
            block(weights.lanes)

    code.units(unit)


def _is_padded(weights: Weights, outputs: int, inputs: int) -> bool:
    """Whether packed weights hold zeros besides the kernel's numbers."""
    return outputs != weights.blocks * weights.lanes or inputs != weights.inputs


# -- blocks --------------------------------------------------------------------------------------------------------


class _Transposition:
    """Writes result[place(column) + row] = source[place(row) + column]."""

    def __init__(self, code: Function, dtype: str, cpu: Cpu, source: Value, result: Value) -> None:
        self.code, self.dtype, self.source, self.result = code, dtype, source, result
        self.widest = cpu.lanes(dtype)

    def write(self, rows: int, columns: int, row_place: Place, column_place: Place) -> None:
        """All blocks; their size is the largest power of two that fits."""
        if not rows or not columns:
            return
        code = self.code
        size = 1 << (min(rows, columns, self.widest).bit_length() - 1)

        def block(i: Offset, j: Offset) -> None:
            loaded = [
                code.load(self.source, code.offset(row_place(code.offset(i, k)), j), self.dtype, size)
                for k in range(size)
            ]
            for k, vector in enumerate(code.transpose(loaded)):
                code.store(vector, self.result, code.offset(column_place(code.offset(j, k)), i))

        def band(i: Offset, _: list[Value]) -> None:
            row = code.smaller_index(i, rows - size)
            code.loop(0, columns, size, lambda j, _: block(row, code.smaller_index(j, columns - size)))

        code.loop(0, rows, size, band)
