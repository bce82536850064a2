"""Forward and backward side by side: which forward node a backward node serves, and which way its gradients flow.

Read off the graph alone; which boxes come of it is `grouping.py`'s, where they lie `layout.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygraph.analysis.phases import is_join, phases_of
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.drawing.model.levels import common_scope
from tinygraph.drawing.page.areas import SAVED, UPDATED, Flow, Role, Value


class Lanes:
    """The passes of one graph, each a lane beside the forward pass."""

    def __init__(self, graph: Graph) -> None:
        self.phases = phases_of(graph)
        self.rank = {id(node): i for i, node in enumerate(graph.nodes)}
        self.joins = {id(node) for node in graph.nodes if self.lane(node) and is_join(node)}
        self._join_scopes = self._scopes_of_joins(graph.nodes) if self.joins else {}

    def lane(self, node: Node) -> int:
        """0 for the forward pass and updates, 1 for the backward pass, 2 for the backward pass of that."""
        return self.phases.order(node)

    def served(self, node: Node) -> Node | None:
        """The forward node that a backward one goes back to, in the end; a forward one is its own."""
        found: Node | None = node
        while found is not None and self.lane(found):
            found = found.forward_node if not isinstance(found, Leaf) else None
        return found

    def scope(self, node: Node) -> Scope:
        """The groups around a node."""
        return self._join_scopes.get(id(node), self.phases.scope(node))

    def _scopes_of_joins(self, nodes: Sequence[Node]) -> dict[int, Scope]:
        """Gradients that add up do so where what they come from has its common group.

        Not so if the tensor they belong to is made inside of one of the groups they come from: then the sum would have
        to go back into where it came from, and stays where the engine made it.
        """
        found: dict[int, Scope] = {}
        makers: dict[int, Scope] = {}  # of the tensor whose gradients a join adds, by the join
        for node in reversed(nodes):
            for parent in node.parents():
                if id(parent) in self.joins:
                    origin = self.served(node)
                    known = makers.get(id(node), origin.scope if origin is not None else ())
                    makers[id(parent)] = known
        for node in nodes:
            if id(node) not in self.joins:
                continue
            scopes = [found.get(id(parent), self.phases.scope(parent)) for parent in node.parents()]
            common, maker = common_scope(scopes), makers.get(id(node), ())
            inside = any(len(common_scope([scope, maker])) > len(common) for scope in scopes)
            found[id(node)] = node.scope if inside else common
        return found

    def flow(self, tail: Node, head: Node) -> Flow:
        """What an edge carries, and whether upwards, against the order of the forward pass."""
        lane = self.lane(head)
        if not lane:
            return Flow("gradient" if self.lane(tail) else "data")
        role: Role = "gradient" if self.lane(tail) == lane else "saved"
        before, after = self._height(tail), self._height(head)
        if before == after:
            return Flow(role, role == "gradient" and not self.phases.descends(head))
        return Flow(role, before > after)

    def _height(self, node: Node) -> float:
        """How far down a node lies: what it serves, by its place in the forward pass."""
        if node.kind == "seed":  # below all that is forward; the second pass begins where the first ends
            return float("inf") if self.lane(node) == 1 else -1.0
        origin = self.served(node)
        return self.rank.get(id(origin), 0) if origin is not None else 0

    def value(self, tail: Node, head: Node, index: int) -> Value:
        """What stands for an edge at the borders that it crosses: bundles have one place for all."""
        if self.flow(tail, head).role == "saved":
            return SAVED
        return UPDATED if head.phase == "update" != tail.phase else (id(tail), index)

    def keeper(self, tail: Node, head: Node) -> Node:
        """The node whose box what a backward node reads comes from: its own forward one, which read or made it."""
        origin = self.served(head)
        if origin is None or self.lane(tail) or self.flow(tail, head).role != "saved":
            return tail
        return origin if tail is origin or any(tail is parent for parent in origin.parents()) else tail


def gradients_in(graph: Graph, lanes: Lanes) -> tuple[dict[int, Leaf], list[tuple[Leaf, Node, int]]]:
    """Which gradients of leaves a graph gives.

    Returns:
        Position of an output -> the leaf that it is the gradient of; and (leaf, node, which output of it) of each
        gradient that the graph's own `backward()` adds to a leaf.
    """
    wanted = [leaf for leaf in graph.leaves if leaf.requires_grad and leaf.kind != "seed"]
    wanted = wanted or [leaf for leaf in graph.inputs if leaf.types.differentiable]
    found: dict[int, Leaf] = {}
    taken: set[tuple[int, int]] = set()
    for position, out in enumerate(graph.outputs):
        if not is_recorded(out) or not lanes.lane(edge_node(out)):
            continue
        lane = lanes.lane(edge_node(out))
        free = [
            leaf for leaf in wanted if (id(leaf), lane) not in taken and leaf.shape == edge_type(out).shape
        ]
        origin = lanes.served(edge_node(out))
        read = {id(parent) for parent in origin.parents()} if origin is not None else set()
        best = next((leaf for leaf in free if id(leaf) in read), next(iter(free), None))
        if best is not None:
            found[position] = best
            taken.add((id(best), lane))
    own = [
        (leaf, edge_node(edge), edge_index(edge))
        for leaf, edge in graph.gradients
        if is_recorded(edge) and edge_node(edge) not in graph.leaves
    ]
    return found, own


def sorted_by_lane(lanes: Lanes, nodes: Iterable[Node]) -> dict[tuple[int, int], list[Node]]:
    """Backward nodes by the forward node they serve (its id; 0 if there is none) and their lane; without joins."""
    found: dict[tuple[int, int], list[Node]] = {}
    for node in nodes:
        if lanes.lane(node) and not isinstance(node, Leaf) and id(node) not in lanes.joins:
            origin = lanes.served(node)
            key = (id(origin), lanes.lane(node)) if origin is not None else (id(node), 0)
            found.setdefault(key, []).append(node)
    return found
