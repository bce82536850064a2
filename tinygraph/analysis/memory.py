"""Liveness: how many bytes of intermediate values are alive while each node of a graph runs.

Counted as plans place values: a value lives from its node to its last reader, outputs live to the end, and a view lies
in its operand's memory. Leaves and gradients have memory of their own, and an update that can be written where its leaf
lives needs none. Who wants fewer bytes orders nodes (`passes/schedule.py`) or repeats them (`passes/recompute.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import VIEWING, Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.types import ArrayType


class Liveness:
    """What each node of a graph makes and reads in memory. Nodes and buffers go by number.

    Attributes:
        nodes: the graph's nodes without its leaves, in order; node i is `nodes[i]`.
        sizes: bytes of each buffer; 0 where the memory is a leaf's.
        makes: the buffers that each node makes, one for each output; none if it is a view.
        reads: the buffers that each node reads, itself or through views, each once.
        readers: the nodes that read each buffer, in order.
        maker: the node that makes each buffer, -1 for a leaf's.
        lasting: the buffers that are alive to the end.
        in_place: updates that can be written into a leaf's buffer, since no later node reads it, and that buffer (-1
            if nothing reads the leaf).
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = [node for node in graph.nodes if not isinstance(node, Leaf)]
        self.sizes: list[int] = []
        self.makes: list[list[int]] = []
        self.reads: list[list[int]] = []
        self.readers: list[list[int]] = []
        self.maker: list[int] = []
        self._buffer: dict[tuple[int, int], int] = {}
        views = _Views()
        for leaf in graph.leaves:
            self._buffer[id(leaf), 0] = self._new(0, -1)
        for i, node in enumerate(self.nodes):
            self.reads.append(list(dict.fromkeys(map(self.buffer, filter(is_recorded, node.inputs)))))
            for buffer in self.reads[i]:
                self.readers[buffer].append(i)
            if views.take(node):
                self._buffer[id(node), 0] = self.buffer(node.inputs[0])
                self.makes.append([])
                continue
            self.makes.append([self._new(types.nbytes, i) for types in node.output_types])
            for index, made in enumerate(self.makes[i]):
                self._buffer[id(node), index] = made
        self.lasting = {self.buffer(end) for end in graph.ends if is_recorded(end)}
        self.in_place = dict(self._written_in_place(graph))
        for _, value in graph.gradients:
            if value is not None and self._has_own_buffer(value):
                self.sizes[self.buffer(value)] = 0
        for written in self.in_place:
            self.sizes[written] = 0

    def _new(self, nbytes: int, maker: int) -> int:
        self.sizes.append(nbytes)
        self.maker.append(maker)
        self.readers.append([])
        return len(self.sizes) - 1

    def buffer(self, edge: Edge) -> int:
        """The buffer that an edge's value lies in."""
        return self._buffer[id(edge_node(edge)), edge_index(edge)]

    def _has_own_buffer(self, value: Any) -> bool:
        node = edge_node(value) if is_recorded(value) else None
        return (
            node is not None
            and not isinstance(node, Leaf)
            and self.nodes[self.maker[self.buffer(value)]] is node
        )

    def _written_in_place(self, graph: Graph) -> Iterator[tuple[int, int]]:
        for leaf, value in graph.updates:
            if not self._has_own_buffer(value) or edge_type(value) != leaf.types:
                continue
            written, home = self.buffer(value), self._buffer.get((id(leaf), 0), -1)
            node = self.maker[written]
            last = max(self.readers[home], default=-1) if home >= 0 else -1
            if last < node or (last == node and self.nodes[node].kind == "elementwise"):
                yield written, home

    def alive(self, order: Iterable[int] | None = None) -> list[int]:
        """Bytes alive while each node runs, what it makes included.

        Args:
            order: the numbers of all nodes, each after those it reads from; as recorded by default.
        """
        sizes, left = self.sizes, [len(readers) for readers in self.readers]
        for buffer in self.lasting:
            left[buffer] += 1
        now = 0
        found: list[int] = []
        for i in range(len(self.nodes)) if order is None else order:
            for buffer in self.makes[i]:
                now += sizes[buffer]
            found.append(now)
            for buffer in self.reads[i]:
                left[buffer] -= 1
                if not left[buffer]:
                    now -= sizes[buffer]
            for buffer in self.makes[i]:
                if not left[buffer]:
                    now -= sizes[buffer]
        return found


def alive_bytes(graph: Graph) -> dict[int, int]:
    """Bytes of intermediate values alive while each node runs, by the node's id; leaves are left out.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> graph = tg.capture(lambda x: np.sum(np.exp(np.sin(x))), np.zeros(100))
    >>> list(alive_bytes(graph).values())
    [800, 1600, 808]
    """
    liveness = Liveness(graph)
    return dict(zip(map(id, liveness.nodes), liveness.alive(), strict=True))


def peak_bytes(graph: Graph) -> int:
    """The most bytes of intermediate values that are alive at once.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> peak_bytes(tg.capture(lambda x: np.exp(np.sin(x)), np.zeros(100)))
    1600
    """
    return max(Liveness(graph).alive(), default=0)


class _Views:
    """Which nodes are views, found by running shape ops on arrays of the right layout; nobody looks at the contents."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, int], np.ndarray[Any, Any]] = {}

    def take(self, node: Node) -> bool:
        """Whether a node's result shares its first operand's memory."""
        if not may_be_view(node):
            return False
        operand = self._array(node.inputs[0])
        others = [self._array(entry) if is_recorded(entry) else entry for entry in node.inputs[1:]]
        with np.errstate(all="ignore"):  # what is not a view computes with whatever the memory held
            result = node.op.forward(operand, *others, **node.settings)
        if not isinstance(result, np.ndarray) or not np.may_share_memory(result, operand):
            return False
        self._arrays[id(node), 0] = result
        return True

    def _array(self, edge: Edge) -> np.ndarray[Any, Any]:
        node, key = edge_node(edge), (id(edge_node(edge)), edge_index(edge))
        if key not in self._arrays:
            held = node.value if isinstance(node, Leaf) else None
            types = edge_type(edge)
            found = held if isinstance(held, np.ndarray) else np.empty(types.shape, types.dtype)
            self._arrays[key] = found  # never touched: costs no memory
        return self._arrays[key]


def may_be_view(node: Node) -> bool:
    """Whether to try a node on its operand's layout, to see whether its result shares that memory.

    Nothing else that it reads has a value yet, and a view keeps its dtype.
    """
    if node.op.kind not in VIEWING or not isinstance(node.types, ArrayType) or len(node.parents()) != 1:
        return False
    source = node.inputs[0] if node.inputs else None
    return is_recorded(source) and node.types.dtype == edge_type(source).dtype
