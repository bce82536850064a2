"""Let shape ops that change nothing vanish and those that follow one another join, by facts the ops declare.

`facts` of an op (see `Op`): "identity_on_same_type" - it is its operand when the type stays the same; "join" - two in a
row are one with other settings, or none at all.
"""

from __future__ import annotations

from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, edge_type, is_recorded
from tinygraph.passes.rewriting import make_node, rewrite, same_type


def cancel_shapes(graph: Graph) -> Graph:
    """Drop ops that leave their operand as it is and join those that follow one another."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        source = inputs[0] if inputs else None
        if not is_recorded(source):
            return None
        if node.op.facts.get("identity_on_same_type") and same_type(source, node):
            return [source]
        join = node.op.facts.get("join")
        if join is None or not isinstance(source, Node) or source.op is not node.op:
            return None
        settings = join(_settings(source), _settings(node), edge_type(source.inputs[0]).ndim)
        origin = source.inputs[0]
        unchanged = node.op.facts.get("identity_on_same_type") and same_type(origin, node)
        if settings is None or unchanged:
            return [origin]
        return [make_node(node.op, source.inputs, settings, node.types, like=node)]

    return rewrite(graph, visit)


def _settings(node: Node) -> dict[str, Any]:
    """All settings, defaults included."""
    return {name: node.op.setting(node.settings, name) for name in node.op.signature.settings}
