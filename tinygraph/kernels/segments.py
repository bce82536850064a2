"""One elementwise program over many groups of arrays: the updates of all parameters of a model in one loop.

A table has a row for each block of elements: where the block starts in each array, and how many elements it has. Sizes
are no part of the code, so that one kernel serves every model, and threads share the blocks of all arrays at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from tinygraph.core.types import Array
from tinygraph.kernels.array_facts import address_of
from tinygraph.kernels.builder import INDEX, POINTER, Offset, Value
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program, lanes_of_program
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

_BLOCK = 4096  # elements of a row of the table


def bind(program: Program, segments: Sequence[Sequence[Array]]) -> Bound:
    """A kernel that runs a program on each segment.

    Args:
        program: without reductions.
        segments: inputs, then outputs of each: contiguous arrays of one size, or inputs of a single element, at the
            same positions in all segments. No output overlaps with another segment's arrays.

    >>> from tinygraph.core.registry import ops
    >>> from tinygraph.kernels.program import ProgramBuilder
    >>> build = ProgramBuilder()
    >>> rate, gradient = build.input("float64"), build.input("float64")
    >>> scaled = build.program(build.step(ops.multiply, rate, gradient))
    >>> rate, results = np.array(2.0), [np.zeros(3), np.zeros(5)]
    >>> bind(scaled, [(rate, np.ones(3), results[0]), (rate, np.arange(5.0), results[1])])()
    >>> print(*results)
    [2. 2. 2.] [0. 2. 4. 6. 8.]
    """
    outputs = len(program.outputs)
    moving = tuple(any(segment[i].size > 1 for segment in segments) for i in range(len(segments[0])))
    rows: list[list[int]] = []
    for segment in segments:
        size = segment[-outputs].size
        places = [address_of(one) for one in segment]
        steps = [one.itemsize if moves else 0 for one, moves in zip(segment, moving, strict=True)]
        for first in range(0, size, _BLOCK):
            starts = [place + first * step for place, step in zip(places, steps, strict=True)]
            rows.append([*starts, min(_BLOCK, size - first)])
    dtypes = tuple(one.dtype.name for one in segments[0])
    kernel = _kernel(program, moving, dtypes, this_cpu())
    table = np.array(rows, np.int64).reshape(-1, len(moving) + 1)
    return kernel.bind(table, span=len(table)).holding(
        reached=[one for segment in segments for one in segment]
    )


@kept
def _kernel(program: Program, moving: tuple[bool, ...], dtypes: tuple[str, ...], cpu: Cpu) -> Kernel:
    width, columns = lanes_of_program(program, cpu), len(moving) + 1
    inputs = len(program.inputs)

    def write(code: Code) -> None:
        def unit(row: Offset) -> None:
            numbers = [
                code.lookup(code.pointers["table"], code.offset((row, columns), i)) for i in range(columns)
            ]
            places = [code.ir.inttoptr(number, POINTER) for number in numbers[:-1]]
            fixed = {i: code.load(places[i], 0, dtypes[i]) for i in range(inputs) if not moving[i]}

            def some(at: Offset, lanes: int) -> None:
                values = [
                    code.broadcast(fixed[i], lanes)
                    if i in fixed
                    else code.load(places[i], at, dtypes[i], lanes)
                    for i in range(inputs)
                ]
                for place, result in zip(
                    places[inputs:], emit_program(code, program, values, lanes), strict=True
                ):
                    code.store(result, place, at)

            def vectors(at: Offset, _: list[Value]) -> None:
                some(at, width)

            def singles(at: Offset, _: list[Value]) -> None:
                some(at, 1)

            whole = code.ir.and_(numbers[-1], ir.Constant(INDEX, -width))
            code.loop(0, whole, width, vectors)
            code.loop(whole, numbers[-1], 1, singles)

        code.units(unit)

    title = "+".join(dict.fromkeys(step.title for step in program.steps if step.op != "constant")) or "copies"
    return compile_kernel(f"{title} of many", ["table"], write, splits=1, cpu=cpu)
