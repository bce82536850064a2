"""Sums of arrays that are zero but for a part, as the gradients of slices and elements are, become one array to which
the parts are added in place.

`facts` of an op (see `Op`): "summand" - the op, made for plans, that adds up such results.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tinygraph.compiler.passes.rewriting import edges, make_node, rewrite, uses_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, entry_type
from tinygraph.core.registry import ops


def sum_parts(graph: Graph) -> Graph:
    """Replace each tree of additions with such arrays at its ends."""
    uses = uses_of(graph)
    sums = {id(node): node for node in graph.nodes if _is_sum(node)}
    if not sums:
        return graph
    readers = {
        id(parent): node for node in sums.values() for parent in node.parents() if uses[id(parent)] == 1
    }

    def inner(node: Node) -> bool:
        """Whether a sum is only an operand of another one of the same pass."""
        reader = readers.get(id(node))
        return reader is not None and reader.place.phase == node.place.phase

    made: dict[int, list[tuple[Any, Any]]] = {}  # what the sums add, for those that another one reads alone

    def visit(node: Node, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if id(node) not in sums:
            return None
        terms: list[tuple[Any, Any]] = []
        for entry, now in zip(node.inputs, inputs, strict=True):
            terms += made.pop(id(entry), [(entry, now)])
        if inner(node):
            made[id(node)] = terms
            return None
        return _together(node, terms, uses)

    return rewrite(graph, visit)


def _is_sum(node: Node) -> bool:
    """Whether a node adds two arrays of its own type."""
    return (
        not isinstance(node, Leaf)
        and node.op is ops.add
        and bool(node.shape)
        and all((entry_type(one)) == node.types for one in node.inputs)
    )


def _together(node: Node, terms: list[tuple[Any, Any]], uses: Counter[int]) -> tuple[Any, ...] | None:
    """What stands for a sum of terms, each as it was and as it is now; None if it stays as it is."""
    parts = [now for before, now in terms if _is_part(now) and uses[id(before)] == 1]
    ids = set(map(id, parts))
    rest = [now for _, now in terms if id(now) not in ids]
    joint = {id(one.op.facts["summand"][0]): one.op.facts["summand"] for one in parts}
    if len(joint) != 1 or len(parts) + bool(rest) < 2:
        return None
    ((op, settings_of),) = joint.values()
    whole: list[Any] = rest[:1]
    for one in rest[1:]:
        added = make_node(node.op, (whole[0], one), {}, node.types, like=node)
        whole = [edges(added)[0]]
    settings = settings_of([(one.all_settings, len(one.inputs)) for one in parts], bool(whole))
    operands = (*whole, *(entry for one in parts for entry in one.inputs))
    return (make_node(op, operands, settings, node.types, like=node),)


def _is_part(entry: object) -> bool:
    return isinstance(entry, Node) and not isinstance(entry, Leaf) and "summand" in entry.op.facts
