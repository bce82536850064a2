"""Cumulative sums and products along an axis, added and multiplied in the order of the elements, as NumPy does it.

Where further axes follow, vectors run along them. Along the last axis as many rows as a vector has lanes go together:
blocks are transposed in registers, so that each lane is a row.
"""

from __future__ import annotations

from typing import NamedTuple

from tinygraph.kernels.builder import Function, Offset, Value, lane_index, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept


class Cumulation(NamedTuple):
    """Contiguous arrays (outer, length, inner), cumulated along `length`.

    Attributes:
        multiplies: whether elements are multiplied, and not added.
        dtype: "float32" or "float64".
    """

    multiplies: bool
    outer: int
    length: int
    inner: int
    dtype: str


def cumulate(lines: Cumulation, *, cpu: Cpu | None = None) -> Kernel:
    """result[o, k, i] is what x[o, :k + 1, i] combine to. The kernel's pointers: x, result. Its span: 1."""
    return _cumulate(lines, cpu or this_cpu())


@kept
def _cumulate(lines: Cumulation, cpu: Cpu) -> Kernel:
    lanes = cpu.lanes(lines.dtype)
    inner = lines.inner > 1
    blocks = -(-lines.inner // lanes) if inner else 1
    units = lines.outer * blocks if inner else -(-lines.outer // lanes)

    def write(code: Code) -> None:
        writer = _CumulativeLoops(code, lines, lanes)

        def unit(number: Offset) -> None:
            if not inner:
                writer.rows(number)
                return
            outer, block = code.divide_index(number, blocks)
            width = min(lanes, lines.inner)
            writer.columns(outer, code.smaller_index(code.offset((block, lanes)), lines.inner - width), width)

        code.units(unit)

    return compile_kernel(
        f"cumulative {'products' if lines.multiplies else 'sums'}",
        ["x", "result"],
        write,
        splits=units,
        distinct=True,
        cpu=cpu,
    )


class _CumulativeLoops:
    """Writes the loops of one kernel."""

    def __init__(self, code: Code, lines: Cumulation, lanes: int) -> None:
        self.code, self.lines, self.lanes = code, lines, lanes
        # -0.0, to which everything can be added
        self.start, self.combine = (1.0, Function.multiply) if lines.multiplies else (-0.0, Function.add)

    def columns(self, outer: Offset, first: Offset, width: int) -> None:
        """Some neighbouring lines of which each element is in a lane; the last block overlaps the one before it."""
        code, lines = self.code, self.lines
        place = code.offset((outer, lines.length * lines.inner), first)

        def step(k: Offset, held: list[Value]) -> list[Value]:
            at = code.offset(place, (k, lines.inner))
            return [self._next(at, held[0], width)]

        code.loop(0, lines.length, 1, step, [self._nothing(width)])

    def rows(self, block: Offset) -> None:
        """As many whole lines as there are lanes, or what is left of them one by one."""
        code, lines, lanes = self.code, self.lines, self.lanes
        whole = lines.outer // lanes
        first = code.offset((block, lanes))

        def together() -> None:
            (total,) = code.loop(
                0,
                lines.length // lanes * lanes,
                lanes,
                lambda k, held: self._square(first, k, held),
                [self._nothing(lanes)],
            )
            for lane in range(lanes if lines.length % lanes else 0):
                start = code.ir.extract_element(total, lane_index(lane))
                self._line(code.offset(first, lane), lines.length // lanes * lanes, start)

        def alone() -> None:
            code.loop(whole * lanes, lines.outer, 1, lambda row, _: self._line(row, 0, self._nothing(1)))

        code.when(code.at_most(block, whole - 1), together, alone)

    def _square(self, first: Offset, k: Offset, held: list[Value]) -> list[Value]:
        """A square block of rows, as columns, and back."""
        code, lines, lanes = self.code, self.lines, self.lanes
        places = [code.offset((code.offset(first, row), lines.length), k) for row in range(lanes)]
        total, made = held[0], []
        for column in code.transpose(
            [code.load(code.pointers["x"], at, lines.dtype, lanes) for at in places]
        ):
            total = self.combine(code, total, column)
            made.append(total)
        for at, row in zip(places, code.transpose(made), strict=True):
            code.store(row, code.pointers["result"], at)
        return [total]

    def _line(self, row: Offset, begin: int, start: Value) -> None:
        place = self.code.offset((row, self.lines.length))

        def step(k: Offset, held: list[Value]) -> list[Value]:
            return [self._next(self.code.offset(place, k), held[0], 1)]

        self.code.loop(begin, self.lines.length, 1, step, [start])

    def _next(self, at: Offset, total: Value, width: int) -> Value:
        code = self.code
        made = self.combine(code, total, code.load(code.pointers["x"], at, self.lines.dtype, width))
        code.store(made, code.pointers["result"], at)
        return made

    def _nothing(self, width: int) -> Value:
        return splat(self.start, self.lines.dtype, width)
