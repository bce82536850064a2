"""Simplify by facts that ops declare about themselves; this file knows no op.

`facts` of an op (see `Op`): "neutral": {operand: number} - with that number there, the result is the other operand, bit
for bit and for real numbers (1 times complex infinity has a part that is not a number); "involution": applying the op
twice gives the operand back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.compiler.passes.rewriting import rewrite, same_type
from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, is_recorded


def simplify_algebra(graph: Graph) -> Graph:
    """Apply the facts that ops declare, where the type of the result stays the same."""

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        for operand, number in node.op.facts.get("neutral", {}).items():
            (position,) = node.op.signature.positions(operand, len(inputs))
            other = inputs[1 - position]
            if _is_neutral(inputs[position], number, node) and is_recorded(other) and same_type(other, node):
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

    return rewrite(graph, visit, ["neutral", "involution"])


def _is_neutral(entry: Any, number: float, node: Node) -> bool:
    """Whether an operand is that number everywhere, in the dtype of the result; zeros of floats have a sign."""
    if is_recorded(entry) or entry is None or node.dtype.kind not in "biuf" or np.size(entry) == 0:
        return False
    if not np.all(entry == number):
        return False
    return node.dtype.kind != "f" or bool(
        np.all(np.signbit(np.asarray(entry, node.dtype)) == np.signbit(number))
    )
