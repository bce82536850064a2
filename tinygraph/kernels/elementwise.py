"""Fused elementwise kernels: one loop nest for a whole program, over arrays of any strides, with reductions at its end.

Axes are ordered by stride and merged where every operand allows it, so that contiguous and broadcast arrays make one
or two loops. The last loop runs over vectors. Sums of float32 are collected in float64, in several vectors.
The length of the slowest loop - the batch, mostly - is an argument, so that one kernel serves all batches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.core.types import Array
from tinygraph.errors import DTypeError, ShapeError
from tinygraph.kernels.array_facts import dtype_name
from tinygraph.kernels.builder import (
    Function,
    Offset,
    Value,
    dtype_of,
    lane_index,
    splat,
    tree,
    vector_type,
    width_of,
)
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code, emit
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

DTYPES = ("float32", "float64", "bool")
_UNROLLED = 4  # accumulators, so that additions do not wait for each other
_FEWEST_VECTORS = 4  # of a single loop whose length is an argument: below, its end is most of the work
_FEWEST_TO_SPLIT = 16384  # elements: below, meeting the other threads takes as long as the work
_VECTORS_A_UNIT = 16  # of a loop that threads divide


class Reduction(NamedTuple):
    """How a reduction starts, how it combines two values, whether that rounds, and whether a mean is taken."""

    start: float
    combine: Callable[[Function, Value, Value], Value]
    rounds: bool = True
    mean: bool = False


REDUCTIONS = {
    "sum": Reduction(0.0, Function.add),
    "mean": Reduction(0.0, Function.add, mean=True),
    "prod": Reduction(1.0, Function.multiply),
    "max": Reduction(-math.inf, Function.maximum, rounds=False),
    "min": Reduction(math.inf, Function.minimum, rounds=False),
}


class Strided(NamedTuple):
    """An array as the kernel sees it: dtype and strides, in elements, along the axes of the loops (0: broadcast)."""

    dtype: str
    strides: tuple[int, ...]


class Axis(NamedTuple):
    """One loop: its length, the stride of every operand along it, and whether outputs are reduced over it.

    In a kernel's key the length is 0 where it is an argument, and in its code what holds the argument.
    """

    size: Offset
    strides: tuple[int, ...]
    reduced: bool


def bind(
    program: Program,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    *,
    reductions: Sequence[str | None] | None = None,
    axes: Sequence[int] = (),
) -> Bound:
    """A kernel that runs `program` on `inputs` and writes `outputs`.

    Args:
        program: what to compute.
        inputs: arrays that broadcast against each other, of any strides, of the program's dtypes.
        outputs: arrays of the broadcast shape; a reduced one without `axes`, or with size 1 there. An output may
            be the very memory of an input of the same strides; otherwise they must not overlap.
        reductions: for each output None or one of `REDUCTIONS`.
        axes: over which outputs are reduced, not negative.

    Raises:
        ShapeError: an output whose shape does not fit, or a maximum of nothing.
        DTypeError: an array whose dtype is not the program's.

    >>> from tinygraph.kernels.program import ProgramBuilder
    >>> from tinygraph.core.registry import ops
    >>> build = ProgramBuilder()
    >>> x, y = build.input("float32"), build.input("float32")
    >>> add = build.program(build.step(ops.add, x, y))
    >>> out = np.empty((2, 3), np.float32)
    >>> bind(add, [np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)], [out])()
    >>> out[1]
    array([1., 2., 3.], dtype=float32)
    """
    kinds = tuple(reductions) if reductions is not None else (None,) * len(outputs)
    # a full output may be larger than what the inputs broadcast to
    axes = tuple(axes) if any(kinds) else ()
    full = [out.shape for out, kind in zip(outputs, kinds, strict=True) if kind is None]
    shape = np.broadcast_shapes(*(x.shape for x in inputs), *full)
    operands = [_operand(x, shape, f"input {i}") for i, x in enumerate(inputs)]
    for i, (out, kind) in enumerate(zip(outputs, kinds, strict=True)):
        operands.append(_operand(_output(out, shape, kind, axes, i), shape, f"output {i}"))
    for i, (operand, dtype) in enumerate(zip(operands, program.inputs, strict=False)):
        if operand.dtype != dtype:
            raise DTypeError(f"input {i} of the program is {dtype}, the array is {operand.dtype}")
        if dtype not in DTYPES:
            raise DTypeError(f"input {i} of the program is {dtype}; kernels take {', '.join(DTYPES)}")
    cpu = this_cpu()
    loops, width = _ordered_axes(shape, tuple(operands), axes), lanes_of_program(program, cpu)
    free = 0 not in shape and _may_be_free(loops, any(kinds), width)
    size = loops[0].size
    if free:
        loops = (loops[0]._replace(size=0), *loops[1:])
    built = kernel(program, loops, tuple(operand.dtype for operand in operands), kinds, 0 in shape, cpu)
    if not built.splits:
        return built.bind(*inputs, *outputs, counts=(size,) if free else ())
    span = 1
    if free and not loops[0].reduced:
        span = size if len(loops) > 1 else math.ceil(size / (_VECTORS_A_UNIT * width))
    return built.bind(
        *inputs,
        *outputs,
        counts=(size,) if free else (),
        span=span,
        divided=math.prod(shape) >= _FEWEST_TO_SPLIT,
    )


def _operand(array: Array, shape: tuple[int, ...], role: str) -> Strided:
    size = array.dtype.itemsize
    strides = array.strides
    if array.shape != shape:  # it broadcasts: along new axes, and where it has one element, it stands still
        strides = (0,) * (len(shape) - array.ndim) + tuple(
            s if n != 1 else 0 for s, n in zip(strides, array.shape, strict=True)
        )
    if any(stride % size for stride in strides):
        raise ShapeError(f"{role} has strides {strides}, not multiples of its itemsize {size}; copy it first")
    return Strided(
        dtype_name(array.dtype),
        tuple(s // size if n != 1 else 0 for s, n in zip(strides, shape, strict=True)),
    )


def _output(out: Array, shape: tuple[int, ...], kind: str | None, axes: tuple[int, ...], i: int) -> Array:
    """The output with every axis of the loops, those of its reduction with size 1."""
    kept: tuple[int, ...] = tuple(1 if kind and axis in axes else n for axis, n in enumerate(shape))
    if kind in ("max", "min") and 0 in shape and 0 not in kept:
        raise ShapeError(f"output {i} is the {kind} of no elements: shape {shape} over axes {axes}")
    if out.shape == tuple(n for axis, n in enumerate(shape) if not (kind and axis in axes)):
        out = np.expand_dims(out, axes if kind else ())
    if out.shape != kept:
        raise ShapeError(f"output {i} has shape {out.shape}; the program makes {kept}")
    return out


@kept
def kernel(
    program: Program,
    loops: tuple[Axis, ...],
    dtypes: tuple[str, ...],
    reductions: tuple[str | None, ...],
    empty: bool,
    cpu: Cpu,
) -> Kernel:
    """The kernel behind `bind`, compiled once for equal arguments; its pointers are inputs, then outputs.

    Where the length of the first loop is 0, it is the kernel's count "size". `empty` says that there is no element.
    """
    names = [f"array{i}" for i in range(len(dtypes))]
    title = "+".join(dict.fromkeys(step.title for step in program.steps if step.op != "constant")) or "copy"
    free = not empty and loops[0].size == 0
    width = lanes_of_program(program, cpu)
    splits = 0 if empty else _units(loops, any(reductions), width)

    def write(code: Function) -> None:
        if not empty or any(reductions):
            axes = [loops[0]._replace(size=code.counts["size"]), *loops[1:]] if free else list(loops)
            nest = _Nest(code, program, axes, dtypes, reductions, width)
            if splits:
                nest.write_units(splits)
            else:
                nest.write()

    title += "".join(f"|{kind}" for kind in reductions if kind)
    counts = ("size",) if free else ()
    return compile_kernel(title, names, write, counts=counts, splits=splits, cpu=cpu)


def _may_be_free(loops: Sequence[Axis], reduces: bool, width: int) -> bool:
    """Whether the length of the first loop can be an argument at no cost."""
    if len(loops) > 1:
        return True
    vectors = loops[0].size / width
    return vectors >= 2 * _UNROLLED if loops[0].reduced else not reduces and vectors >= _FEWEST_VECTORS


def _units(axes: Sequence[Axis], reduces: bool, width: int) -> int:
    """Units of work that threads may divide: turns of the outer loop, or parts of the only one. 0: cannot be.

    Where the length of that loop is an argument, there is one for each thing of the span.
    """
    kept = [axis for axis in axes[:-1] if not axis.reduced]
    if kept:
        return kept[0].size or 1
    if axes[-1].reduced or (axes[0].size and math.prod(axis.size for axis in axes) < _FEWEST_TO_SPLIT):
        return 0
    vectors = (_UNROLLED if axes[-1].size >= 2 * _UNROLLED * width else 1) if reduces else _VECTORS_A_UNIT
    return math.ceil(axes[-1].size / (vectors * width)) or 1


def lanes_of_program(program: Program, cpu: Cpu) -> int:
    """Lanes of the vectors that a program is computed in: those of float64 where there is nothing narrower."""
    dtypes = {*program.inputs, *(dict(step.settings).get("dtype") for step in program.steps)}
    return cpu.lanes("float64" if "float64" in dtypes and "float32" not in dtypes else "float32")


def _ordered_axes(
    shape: tuple[int, ...], operands: tuple[Strided, ...], reduced: tuple[int, ...]
) -> tuple[Axis, ...]:
    """Loops from the slowest to the fastest in memory, merged where all operands are contiguous across two."""
    axes = [
        Axis(n, tuple(o.strides[i] for o in operands), i in reduced) for i, n in enumerate(shape) if n != 1
    ]
    leading = max(range(len(operands)), key=lambda i: sum(s != 0 for s in operands[i].strides), default=0)
    axes.sort(key=lambda axis: -abs(axis.strides[leading]) if axis.strides[leading] else -math.inf)
    merged: list[Axis] = []
    for axis in axes:
        outer = merged[-1] if merged else None
        if (
            outer
            and outer.reduced == axis.reduced
            and all(far == near * axis.size for far, near in zip(outer.strides, axis.strides, strict=True))
        ):
            merged[-1] = Axis(outer.size * axis.size, axis.strides, axis.reduced)
        else:
            merged.append(axis)
    return tuple(merged) or (Axis(1, (0,) * len(operands), False),)


class _Nest:
    """Writes the loops of one kernel."""

    def __init__(
        self,
        code: Function,
        program: Program,
        axes: list[Axis],
        dtypes: tuple[str, ...],
        reductions: tuple[str | None, ...],
        width: int,
    ) -> None:
        self.code, self.program, self.dtypes, self.width = code, program, dtypes, width
        self.pointers = list(code.pointers.values())
        self.inputs = range(len(program.inputs))
        self.stored = [(len(program.inputs) + i, i) for i, kind in enumerate(reductions) if kind is None]
        self.reduced = [
            (len(program.inputs) + i, i, REDUCTIONS[kind]) for i, kind in enumerate(reductions) if kind
        ]
        self.vector = axes[-1]
        self.kept = [axis for axis in axes[:-1] if not axis.reduced]
        self.inner = [axis for axis in axes[:-1] if axis.reduced]
        self.together = [
            axis.size for axis in axes if axis.reduced
        ]  # their product is what a mean is taken over

    def write(self) -> None:
        body = self._reduce_lanes if self.vector.reduced else self._reduce_rows if self.reduced else self._map
        self.code.nest(
            [axis.size for axis in self.kept], lambda indices, _: body(self._bases(self.kept, indices))
        )

    def write_units(self, units: int) -> None:
        """The same for a range of units: of the outer loop, or of vectors of the only one."""
        code, size = self.code, self.vector.size
        if self.kept:
            body = (
                self._reduce_lanes
                if self.vector.reduced
                else self._reduce_rows
                if self.reduced
                else self._map
            )
            code.units(
                lambda k: code.nest(
                    [axis.size for axis in self.kept[1:]],
                    lambda rest, _: body(self._bases(self.kept, [k, *rest])),
                )
            )
            return
        bases = self._bases([], [])
        free = not isinstance(size, int)
        # elements a unit, but for the last
        step = (_VECTORS_A_UNIT if free else math.ceil(size / units / self.width)) * self.width
        begin = code.offset((code.counts["first"], step))
        whole = self._whole(size, self.width)
        end = code.smaller_index(code.offset((code.counts["last"], step)), whole)
        if self.reduced:
            code.loop(
                begin,
                code.smaller_index(end, size // step * step),
                step,
                lambda i, _: self._columns(bases, i, self.width, step // self.width),
            )
            start, vectors = size // step * step, size % step // self.width

            def last() -> None:
                if vectors:
                    self._columns(bases, start, self.width, vectors)
                if size % self.width:
                    self._columns(bases, size // self.width * self.width, size % self.width, 1)
        else:
            hoisted = self._hoisted(bases)
            code.loop(
                begin, end, self.width, lambda i, _: self._evaluate(bases, i, self.width, hoisted) and None
            )

            def last() -> None:
                self._rest(bases, whole, hoisted)

        code.when(code.at_most(code.counts["span"] if free else units, code.counts["last"]), last)

    def _whole(self, size: Offset, block: int) -> Offset:
        """As much of a length as makes whole blocks."""
        return self.code.offset((self.code.divide_index(size, block)[0], block))

    def _bases(
        self, axes: Sequence[Axis], indices: Sequence[Offset], start: Sequence[Offset] | None = None
    ) -> list[Offset]:
        """Where each operand's elements start for these loop indices."""
        start = start or [0] * len(self.dtypes)
        return [
            self.code.offset(start[i], *((k, axis.strides[i]) for k, axis in zip(indices, axes, strict=True)))
            for i in range(len(self.dtypes))
        ]

    # -- one vector ------------------------------------------------------------------------------------------------

    def _hoisted(self, bases: Sequence[Offset]) -> dict[int, Value]:
        """Inputs that do not move along the vectors, loaded once."""
        return {
            i: self.code.load(self.pointers[i], bases[i], self.dtypes[i])
            for i in self.inputs
            if self.vector.strides[i] == 0
        }

    def _evaluate(
        self,
        bases: Sequence[Offset],
        position: Offset,
        width: int,
        hoisted: dict[int, Value],
        mask: Value | None = None,
    ) -> list[Value]:
        """The program's outputs for `width` elements, or those in a mask; those stored in full are stored."""
        code = self.code
        values = []
        for i in self.inputs:
            if i in hoisted:
                values.append(code.broadcast(hoisted[i], width))
                continue
            stride = self.vector.strides[i]
            offset = code.offset(bases[i], (position, stride))
            if mask is not None:
                values.append(code.load_where(mask, self.pointers[i], offset, self.dtypes[i]))
                continue
            values.append(code.load_strided(self.pointers[i], offset, stride, self.dtypes[i], width))
        results = emit_program(code, self.program, values, width)
        for operand, i in self.stored:
            self._check(results[i], operand)
            offset = code.offset(bases[operand], (position, self.vector.strides[operand]))
            if mask is not None:
                code.store_where(mask, results[i], self.pointers[operand], offset)
            else:
                self._store(results[i], operand, offset)
        return results

    def _rest(
        self,
        bases: Sequence[Offset],
        whole: Offset,
        hoisted: dict[int, Value],
        collect: Callable[[list[Value], Value | None, list[Value]], list[Value]] | None = None,
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """The elements of the last loop behind the whole vectors, fewer than a vector: in one piece, if it can be.

        Args:
            bases: where the operands start.
            whole: where the rest begins.
            hoisted: inputs that are loaded already.
            collect: what comes of the carried values by the results, in all lanes or in those of a mask.
            carried: what the rest is added to.
        """
        code, size, width = self.code, self.vector.size, self.width
        if isinstance(size, int):
            if whole == size:
                return list(carried)
            results = self._evaluate(bases, whole, size - whole, hoisted)
            return collect(results, None, list(carried)) if collect else []
        dense = all(
            self.vector.strides[i] == 1
            or ((i in hoisted or i >= len(self.inputs)) and self.vector.strides[i] == 0)
            for i in range(len(self.dtypes))
        )

        def some(i: Offset, held: list[Value]) -> list[Value]:
            mask = code.lanes_below(code.offset(size, (i, -1)), width) if dense else None
            results = self._evaluate(bases, i, width if dense else 1, hoisted, mask)
            return collect(results, mask, held) if collect else []

        return code.loop(whole, size, width if dense else 1, some, carried)

    def _store(self, value: Value, operand: int, offset: Offset) -> None:
        stride = self.vector.strides[operand]
        if stride == 1 or width_of(value) == 1:
            self.code.store(value, self.pointers[operand], offset)
            return
        for lane in range(width_of(value)):
            element = self.code.ir.extract_element(value, lane_index(lane))
            self.code.store(element, self.pointers[operand], self.code.offset(offset, (stride, lane)))

    def _check(self, value: Value, operand: int) -> None:
        if dtype_of(value) != self.dtypes[operand]:
            raise DTypeError(
                f"output {operand - len(self.inputs)} of the program is {dtype_of(value)}, "
                f"the array is {self.dtypes[operand]}"
            )

    # -- the three nests -------------------------------------------------------------------------------------------

    def _map(self, bases: Sequence[Offset]) -> None:
        """No reduction: vectors along the last axis, and one narrower vector for what remains."""
        hoisted = self._hoisted(bases)
        whole = self._whole(self.vector.size, self.width)
        self.code.loop(
            0, whole, self.width, lambda i, _: self._evaluate(bases, i, self.width, hoisted) and None
        )
        self._rest(bases, whole, hoisted)

    def _reduce_lanes(self, bases: Sequence[Offset]) -> None:
        """The last axis is reduced: accumulators run along it and are folded at the end."""
        code, width, size = self.code, self.width, self.vector.size
        unrolled = 1 if isinstance(size, int) and size < 2 * _UNROLLED * width else _UNROLLED
        block = unrolled * width
        blocks, whole = self._whole(size, block), self._whole(size, width)

        def row(indices: list[Offset], carried: list[Value]) -> list[Value]:
            start = self._bases(self.inner, indices, bases)
            hoisted = self._hoisted(start)

            def vectors(position: Offset, held: list[Value], count: int) -> list[Value]:
                held = list(held)
                for u in range(count):
                    results = self._evaluate(start, code.offset(position, u * width), width, hoisted)
                    for k, (_, i, kind) in enumerate(self.reduced):
                        slot = k * unrolled + u
                        held[slot] = kind.combine(code, held[slot], self._wide(results[i], kind))
                return held

            def rest(results: list[Value], mask: Value | None, held: list[Value]) -> list[Value]:
                for k, (_, i, kind) in enumerate(self.reduced):
                    values = self._wide(results[i], kind)
                    if mask is None:
                        values = self._widened(values, kind.start)
                    else:
                        values = code.select(mask, values, splat(kind.start, dtype_of(values), width))
                    held[k * unrolled] = kind.combine(code, held[k * unrolled], values)
                return held

            carried = code.loop(0, blocks, block, lambda p, held: vectors(p, held, unrolled), carried)
            carried = code.loop(blocks, whole, width, lambda p, held: vectors(p, held, 1), carried)
            return self._rest(start, whole, hoisted, rest, carried)

        starts = [
            splat(kind.start, self._wide_dtype(operand, kind), width)
            for operand, _, kind in self.reduced
            for _ in range(unrolled)
        ]
        totals = code.nest([axis.size for axis in self.inner], row, starts)
        for k, (operand, _, kind) in enumerate(self.reduced):
            combine = functools.partial(kind.combine, code)
            vector = tree(combine, totals[k * unrolled : (k + 1) * unrolled])
            self._finish(code.fold(combine, vector), operand, kind, bases[operand])

    def _reduce_rows(self, bases: Sequence[Offset]) -> None:
        """The last axis is kept: a block of columns, some vectors wide, is collected over the rows."""
        width, size = self.width, self.vector.size
        block = _UNROLLED * width
        blocks, whole = size // block * block, size // width * width
        self.code.loop(0, blocks, block, lambda i, _: self._columns(bases, i, width, _UNROLLED))
        self.code.loop(blocks, whole, width, lambda i, _: self._columns(bases, i, width, 1))
        if whole < size:
            self._columns(bases, whole, size - whole, 1)

    def _columns(self, bases: Sequence[Offset], position: Offset, width: int, vectors: int) -> None:
        if width == self.vector.size < self.width and self._rows_are_dense():
            self._dense_rows(bases)
            return
        code = self.code
        slots = [(u, reduced) for u in range(vectors) for reduced in self.reduced]

        def row(indices: list[Offset], carried: list[Value]) -> list[Value]:
            start = self._bases(self.inner, indices, bases)
            hoisted = self._hoisted(start)
            results = [
                self._evaluate(start, code.offset(position, u * width), width, hoisted)
                for u in range(vectors)
            ]
            return [
                kind.combine(code, held, self._wide(results[u][i], kind))
                for held, (u, (_, i, kind)) in zip(carried, slots, strict=True)
            ]

        starts = [
            splat(kind.start, self._wide_dtype(operand, kind), width) for _, (operand, _, kind) in slots
        ]
        totals = code.nest([axis.size for axis in self.inner], row, starts)
        for total, (u, (operand, _, kind)) in zip(totals, slots, strict=True):
            place = code.offset(position, u * width)
            offset = code.offset(bases[operand], (place, self.vector.strides[operand]))
            self._finish(total, operand, kind, offset)

    def _rows_are_dense(self) -> bool:
        """Whether rows lie side by side in memory, in all operands that have any."""
        size, reduced = self.vector.size, [operand for operand, _, _ in self.reduced]
        return bool(self.inner) and all(
            self.vector.strides[i] == 1 and self.inner[-1].strides[i] == size
            for i in range(len(self.dtypes))
            if i not in reduced
        )

    def _dense_rows(self, bases: Sequence[Offset]) -> None:
        """Rows narrower than a vector: so many at a time as fill some vectors, whose lanes are sorted at the end."""
        code, size, width, rows = self.code, self.vector.size, self.width, self.inner[-1].size
        together = math.lcm(size, width) // size
        slots = [(v, one) for v in range(together * size // width) for one in self.reduced]

        def combine(held: Sequence[Value], place: Offset, start: Sequence[Offset], lanes: int) -> list[Value]:
            found: list[Value] = []
            for v in range(len(held) // len(self.reduced)):
                results = self._evaluate(start, code.offset(place, v * width), lanes, {})
                for _, i, kind in self.reduced:
                    found.append(kind.combine(code, held[len(found)], self._wide(results[i], kind)))
            return found

        def band(indices: list[Offset], held: list[Value]) -> list[Value]:
            start = self._bases(self.inner[:-1], indices, bases)
            whole = self._whole(rows, together)
            wide = code.loop(
                0,
                whole,
                together,
                lambda row, inner: combine(inner, code.offset((row, size)), start, width),
                held[: len(slots)],
            )
            narrow = code.loop(
                whole,
                rows,
                1,
                lambda row, inner: combine(inner, code.offset((row, size)), start, size),
                held[len(slots) :],
            )
            return [*wide, *narrow]

        starts = [
            splat(kind.start, self._wide_dtype(operand, kind), lanes)
            for lanes, many in ((width, slots), (size, [(0, one) for one in self.reduced]))
            for _, (operand, _, kind) in many
        ]
        totals = code.nest([axis.size for axis in self.inner[:-1]], band, starts)
        for k, (operand, _, kind) in enumerate(self.reduced):
            sums = totals[len(slots) + k]
            for lane in range(together * size):
                vector = totals[lane // width * len(self.reduced) + k]
                one = code.ir.extract_element(vector, lane_index(lane % width))
                place = lane_index(lane % size)
                added = kind.combine(code, code.ir.extract_element(sums, place), one)
                sums = code.ir.insert_element(sums, added, place)
            self._finish(sums, operand, kind, bases[operand])

    # -- accumulators ----------------------------------------------------------------------------------------------

    def _wide_dtype(self, operand: int, kind: Reduction) -> str:
        """Sums of many float32 keep their accuracy in float64."""
        return "float64" if kind.rounds else self.dtypes[operand]

    def _wide(self, value: Value, kind: Reduction) -> Value:
        return self.code.cast(value, "float64") if kind.rounds else value

    def _widened(self, value: Value, neutral: float) -> Value:
        """A narrow vector filled up to full width."""
        width = width_of(value)
        if width == 1:
            rest = splat(neutral, dtype_of(value), self.width)
            return self.code.ir.insert_element(rest, value, lane_index(0)) if self.width > 1 else value
        lanes = [*range(width), *([width] * (self.width - width))]
        return self.code.shuffle(value, splat(neutral, dtype_of(value), width), lanes)

    def _finish(self, total: Value, operand: int, kind: Reduction, offset: Offset) -> None:
        if kind.mean:
            count = self.code.as_float(self.code.product(self.together), dtype_of(total))
            total = self.code.divide(total, self.code.broadcast(count, width_of(total)))
        self._store(self.code.cast(total, self.dtypes[operand]), operand, offset)


@functools.lru_cache(1024)
def instructions(program: Program) -> int:
    """How many instructions a program is for a vector, whose loads and stores are not counted."""
    code = Code(ir.Module(), "counted", ())
    inputs = [ir.Constant(vector_type(dtype, 8), ir.Undefined) for dtype in program.inputs]
    emit_program(code, program, inputs, 8)
    return sum(len(block.instructions) for block in code.function.blocks)


def emit_program(code: Function, program: Program, inputs: Sequence[Value], width: int) -> list[Value]:
    """Emit the steps of a program on values of one width; returns its outputs."""
    values = list(inputs)
    for step in program.steps:
        settings = dict(step.settings)
        operands = [values[i] for i in step.operands]
        if step.op == "constant":
            values.append(splat(settings["value"], settings["dtype"], width))
        elif isinstance(step.op, str):  # "cast"
            values.append(code.cast(operands[0], settings["dtype"]))
        else:
            values.append(emit(code, step.op, operands, settings))
    return [values[i] for i in program.outputs]
