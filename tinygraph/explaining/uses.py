"""The places where ops read a tensor, and what one of its elements does there: local derivatives, read off the ops'
forward-mode rules by a tangent that is 1 at the element and 0 elsewhere. No op is a special case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.tangents import push
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType

Array = np.ndarray[Any, Any]


class Use:
    """One operand of one node: a place where the explained tensor is read.

    Attributes:
        node, position: the node, and which of its operands.
        operands: the values of all its operands.
        element: the explained element of this one.
    """

    def __init__(self, node: Node, position: int, operands: Sequence[Any], element: tuple[int, ...]) -> None:
        self.node = node
        self.position = position
        self.operands = tuple(operands)
        self.element = element

    def local(self) -> list[Array | None]:
        """The derivative of every output element with respect to the element: an array an output."""
        return self._push(self.operands)

    def reach(self, local: Sequence[Array | None]) -> list[Array]:
        """Which output elements the element has an impact on.

        Where the op is linear in this operand, its structure decides: what the element would reach if the other
        operands were all ones. Elsewhere the non-zero local derivatives do; an elementwise op reaches no further than
        the element is broadcast (what infinity times a tangent of 0 gives elsewhere is no impact).
        """
        if self._is_linear(self.position):
            structure = self._push(self._replaced(np.ones_like))
            # a local derivative can be where ones cancel each other
            return [_nonzero(a) | (_nonzero(b) & (b == b)) for a, b in zip(structure, local, strict=True)]
        if self.node.kind == "elementwise":
            spread = np.broadcast_to(self._direction(self.operands[self.position]), self.node.shape) != 0
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
            result = self.node.op(*moving, **self.node.settings)
            made = edge_node((result[0] if isinstance(result, tuple) else result)._edge)
            tangent = push([made], {id(leaf): self._direction(value)}, record=False).get(id(made))
        if tangent is None:
            return [None] * len(made.output_types)
        parts = (tangent,) if isinstance(made.types, ArrayType) else tangent
        return [None if part is None else np.asarray(part) for part in parts]

    def _direction(self, value: Any) -> Any:
        """1 at the element, 0 elsewhere."""
        direction = np.zeros_like(value, subok=False)
        direction[self.element] = 1
        return direction[()]


def _nonzero(array: Array | None) -> Array:
    # NaN differs from 0 and is an impact
    return np.asarray(False) if array is None else np.asarray(array != 0)


def _float_ones(value: Any) -> Any:
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
        and edge_type(entry).differentiable
        and node.op.operand_at(position).name not in node.op.nondifferentiable
        and any(types.differentiable for types in node.output_types)
    ]
