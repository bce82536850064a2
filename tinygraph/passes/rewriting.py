"""The one way in which passes change graphs: visit the nodes in order and say what stands for each.

A graph is never changed in place; nodes that stay as they are, are shared by the graph before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import Leaf, Node, Port, edge_index, edge_node, is_recorded, next_order
from tinygraph.core.op import Op
from tinygraph.core.types import ArrayType

# A node and its inputs after rewriting -> what stands for its outputs (entries), or None to keep the node.
Visit = Callable[[Node, tuple[Any, ...]], Sequence[Any] | None]


def rewrite(graph: Graph, visit: Visit) -> Graph:
    """The graph with every node replaced by what `visit` says."""
    outputs: dict[int, Sequence[Any]] = {}
    nodes: dict[int, Node] = {}

    def now(entry: Any) -> Any:
        return outputs[id(edge_node(entry))][edge_index(entry)] if is_recorded(entry) else entry

    for node in graph.nodes:
        if isinstance(node, Leaf):
            outputs[id(node)] = (node,)
            nodes[id(node)] = node
            continue
        inputs = tuple(map(now, node.inputs))
        found = visit(node, inputs)
        if found is None:
            origin = node.place.origin
            moved = nodes.get(id(origin), origin) if origin is not None else None
            kept = node
            if moved is not origin or any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
                kept = with_inputs(node, inputs, moved)
            found = edges(kept)
        outputs[id(node)] = found
        nodes[id(node)] = edge_node(found[0]) if is_recorded(found[0]) else node
    return Graph(
        graph.inputs,
        [now(out) for out in graph.outputs],
        result=graph.result,
        updates=[(leaf, now(value)) for leaf, value in graph.updates],
        gradients=[(leaf, now(value)) for leaf, value in graph.gradients],
        name=graph.name,
    )


def edges(node: Node) -> tuple[Any, ...]:
    """The edges of all outputs of a node."""
    if isinstance(node.types, ArrayType):
        return (node,)
    return tuple(Port(node, i) for i in range(len(node.types)))


def with_inputs(node: Node, inputs: tuple[Any, ...], origin: Node | None) -> Node:
    """The same application of the same op to other inputs."""
    place = node.place if origin is node.place.origin else Place(node.place.scope, node.place.phase, origin)
    return make_node(node.op, inputs, node.settings, node.types, like=node, place=place)


def make_node(
    op: Op,
    inputs: tuple[Any, ...],
    settings: dict[str, Any],
    types: ArrayType | tuple[ArrayType, ...],
    *,
    like: Node,
    place: Place | None = None,
) -> Node:
    """A value-less node that stands where `like` stood: same place, source line and name."""
    new = object.__new__(Node)
    new.op, new.inputs, new.settings, new.types = op, inputs, settings, types
    mask = sum(1 << i for i, entry in enumerate(inputs) if is_recorded(entry))
    new.plan = op.plan(mask, len(inputs), False)
    new.saved = new.versions = None
    new.place = like.place if place is None else place
    new.code, new.offset, new.name = like.code, like.offset, like.name
    new.order = next_order()
    return new
