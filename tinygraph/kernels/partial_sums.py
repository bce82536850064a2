"""Partial sums: what each thread summed on its own, added up in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.core.types import Array
from tinygraph.kernels.builder import Function, Offset, Value
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept

_BLOCK = 256  # elements a unit of work


def total(parts: Sequence[Array]) -> Bound:
    """Add the other arrays, contiguous and of one size and dtype, into the first, in their order.

    >>> parts = [np.full(5, 1.0), np.full(5, 2.0), np.full(5, 4.0)]
    >>> total(parts)()
    >>> parts[0]
    array([7., 7., 7., 7., 7.])
    """
    kernel = _total(len(parts), parts[0].size, parts[0].dtype.name, this_cpu())
    return kernel.bind(*parts, span=1)


@kept
def _total(count: int, size: int, dtype: str, cpu: Cpu) -> Kernel:
    names = [f"part{i}" for i in range(count)]
    lanes = cpu.lanes(dtype)

    def write(code: Function) -> None:
        def add(at: Offset, width: int) -> None:
            value = code.load(code.pointers[names[0]], at, dtype, width)
            for name in names[1:]:
                value = code.add(value, code.load(code.pointers[name], at, dtype, width))
            code.store(value, code.pointers[names[0]], at)

        def unit(number: Offset) -> None:
            start = code.offset((number, _BLOCK))
            stop = code.smaller_index(code.offset(start, _BLOCK), size // lanes * lanes)

            def vector(at: Offset, _: list[Value]) -> None:
                add(at, lanes)

            code.loop(start, stop, lanes, vector)

        def rest() -> None:
            if size % lanes:
                add(size // lanes * lanes, size % lanes)

        code.units(unit)
        code.when(code.at_most(-(-size // _BLOCK), code.counts["last"]), rest)

    return compile_kernel("partial sums", names, write, splits=-(-size // _BLOCK), distinct=True, cpu=cpu)
