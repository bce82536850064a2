"""Elementwise programs as data: the steps between the inputs and outputs of a fused kernel.

No code is generated here and llvmlite is not needed, so that programs can be built, compared and used as cache keys
anywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.node import Node, entry_type
from tinygraph.core.op import Op
from tinygraph.kernels.array_facts import dtype_name

_NUMBERS = (int, float)  # bool is an int


class Instruction(NamedTuple):
    """One op, the numbers of its operands, and its settings.

    Attributes:
        op: an op that emits something; "constant", without operands and with the settings `dtype` and `value`; or
            "cast", with the setting `dtype`.
        operands: numbers of values.
        settings: as sorted pairs.
        words: the settings as text, in which 0.0 is not -0.0, nor 1 True: steps are keys of caches.
    """

    op: Op | str
    operands: tuple[int, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    words: str = ""

    @property
    def title(self) -> str:
        """What the step does, for tables."""
        return self.op if isinstance(self.op, str) else self.op.name


class Program(NamedTuple):
    """A small graph of elementwise ops. Values are numbered: the inputs first, then one per step.

    Attributes:
        inputs: the dtype of each input: "float32", "float64" or "bool".
        steps: in an order in which operands come before their use.
        outputs: numbers of the values wanted.
    """

    inputs: tuple[str, ...]
    steps: tuple[Instruction, ...]
    outputs: tuple[int, ...]


def excerpt(
    program: Program, given: Mapping[int, str], wanted: Sequence[int]
) -> tuple[Program, list[int]] | None:
    """The part of a program that makes some of its values from others, and the numbers of those that it reads.

    Args:
        given: values that are known, with their dtypes.
        wanted: the outputs of the part.

    Returns:
        None where an input is read that is not given.
    """
    first = len(program.inputs)
    needed, stack = set[int](), list(wanted)
    while stack:
        number = stack.pop()
        if number in needed:
            continue
        needed.add(number)
        if number not in given:
            if number < first:
                return None
            stack += program.steps[number - first].operands
    read = [number for number in given if number in needed]
    places = {number: i for i, number in enumerate(read)}
    steps: list[Instruction] = []
    for number in sorted(needed - set(read)):
        step = program.steps[number - first]
        places[number] = len(read) + len(steps)
        steps.append(step._replace(operands=tuple(places[operand] for operand in step.operands)))
    inputs = tuple(given[number] for number in read)
    return Program(inputs, tuple(steps), tuple(places[number] for number in wanted)), read


def canonical(program: Program, marks: Sequence[object]) -> tuple[Program, list[int], list[int]]:
    """A program that is the same for all that differ in the order of inputs, steps and outputs.

    Args:
        marks: of each input, what tells it from others of its dtype.

    Returns:
        The program, and which inputs and outputs of the given one are its own, in order.

    >>> from tinygraph.core.registry import ops
    >>> programs = []
    >>> for swapped in (False, True):
    ...     build = ProgramBuilder()
    ...     x, y = build.input("float32"), build.input("float32")
    ...     programs.append(build.program(build.step(ops.subtract, *((y, x) if swapped else (x, y)))))
    >>> one, other = (canonical(program, (0, 0)) for program in programs)
    >>> one[0] == other[0], one[1], other[1]
    (True, [0, 1], [1, 0])
    """
    count = len(program.inputs)
    codes = [
        zlib.crc32(f"{kind} {mark!r}".encode()) for kind, mark in zip(program.inputs, marks, strict=True)
    ]
    for step in program.steps:
        words = f"{step.title} {step.words} {[codes[i] for i in step.operands]}"
        codes.append(zlib.crc32(words.encode()))
    order = sorted(range(len(program.outputs)), key=lambda i: codes[program.outputs[i]])
    inputs: list[int] = []
    steps: list[int] = []
    seen = set[int]()
    stack = [(program.outputs[i], False) for i in reversed(order)]
    while stack:
        number, ready = stack.pop()
        if ready:
            steps.append(number)
        elif number not in seen:
            seen.add(number)
            if number < count:
                inputs.append(number)
            else:
                stack.append((number, True))
                stack += [(one, False) for one in reversed(program.steps[number - count].operands)]
    places = {number: i for i, number in enumerate((*inputs, *steps))}
    made = (program.steps[number - count] for number in steps)
    return (
        Program(
            tuple(program.inputs[i] for i in inputs),
            tuple(step._replace(operands=tuple(places[i] for i in step.operands)) for step in made),
            tuple(places[program.outputs[i]] for i in order),
        ),
        inputs,
        order,
    )


class ProgramBuilder:
    """Collects the steps of a program.

    >>> from tinygraph.core.registry import ops
    >>> build = ProgramBuilder()
    >>> x = build.input("float32")
    >>> y = build.step(ops.relu, build.step(ops.add, x, build.constant(1.0, "float32")))
    >>> build.program(y).steps[-1].title
    'relu'
    """

    def __init__(self) -> None:
        self._inputs: list[str] = []
        self._steps: list[Instruction] = []

    def input(self, dtype: DTypeLike) -> int:
        """One more input; all inputs come before the first step."""
        if self._steps:
            raise ValueError("declare all inputs of a program before its first step")
        self._inputs.append(dtype_name(dtype))
        return len(self._inputs) - 1

    def constant(self, value: float, dtype: DTypeLike) -> int:
        """A number."""
        return self.step("constant", dtype=dtype_name(dtype), value=float(value))

    def cast(self, value: int, dtype: DTypeLike) -> int:
        """A value in another dtype: a step of the kernel language itself, which every program may need."""
        return self.step("cast", value, dtype=dtype_name(dtype))

    def step(self, op: Op | str, *operands: int, **settings: object) -> int:
        """Apply an op to values; returns the number of the result."""
        pairs = _sorted(settings)
        self._steps.append(Instruction(op, operands, pairs, repr(pairs) if pairs else ""))
        return len(self._inputs) + len(self._steps) - 1

    def program(self, *outputs: int) -> Program:
        """The program with these outputs."""
        return Program(tuple(self._inputs), tuple(self._steps), outputs)


def _sorted(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(settings.items()))


class Loop(NamedTuple):
    """A program over arrays, and which of its outputs are reduced, over which axes.

    Attributes:
        reductions: for each output the reduction's name, or None where it is stored in full.
    """

    program: Program
    reductions: tuple[str | None, ...]
    axes: tuple[int, ...] = ()


def emits(node: Node) -> bool:
    """Whether what a node's op emits holds for its operands."""
    emission = node.op.emission
    if emission is None:
        return False
    numbers = [entry for i, entry in enumerate(node.inputs) if i not in emission.conditions]
    only_bools = bool(numbers) and all(entry_type(entry).dtype == np.bool_ for entry in numbers)
    # these become float64, of which NumPy makes something else, unless it is that or a truth
    if only_bools and not emission.bools and node.dtype != np.float64 and node.kind != "comparison":
        return False
    if emission.fits is None:
        return True
    types = (entry if isinstance(entry, _NUMBERS) else entry_type(entry) for entry in node.inputs)
    return emission.fits(*types, **node.all_settings)
