"""Replace an op that takes its operand apart by one for each part, which may lie in the operand's memory.

`facts` of an op (see `Op`): "parts" - the ops, with their settings, that make its outputs one by one.
"""

from __future__ import annotations

from typing import Any

from tinygraph.compiler.passes.rewriting import make_node, rewrite
from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, edge_type, is_recorded


def take_parts(graph: Graph) -> Graph:
    """Let each part be taken on its own."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        if not is_recorded(inputs[0]):
            return None
        wanted = node.op.facts["parts"](edge_type(inputs[0]), node.output_types, node.all_settings)
        if len(wanted) > MOST_PARTS:
            return None
        return [
            make_node(op, inputs, settings, types, like=node)
            for (op, settings), types in zip(wanted, node.output_types, strict=True)
        ]

    return rewrite(graph, visit, ["parts"])


MOST_PARTS = 64  # beyond, one copy of everything is less than a node each
