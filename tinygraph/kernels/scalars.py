"""Programs of many scalars: a table of steps and one small native loop that carries them out.

Expressions in the manner of micrograd have 10^5 nodes of one number each. As straight-line code LLVM needs seconds for
them; a table of addresses needs none, whatever the length, and a step costs some nanoseconds. The loop has one
case for each op and choice of settings that occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.core.op import Op
from tinygraph.core.types import Array
from tinygraph.errors import DTypeError, ShapeError
from tinygraph.kernels.array_facts import address_of
from tinygraph.kernels.builder import Offset, Value, dtype_of, index, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code, emit
from tinygraph.kernels.machine_code import Bound, Kernel, compile_kernel, kept

_DTYPES = {"f": "float32", "d": "float64", "?": "bool", "l": "int64", "q": "int64"}  # `dtype.name` is slow
_MEETING = ("float32", "float64", "int64", "bool")  # a number takes the first of these that it meets
_COLUMNS = 5  # case, result, and the addresses of up to three operands
_EMBEDDED = 64  # so many different constants become part of the code; the others are read from memory


class ScalarStep(NamedTuple):
    """One op on single numbers.

    Attributes:
        op: one that emits something.
        operands: up to three arrays of one element, or Python numbers: floats, or ints beside int64.
        result: the array of one element that it writes.
        settings: the op's settings as sorted pairs.
    """

    op: Op
    operands: tuple[Array | float | int, ...]
    result: Array
    settings: tuple[tuple[str, Any], ...] = ()


class _Case(NamedTuple):
    """What steps of one kind have in common: an operand is a dtype to load, or a number.

    `words` are the operands and settings as text, in which 0.0 is not -0.0.
    """

    op: Op
    operands: tuple[str | float | int, ...]
    result: str
    settings: tuple[tuple[str, Any], ...]
    words: str


def bind(steps: Sequence[ScalarStep]) -> Bound:
    """A kernel that carries out the steps in their order, in the memory of their arrays.

    Raises:
        ShapeError: an array that is not one number.
        DTypeError: operands of different dtypes, or a result of another dtype than the op makes.
        UnknownOpError: an op that emits nothing.

    >>> from tinygraph.core.registry import ops
    >>> x, y = np.array(3.0), np.array(0.0)
    >>> run = bind([ScalarStep(ops.multiply, (x, x), y), ScalarStep(ops.add, (y, 1.0), y)])
    >>> run()
    >>> float(y)
    10.0
    """
    table = _Table()
    rows = np.array([table.row(step) for step in steps], np.int64).reshape(len(steps), _COLUMNS)
    bound = _kernel(tuple(table.cases), this_cpu()).bind(rows, counts=[len(rows)])
    return bound.holding(list(steps), table.constants)


class _Table:
    """Turns steps into rows of numbers, and remembers the cases, constants and addresses met so far."""

    def __init__(self) -> None:
        self.cases: dict[_Case, int] = {}
        self.constants: dict[tuple[str, str], Array | None] = {}
        self._places: dict[int, tuple[int, str]] = {}

    def row(self, step: ScalarStep) -> list[int]:
        """Case, result, and operands of a step."""
        result, made = self._place(step.result)
        addresses: list[int] = []
        kinds: list[str | float | int] = []
        for operand in step.operands:
            address, kind = (
                self._place(operand) if isinstance(operand, np.ndarray) else self._constant(step, operand)
            )
            addresses.append(address)
            kinds.append(kind)
        case = _Case(step.op, tuple(kinds), made, step.settings, f"{kinds} {step.settings}")
        number = self.cases.setdefault(case, len(self.cases))
        return [number, result, *addresses, *[0] * (_COLUMNS - 2 - len(addresses))]

    def _place(self, array: Array) -> tuple[int, str]:
        known = self._places.get(id(array))
        if known is None:
            if array.size != 1:
                raise ShapeError(
                    f"a scalar program got an array of shape {array.shape}; each value is one number"
                )
            if array.dtype.char not in _DTYPES:
                raise DTypeError(
                    f"a scalar program got {array.dtype}; it takes float32, float64, int64 and bool"
                )
            known = self._places[id(array)] = address_of(array), _DTYPES[array.dtype.char]
        return known

    def _constant(self, step: ScalarStep, operand: float | int) -> tuple[int, str | float | int]:
        """Address and dtype of a number that was not among the first, of those only the number."""
        arrays = [operand for operand in step.operands if isinstance(operand, np.ndarray)] or [step.result]
        dtype = min((self._place(array)[1] for array in arrays), key=_MEETING.index)
        number = operand if dtype == "int64" else float(operand)
        key = repr(number), dtype  # 0.0 is not -0.0
        if key not in self.constants:
            self.constants[key] = None if len(self.constants) < _EMBEDDED else np.array(number, dtype)
        stored = self.constants[key]
        return (0, number) if stored is None else (stored.ctypes.data, dtype)


@kept
def _kernel(cases: tuple[_Case, ...], cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        code.single_numbers = True
        code.loop(0, code.counts["steps"], 1, lambda i, _: _dispatch(code, cases, i))

    return compile_kernel("scalar program", ["table"], write, counts=["steps"], cpu=cpu)


def _dispatch(code: Code, cases: Sequence[_Case], i: Offset) -> None:
    row = [_entry(code, code.offset((i, _COLUMNS), column)) for column in range(_COLUMNS)]
    done = code.function.append_basic_block("done")
    choice = code.ir.switch(row[0], done)
    for number, case in enumerate(cases):
        block = code.function.append_basic_block(case.op.name)
        choice.add_case(index(number), block)
        code.ir.position_at_end(block)
        _carry_out(code, case, row)
        code.ir.branch(done)
    code.ir.position_at_end(done)


def _carry_out(code: Code, case: _Case, row: Sequence[Value]) -> None:
    meeting = _meeting_dtype(case)
    operands = [
        code.load(code.ir.inttoptr(address, ir.PointerType()), 0, kind)
        if isinstance(kind, str)
        else splat(kind, meeting, 1)
        for kind, address in zip(case.operands, row[2:], strict=False)
    ]
    result = emit(code, case.op, operands, dict(case.settings))
    if dtype_of(result) != case.result:
        raise DTypeError(
            f"op {case.op.name!r} makes {dtype_of(result)}; the array for its result is {case.result}"
        )
    code.store(result, code.ir.inttoptr(row[1], ir.PointerType()))


def _meeting_dtype(case: _Case) -> str:
    """The dtype of numbers among the operands; a Python float among bools is a float64."""
    numbers = [kind for kind in case.operands if isinstance(kind, str) and kind != "bool"]
    return numbers[0] if numbers else case.result if case.result != "bool" else "float64"


def _entry(code: Code, offset: Offset) -> Value:
    return code.lookup(code.pointers["table"], offset)
