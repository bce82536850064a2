"""Where a gradient dies on its way back: the edge behind which it is zero, and what made it so, found by trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, edge_node, edge_type, is_recorded
from tinygraph.debugging.reason import Reason, formula
from tinygraph.debugging.scripts import backward_script
from tinygraph.explaining.cotangents import differentiable_positions, pulled, pulled_at, value_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Death(NamedTuple):
    """An edge through which nothing comes: a node that gets a gradient, and the operand that gets none of it."""

    node: Node
    position: int
    kind: str
    words: str
    operands: Sequence[Any]
    cotangent: Any

    def reason(self, others: int) -> Reason:
        """The finding in words."""
        more = f" {others} other way(s) end elsewhere." if others else ""
        name = self.node.op.operand_at(self.position).name
        source = self.node.inputs[self.position]
        if self.kind == "discrete" and not isinstance(edge_node(source), Leaf):
            made = edge_node(source)
            text = f"the gradient ends at {made.describe()}: its result is {edge_type(source)}, and {self.words}.{more}"
            return Reason(self.kind, text, made)
        text = f"the gradient ends at {self.node.describe()}, operand {name!r}: {self.words}.{more}"
        cotangent = tuple(self.cotangent) if isinstance(self.cotangent, list) else self.cotangent
        script = None
        if self.kind not in ("discrete", "stopped", "zero cotangent") and not (
            isinstance(cotangent, tuple) and any(one is None for one in cotangent)
        ):
            script = backward_script(
                self.node, self.operands, self.position, cotangent, "not np.any(gradient)"
            )
        return Reason(self.kind, text, self.node, script)


def on_the_way(graph: Graph, target: Edge) -> set[int]:
    """Ids of the nodes that depend on the target, itself included."""
    reached = {id(edge_node(target))}
    for node in graph.nodes:
        if any(id(parent) in reached for parent in node.parents()):
            reached.add(id(node))
    return reached


def deaths(
    graph: Graph, target: Edge, values: Mapping[int, Any], gradients: Mapping[int, Any]
) -> list[Death]:
    """The edges on ways from output to target at which the gradient becomes zero, nearest to the output first."""
    way = on_the_way(graph, target)
    found = []
    for node in reversed(graph.nodes):
        if isinstance(node, Leaf) or id(node) not in way or not _some(gradients.get(id(node))):
            continue
        cotangent = gradients[id(node)]
        flowing = differentiable_positions(node)
        wanted = [i for i, one in enumerate(node.inputs) if is_recorded(one) and id(edge_node(one)) in way]
        parts = dict(zip(flowing, pulled(node, flowing, cotangent, values), strict=True)) if flowing else {}
        for position in wanted:
            if _some(parts.get(position)):
                continue
            operands = [value_on(one, values) if is_recorded(one) else one for one in node.inputs]
            kind, words = _cause(node, position, flowing, cotangent, operands)
            found.append(Death(node, position, kind, words, operands, cotangent))
    return found


def _some(gradient: Any) -> bool:
    """Whether a gradient holds anything but zeros; one of no elements does."""
    if isinstance(gradient, list | tuple):
        return any(_some(one) for one in gradient)
    return gradient is not None and (np.size(gradient) == 0 or bool(np.any(gradient)))


def _cause(
    node: Node, position: int, flowing: Sequence[int], cotangent: object, operands: Sequence[Any]
) -> tuple[str, str]:
    """Why nothing comes through: other cotangents and other operands are tried, one at a time."""
    name = node.op.operand_at(position).name
    types = edge_type(node.inputs[position])
    if not types.differentiable:
        return "discrete", f"{types.dtype.name} numbers have no gradient"
    if position not in flowing:
        return (
            "stopped",
            f"{node.op.name} passes no gradient to {name}, whatever its values ({formula(node)})",
        )
    ones = _like(cotangent, node)
    if _some(pulled_at(node, [position], ones, operands)[0]):
        return "zero cotangent", (
            f"the gradient that arrives is zero at every element to which {name} contributes"
        )
    boolean = [i for i, one in enumerate(operands) if np.asarray(one).dtype == bool and i != position]
    for i in boolean:
        flipped = _with(operands, i, np.logical_not(operands[i]))
        if _some(pulled_at(node, [position], cotangent, flipped)[0]):
            which = node.op.operand_at(i).name
            return "masked", f"{which!r} selects no element of {name} that a gradient arrives for"
    for i, one in enumerate(operands):
        if i == position or one is None or np.asarray(one).dtype.kind not in "fc" or np.any(one):
            continue
        if _some(pulled_at(node, [position], cotangent, _with(operands, i, np.ones_like(one)))[0]):
            which = node.op.operand_at(i).name
            return "zero factor", f"it is multiplied by {which}, which is 0 everywhere"
    value = np.asarray(operands[position])
    for spread in (0.5, 3.0):
        other = np.linspace(-spread, spread * 0.9, max(value.size, 2), dtype=value.dtype)[: value.size]
        for sign in (1, -1):
            tried = _with(operands, position, (sign * other).reshape(value.shape))
            if _some(pulled_at(node, [position], ones, tried)[0]):
                least, most = (f"{one:.4g}" for one in (np.min(value), np.max(value)))
                among = (
                    f"all {value.size} values, from {least} to {most}"
                    if value.size > 1
                    else f"the value {least}"
                )
                return "flat", f"its derivative is 0 at {among}: saturated, clipped, or a dead unit"
    if node.kind in ("shape", "indexing"):
        return "untouched", f"{node.op.name} leaves {name} out of its result"
    return "stopped", f"{node.op.name} has the derivative 0 by {name} everywhere ({formula(node)})"


def _like(cotangent: object, node: Node) -> Any:
    """Cotangents without zeros, of every output."""
    parts = [
        np.linspace(1.0, 1.5, max(types.size, 1))[: types.size].astype(types.dtype).reshape(types.shape)[()]
        if types.differentiable
        else None
        for types in node.output_types
    ]
    return parts if isinstance(cotangent, list | tuple) else parts[0]


def _with(operands: Sequence[Any], position: int, value: object) -> list[Any]:
    changed = list(operands)
    changed[position] = value
    return changed


def shrinkage(
    graph: Graph, target: Edge, values: Mapping[int, Any], gradients: Mapping[int, Any]
) -> list[tuple[float, Node]]:
    """How many times smaller the gradient is behind each node on the way to the target, the strongest first."""
    way = on_the_way(graph, target)
    found = []
    for node in graph.nodes:
        if isinstance(node, Leaf) or id(node) not in way or not _some(gradients.get(id(node))):
            continue
        inside = [
            gradients[id(parent)]
            for parent in node.parents()
            if id(parent) in way and _some(gradients.get(id(parent)))
        ]
        if inside:
            found.append((largest(max(inside, key=largest)) / largest(gradients[id(node)]), node))
    return sorted(found, key=lambda pair: pair[0])


def largest(gradient: Numeric) -> float:
    """The size of the largest element, of all parts together."""
    parts = gradient if isinstance(gradient, list | tuple) else [gradient]
    return max((float(np.max(np.abs(one), initial=0.0)) for one in parts if one is not None), default=0.0)
