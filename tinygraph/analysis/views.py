"""Which values of a graph lie in the memory of others: the ops say that it may be, and show it on stand-ins.

Strides decide (a reshaped transpose is a copy), so that the answer depends on how a plan lays values out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.core.node import VIEWING, Edge, Key, Leaf, Node, edge_node, edge_type, is_recorded, key_of
from tinygraph.core.stand_ins import lies_in, makes_views, run_on, zeros_like
from tinygraph.core.types import Array, ArrayType, WeakType

if TYPE_CHECKING:
    from tinygraph.kernels.lowering import Layout


class Views:
    """Which nodes are views: those that say that they may be run on stand-ins for their operands.

    Attributes:
        in_rows: of each value that is a view, whether it lies in rows.
    """

    def __init__(self, inputs: Container[int], layouts: Mapping[Key, Layout]) -> None:
        self.in_rows: dict[Key, bool] = {}
        self._layouts, self._inputs = layouts, inputs
        self._arrays: dict[Key, Array] = {}

    def take(self, node: Node) -> bool:
        """Whether a node's result lies in its first operand's memory."""
        if not may_be_view(node):
            return False
        operand = self._array(node.inputs[0])
        (result,) = run_on(node.op, operand, node.inputs[1:], node.settings)
        if not lies_in(result, operand):
            return False
        self._arrays[id(node), 0] = result
        self.in_rows[id(node), 0] = result.flags.c_contiguous
        return True

    def _array(self, edge: Edge) -> Array:
        node, key = edge_node(edge), key_of(edge)
        if key not in self._arrays:
            types, layout = edge_type(edge), self._layouts.get(key)
            if layout is not None:
                found = layout.inside(np.zeros(layout.size(types.shape), types.dtype), types.shape)
            elif isinstance(node, Leaf) and key[0] not in self._inputs and isinstance(node.value, np.ndarray):
                found = node.value  # a state stays where it lies
            else:
                found = zeros_like(types)
            self._arrays[key] = found
        return self._arrays[key]


def may_be_view(node: Node) -> bool:
    """Whether a node's result may lie in its operand's memory: its op says so, it reads nothing else, and its dtype is
    the operand's.
    """
    if node.op.kind not in VIEWING or not isinstance(node.types, ArrayType) or not makes_views(node.op):
        return False
    source = node.inputs[0] if node.inputs and len(node.parents()) == 1 else None
    if not is_recorded(source):
        return False
    types = edge_type(source)
    if isinstance(node.types, WeakType) != isinstance(types, WeakType):
        return False  # a Python number lies elsewhere than an array of its dtype
    return node.types.dtype == types.dtype
