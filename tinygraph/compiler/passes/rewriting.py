"""The one way in which passes change graphs: go through the nodes and say what stands for each.

A graph is never changed in place; nodes that stay as they are, are shared by the graph before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import (
    Edge,
    Leaf,
    Node,
    Port,
    edge_index,
    edge_node,
    edge_type,
    is_recorded,
    next_order,
)
from tinygraph.core.op import Op, Plan
from tinygraph.core.types import ArrayType, WeakType

# A node and its inputs after rewriting -> what stands for its outputs (entries), or None to keep the node.
Visit = Callable[[Node, tuple[Any, ...]], Sequence[Any] | None]


class Rewriting:
    """A graph in the course of being rewritten: what stands for each node so far, where it is not the node itself."""

    def __init__(self, graph: Graph) -> None:
        self._before = graph
        self._outputs: dict[int, Sequence[Any]] = {}

    def now(self, entry: Any) -> Any:
        """What stands for an entry of a node's inputs."""
        if not is_recorded(entry):
            return entry
        outputs = self._outputs.get(id(edge_node(entry)))
        return entry if outputs is None else outputs[edge_index(entry)]

    def inputs(self, node: Node) -> tuple[Any, ...]:
        """A node's inputs after rewriting; the very tuple if none was replaced."""
        known = self._outputs
        for entry in node.inputs:
            if (id(entry.node) if entry.__class__ is Port else id(entry)) in known:
                return tuple(map(self.now, node.inputs))
        return node.inputs

    def put(self, node: Node, outputs: Sequence[Any]) -> None:
        """Let entries stand for a node's outputs."""
        self._outputs[id(node)] = outputs

    def keep(self, node: Node, inputs: tuple[Any, ...] | None = None) -> Node:
        """Keep a node; it is made again if its inputs (found here, if not given) or its forward node were replaced."""
        inputs = self.inputs(node) if inputs is None else inputs
        origin = self.origin(node)
        if inputs is node.inputs and origin is node.place.origin:
            return node
        node_now = with_inputs(node, inputs, origin)
        self.put(node, edges(node_now))
        return node_now

    def origin(self, node: Node) -> Node | None:
        """The node that a backward node serves, after rewriting; itself where nothing but a constant is left of it."""
        before = node.place.origin
        outputs = self._outputs.get(id(before)) if before is not None else None
        return edge_node(outputs[0]) if outputs is not None and is_recorded(outputs[0]) else before

    def graph(self) -> Graph:
        """The rewritten graph; the graph itself if nothing was replaced."""
        before = self._before
        if not self._outputs:
            return before
        return Graph(
            before.inputs,
            [self.now(out) for out in before.outputs],
            result=before.result,
            updates=[(leaf, self.now(value)) for leaf, value in before.updates],
            gradients=[(leaf, self.now(value)) for leaf, value in before.gradients],
            name=before.name,
        )


def rewrite(graph: Graph, visit: Visit) -> Graph:
    """The graph with every node replaced by what `visit` says."""
    rewriting = Rewriting(graph)
    for node in graph.nodes:
        if not isinstance(node, Leaf):
            inputs = rewriting.inputs(node)
            found = visit(node, inputs)
            if found is None:
                rewriting.keep(node, inputs)
            else:
                rewriting.put(node, found)
    return rewriting.graph()


def uses_of(graph: Graph) -> Counter[int]:
    """How often each node is read, by its id; leaving the graph counts."""
    uses: Counter[int] = Counter()
    for node in graph.nodes:
        uses.update(map(id, node.parents()))
    uses.update(id(edge_node(end)) for end in graph.ends if is_recorded(end))
    return uses


def same_type(edge: Edge, node: Node) -> bool:
    """Whether an edge may stand for a node's only output: a Python number may not stand for an array of its dtype."""
    found = edge_type(edge)
    return found == node.types and isinstance(found, WeakType) == isinstance(node.types, WeakType)


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
    new.plan = _plan(op, inputs, like)
    new.saved = new.versions = None
    new.place = like.place if place is None else place
    new.code, new.offset, new.name = like.code, like.offset, like.name
    new.order = next_order()
    return new


def _plan(op: Op, inputs: tuple[Any, ...], like: Node) -> Plan:
    """The live rules: those of the operands that still are recorded, and wanted gradients where the op is the same."""
    same = op is like.op and len(inputs) == len(like.inputs)
    if same and all(
        now is before or is_recorded(now) for now, before in zip(inputs, like.inputs, strict=True)
    ):
        return like.plan
    mask = 0
    for i, entry in enumerate(inputs):
        mask |= is_recorded(entry) << i
    if same:
        mask &= like.plan.mask
        if mask == like.plan.mask:
            return like.plan
    return op.plan(mask if like.plan.mask else 0, len(inputs), False)
