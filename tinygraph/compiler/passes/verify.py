"""What every graph must satisfy, as a program: the specification that passes are tested against."""

from __future__ import annotations

from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, Port, edge_node, edge_type, entry_type, is_recorded
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.errors import GraphError
from tinygraph.tracing.applying import infer_types


def verify(graph: Graph) -> None:
    """Check arity, types, order and phases of a graph.

    Raises:
        GraphError: naming the node and what is wrong with it.
    """
    seen: set[int] = set()
    for node in graph.nodes:
        for entry in node.inputs:
            if is_recorded(entry) and id(edge_node(entry)) not in seen:
                raise GraphError(
                    f"{node.describe()} reads {edge_node(entry).describe()}, which comes after it"
                )
        if not isinstance(node, Leaf):
            _check_arity(node)
            _check_types(node)
            _check_phase(node)
        seen.add(id(node))
    for what, ends in (("output", graph.outputs), ("update", [value for _, value in graph.updates])):
        for i, end in enumerate(ends):
            if is_recorded(end) and id(edge_node(end)) not in seen:
                raise GraphError(
                    f"{what} {i} is {edge_node(end).describe()}, which is not among the graph's nodes"
                )
    for leaf, value in graph.updates:
        found = entry_type(value)
        if found.shape != leaf.types.shape:
            raise GraphError(f"the update of {leaf.describe()}, {leaf.types}, is {found}")


def _check_arity(node: Node) -> None:
    operands = node.op.signature.operands
    required = sum(not operand.optional and not operand.variadic for operand in operands)
    most = None if any(operand.variadic for operand in operands) else len(operands)
    if len(node.inputs) < required or (most is not None and len(node.inputs) > most):
        raise GraphError(
            f"{node.describe()} has {len(node.inputs)} operands; the op takes {required} to {most}"
        )
    unknown = set(node.settings) - set(node.op.signature.settings)
    if unknown:
        raise GraphError(f"{node.describe()} has settings that the op does not: {', '.join(sorted(unknown))}")
    for entry in node.inputs:
        if isinstance(entry, Port) and entry.index >= len(entry.node.output_types):
            raise GraphError(f"{node.describe()} reads output {entry.index} of {entry.node.describe()}")


def _check_types(node: Node) -> None:
    found = infer_types(node.op, list(map(operand_type, node.inputs)), node.inputs, node.settings)
    stated = (node.types,) if isinstance(node.types, ArrayType) else node.types
    ruled = (found,) if isinstance(found, ArrayType) else found
    if tuple(map(tuple, ruled)) != tuple(map(tuple, stated)):
        raise GraphError(
            f"{node.describe()} claims {', '.join(map(str, stated))}, but its type rule gives "
            f"{', '.join(map(str, ruled))}"
        )


def operand_type(entry: object) -> Any:
    """What a type rule takes for an entry: a type, or a Python number where the entry is weak."""
    if is_recorded(entry):
        types = edge_type(entry)
        return types.number if isinstance(types, WeakType) else types
    return entry if entry is None or isinstance(entry, bool | int | float | complex) else type_of(entry)


def _check_phase(node: Node) -> None:
    if node.phase == "backward" and node.forward_node is None:
        raise GraphError(f"{node.describe()} is a backward node that serves no forward node")
