"""How values may lie in memory, and what an op's `lower` rule answers: the types of the door to compiled kernels.

Which value gets which layout, and where, is decided by the plan (`tinygraph.compiler`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array, ArrayType
from tinygraph.kernels.array_facts import address_of
from tinygraph.kernels.program import Program

Run = Callable[[], Any]
Bind = Callable[[Sequence[Any], Sequence[Array], Sequence[Array]], Run | None]


class Layout(NamedTuple):
    """How the elements of a value lie in memory.

    Attributes:
        order: its axes, from the outermost to the innermost in memory.
        halo: for each axis, elements of memory before and after it that hold zeros; whoever wants a halo may read them.

    >>> channels_last(4).order
    (0, 2, 3, 1)
    """

    order: tuple[int, ...]
    halo: tuple[tuple[int, int], ...]

    @property
    def has_halo(self) -> bool:
        return any(map(any, self.halo))

    def block_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the memory of a value, halo included, in the order of memory."""
        return tuple(shape[axis] + sum(self.halo[axis]) for axis in self.order)

    def size(self, shape: Sequence[int]) -> int:
        """Elements of memory of a value, halo included."""
        return math.prod(self.block_shape(shape))

    def inside(self, block: Array, shape: Sequence[int]) -> Array:
        """The value in a block of memory, as a view of the value's own shape."""
        block = block.reshape(self.block_shape(shape))
        within = (slice(self.halo[i][0], self.halo[i][0] + shape[i]) for i in self.order)
        index: tuple[Any, ...] = (*within, ...)  # the dots keep what has no axes an array
        inner: Array = block[index]
        return inner.transpose(np.argsort(self.order))

    def around(self, value: Array) -> Array:
        """The block of memory that `inside` was given: the value with its halo, in the order of memory."""
        size = value.dtype.itemsize
        shape = self.block_shape(value.shape)
        steps = [size * math.prod(shape[i + 1 :]) for i in range(len(shape))]
        before = sum(step * self.halo[axis][0] for step, axis in zip(steps, self.order, strict=True))
        return np.asarray(_Memory(value, address_of(value) - before, shape))

    def wider(self, other: Layout) -> Layout:
        """The layout of the same order whose halo is enough for both."""
        pairs = zip(self.halo, other.halo, strict=True)
        return self._replace(halo=tuple((max(a[0], b[0]), max(a[1], b[1])) for a, b in pairs))

    def without_halo(self) -> Layout:
        """The same order, and no more memory than the elements."""
        return self._replace(halo=((0, 0),) * len(self.order))

    def covers(self, other: Layout) -> bool:
        """Whether a value in this layout can be read by who asked for the other."""
        return self.order == other.order and all(
            a[0] >= b[0] and a[1] >= b[1] for a, b in zip(self.halo, other.halo, strict=True)
        )


class _Memory:
    """An array's memory under another address and shape, in NumPy's array interface; keeps the array alive."""

    def __init__(self, owner: Array, address: int, shape: tuple[int, ...]) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (address, False), "shape": shape, "typestr": owner.dtype.str, "version": 3,
        }  # fmt: skip


@functools.cache
def rows(ndim: int) -> Layout:
    """The layout of NumPy's own arrays: the last axis innermost."""
    return Layout(tuple(range(ndim)), ((0, 0),) * ndim)


def channels_last(ndim: int, halo: Sequence[tuple[int, int]] = ()) -> Layout:
    """Images (batch, channels, *spatial) with all channels of a pixel together, and a halo around each image."""
    pairs = tuple(halo) or ((0, 0),) * (ndim - 2)
    return Layout((0, *range(2, ndim), 1), ((0, 0), (0, 0), *pairs))


class Types(NamedTuple):
    """The types of a node's operands (an `ArrayType`, or None where an operand is absent) and of its results."""

    inputs: tuple[Any, ...]
    outputs: tuple[ArrayType, ...]


class Layouts(NamedTuple):
    """The layouts of a node's operands and results, None where the plan does not decide it: any strides."""

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout | None, ...]


class NumpyAlone(NamedTuple):
    """In place of a CPU where no kernels are generated.

    Attributes:
        exact: leave algorithms out that round more than sums do (Winograd's).
        measured: nothing is; there is one way only.
    """

    exact: bool = False
    measured: bool = False


class Epilogue(NamedTuple):
    """What happens to the elements of a result before they are written: a program whose first input is the result.

    Attributes:
        program: its outputs are what is written, of the result's shape and dtype.
        shapes: of the operands that its further inputs read, which broadcast against the result.
        layouts: of these, None where the plan does not decide it.
        written: the layouts of its outputs.
    """

    program: Program
    shapes: tuple[tuple[int, ...], ...]
    layouts: tuple[Layout | None, ...]
    written: tuple[Layout | None, ...]


class Prepared(NamedTuple):
    """Scratch memory of a kernel that holds only what its first calls make of one operand: packed weights.

    Where a plan does not write the operand, it keeps that memory, and the calls run only when the operand has changed.

    Attributes:
        operand: its number.
        scratch: numbers of the scratch arrays.
    """

    operand: int
    scratch: tuple[int, ...]


class Lowering(NamedTuple):
    """What a `lower` rule answers: a kernel for these types, not yet bound to memory.

    Attributes:
        bind: called once with the operands, the results and the scratch arrays (bytes), all of which stay where they
            are; returns a call without arguments, or None if the arrays' strides are not for it. A result is written
            whole by each run.
        layouts: what the kernel would rather have; the plan gives it where it can, and asks again.
        scratch: bytes of memory that only a run itself needs, one entry an array.
        name: of the kernel, for tables; by default the op's.
        with_epilogue: the same with an epilogue, which reads its operands behind the others, or None where the kernel
            kernel does not take this one. A bind of None then says that it does not take these arrays.
        notes: what a reader of the plan should know of it, such as a bound on its errors.
        prepared: scratch memory that may be kept from run to run.
    """

    bind: Bind
    layouts: Layouts | None = None
    scratch: tuple[int, ...] = ()
    name: str = ""
    with_epilogue: Callable[[Epilogue], Lowering | None] | None = None
    notes: tuple[str, ...] = ()
    prepared: Prepared | None = None


class Check:
    """Looks, after generated kernels ran, whether one of them met something wrong, and raises what is to be said.

    In a plan nothing behind it has run then.

    Attributes:
        flag: an int64 array of one element, which a kernel sets to another number than 0.
        complain: called where it is set; it finds out more, and raises.
    """

    __slots__ = ("complain", "flag")

    def __init__(self, flag: Array, complain: Run) -> None:
        self.flag, self.complain = flag, complain

    def __call__(self) -> None:
        if self.flag[0]:
            self.flag[0] = 0
            self.complain()


class InOrder:
    """One call for several.

    Attributes:
        calls: what is called, in order, none of them several calls again.
    """

    __slots__ = ("calls",)

    def __init__(self, calls: Sequence[Run]) -> None:
        self.calls: tuple[Run, ...] = tuple(part for call in calls for part in calls_of(call))

    def __call__(self) -> None:
        for call in self.calls:
            call()


def calls_of(run: Run) -> tuple[Run, ...]:
    """The single calls that a call is made of."""
    return run.calls if isinstance(run, InOrder) else (run,)


def in_order(*calls: Run) -> Run:
    """One call for several."""
    return InOrder(calls)
