"""Compute before values are repeated: exp of a row spread over a matrix becomes a matrix of the row's exp.

What an elementwise op makes of repeated values is repeated as they are. `facts` of an op (see `Op`): "spreads" - its
result is its operand, repeated along new axes and axes of size 1 up to the setting `shape`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.compiler.passes.rewriting import make_node, rewrite
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_type, is_recorded
from tinygraph.core.types import ArrayType, WeakType, broadcast_shapes

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def delay_broadcasts(graph: Graph) -> Graph:
    """Let elementwise ops read what was spread, and spread their results, wherever they then compute fewer elements."""
    if not any(not isinstance(node, Leaf) and node.op.facts.get("spreads") for node in graph.nodes):
        return graph

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        if node.op.kind not in ("elementwise", "comparison") or not isinstance(node.types, ArrayType):
            return None
        spread = next(filter(_is_spread, inputs), None)
        if spread is None or isinstance(node.types, WeakType) or "program" in node.op.facts:
            return None
        narrow = tuple(one.inputs[0] if _is_spread(one) else one for one in inputs)
        shape = broadcast_shapes(*map(_shape, narrow))
        if prod(shape) >= prod(node.types.shape):
            return None
        small = make_node(node.op, narrow, node.settings, ArrayType(shape, node.types.dtype), like=node)
        return [make_node(spread.op, (small,), {"shape": node.types.shape}, node.types, like=node)]

    return rewrite(graph, visit)


def _is_spread(entry: object) -> bool:
    """Whether an entry is an array that was spread; a Python number would be another operand than the array of it."""
    if not isinstance(entry, Node) or isinstance(entry, Leaf) or not entry.op.facts.get("spreads"):
        return False
    source = entry.inputs[0]
    return is_recorded(source) and not isinstance(edge_type(source), WeakType)


def _shape(entry: Numeric | None) -> tuple[int, ...]:
    return edge_type(entry).shape if is_recorded(entry) else np.shape(entry) if entry is not None else ()
