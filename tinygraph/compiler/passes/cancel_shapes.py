"""Let shape ops that change nothing vanish and those that follow one another join, by facts the ops declare.

`facts` of an op (see `Op`): "identity_on_same_type" - it is its operand when the type stays the same; "form" - it is
another op with other settings; "join" - two in a row are one with other settings, or none at all.
"""

from __future__ import annotations

from typing import Any

from tinygraph.compiler.passes.rewriting import make_node, rewrite, same_type
from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, edge_type, is_recorded
from tinygraph.core.types import ArrayType, WeakType


def cancel_shapes(graph: Graph) -> Graph:
    """Drop ops that leave their operand as it is and join those that follow one another."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        source = inputs[0] if inputs else None
        if not is_recorded(source):
            return None
        if node.op.facts.get("identity_on_same_type") and same_type(source, node):
            return [source]
        form = node.op.facts.get("form")
        if form is not None:
            op, settings = form(edge_type(source), node.types, node.all_settings)
            node = make_node(op, inputs, settings, node.types, like=node)
        if isinstance(source, Node) and isinstance(node.types, ArrayType):
            settings = joined(source, node, node.types)
            if settings is None:
                return [source.inputs[0]]
            if settings is not NotImplemented:
                return [make_node(node.op, source.inputs, settings, node.types, like=node)]
        return None if form is None else [node]

    return rewrite(graph, visit, ("identity_on_same_type", "form", "join"))


def joined(first: Node, then: Node, types: ArrayType) -> Any:
    """The settings of the one op that does what two in a row do, whose result is of `types`.

    None if together they do nothing, NotImplemented if they are no such ops or do more than one can.
    """
    join = then.op.facts.get("join")
    if join is None or first.op is not then.op:
        return NotImplemented
    origin = edge_type(first.inputs[0]) if is_recorded(first.inputs[0]) else None
    if origin is None or isinstance(origin, WeakType):
        return NotImplemented
    settings = join(first.all_settings, then.all_settings, origin)
    if settings is NotImplemented or not then.op.facts.get("identity_on_same_type"):
        return settings
    return None if origin == types else settings
