"""Runs of ops on single numbers, joined into one kernel call each: what makes scalar programs fast.

A micrograd-like expression of 10^5 nodes is one step of a plan this way. Without llvmlite nothing is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph import kernels
from tinygraph.compiler.choosing import BoundKernel, choose_kernel
from tinygraph.core.node import Node
from tinygraph.core.types import ArrayType
from tinygraph.kernels.lowering import Lowering
from tinygraph.kernels.program import emits

_KINDS = ("f", "d", "?", "l", "q")  # float32, float64, bool, int64; `dtype.name` is slow
_INTEGERS = frozenset("lq")
_LARGEST = 2**63


class ScalarRun:
    """The ops on single numbers since the last other step of a plan.

    Args:
        alone: generate a kernel for one op as well: among other kernels NumPy's call would cut their row in two.
    """

    def __init__(self, alone: bool = False) -> None:
        self._available, self._alone = kernels.available(), alone
        self._taken: list[tuple[Node, Any, Sequence[Any], Sequence[Any], Lowering | None]] = []

    def takes(
        self, node: Node, operands: Sequence[Any], outputs: Sequence[Any], lowering: Lowering | None = None
    ) -> bool:
        """Add a node, if it is an op on single numbers that emits something; alone, it runs as it was lowered."""
        taken = _numbers(node, operands)
        if taken is None or not self._available or not emits(node):
            return False
        self._taken.append((node, taken, operands, outputs, lowering))
        return True

    def finish(self) -> tuple[tuple[Node, ...], BoundKernel] | None:
        """The nodes and one kernel for all of them, if there are any; starts anew."""
        taken, self._taken = self._taken, []
        if not taken:
            return None
        node, _, operands, outputs, lowering = taken[-1]
        if len(taken) == 1 and not self._alone and (lowering is None or not lowering.scratch):
            return (node,), choose_kernel(node, operands, outputs, lowering)
        from tinygraph.kernels import scalars

        steps = [
            scalars.ScalarStep(
                node.op,
                numbers,
                outputs[0],
                tuple(sorted(node.settings.items())) if node.settings else (),
            )
            for node, numbers, _, outputs, _ in taken
        ]
        run = scalars.bind(steps)
        return tuple(node for node, *_ in taken), BoundKernel(run, f"generated, {len(taken)} numbers")


def _numbers(node: Node, operands: Sequence[Any]) -> tuple[Any, ...] | None:
    """The operands of an op on single numbers: arrays of one element and Python numbers; None if it is none."""
    types = node.types
    if not isinstance(types, ArrayType) or types.shape or len(operands) > 3 or types.dtype.char not in _KINDS:
        return None
    taken: list[Any] = []
    kinds = {types.dtype.char}
    for operand in operands:
        if operand.__class__ is float or (isinstance(operand, int | float) and not isinstance(operand, bool)):
            taken.append(operand)
            continue
        array = operand if isinstance(operand, np.ndarray) else np.asarray(operand)
        if array.ndim or array.dtype.char not in _KINDS:
            return None
        kinds.add(array.dtype.char)
        taken.append(array)
    numbers = [one for one in taken if not isinstance(one, np.ndarray)]
    if len(numbers) == len(taken):
        return None
    if kinds & _INTEGERS:
        return tuple(taken) if _in_integers(node, taken, numbers) else None
    return None if {"f", "d"} <= kinds else tuple(taken)


def _in_integers(node: Node, taken: Sequence[Any], numbers: Sequence[float]) -> bool:
    """Whether an op computes in int64, of int64, bools and Python ints alone."""
    emission = node.op.emission
    if emission is None or not emission.integers:
        return False
    arrays = (one for i, one in enumerate(taken) if i not in emission.conditions)
    kinds = {one.dtype.char for one in arrays if isinstance(one, np.ndarray)}
    fit = all(isinstance(one, int) and -_LARGEST <= one < _LARGEST for one in numbers)
    return fit and bool(kinds & _INTEGERS) and kinds <= _INTEGERS | {"?"}
