"""Graphs as `networkx.MultiDiGraph` and back: a node per node, an edge per operand.

What is written is meant to be read, changed and made by hand: a networkx graph is a model. Node attributes:

    op           the op's name; or, for a leaf, `leaf`: "parameter", "input", "buffer", "tensor", "generator"
    settings     the op's settings                    constants  {position: value} of operands that no node computes
    types        output types as text ("float32[2,3]"); only `input` leaves need it ("type": ArrayType for exactness)
    scope, phase, forward_node, name, source, kind    as on `Node`
    value, requires_grad                              of leaves; `reference` is the leaf itself, shared in memory

Edge attributes: `operand` (name), `position`, `output` (of the source), `shape`, `dtype`. Edges without a position
count in the order in which they were added. Graph attributes: `name`, `inputs`, `outputs`; without them the leaves of
kind "input" and the nodes that nothing reads.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import IN_ROWS, Edge, Leaf, Node, Port, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.op import Op
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import FileFormatError
from tinygraph.interop.graphs.rebuilding import (
    find_op,
    opened_whole,
    rebuild_node,
    result_skeleton,
    result_tree,
)


def to_networkx(graph: Graph) -> Any:
    """The graph as a `networkx.MultiDiGraph` with the attributes listed above; keys are 0, 1, ... in order.

    >>> import tinygraph as tg
    >>> graph = tg.capture(lambda x: x * 2.0, 1.0)
    >>> [data.get("op") for _, data in to_networkx(graph).nodes(data=True)]
    [None, 'multiply']
    """
    import networkx as nx

    graph = opened_whole(graph)
    changed = [leaf for leaf, _ in (*graph.updates, *graph.gradients)]
    nodes = list({id(node): node for node in (*graph.nodes, *changed)}.values())
    keys = {id(node): key for key, node in enumerate(nodes)}
    made = nx.MultiDiGraph(
        name=graph.name,
        inputs=[keys[id(leaf)] for leaf in graph.inputs],
        outputs=[_end(out, keys) for out in graph.outputs],
        updates=[(keys[id(leaf)], _end(value, keys)) for leaf, value in graph.updates],
        gradients=[(keys[id(leaf)], _end(value, keys)) for leaf, value in graph.gradients],
        result=result_skeleton(graph.result, plain=_same),
    )
    for node in nodes:
        key = keys[id(node)]
        made.add_node(
            key, **(_leaf_attributes(node) if isinstance(node, Leaf) else _node_attributes(node, keys))
        )
        for position, entry in enumerate(node.inputs):
            if is_recorded(entry):
                made.add_edge(keys[id(edge_node(entry))], key, **_edge_attributes(node, position, entry))
    return made


def _same(value: object) -> Any:
    """Keys and values among the results are Python's own here."""
    return value


def _end(value: object, keys: dict[int, int]) -> Any:
    """An output as (key, output index), or as {"constant": value}."""
    if is_recorded(value):
        return (keys[id(edge_node(value))], edge_index(value))
    return {"constant": value}


def _leaf_attributes(leaf: Leaf) -> dict[str, Any]:
    return {
        "leaf": leaf.leaf_kind,
        "kind": leaf.kind,
        "type": leaf.types,
        "types": (str(leaf.types),),
        "name": leaf.name,
        "value": leaf.value,
        "requires_grad": leaf.requires_grad,
        "in_rows": bool(leaf.settings),
        "reference": leaf,
    }


def _node_attributes(node: Node, keys: dict[int, int]) -> dict[str, Any]:
    constants = {
        i: entry for i, entry in enumerate(node.inputs) if not is_recorded(entry) and entry is not None
    }
    origin = node.forward_node
    return {
        "op": node.op.name,
        "package": node.op.package,
        "definition": node.op,
        "kind": node.kind,
        "settings": dict(node.settings),
        "constants": constants,
        "operands": len(node.inputs),
        "types": tuple(map(str, node.output_types)),
        "scope": node.scope,
        "phase": node.phase,
        "forward_node": None if origin is None else keys.get(id(origin)),
        "name": node.name,
        "source": node.source,
    }


def _edge_attributes(node: Node, position: int, entry: Edge) -> dict[str, Any]:
    types = edge_type(entry)
    return {
        "operand": node.op.operand_at(position).name,
        "position": position,
        "output": edge_index(entry),
        "shape": types.shape,
        "dtype": types.dtype.name,
    }


def from_networkx(graph: object) -> Graph:
    """The graph that a networkx graph describes, every node typed and checked by its op.

    Leaves with a `reference` share it (parameters stay the same parameters); others are made from `value`, or, for
    inputs, from `type` or `types`. Ops are found by `op` (and `package`), or `op` may be an op itself.

    Raises:
        FileFormatError: naming the node: an unknown op, operands missing or doubled, a cycle, types that do not fit.

    >>> import networkx as nx, tinygraph as tg
    >>> made = nx.DiGraph()
    >>> made.add_node("x", leaf="input", type="float64[3]")
    >>> made.add_node("y", op="tanh")
    >>> made.add_edge("x", "y")
    >>> from_networkx(made)([0.0, 0.0, 0.0])
    array([0., 0., 0.])
    """
    return _NetworkxReading(graph).graph()


class _NetworkxReading:
    """One networkx graph on its way to being a `Graph`."""

    def __init__(self, given: object) -> None:
        import networkx as nx

        if not isinstance(given, nx.DiGraph):
            raise FileFormatError(
                f"from_networkx takes a directed networkx graph, not {type(given).__name__}; edges go from operand to "
                f"user"
            )
        self.given = given
        try:
            # among nodes free to come next, the order in which they were added
            first = {key: i for i, key in enumerate(given.nodes)}
            self.keys = list(nx.lexicographical_topological_sort(given, key=first.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = [edge[0] for edge in nx.find_cycle(given)]
            raise FileFormatError(
                f"the graph has a cycle through the nodes {' -> '.join(map(repr, [*cycle, cycle[0]]))}"
            ) from None
        self.nodes: dict[Hashable, Node] = {}

    def graph(self) -> Graph:
        about = self.given.graph
        for key in self.keys:
            data = self.given.nodes[key]
            try:
                self.nodes[key] = self.node(key, data) if data.get("op") is not None else self.leaf(key, data)
            except FileFormatError as error:
                raise FileFormatError(f"node {key!r}: {error}") from error.__cause__
        inputs = [self.leaf_at(key) for key in about.get("inputs", self.input_keys())]
        outputs = [self.end(out) for out in about.get("outputs", self.sinks())]
        if not outputs:
            raise FileFormatError("the graph has no outputs: no node computes anything")
        skeleton = about.get("result")
        return Graph(
            inputs,
            outputs,
            result=None if skeleton is None else result_tree(skeleton, len(outputs), read=_same),
            updates=[(self.leaf_at(key), self.end(value)) for key, value in about.get("updates", ())],
            gradients=[(self.leaf_at(key), self.end(value)) for key, value in about.get("gradients", ())],
            name=about.get("name"),
        )

    def leaf(self, key: Hashable, data: dict[str, Any]) -> Leaf:
        shared = data.get("reference")
        if isinstance(shared, Tensor):
            shared = shared._own_leaf()
        if isinstance(shared, Leaf):
            return shared
        if self.given.in_degree(key):
            raise FileFormatError("it has incoming edges but no `op`")
        value = data.get("value")
        if isinstance(value, Tensor):
            return value._own_leaf()
        kind = data.get("leaf", "input" if value is None else "tensor")
        if kind not in ("parameter", "input", "buffer", "tensor"):
            raise FileFormatError(
                f'`leaf` is {kind!r}; it must be "parameter", "input", "buffer" or "tensor"'
            )
        if value is None:
            types = self.stated_type(data)
        else:
            value = np.array(value)[()]
            types = type_of(value)
        wanted = bool(data.get("requires_grad", kind == "parameter"))
        if wanted and not types.differentiable:
            raise FileFormatError(f"a {types} cannot require a gradient")
        name = data.get("name", key if isinstance(key, str) else None)
        leaf = Leaf(value, requires_grad=wanted, name=name, kind=kind, types=types)
        if data.get("in_rows"):
            leaf.settings[IN_ROWS] = True
        return leaf

    def stated_type(self, data: dict[str, Any]) -> ArrayType:
        stated = data.get("type", next(iter(data.get("types", ())), None))
        if isinstance(stated, ArrayType):
            return stated
        if isinstance(stated, str):
            dtype, _, shape = stated.partition("[")
            try:
                return ArrayType(
                    tuple(int(size) for size in shape.rstrip("]").split(",") if size), np.dtype(dtype)
                )
            except (TypeError, ValueError):
                pass
        raise FileFormatError(
            f'a leaf needs a `value`, or a `type` such as "float32[2,3]"; found type {stated!r}. (A node with an op '
            f"needs `op`.)"
        )

    def node(self, key: Hashable, data: dict[str, Any]) -> Node:
        name = data.get("name", key if isinstance(key, str) else None)
        return rebuild_node(
            self.op(data),
            self.entries(key, data),
            dict(data.get("settings") or {}),
            place=self.place(data),
            name=name,
            source=data.get("source"),
        )

    def op(self, data: dict[str, Any]) -> Op:
        given = data["op"]
        if isinstance(given, Op):
            return given
        known = data.get("definition")
        if isinstance(known, Op) and known.name == given:
            return known
        found = (
            find_op(given, data.get("package")) or find_op(given, None) if isinstance(given, str) else None
        )
        if found is None:
            raise FileFormatError(f"there is no op {given!r}; `tinygraph ops list` shows every op")
        return found

    def entries(self, key: Hashable, data: dict[str, Any]) -> list[Any]:
        """What the node reads, in operand order: edges, constants, None where an operand is absent."""
        found: dict[Any, Any] = dict(data.get("constants") or {})
        free = 0
        for source, _, edge in self.given.in_edges(key, data=True):
            position = edge.get("position")
            if position is None:
                while free in found:
                    free += 1
                position = free
            if position in found:
                raise FileFormatError(f"operand {position} is given twice")
            found[position] = self.edge(source, edge.get("output", 0))
        count = data.get("operands", max(found, default=-1) + 1)
        if any(not isinstance(position, int) or not 0 <= position < count for position in found):
            raise FileFormatError(
                f"its operands stand at positions {sorted(found, key=str)}, but it has {count}"
            )
        return [found.get(position) for position in range(count)]

    def edge(self, source: Hashable, output: object) -> Edge:
        node = self.nodes[source]
        count = len(node.output_types)
        if not isinstance(output, int) or not 0 <= output < count:
            raise FileFormatError(f"it reads output {output!r} of node {source!r}, which has {count}")
        return node if isinstance(node.types, ArrayType) else Port(node, output)

    def place(self, data: dict[str, Any]) -> Place:
        phase = data.get("phase", "forward")
        if phase not in ("forward", "backward", "update"):
            raise FileFormatError(f'`phase` is {phase!r}; it must be "forward", "backward" or "update"')
        scope = tuple((name, number) for name, number in data.get("scope", ()))
        return Place(scope, phase, self.nodes.get(data.get("forward_node")))

    def input_keys(self) -> list[Hashable]:
        return [key for key in self.given.nodes if self.nodes[key].kind == "input"]

    def sinks(self) -> list[tuple[Hashable, int]]:
        """Every output of the nodes that nothing reads."""
        ends = [
            key
            for key in self.keys
            if not self.given.out_degree(key) and not isinstance(self.nodes[key], Leaf)
        ]
        return [(key, index) for key in ends for index in range(len(self.nodes[key].output_types))]

    def leaf_at(self, key: Hashable) -> Leaf:
        node = self.nodes.get(key)
        if not isinstance(node, Leaf):
            raise FileFormatError(f"{key!r} is listed among the graph's leaves but is none")
        return node

    def end(self, value: object) -> Any:
        if value is None or (isinstance(value, dict) and value.keys() == {"constant"}):
            return value if value is None else value["constant"]
        key, index = (
            value if isinstance(value, tuple) and len(value) == 2 and value[0] in self.nodes else (value, 0)
        )
        if key not in self.nodes:
            raise FileFormatError(f"the output {value!r} is no node of the graph")
        return self.edge(key, index)
