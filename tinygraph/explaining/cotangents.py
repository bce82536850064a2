"""Gradients of a graph's first output with respect to every node, and of one op alone: pulled back through the values.

Neither needs `backward()` to have run, and neither touches `.grad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, Port, edge_index, edge_node, edge_type, is_recorded
from tinygraph.transforms import vjp

if TYPE_CHECKING:
    from tinygraph.core.node import Edge
    from tinygraph.core.numeric import Numeric


def gradients_of(graph: Graph, values: Mapping[int, Any]) -> dict[int, Any]:
    """The derivative of the first output, a scalar, with respect to every node, by the node's id."""
    out = graph.outputs[0]
    seed = np.ones(edge_type(out).shape, edge_type(out).dtype)[()]
    found: dict[int, Any] = {}
    _add(found, out, seed)
    with np.errstate(all="ignore"):  # as in `replay`
        for node in reversed(graph.nodes):
            if not isinstance(node, Leaf) and id(node) in found:
                _pull(node, values, found)
    return found


def _pull(node: Node, values: Mapping[int, Any], found: dict[int, Any]) -> None:
    wanted = differentiable_positions(node)
    if not wanted:
        return
    parts = pulled(node, wanted, found[id(node)], values)
    for i, part in zip(wanted, parts, strict=True):
        _add(found, node.inputs[i], part)


def differentiable_positions(node: Node) -> list[int]:
    """The positions of the operands that a gradient can flow to."""
    if not any(types.differentiable for types in node.output_types):
        return []
    return [
        i
        for i, entry in enumerate(node.inputs)
        if is_recorded(entry)
        and edge_type(entry).differentiable
        and node.op.operand_at(i).name not in node.op.nondifferentiable
    ]


def pulled(
    node: Node, positions: Sequence[int], gradient: Numeric, values: Mapping[int, Any]
) -> tuple[Any, ...]:
    """A gradient of a node's output, pulled back to some of its operands: one part for each.

    Args:
        gradient: of the output; a sequence with None where nothing arrives, if there are several.
    """
    operands = [value_on(entry, values) if is_recorded(entry) else entry for entry in node.inputs]
    return pulled_at(node, positions, gradient, operands)


def pulled_at(
    node: Node, positions: Sequence[int], gradient: object, operands: Sequence[Any]
) -> tuple[Any, ...]:
    """The same, where the values of the node's operands are given."""

    def run(*given: object) -> Any:
        filled = list(operands)
        for i, value in zip(positions, given, strict=True):
            filled[i] = value
        return node.op(*filled, **node.settings)

    with np.errstate(all="ignore"):  # as in `replay`
        _, pull = vjp(run, *(operands[i] for i in positions))
        return tuple(pull(_cotangent(node, gradient)))


def _cotangent(node: Node, gradient: Any) -> Any:
    if len(node.output_types) == 1:
        return gradient
    return tuple(
        np.zeros(types.shape, types.dtype) if part is None else part
        for part, types in zip(gradient, node.output_types, strict=True)
    )


def value_on(edge: Edge, values: Mapping[int, Any]) -> Any:
    """The value on an edge, from those of all nodes."""
    value = values[id(edge_node(edge))]
    return value[edge_index(edge)] if isinstance(edge, Port) else value


def _add(found: dict[int, Any], edge: Edge, gradient: Numeric) -> None:
    key = id(edge_node(edge))
    if isinstance(edge, Port):
        parts = found.setdefault(key, [None] * len(edge.node.output_types))
        parts[edge.index] = gradient if parts[edge.index] is None else parts[edge.index] + gradient
    else:
        found[key] = found[key] + gradient if key in found else gradient
