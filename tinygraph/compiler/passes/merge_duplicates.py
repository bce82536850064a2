"""Compute once what is computed twice (common subexpressions)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.compiler.passes.rewriting import Rewriting, edges
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, entry_key, settings_key


def merge_duplicates(graph: Graph) -> Graph:
    """Let nodes of the same op, operands and settings share one; draws and exchanges are never the same."""
    seen: dict[Any, tuple[Any, ...]] = {}
    rewriting = Rewriting(graph)
    for node in graph.nodes:
        if isinstance(node, Leaf):
            continue
        inputs = rewriting.entries(node.inputs)
        key = _computation(node, inputs)
        if not node.op.repeatable:
            rewriting.keep(node, inputs)
        elif key in seen:
            rewriting.put(node, seen[key])
        else:
            seen[key] = edges(rewriting.keep(node, inputs))
    return rewriting.graph()


def _computation(node: Node, inputs: tuple[Any, ...]) -> Any:
    """What makes two nodes the same: the op itself, not its name."""
    return node.op, tuple(map(identity, inputs)), settings_key(node.settings).text


def identity(entry: object) -> Any:
    """What makes two operands the same: their edge; for small constants their value."""
    key = entry_key(entry)
    if key is not None:
        return key
    if isinstance(entry, np.ndarray) and entry.size > 16:
        return "array", id(entry)
    if isinstance(entry, np.ndarray | np.generic):
        return "value", entry.dtype.str, entry.shape, entry.tobytes()
    return "number", type(entry), repr(entry)
