"""The one way in which passes change graphs: go through the nodes and say what stands for each.

A graph is never changed in place; nodes that stay as they are, are shared by the graph before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node, edge_type, is_recorded
from tinygraph.core.remaking import as_op as as_op
from tinygraph.core.remaking import edges as edges
from tinygraph.core.remaking import make_node as make_node
from tinygraph.core.remaking import with_inputs as with_inputs
from tinygraph.core.types import WeakType

# A node and its inputs after rewriting -> what stands for its outputs (entries), or None to keep the node.
Visit = Callable[[Node, tuple[Any, ...]], Sequence[Any] | None]


class Rewriting:
    """A graph in the course of being rewritten: what stands for each node so far, where it is not the node itself."""

    def __init__(self, graph: Graph) -> None:
        self._before = graph
        self._outputs: dict[int, Sequence[Any]] = {}
        # whether a draw or an exchange was made again: a graph has its nodes in the order in which they were made, and
        # those that stayed as they are would come before it
        self._made_again = False

    def now(self, entry: object) -> Any:
        """What stands for an entry of a node's inputs."""
        port = entry.__class__ is Port
        outputs = self._outputs.get(id(entry.node if port else entry))  # type: ignore[attr-defined]
        return entry if outputs is None else outputs[entry.index if port else 0]  # type: ignore[attr-defined]

    def entries(self, before: tuple[Any, ...]) -> tuple[Any, ...]:
        """What stands for each entry of a node's inputs, or of others; the very tuple if none was replaced."""
        known, found = self._outputs, list(before)
        replaced = False
        for i, entry in enumerate(before):
            port = entry.__class__ is Port
            outputs = known.get(id(entry.node if port else entry))
            if outputs is not None:
                found[i] = outputs[entry.index if port else 0]
                replaced = True
        return tuple(found) if replaced else before

    def put(self, node: Node, outputs: Sequence[Any]) -> None:
        """Let entries stand for a node's outputs."""
        self._outputs[id(node)] = outputs

    def keep(self, node: Node, inputs: tuple[Any, ...] | None = None) -> Node:
        """Keep a node; it is made again if its inputs (found here, if not given) or its forward node were replaced."""
        inputs = self.entries(node.inputs) if inputs is None else inputs
        before = node.place.origin
        origin = self.origin(node) if id(before) in self._outputs else before
        if inputs is node.inputs and origin is before and not (self._made_again and not node.op.repeatable):
            return node
        self._made_again = self._made_again or not node.op.repeatable
        node_now = with_inputs(node, inputs, origin)
        self._outputs[id(node)] = edges(node_now)
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
            self.entries(before.outputs),
            result=before.result,
            updates=self._values(before.updates),
            gradients=self._values(before.gradients),
            name=before.name,
        )

    def _values(self, pairs: Sequence[tuple[Leaf, Any]]) -> list[tuple[Leaf, Any]]:
        values = self.entries(tuple(value for _, value in pairs))
        return [(leaf, value) for (leaf, _), value in zip(pairs, values, strict=True)]


def rewrite(graph: Graph, visit: Visit, facts: Sequence[str] = ()) -> Graph:
    """The graph with every node replaced by what `visit` says; with `facts`, only ops that state one are visited."""
    unstated = frozenset(facts).isdisjoint
    rewriting = Rewriting(graph)
    replaced = rewriting._outputs  # until there is one, nodes stay as they are
    for node in graph.nodes:
        if not isinstance(node, Leaf):
            inputs = rewriting.entries(node.inputs) if replaced else node.inputs
            found = None if facts and unstated(node.op.facts) else visit(node, inputs)
            if found is not None:
                rewriting.put(node, found)
                rewriting._made_again = rewriting._made_again or not node.op.repeatable
            elif replaced:
                rewriting.keep(node, inputs)
    return rewriting.graph()


def uses_of(graph: Graph) -> Counter[int]:
    """How often each node is read, by its id; leaving the graph counts."""
    entries = chain(chain.from_iterable(node.inputs for node in graph.nodes), graph.ends)
    return Counter(id(one.node) if one.__class__ is Port else id(one) for one in entries)


def same_type(edge: Edge, node: Node) -> bool:
    """Whether an edge may stand for a node's only output: a Python number may not stand for an array of its dtype."""
    found = edge_type(edge)
    return found == node.types and isinstance(found, WeakType) == isinstance(node.types, WeakType)
