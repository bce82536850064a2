"""Simplify by facts that ops declare about themselves; this file knows no op.

`facts` of an op (see `Op`): "neutral": {operand: number} - with that number there, the result is the other operand;
"involution": applying the op twice gives the operand back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, is_recorded
from tinygraph.passes.rewriting import rewrite, same_type


def simplify_algebra(graph: Graph) -> Graph:
    """Apply the facts that ops declare, where the type of the result stays the same."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        for operand, number in node.op.facts.get("neutral", {}).items():
            (position,) = node.op.signature.positions(operand, len(inputs))
            other = inputs[1 - position]
            if _equals(inputs[position], number) and is_recorded(other) and same_type(other, node):
                return [other]
        if node.op.facts.get("involution"):
            source = inputs[0]
            if (
                isinstance(source, Node)
                and source.inputs
                and source.op is node.op
                and source.settings == node.settings
            ):
                return [source.inputs[0]]
        return None

    return rewrite(graph, visit)


def _equals(entry: Any, number: float) -> bool:
    return (
        not is_recorded(entry) and entry is not None and np.size(entry) > 0 and bool(np.all(entry == number))
    )
