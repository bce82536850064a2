"""Which pass of a program a node belongs to: forward, backward, the backward of that, or the update of a parameter.

Read off the graph alone, so captured training steps and passes that were added for a picture are told apart alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tinygraph.analysis.kept import orders_of as orders_of
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, edge_node, is_recorded
from tinygraph.core.registry import ops


@dataclass(slots=True)
class Phases:
    """What passes the nodes of a graph belong to.

    Attributes:
        orders: id of a node of a backward pass -> 1, or 2 in the backward pass of a backward pass.
        scopes: id of a node that updates a state -> the group of everything that makes its new value.
        updated: such a group -> the parameter or other state whose new value it makes.
    """

    orders: dict[int, int] = field(default_factory=dict)
    scopes: dict[int, Scope] = field(default_factory=dict)
    updated: dict[Scope, Leaf] = field(default_factory=dict)

    def order(self, node: Node) -> int:
        """0 in the forward pass, 1 in the backward pass, 2 in the backward pass of that."""
        return self.orders.get(id(node), 0)

    def descends(self, node: Node) -> bool:
        """Whether a node differentiates one of a backward pass, so that its gradients flow with the forward pass."""
        origin = node.forward_node
        return origin is not None and self.order(node) > 1 and self.order(origin) == 1

    def scope(self, node: Node) -> Scope:
        return self.scopes.get(id(node), node.scope)

    def is_update(self, scope: Scope) -> bool:
        return scope[:1] in self.updated


def phases_of(graph: Graph) -> Phases:
    """The passes in a graph."""
    found = Phases(orders_of(graph.nodes))
    taken: dict[int, int] = {}  # number of the update that first needed a node
    shared: set[int] = set()
    targets = [(leaf, edge_node(edge)) for leaf, edge in graph.updates if is_recorded(edge)]
    targets.sort(key=lambda pair: pair[0].kind != "parameter")  # a state is part of its parameter's update
    for number, (_, end) in enumerate(targets):
        if id(end) in taken:
            continue
        waiting = [end]
        while waiting:
            node = waiting.pop()
            if node.phase != "update" or taken.get(id(node)) == number:
                continue
            if id(node) in taken:
                shared.add(id(node))
                continue
            taken[id(node)] = number
            waiting += node.parents()
    groups: dict[int, Scope] = {}
    for key, number in taken.items():
        if key not in shared:
            leaf = targets[number][0]
            scope = groups.setdefault(number, ((f"update {leaf.name or leaf.kind}", number),))
            found.scopes[key], found.updated[scope] = scope, leaf
    return found


def is_join(node: Node) -> bool:
    """Whether a backward node adds up the gradients of several uses of a tensor, rather than being part of a rule.

    A rule's own ops add what the rule itself made; what came before it, it is given as the cotangent.
    """
    origin = node.forward_node
    if origin is None or node.phase != "backward" or node.op is not ops.add or len(node.parents()) != 2:
        return False
    before = node.parents()[0]
    if before.phase != "backward" or before.kind == "seed":
        return False
    reads = [id(parent) for parent in origin.parents()]
    return before.forward_node is not origin or len(set(reads)) < len(reads)
