"""What stays in memory for a backward pass: buffers, each counted once, and which op keeps it.

One answer for overlays, pages, pictures, summaries and tables of plans. Views count as the memory they lie in;
parameters, inputs and data, which are there anyway, and views of them count nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tinygraph.analysis.memory import Memory
from tinygraph.core.graph import Graph
from tinygraph.core.node import VIEWING, Edge, Leaf, Node, Port, edge_node, edge_type, is_recorded
from tinygraph.core.stand_ins import lies_in, makes_views, run_on, zeros_like
from tinygraph.core.types import ArrayType


class Kept:
    """What a graph keeps for its backward passes; of a graph without one, what the ops' rules ask for.

    Rules are asked with respect to the leaves that require gradients, or to the inputs if none does.

    Attributes:
        nbytes: of all that is kept.
        by_node: id of a node -> bytes that it keeps. What several ops keep counts at the last of them, so that the
            amounts add up to `nbytes`; a node all of whose values count elsewhere is not in it. Nor are those of the
            last pass, after which nothing needs to be kept.
        carried: id of a node -> bytes that it keeps, whoever else keeps them too: what lines from it to its pass say.
        buffers: the buffers that are kept, by their numbers in `memory`.
        memory: the graph's buffers.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> graph = tg.capture(lambda x: np.sum(np.exp(x) ** 2), np.zeros(100))
    >>> kept = Kept(graph)
    >>> kept.nbytes, [kept.by_node.get(id(node)) for node in graph.nodes if node.op is not None]
    (800, [None, 800, 0])
    """

    def __init__(self, graph: Graph) -> None:
        self.memory = memory = Memory(graph)
        self._moved = _views_of_several(memory)
        orders = orders_of(graph.nodes)
        last = max(orders.values(), default=-1)
        self.by_node: dict[int, int] = {
            id(node): 0
            for node in graph.nodes
            if not isinstance(node, Leaf) and orders.get(id(node), 0) != last
        }
        place = {id(node): i for i, node in enumerate(graph.nodes)}
        keepers: dict[int, Node] = {}
        own: dict[int, set[int]] = {}
        found = _read_later(memory.nodes, orders) if orders else _asked_for(graph, memory.nodes)
        for node, edge in found:
            buffer = self._buffer(edge)
            if not self._size(buffer):
                continue
            self.by_node.pop(id(node), None)
            own.setdefault(id(node), set()).add(buffer)
            before = keepers.get(buffer)
            if before is None or place[id(before)] < place[id(node)]:
                keepers[buffer] = node
        for buffer, node in keepers.items():
            self.by_node[id(node)] = self.by_node.get(id(node), 0) + self._size(buffer)
        self.carried = {key: sum(map(self._size, buffers)) for key, buffers in own.items()}
        self.buffers = frozenset(keepers)
        self.nbytes = sum(map(self._size, keepers))

    def bytes_of(self, edges: Iterable[Edge]) -> int:
        """Bytes of what is kept of the values on some edges, each buffer once."""
        return sum(map(self._size, self.buffers & set(map(self._buffer, edges))))

    def _buffer(self, edge: Edge) -> int:
        buffer = self.memory.buffer(edge)
        return self._moved.get(buffer, buffer)

    def _size(self, buffer: int) -> int:
        return self.memory.sizes[buffer]


def orders_of(nodes: Sequence[Node]) -> dict[int, int]:
    """The order of every node of a backward pass, by id.

    A node is one order above what it differentiates, and of no smaller order than the gradients it is made from. What
    a rule makes of forward values alone is of the order of what the rule makes of it.
    """
    orders: dict[int, int] = {}
    for node in nodes:
        if node.phase == "backward":
            origin = node.forward_node
            made_from = (orders.get(id(parent), 0) for parent in node.parents() if parent.phase == "backward")
            orders[id(node)] = max(1 + orders.get(id(origin), 0), *made_from, 0)
    for node in reversed(nodes) if orders else ():
        for parent in node.parents() if id(node) in orders else ():
            if parent.kind == "seed":
                orders[id(parent)] = min(orders.get(id(parent), 2), orders[id(node)])
            elif id(parent) in orders and parent.forward_node is node.forward_node:
                orders[id(parent)] = max(orders[id(parent)], orders[id(node)])
    for node in nodes:
        if node.kind == "seed":
            orders.setdefault(id(node), 1)
    return orders


def _read_later(nodes: Sequence[Node], orders: dict[int, int]) -> Iterator[tuple[Node, Edge]]:
    """What nodes of a pass read of the passes before it: (the op that keeps it for them, edge)."""
    for node in nodes:
        order = orders.get(id(node), 0)
        for entry in node.inputs if order else ():
            if not is_recorded(entry) or orders.get(id(edge_node(entry)), 0) >= order:
                continue
            source, origin = edge_node(entry), node.forward_node
            if isinstance(source, Leaf):
                continue
            keeps = origin is not None and (
                origin is source or any(parent is source for parent in origin.parents())
            )
            yield origin if keeps and origin is not None else source, entry


def _asked_for(graph: Graph, nodes: Sequence[Node]) -> Iterator[tuple[Node, Edge]]:
    """What the rules of nodes ask for that a gradient of the leaves needs: (node, edge)."""
    wanted = [leaf for leaf in graph.leaves if leaf.requires_grad]
    reached = set(map(id, wanted or graph.inputs))
    for node in nodes:
        needed = sum(
            1 << i
            for i, entry in enumerate(node.inputs)
            if is_recorded(entry) and id(edge_node(entry)) in reached and edge_type(entry).differentiable
        )
        mask = node.live_rules.mask & needed
        if not mask or not any(types.differentiable for types in node.output_types):
            continue
        reached.add(id(node))
        rules = node.op.live_rules(mask, len(node.inputs), False)
        for i in range(len(node.output_types)) if rules.out else ():
            yield node, Port(node, i)
        for position in rules.values:
            if is_recorded(node.inputs[position]):
                yield node, node.inputs[position]


def _views_of_several(memory: Memory) -> dict[int, int]:
    """Buffers of ops with several outputs that, in a program that ran, are views of their operand: -> its buffer.

    A plan gives such outputs memory of their own, so that they are no views for `Memory`.
    """
    found: dict[int, int] = {}
    for node in memory.nodes:
        several = not isinstance(node.types, ArrayType) and node.saved is not None and makes_views(node.op)
        if (
            not several
            or node.kind not in VIEWING
            or len(node.parents()) != 1
            or not is_recorded(node.inputs[0])
        ):
            continue
        operand = zeros_like(edge_type(node.inputs[0]))
        source = memory.buffer(node.inputs[0])
        for i, result in enumerate(run_on(node.op, operand, node.inputs[1:], node.settings)):
            if lies_in(result, operand):
                found[memory.buffer(Port(node, i))] = found.get(source, source)
    return found
