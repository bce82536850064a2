"""Which values of a plan share memory: views of another value, results in the memory of an operand, fixed places.

Decided here before anything is placed in the arena (`memory.py`); the plan (`plan.py`) makes the arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tinygraph.compiler.arena import SMALL
from tinygraph.compiler.choosing import is_pointwise, is_reduced
from tinygraph.compiler.layouts import Key, key_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_node, edge_type, is_recorded
from tinygraph.core.types import ArrayType
from tinygraph.kernels.lowering import Layout


class Storage:
    """The owner of each value's memory, and until when it is needed.

    Attributes:
        owners: for each value the value whose memory it uses; for most, itself.
        last: for each owner the position of the last node that reads it; `len(nodes)` where it leaves the graph.
    """

    def __init__(self, graph: Graph, nodes: Sequence[Node], views: Mapping[Key, Key]) -> None:
        self._nodes, self._views = nodes, views
        self.owners: dict[Key, Key] = dict(views)
        for leaf in graph.leaves:
            self.owners.setdefault((id(leaf), 0), (id(leaf), 0))
        for node in nodes:
            for i in range(len(node.output_types)):
                self.owners.setdefault((id(node), i), (id(node), i))
        self.last: dict[Key, int] = {}
        for position, node in enumerate(nodes):
            for i in range(len(node.output_types)):
                self.last.setdefault(self.owners[id(node), i], position)
            for entry in node.inputs:
                if is_recorded(entry):
                    self.last[self.owners[key_of(entry)]] = position
        for end in graph.ends:
            if is_recorded(end):
                self.last[self.owners[key_of(end)]] = len(nodes)
        self._position = {id(node): position for position, node in enumerate(nodes)}

    def owner(self, key: Key) -> Key:
        """The value whose memory a value uses in the end."""
        while self.owners[key] != key:
            key = self.owners[key]
        return key

    def owns(self, key: Key) -> bool:
        """Whether a value has memory of its own."""
        return self.owners[key] == key

    def can_write_over(self, leaf: Leaf, value: Any) -> bool:
        """Whether an update can be written where its state lives, because nothing reads the old value after that.

        `last` of a state that leaves the graph, as a result or as another's update, is behind all nodes.
        """
        node, key, state = edge_node(value), key_of(value), (id(leaf), 0)
        if isinstance(node, Leaf) or not self.owns(key) or edge_type(value) != leaf.types:
            return False
        if is_reduced(node, key[1]):
            return False
        position, read = self._position[id(node)], self.last.get(state, -1)
        return read < position or (read == position and is_pointwise(node) and self._reads_only(node, state))

    def share_in_place(self, layouts: Mapping[Key, Layout], fixed: Collection[Key]) -> None:
        """Let results of pointwise nodes take the memory of an operand that nothing reads after them.

        Args:
            layouts: of the values that do not lie in rows.
            fixed: values with a place of their own.
        """
        for position, node in enumerate(self._nodes):
            if not is_pointwise(node):
                continue
            taken: set[Key] = set()
            for i, types in enumerate(node.output_types):
                key = (id(node), i)
                if types.nbytes <= SMALL or key in fixed or not self.owns(key) or is_reduced(node, i):
                    continue
                source = next(self._given_up(node, position, types, layouts, key, taken), None)
                if source is not None:
                    owner = self.owner(source)
                    taken.add(owner)
                    self.owners[key] = owner
                    self.last[owner] = max(self.last.pop(key), position)

    def _given_up(
        self,
        node: Node,
        position: int,
        types: ArrayType,
        layouts: Mapping[Key, Layout],
        key: Key,
        taken: set[Key],
    ) -> Iterator[Key]:
        """Operands whose memory a result of a pointwise node may take."""
        for entry in node.inputs:
            if not is_recorded(entry) or isinstance(edge_node(entry), Leaf) or edge_type(entry) != types:
                continue
            source = key_of(entry)
            owner = self.owner(source)
            if (
                self.last[owner] == position
                and owner not in taken
                and source not in self._views
                and layouts.get(source) == layouts.get(key)
                and self._reads_only(node, source)
            ):
                yield source

    def _reads_only(self, node: Node, key: Key) -> bool:
        """Whether a node reads the memory of a value as that value alone, and not through a view besides."""
        read = {key_of(entry) for entry in node.inputs if is_recorded(entry)}
        return all(other == key for other in read if self.owner(other) == self.owner(key))
