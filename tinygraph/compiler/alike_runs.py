"""Runs of loops that do the same to arrays of different sizes, joined into one kernel call each: updates of parameters.

Without llvmlite nothing is joined.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph import kernels
from tinygraph.compiler.choosing import BoundKernel, bind_loop, choose_kernel
from tinygraph.core.node import Node
from tinygraph.core.types import Array
from tinygraph.kernels.array_facts import address_of
from tinygraph.kernels.lowering import Lowering
from tinygraph.kernels.program import Program, canonical


class _Loop(NamedTuple):
    """What a node's loop is made of.

    Attributes:
        program: in its canonical form.
        moving: which of its inputs are arrays and not single numbers.
        arrays: inputs, then outputs.
    """

    program: Program
    moving: tuple[bool, ...]
    arrays: tuple[Array, ...]

    @property
    def read(self) -> tuple[Array, ...]:
        return self.arrays[: len(self.program.inputs)]

    @property
    def written(self) -> tuple[Array, ...]:
        return self.arrays[len(self.program.inputs) :]


class AlikeRun:
    """The loops since the last other step of a plan that run one program on arrays of different sizes."""

    def __init__(self) -> None:
        self._available = kernels.available()
        self._taken: list[tuple[Node, _Loop, Sequence[Any], tuple[Array, ...]]] = []
        self._read: list[tuple[int, int]] = []
        self._written: list[tuple[int, int]] = []

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes so far."""
        return tuple(node for node, *_ in self._taken)

    def takes(self, node: Node, operands: Sequence[Any], outputs: tuple[Array, ...]) -> bool:
        """Add a node whose loop does what those so far do, to other arrays; a first one may be any loop over arrays."""
        found = _loop(node, operands, outputs) if self._available else None
        if found is None or (self._taken and not self._is_alike(found)):
            return False
        self._taken.append((node, found, operands, outputs))
        self._read += map(_extent, found.read)
        self._written += map(_extent, found.written)
        return True

    def finish(self) -> tuple[BoundKernel, tuple[Array, ...]] | None:
        """One kernel for all nodes and what it writes, if there are any; starts anew."""
        taken, self._taken, self._read, self._written = self._taken, [], [], []
        if not taken:
            return None
        if len(taken) == 1:
            node, _, operands, outputs = taken[0]
            loop = Lowering(functools.partial(bind_loop, node.op.facts["program"]), name="generated")
            return choose_kernel(node, operands, outputs, loop), outputs
        from tinygraph.kernels import segments

        run = segments.bind(taken[0][1].program, [one.arrays for _, one, *_ in taken])
        written = tuple(array for *_, outputs in taken for array in outputs)
        return BoundKernel(run, f"generated, {len(taken)} times"), written

    def _is_alike(self, found: _Loop) -> bool:
        first = self._taken[0][1]
        if found[:2] != first[:2]:
            return False
        read, written = (list(map(_extent, arrays)) for arrays in (found.read, found.written))
        return not (_meet(written, self._read + self._written) or _meet(read, self._written))


def _loop(node: Node, operands: Sequence[Any], outputs: Sequence[Array]) -> _Loop | None:
    """The loop of a node over contiguous arrays of one size and single numbers; None if it is none, or reduces."""
    loop = node.op.facts.get("program")
    if loop is None or any(loop.reductions):
        return None
    arrays = [np.asarray(one) for one in operands]
    size = outputs[0].size
    if any(one.size != size or not one.flags.c_contiguous for one in outputs) or size < 2:
        return None
    if any(one.size not in (1, size) or not one.flags.c_contiguous for one in arrays):
        return None
    if any(one.size == size and one.shape != outputs[0].shape for one in arrays):
        return None
    moving = tuple(one.size == size for one in arrays)
    program, inputs, order = canonical(loop.program, moving)
    chosen = (*(arrays[i] for i in inputs), *(outputs[i] for i in order))
    return _Loop(program, tuple(moving[i] for i in inputs), chosen)


def _extent(array: Array) -> tuple[int, int]:
    start = address_of(array)
    return start, start + array.nbytes


def _meet(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> bool:
    return any(a < d and c < b for a, b in some for c, d in others)
