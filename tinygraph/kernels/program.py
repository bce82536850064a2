"""Elementwise programs as data: the steps between the inputs and outputs of a fused kernel.

No code is generated here and nothing is imported but NumPy's dtypes, so that programs can be built, compared and
used as cache keys anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Step(NamedTuple):
    """One op: its name, the numbers of its operands, its settings as sorted pairs.

    The op `constant` has no operands and the settings `dtype` and `value`; `cast` has the setting `dtype`.
    """

    op: str
    operands: tuple[int, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


class Program(NamedTuple):
    """A small graph of elementwise ops. Values are numbered: the inputs first, then one per step.

    Attributes:
        inputs: the dtype of each input: "float32", "float64" or "bool".
        steps: in an order in which operands come before their use.
        outputs: numbers of the values wanted.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


class ProgramBuilder:
    """Collects the steps of a program.

    >>> build = ProgramBuilder()
    >>> x = build.input("float32")
    >>> y = build.step("relu", build.step("add", x, build.constant(1.0, "float32")))
    >>> build.program(y).steps[-1]
    Step(op='relu', operands=(2,), settings=())
    """

    def __init__(self) -> None:
        self._inputs: list[str] = []
        self._steps: list[Step] = []

    def input(self, dtype: Any) -> int:
        """One more input; all inputs come before the first step."""
        if self._steps:
            raise ValueError("declare all inputs of a program before its first step")
        self._inputs.append(np.dtype(dtype).name)
        return len(self._inputs) - 1

    def constant(self, value: float, dtype: Any) -> int:
        """A number."""
        return self.step("constant", dtype=np.dtype(dtype).name, value=float(value))

    def step(self, op: str, *operands: int, **settings: Any) -> int:
        """Apply an op to values; returns the number of the result."""
        self._steps.append(Step(op, operands, _sorted(settings)))
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
