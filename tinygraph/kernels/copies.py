"""Copies between arrays that lie differently in memory: transposes, and images from one layout to another.

Where the two have different axes innermost, square blocks are read along the one, transposed in registers and written
along the other, so that both sides see whole vectors (as in Springer, Su and Bientinesi, "HPTT", 2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tinygraph.core.types import Array
from tinygraph.kernels.builder import Offset
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept

_MOVED = {4: "float32", 8: "float64"}  # as what elements of so many bytes are moved, whatever they mean
_FEWEST_TO_SPLIT = 1 << 15  # elements
_LANES = 8  # at most: of wider vectors a block has more shuffles an element


class CopiedAxis(NamedTuple):
    """One axis of a copy: its length, and the strides of what is written and what is read, in elements."""

    size: int
    to: int
    source: int


def copying(to: Array, source: Array) -> Bound | None:
    """A kernel that copies one array to another of its shape and dtype; its two pointers may move.

    None where elements have neither 4 nor 8 bytes, or lie at addresses that are no multiples of that.

    >>> import numpy as np
    >>> x, out = np.arange(6.0).reshape(2, 3), np.empty((3, 2))
    >>> copying(out, x.T)()
    >>> out
    array([[0., 3.],
           [1., 4.],
           [2., 5.]])
    """
    size = to.itemsize
    if (
        to.shape != source.shape
        or to.dtype != source.dtype
        or not to.size
        or size not in _MOVED
        or to.dtype.hasobject
    ):
        return None
    if any(step % size for one in (to, source) for step in (one.ctypes.data, *one.strides)):
        return None
    axes = _merged(
        CopiedAxis(n, there // size, here // size)
        for n, there, here in zip(to.shape, to.strides, source.strides, strict=True)
        if n != 1
    )
    kernel = _kernel(axes, _MOVED[size], this_cpu())
    return kernel.bind(to, source, span=1, divided=to.size >= _FEWEST_TO_SPLIT)


def _merged(axes: Iterable[CopiedAxis]) -> tuple[CopiedAxis, ...]:
    """From the slowest to the fastest of what is written, joined where both go on from one to the next."""
    merged: list[CopiedAxis] = []
    for axis in sorted(axes, key=lambda axis: -abs(axis.to)):
        outer = merged[-1] if merged else None
        if outer and outer.to == axis.to * axis.size and outer.source == axis.source * axis.size:
            merged[-1] = axis._replace(size=outer.size * axis.size)
        else:
            merged.append(axis)
    return tuple(merged) or (CopiedAxis(1, 1, 1),)


@kept
def _kernel(axes: tuple[CopiedAxis, ...], dtype: str, cpu: Cpu) -> Kernel:
    *others, written = axes
    read = next((axis for axis in others if axis.source == 1 == written.to), None)
    outer = [axis for axis in others if axis is not read]
    lanes = min(cpu.lanes(dtype), _LANES)

    def write(code: Code) -> None:
        copy = _Copy(code, dtype, lanes)

        def unit(first: Offset) -> None:
            if read is not None and not outer:  # a row of blocks
                copy.block_row(read, written, 0, 0, code.offset((first, lanes)))
                return

            def inside(rest: list[Offset], _: object) -> None:
                places = list(zip([first, *rest][: len(outer)], outer, strict=True))
                to = code.offset(*((i, axis.to) for i, axis in places))
                source = code.offset(*((i, axis.source) for i, axis in places))
                if read is None:
                    copy.row(written, to, source)
                else:
                    code.loop(0, read.size, lanes, lambda i, _: copy.block_row(read, written, to, source, i))

            code.nest([axis.size for axis in outer[1:]], inside)

        code.units(unit)

    units = outer[0].size if outer else 1
    if read is not None and not outer:
        units = -(-read.size // lanes)
    return compile_kernel("copied axes", ["to", "source"], write, splits=units, cpu=cpu)


class _Copy:
    """Writes the loops over what two axes, or one, have in memory."""

    def __init__(self, code: Code, dtype: str, lanes: int) -> None:
        self.code, self.dtype, self.lanes = code, dtype, lanes
        self.to, self.source = code.pointers["to"], code.pointers["source"]

    def row(self, axis: CopiedAxis, to: Offset, source: Offset) -> None:
        """One axis: in vectors where both sides have its elements side by side, else one by one."""
        code, whole = self.code, 0

        def move(i: Offset, lanes: int) -> None:
            value = code.load(self.source, code.offset(source, (i, axis.source)), self.dtype, lanes)
            code.store(value, self.to, code.offset(to, (i, axis.to)))

        if axis.to == axis.source == 1:
            whole = axis.size // self.lanes * self.lanes
            code.loop(0, whole, self.lanes, lambda i, _: move(i, self.lanes))
        code.loop(whole, axis.size, 1, lambda i, _: move(i, 1))

    def block_row(
        self, read: CopiedAxis, written: CopiedAxis, to: Offset, source: Offset, start: Offset
    ) -> None:
        """All blocks from one place on the axis that is read in vectors; the last ones are smaller."""
        code, lanes = self.code, self.lanes
        whole = written.size // lanes * lanes

        def block(j: Offset, _: object) -> None:
            rows = [
                code.load(
                    self.source,
                    code.offset(source, start, (j, written.source), k * written.source),
                    self.dtype,
                    lanes,
                )
                for k in range(lanes)
            ]
            for k, column in enumerate(code.transpose(rows)):
                code.store(column, self.to, code.offset(to, j, (start, read.to), k * read.to))

        def one_by_one(first: Offset, stop: Offset, begin: int) -> None:
            def one(i: Offset, j: Offset) -> None:
                value = code.load(self.source, code.offset(source, i, (j, written.source)), self.dtype)
                code.store(value, self.to, code.offset(to, j, (i, read.to)))

            code.loop(first, stop, 1, lambda i, _: code.loop(begin, written.size, 1, lambda j, _: one(i, j)))

        def full() -> None:
            code.loop(0, whole, lanes, block)
            one_by_one(start, code.offset(start, lanes), whole)

        fits = code.at_most(code.offset(start, lanes), read.size)
        code.when(fits, full, lambda: one_by_one(start, read.size, 0))
