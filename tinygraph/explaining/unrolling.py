"""Graphs in which everything is an op of its own: compiled calls opened, loops step by step, of choices what ran.

Explanations look through these. How many steps a loop takes, and which branch runs, is known from the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.bodies import now, open_bodies, replaced
from tinygraph.core.graph import Graph, replay
from tinygraph.core.node import Edge, Leaf, Node, edge_type, is_recorded
from tinygraph.core.registry import ops
from tinygraph.core.remaking import as_op, edges, make_node, with_inputs
from tinygraph.core.subgraphs import Subgraph, Unfolding, unfolding_of
from tinygraph.core.types import ArrayType
from tinygraph.explaining.cotangents import value_on

MOST_STEPS = 4_096  # of a loop; longer ones stay as they are


def open_all(graph: Graph) -> tuple[Graph, Callable[[Edge], Edge]]:
    """The graph with compiled calls, loops and choices opened, and what finds in it the edge of an edge before.

    A node of a loop is named after its step. The graph itself where there is nothing to open.
    """
    before = [graph]
    graph, find_first = open_bodies(graph)
    before.append(graph)
    stands: list[dict[int, Any]] = []
    while any(unfolding_of(node) is not None for node in graph.nodes):
        graph, found = _opened(graph)
        if not found:
            break  # what is left takes too many steps
        stands.append(found)
        before.append(graph)  # ids of nodes are keys as long as the nodes are

    def find(edge: Edge) -> Edge:
        edge = find_first(edge)
        for found, _ in zip(stands, before, strict=False):
            edge = now(edge, found)
        return edge

    return graph, find


def _opened(graph: Graph) -> tuple[Graph, dict[int, Any]]:
    """The graph with the outermost of its loops and choices opened, and what stands for nodes before."""
    values = replay(graph)

    def unfold(node: Node, stands: dict[int, Any]) -> tuple[Any, ...] | None:
        how = unfolding_of(node)
        if how is None:
            return None
        operands = [now(entry, stands) for entry in node.inputs]
        if how.choice:
            index = node.inputs[0]
            which = int(np.asarray(value_on(index, values) if is_recorded(index) else index))
            part = how.parts[min(max(which, 0), len(how.parts) - 1)]
            return tuple(_copied(part, operands[1:], ""))
        steps = how.count if how.count is not None else int(values[id(node)][how.carries])
        return None if steps > MOST_STEPS else _unrolled(node, how, steps, operands)

    return replaced(graph, unfold)


def _unrolled(node: Node, how: Unfolding, steps: int, operands: Sequence[Any]) -> tuple[Any, ...]:
    """What stands for the results of a loop of so many steps."""
    (body,) = how.parts
    first = how.carries + how.slices
    carry, xs, rest = list(operands[: how.carries]), operands[how.carries : first], operands[first:]
    columns: list[list[Any]] = [[] for _ in body.output_types[how.carries :]]
    for t in reversed(range(steps)) if how.reverse else range(steps):
        found = _copied(body, [*carry, *(_slice(x, t, node) for x in xs), *rest], f" in step {t}")
        carry = found[: how.carries]
        for column, one in zip(columns, found[how.carries :], strict=True):
            column.append(one)
    if how.condition is not None:
        return (*carry, np.int64(steps))
    stacks: list[Any] = []
    for column, types in zip(columns, node.output_types[how.carries :], strict=True):
        if not column:
            stacks.append(np.zeros(types.shape, types.dtype))
            continue
        in_order = tuple(reversed(column) if how.reverse else column)
        stacks.append(make_node(as_op(ops.stack), in_order, {"axis": 0}, types, like=node))
    return (*carry, *stacks)


def _slice(x: object, t: int, node: Node) -> Any:
    if not is_recorded(x):
        return np.asarray(x)[t]
    types = edge_type(x)
    return make_node(
        as_op(ops.index), (x,), {"pattern": (t,)}, ArrayType(types.shape[1:], types.dtype), like=node
    )


def _copied(part: Subgraph, operands: Sequence[Any], where: str) -> list[Any]:
    """The results of a subgraph whose nodes are made again for these operands."""
    inside: dict[int, Any] = {id(leaf): (one,) for leaf, one in zip(part.graph.inputs, operands, strict=True)}
    for node in part.graph.nodes:
        if isinstance(node, Leaf):
            continue
        made = with_inputs(node, tuple(now(entry, inside) for entry in node.inputs), None)
        made.name = f"{node.name or node.op.name}{where}"
        inside[id(node)] = edges(made)
    return [now(end, inside) for end in part.graph.outputs]
