"""Elementwise programs as data: the steps between the inputs and outputs of a fused kernel.

No code is generated here and llvmlite is not needed, so that programs can be built, compared and used as cache keys
anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.op import Op


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
        self._inputs.append(np.dtype(dtype).name)
        return len(self._inputs) - 1

    def constant(self, value: float, dtype: DTypeLike) -> int:
        """A number."""
        return self.step("constant", dtype=np.dtype(dtype).name, value=float(value))

    def cast(self, value: int, dtype: DTypeLike) -> int:
        """A value in another dtype: a step of the kernel language itself, which every program may need."""
        return self.step("cast", value, dtype=np.dtype(dtype).name)

    def step(self, op: Op | str, *operands: int, **settings: object) -> int:
        """Apply an op to values; returns the number of the result."""
        pairs = _sorted(settings)
        self._steps.append(Instruction(op, operands, pairs, repr(pairs)))
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
