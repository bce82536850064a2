"""Elements that index arrays pick out of one or several neighbouring axes, and the way back, where they are added up.

Picking copies blocks of neighbouring elements. Adding up gives each thread a range of the first indexed axis: it reads
all indices and adds what falls into its range, so every sum is added in the order of the indices, on any number of
threads. Indices out of range reach no memory: they set a flag.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from tinygraph.kernels.builder import Offset, Value, index
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept


class Picking(NamedTuple):
    """Contiguous arrays (before, *sizes, block) and (before, *selected, block), and index arrays of shape `selected`.

    Attributes:
        before: elements of the axes in front of the indexed ones.
        sizes: of the indexed axes.
        selected: the shape of what index arrays pick, at least one axis.
        block: neighbouring elements that move together.
        strides: of each index array along `selected`, in elements.
        index_dtypes: of each index array.
        dtype: of the elements.
        wraps: whether negative indices count from the end.
    """

    before: int
    sizes: tuple[int, ...]
    selected: tuple[int, ...]
    block: int
    strides: tuple[tuple[int, ...], ...]
    index_dtypes: tuple[str, ...]
    dtype: str
    wraps: bool = True

    @property
    def pointers(self) -> list[str]:
        """Names of the index arrays."""
        return [f"places{i}" for i in range(len(self.sizes))]


def gather(picking: Picking, *, cpu: Cpu | None = None) -> Kernel:
    """result[b, j, :] = source[b, *indices[j], :]

    The kernel's pointers: source, result, flag (an int64, set to 1 by an index out of range), index arrays. Its span:
    the first axis of `selected`.
    """
    return _gather(picking, cpu or this_cpu())


def scatter_add(picking: Picking, *, cpu: Cpu | None = None) -> Kernel:
    """result[b, *indices[j], :] += values[b, j, :], from zeros.

    The kernel's pointers: values, result, flag, index arrays. Its span: the first of `sizes`.
    """
    return _scatter_add(picking, cpu or this_cpu())


@kept
def _gather(picking: Picking, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        writer = _PickingLoops(code, picking, cpu)

        def picked(here: list[Offset], places: list[Value]) -> None:
            def copy(b: Offset) -> None:
                source = code.at(code.pointers["source"], writer.inside(b, places), picking.dtype)
                result = code.at(code.pointers["result"], writer.selected(b, here), picking.dtype)

                def move(at: Offset, lanes: int) -> None:
                    code.store(code.load(source, at, picking.dtype, lanes), result, at)

                writer.each_vector(move)

            writer.each_before(copy)

        code.units(lambda first: writer.each_index([first], picking.selected[1:], picked))

    pointers = ["source", "result", "flag", *picking.pointers]
    return compile_kernel("gather", pointers, write, splits=1, distinct=True, cpu=cpu)


@kept
def _scatter_add(picking: Picking, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        writer = _PickingLoops(code, picking, cpu)
        first, last = code.counts["first"], code.counts["last"]
        row = prod(picking.sizes[1:]) * picking.block

        def clear(b: Offset) -> None:
            start = code.offset((b, picking.sizes[0] * row), (first, row))
            code.clear(
                code.pointers["result"], start, code.offset((code.ir.sub(last, first), row)), picking.dtype
            )

        def picked(here: list[Offset], places: list[Value]) -> None:
            def add(b: Offset) -> None:
                values = code.at(code.pointers["source"], writer.selected(b, here), picking.dtype)
                result = code.at(code.pointers["result"], writer.inside(b, places), picking.dtype)

                def more(at: Offset, lanes: int) -> None:
                    before, value = (code.load(one, at, picking.dtype, lanes) for one in (result, values))
                    code.store(code.add(before, value), result, at)

                writer.each_vector(more)

            mine = code.ir.and_(
                code.ir.icmp_signed(">=", places[0], first), code.ir.icmp_signed("<", places[0], last)
            )
            code.when(mine, lambda: writer.each_before(add))

        writer.each_before(clear)
        code.when(
            code.ir.icmp_signed("<", first, last), lambda: writer.each_index([], picking.selected, picked)
        )

    pointers = ["source", "result", "flag", *picking.pointers]
    return compile_kernel("scatter add", pointers, write, splits=1, distinct=True, cpu=cpu)


class _PickingLoops:
    """Writes the parts that both kernels share."""

    def __init__(self, code: Code, picking: Picking, cpu: Cpu) -> None:
        self.code, self.picking, self.lanes = code, picking, cpu.lanes(picking.dtype)

    def each_index(
        self,
        outer: list[Offset],
        sizes: tuple[int, ...],
        body: Callable[[list[Offset], list[Value]], None],
    ) -> None:
        """For all of `selected` below some outer indices: where it is, and the place that is picked, if it is one."""
        code = self.code

        def one(inner: list[Offset], _: list[Value]) -> None:
            here = [*outer, *inner]
            places = []
            valid: Value | bool = True
            for name, strides, dtype, size in zip(
                self.picking.pointers,
                self.picking.strides,
                self.picking.index_dtypes,
                self.picking.sizes,
                strict=True,
            ):
                number = code.load_integer(
                    code.pointers[name], code.offset(*zip(here, strides, strict=True)), dtype
                )
                if self.picking.wraps:
                    negative = code.ir.icmp_signed("<", number, index(0))
                    number = code.ir.select(negative, code.ir.add(number, index(size)), number)
                valid = code.both(valid, code.ir.icmp_unsigned("<", number, index(size)))
                places.append(number)

            def wrong() -> None:
                code.ir.store(index(1), code.pointers["flag"])

            code.when(valid, lambda: body(here, places), wrong)

        code.nest(sizes, one)

    def each_before(self, body: Callable[[Offset], None]) -> None:
        """For all axes in front of the indexed ones."""
        self.code.loop(0, self.picking.before, 1, lambda b, _: body(b))

    def each_vector(self, body: Callable[[Offset, int], None]) -> None:
        """A block in vectors, the last one narrower."""
        size, lanes = self.picking.block, self.lanes
        whole = size // lanes * lanes
        self.code.loop(0, whole, lanes, lambda at, _: body(at, lanes))
        if whole < size:
            body(whole, size - whole)

    def inside(self, b: Offset, places: list[Value]) -> Offset:
        """Where a block is in the array that is indexed."""
        return self._place(b, self.picking.sizes, places)

    def selected(self, b: Offset, here: list[Offset]) -> Offset:
        """Where a block is in the other one."""
        return self._place(b, self.picking.selected, here)

    def _place(self, b: Offset, sizes: tuple[int, ...], numbers: list[Offset]) -> Offset:
        steps = [prod(sizes[i:]) * self.picking.block for i in range(len(sizes) + 1)]
        return self.code.offset((b, steps[0]), *zip(numbers, steps[1:], strict=True))
