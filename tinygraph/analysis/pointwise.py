"""Which results are written element by element, so that they may lie where an operand of theirs lay.

Their kernels read an element of each operand before they write the same element of a result: generated loops, and
NumPy's ufuncs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.core.node import Node


def is_pointwise(node: Node) -> bool:
    """Whether an element of the results needs only the same elements of the operands.

    The kernel reads these first, so that a result may take an operand's memory.
    """
    twin = numpy_twin(node)
    return "program" in node.op.facts or (isinstance(twin, np.ufunc) and twin.signature is None)


def is_reduced(node: Node, i: int) -> bool:
    """Whether an output of a fused node is a reduction, which is written after other elements are read."""
    loop = node.op.facts.get("program")
    return loop is not None and loop.reductions[i] is not None


def numpy_twin(node: Node) -> Any:
    """The NumPy function that computes the node into `out=`, or None."""
    twin = node.op.numpy_twin
    if twin is None:
        return None
    if isinstance(twin, np.ufunc):
        return twin if twin.nin == len(node.inputs) and twin.nout == 1 and not node.settings else None
    return (
        twin if "out" in _parameters(twin) and set(node.op.signature.settings) <= _parameters(twin) else None
    )


@functools.cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
