"""The places where ops use a tensor, and what one of its elements does there: local derivatives, read off the ops'
forward-mode rules by a tangent that is 1 at the element and 0 elsewhere. No op is a special case.

Views, transposes and whatever else only moves elements are seen through: the tangent follows the element to the ops
that compute with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from tinygraph.core.modes import Place, mode
from tinygraph.core.node import VIEWING, Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.tangents import push
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import Array, ArrayType, type_of
from tinygraph.explaining.cotangents import pulled_at


class Use:
    """One operand of one node: a place where the explained element is used.

    Attributes:
        node, position: the node, and which of its operands.
        operands: the values of all its operands.
        direction: 1 wherever the explained element stands in this operand, 0 elsewhere.
        direct: whether the operand is the explained tensor itself, and not a view of it.
    """

    def __init__(
        self, node: Node, position: int, operands: Sequence[Any], direction: Array, *, direct: bool = True
    ) -> None:
        self.node = node
        self.position = position
        self.operands = tuple(operands)
        self.direction = direction
        self.direct = direct

    def local(self) -> list[Array | None]:
        """The derivative of every output element with respect to the element: an array an output."""
        return self._push(self.operands)

    def reach(self, local: Sequence[Array | None], cotangents: Sequence[Array] | None = None) -> list[Array]:
        """Which output elements the element has an impact on.

        Where the op is linear in this operand, its structure decides: what the element would reach if the other
        operands were all ones. Elsewhere the non-zero local derivatives do; an elementwise op reaches no further than
        the element is broadcast (what infinity times a tangent of 0 gives elsewhere is no impact). With the cotangents
        given, an infinite or NaN one that the op's rule multiplies with a local derivative of 0 is an impact, too.
        """
        reach = self._own_reach(local)
        return reach if cotangents is None else self._with_broken(reach, local, cotangents)

    def _with_broken(
        self, reach: list[Array], local: Sequence[Array | None], cotangents: Sequence[Array]
    ) -> list[Array]:
        """Reach, and where 0 times a cotangent that is not finite comes back to the element as NaN."""
        if all(one.dtype.kind == "O" or np.isfinite(one).all() for one in cotangents):
            return reach
        near: Any = self._spread() if self.node.kind == "elementwise" else True
        blocked = [
            np.zeros(np.shape(one), bool)
            if derivative is None or one.dtype.kind == "O"
            else ~np.isfinite(one) & ~mask & near
            for mask, derivative, one in zip(reach, local, cotangents, strict=True)
        ]
        with np.errstate(all="ignore"):
            alone = [np.where(mask, one, 0)[()] for mask, one in zip(blocked, cotangents, strict=True)]
            gradient = alone[0] if isinstance(self.node.types, ArrayType) else alone
            (part,) = pulled_at(self.node, [self.position], gradient, self.operands)
        if np.isfinite(np.asarray(part)[self.direction != 0]).all():
            return reach  # the rule leaves out what it blocks instead of multiplying by 0
        return [mask | more for mask, more in zip(reach, blocked, strict=True)]

    def _spread(self) -> Array:
        return np.asarray(np.broadcast_to(self.direction, self.node.shape) != 0)

    def _own_reach(self, local: Sequence[Array | None]) -> list[Array]:
        if self._is_linear(self.position):
            structure = self._push(self._replaced(np.ones_like))
            # a local derivative can be where ones cancel each other
            return [_nonzero(a) | (_nonzero(b) & (b == b)) for a, b in zip(structure, local, strict=True)]
        if self.node.kind == "elementwise":
            spread = self._spread()
            return [_nonzero(one) & spread for one in local]
        return [_nonzero(one) for one in local]

    def factors(self, output: int) -> list[tuple[int, Array]]:
        """Which element of another operand each local derivative simply is, where the op is bilinear.

        Found by counting: the other operand's elements are numbered from 2 and the local derivatives read off. What
        gives the number of an element, and with the squares of the numbers its square, is that element alone.

        Returns:
            (position of the other operand, flat element numbers, -1 where it is none) for each such operand.
        """
        found = []
        for position, value in enumerate(self.operands):
            if (
                position == self.position
                or not self._is_linear(position)
                or not isinstance(value, np.ndarray)
            ):
                continue
            numbers = np.arange(2.0, value.size + 2.0).reshape(value.shape)
            coded = [self._replaced(_float_ones, {position: code}) for code in (numbers, numbers**2)]
            once, squared = (self._push(operands)[output] for operands in coded)
            if once is None or squared is None:
                continue
            is_one = (once >= 2) & (squared == once * once)
            found.append((position, np.where(is_one, once - 2, -1).astype(np.int64)))
        return found

    def _is_linear(self, position: int) -> bool:
        return self.node.op.operand_at(position).name in self.node.op.linear

    def _replaced(self, ones: Callable[[Any], Any], given: dict[int, Any] | None = None) -> list[Any]:
        """The operands with all that gradients could flow through replaced by ones, but for those given."""
        fixed = self.node.op.nondifferentiable
        return [
            given[position]
            if given and position in given
            else value
            if value is None or self.node.op.operand_at(position).name in fixed
            else ones(value)
            for position, value in enumerate(self.operands)
        ]

    def _push(self, operands: Sequence[Any]) -> list[Array | None]:
        """Send a tangent that is 1 at the element through the node's op, at the given operands."""
        value = operands[self.position]
        leaf = Leaf(value, requires_grad=True)
        moving = [*operands[: self.position], Tensor(value, leaf, leaf), *operands[self.position + 1 :]]
        with mode(recording=True, tangents=True, capture=None, place=Place()), np.errstate(all="ignore"):
            result = cast(Any, self.node.op(*moving, **self.node.settings))
            made = edge_node((result[0] if isinstance(result, tuple) else result)._edge)
            tangent = push([made], {id(leaf): self.direction}, record=False).get(id(made))
        if tangent is None:
            return [None] * len(made.output_types)
        parts = (tangent,) if isinstance(made.types, ArrayType) else tangent
        return [None if part is None else np.asarray(part) for part in parts]

    def moved(self) -> Array | None:
        """Where the element stands in the result of an op that only moves elements; None for other ops."""
        others = [entry for i, entry in enumerate(self.node.inputs) if i != self.position]
        alone = all(
            entry is None or (not is_recorded(entry) and type_of(entry).dtype.kind in "iub")
            for entry in others
        )
        if not (
            alone
            and self.node.kind in VIEWING
            and self._is_linear(self.position)
            and isinstance(self.node.types, ArrayType)
            and self.node.types.dtype.kind in "fO"
        ):
            return None
        (local,) = self.local()
        return local if local is not None and bool(((local == 0) | (local == 1)).all()) else None


def at_element(value: object, element: tuple[int, ...]) -> Any:
    """A tangent that is 1 at one element of a value and 0 elsewhere."""
    direction = np.zeros_like(value, subok=False)
    direction[element] = 1
    return direction[()]


def uses_through(
    edge: Edge,
    direction: object,
    nodes: Sequence[Node],
    operands: Callable[[Node], Sequence[Any]],
    ends: Sequence[Any] = (),
) -> list[Use]:
    """Where the element is computed with: views and other ops that only move it are seen through.

    Args:
        direction: 1 at the element of the edge's value, 0 elsewhere.
        operands: the values of a node's operands.
        ends: edges that are not seen through, since they leave the graph.
    """
    readers: dict[tuple[int, int], list[tuple[Node, int]]] = {}
    for node in nodes:
        for position, entry in enumerate(node.inputs):
            if is_recorded(entry) and _flows(node, position):
                readers.setdefault((id(edge_node(entry)), edge_index(entry)), []).append((node, position))
    kept = {id(edge_node(end)) for end in ends if is_recorded(end)}
    found: list[Use] = []
    waiting: list[tuple[Edge, Any]] = [(edge, direction)]
    while waiting:
        source, tangent = waiting.pop()
        for node, position in readers.get((id(edge_node(source)), edge_index(source)), ()):
            use = Use(node, position, operands(node), tangent, direct=source is edge)
            moved = use.moved() if id(node) not in kept else None
            if moved is None:
                found.append(use)
            elif moved.any():
                waiting.append((node, moved[()]))
    return sorted(found, key=lambda use: (use.node.order, use.position))


def _nonzero(array: Array | None) -> Array:
    # NaN differs from 0 and is an impact
    return np.asarray(False) if array is None else np.asarray(array != 0)


def _float_ones(value: Array) -> Any:
    return np.ones(np.shape(value))[()]


def uses_of(edge: Edge, nodes: Sequence[Node]) -> list[tuple[Node, int]]:
    """The nodes that read the value on an edge, each with the operand's position, if a gradient can flow there."""
    source, index = edge_node(edge), edge_index(edge)
    return [
        (node, position)
        for node in nodes
        for position, entry in enumerate(node.inputs)
        if is_recorded(entry)
        and edge_node(entry) is source
        and edge_index(entry) == index
        and _flows(node, position)
    ]


def _flows(node: Node, position: int) -> bool:
    """Whether a gradient can flow to an operand, which is recorded."""
    return (
        edge_type(node.inputs[position]).differentiable
        and node.op.operand_at(position).name not in node.op.nondifferentiable
        and any(types.differentiable for types in node.output_types)
    )
