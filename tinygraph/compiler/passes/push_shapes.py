"""Push transposes, reshapes and casts back through elementwise ops until they meet others and cancel.

`facts` of an op (see `Op`): "moves" - its result has the operand's elements, each once, in other places, so that it may
be done before an elementwise op as well as after; "converts" - it changes each element's dtype, wherever that stands.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.compiler.passes.cancel_shapes import joined
from tinygraph.compiler.passes.rewriting import Rewriting, make_node, uses_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_node, edge_type, is_recorded
from tinygraph.core.types import ArrayType, WeakType

if TYPE_CHECKING:
    from tinygraph.core.node import Edge

FARTHEST = 64  # ops; what lies between two that cancel


def push_shapes(graph: Graph) -> Graph:
    """Move shape ops and casts towards the inputs wherever that leaves fewer nodes."""
    while True:
        pushed = _push_once(graph)
        if len(pushed.nodes) >= len(graph.nodes):
            return graph
        graph = pushed


def _push_once(graph: Graph) -> Graph:
    uses = uses_of(graph)
    rewriting = Rewriting(graph)
    for node in graph.nodes:
        if isinstance(node, Leaf):
            continue
        push = _Push(node, uses) if _can_move(node) else None
        if push is not None and push.added(node.inputs[0]) <= 0:  # besides, the node itself goes
            rewriting.put(node, [push.apply(node.inputs[0], rewriting)])
        else:
            rewriting.keep(node)
    return rewriting.graph()


def _can_move(node: Node) -> bool:
    if "moves" not in node.op.facts and "converts" not in node.op.facts:
        return False
    source = node.inputs[0]  # a Python number becomes an array here
    return is_recorded(source) and not isinstance(edge_type(source), WeakType)


class _Met(NamedTuple):
    """What becomes of the op where it arrives at an entry, and what that adds to the number of nodes."""

    what: str  # "stays before", "joins", "cancels" or "passes"
    added: int
    settings: dict[str, Any] | None = None


class _Push:
    """One shape op or cast, and what it meets on its way towards the inputs."""

    def __init__(self, node: Node, uses: Counter[int]) -> None:
        assert isinstance(node.types, ArrayType)
        self._node, self._uses = node, uses
        self._from, self._to = edge_type(node.inputs[0]), node.types
        self._moves = "moves" in node.op.facts
        self._met: dict[int, _Met] = {}
        self._made: dict[int, Any] = {}

    def added(self, entry: object) -> int:
        """How many nodes more there are if the op is applied before what made an entry, and not after."""
        if not self._affects(entry) or not is_recorded(entry) or id(entry) in self._met:
            return 0
        met = self._met[id(entry)] = self._meets(entry)
        below = sum(map(self.added, edge_node(entry).inputs)) if met.what == "passes" else 0
        return met.added + below

    def apply(self, entry: Edge, rewriting: Rewriting) -> Any:
        """What stands for the op applied to an entry."""
        if not self._affects(entry):
            return rewriting.now(entry)
        if not is_recorded(entry):
            return self._node.op.forward(np.asarray(entry), **self._node.settings)
        if id(entry) not in self._made:
            self._made[id(entry)] = self._make(entry, self._met[id(entry)], rewriting)
        return self._made[id(entry)]

    def _make(self, entry: Any, met: _Met, rewriting: Rewriting) -> Any:
        node, types = edge_node(entry), self._type(entry)
        if met.what == "cancels":
            return rewriting.now(node.inputs[0])
        if met.what == "passes":
            inputs = tuple(self.apply(one, rewriting) for one in node.inputs)
            return make_node(node.op, inputs, node.settings, types, like=node)
        source = node.inputs[0] if met.what == "joins" else entry
        settings = self._node.settings if met.settings is None else met.settings
        return make_node(self._node.op, (rewriting.now(source),), settings, types, like=self._node)

    def _meets(self, entry: Edge) -> _Met:
        alone = self._uses[id(edge_node(entry))] == 1
        if isinstance(entry, Node) and not isinstance(entry, Leaf):
            settings = joined(entry, self._node, self._type(entry))
            if settings is None:
                return _Met("cancels", -alone)
            if settings is not NotImplemented:
                return _Met("joins", 1 - alone, settings)
            if alone and len(self._met) < FARTHEST and self._passes(entry):
                return _Met("passes", 0)
        return _Met("stays before", 1)

    def _affects(self, entry: object) -> bool:
        """Whether an operand would have to be changed; numbers that broadcast stay as they are."""
        if not self._moves:
            return True
        if is_recorded(entry):
            types = edge_type(entry)
            return not isinstance(types, WeakType) and types.shape == self._from.shape
        return isinstance(entry, np.ndarray | np.generic) and entry.shape == self._from.shape

    def _passes(self, node: Node) -> bool:
        """Whether the op can as well be applied to the operands of a node that made its operand."""
        if not isinstance(node.types, ArrayType) or isinstance(node.types, WeakType):
            return False
        if not self._moves:
            return "moves" in node.op.facts
        if node.op.kind not in ("elementwise", "comparison") and "converts" not in node.op.facts:
            return False
        return "program" not in node.op.facts and all(
            self._affects(one) or not _shape(one) for one in node.inputs
        )

    def _type(self, entry: Any) -> ArrayType:
        """The type of an entry once the op is applied to it."""
        types = edge_type(entry)
        return (
            ArrayType(self._to.shape, types.dtype) if self._moves else ArrayType(types.shape, self._to.dtype)
        )


def _shape(entry: Any) -> tuple[int, ...]:
    return edge_type(entry).shape if is_recorded(entry) else np.shape(entry) if entry is not None else ()
