"""Cotangents that are zero by structure: of values that a `where` did not choose.

A slope that is infinite there would make NaN of such a zero: of `np.where(x > 0, x, np.exp(x))` at 1000. So what rules
of elementwise ops make of it is chosen again, from the `where` back to where a value has another use or shape. That
choice is an op like any other, so that derivatives of every order have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType, as_value

if TYPE_CHECKING:
    from tinygraph.core.op import Op


def unchosen(nodes: Sequence[Node], seeds: Sequence[Node]) -> Unchosen | None:
    """What a backward pass through nodes has to note; None where nothing is chosen among what was computed."""
    choice = ops.where
    for node in nodes:
        if node.op is choice and any(entry.__class__ is Node for entry in node.inputs[1:]):
            return Unchosen(nodes, seeds, choice)
    return None


class Unchosen:
    """Which cotangents count where.

    Attributes:
        kept: node -> where its cotangent is none of those zeros, as a condition.
    """

    def __init__(self, nodes: Sequence[Node], seeds: Sequence[Node], choice: Op) -> None:
        self.kept: dict[Node, Any] = {}
        self._choice = choice
        self._uses = dict(Counter(seeds))  # where a pass begins is a use of its own
        for node in nodes:
            if node.__class__ is Node and node.output_types[0].differentiable:
                for entry in node.inputs:
                    if entry.__class__ is Node:
                        self._uses[entry] = self._uses.get(entry, 0) + 1

    def concerns(self, node: Node) -> bool:
        """Whether a node's rules are followed here."""
        return node.op is self._choice or node in self.kept

    def follow(
        self, node: Node, found: dict[Node, Any], saved: Callable[[], Sequence[Any]]
    ) -> dict[Node, Any]:
        """What a node's rules found, without what they made of zeros; what is behind it is noted.

        Args:
            found: what to add to the gradients of the node's inputs.
            saved: the node's saved values, as its rules get them.
        """
        kept = self.kept.pop(node, None)
        if node.op is self._choice:
            if 0 not in node.live_rules.slots:  # none of the two is differentiated
                return found
            condition = saved()[node.live_rules.slots.index(0)]
            for entry, one in zip(node.inputs[1:], (condition, None), strict=True):
                if self._leads_on(entry, node):
                    where = one if one is not None else _plain(np.logical_not, condition)
                    self.kept[entry] = where if kept is None else _plain(np.logical_and, where, kept)
            return found
        cleaned = {}
        for entry, part in found.items():
            if part.__class__ is not list and np.shape(part) == node.types.shape:  # type: ignore[union-attr]
                part = (
                    ops.where(kept, part, 0)
                    if isinstance(part, Tensor)
                    else as_value(np.where(kept, part, 0))
                )
            cleaned[entry] = part
            if self._leads_on(entry, node):
                self.kept[entry] = kept
        return cleaned

    def _leads_on(self, entry: object, node: Node) -> bool:
        return (
            entry.__class__ is Node
            and entry.op.kind == "elementwise"
            and isinstance(entry.types, ArrayType)
            and entry.types.shape == node.types.shape  # type: ignore[union-attr]
            and self._uses.get(entry) == 1
        )


def _plain(function: Callable[..., Any], *conditions: object) -> Any:
    return (
        as_value(function(*conditions))
        if not any(isinstance(x, Tensor) for x in conditions)
        else function(*conditions)
    )
