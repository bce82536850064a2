"""Compute once what depends on constants alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.compiler.passes.rewriting import rewrite
from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, Port

# A folded value is kept in the plan, so what would take more than this is left to be computed (or stays a view).
LARGEST_FOLD = 1 << 20  # bytes


def fold_constants(graph: Graph) -> Graph:
    """Replace nodes whose operands are all constants by their values."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        if not node.op.repeatable or any(isinstance(entry, (Node, Port)) for entry in inputs):
            return None
        if node.phase == "backward" and "summand" in node.op.facts:
            return None  # mostly zeros: `sum_parts` adds the part alone
        if sum(types.nbytes for types in node.output_types) > LARGEST_FOLD:
            return None
        value = node.op.forward(*inputs, **node.settings)
        return [np.asarray(one)[()] for one in (value if isinstance(value, tuple) else (value,))]

    return rewrite(graph, visit)
