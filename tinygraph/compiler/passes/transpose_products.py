"""Let products make their transposes themselves: (x y)ᵀ becomes yᵀ xᵀ, so that the result lies in rows.

Transposing an operand costs nothing, since BLAS reads both orders; whoever read the transposed result read it across
rows. `facts` of ops (see `Op`): "permutation" - how an op reorders axes; "transposed_product" - the law above holds.
"""

from __future__ import annotations

from typing import Any

from tinygraph.compiler.passes.rewriting import make_node, rewrite, uses_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, edge_node, edge_type, is_recorded
from tinygraph.core.types import ArrayType


def transpose_products(graph: Graph) -> Graph:
    """Exchange the operands of products of which only the transpose is read."""
    uses = uses_of(graph)

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        if not inputs or not is_transposition(node) or uses[id(node.inputs[0])] != 1:
            return None
        product = inputs[0]
        if not isinstance(product, Node) or isinstance(product, Leaf):
            return None
        operands = product.inputs
        if not product.op.facts.get("transposed_product") or not all(map(is_recorded, operands)):
            return None
        if any(edge_type(one).ndim != edge_type(node).ndim for one in operands):
            return None
        turned = tuple(_transposed(one, node) for one in reversed(operands))
        return [make_node(product.op, turned, product.settings, node.types, like=product)]

    return rewrite(graph, visit, ["permutation"])


def is_transposition(entry: object) -> bool:
    """Whether an entry is a node that exchanges the last two axes, and no others."""
    if not isinstance(entry, Node) or isinstance(entry, Leaf) or entry.op.facts.get("permutation") is None:
        return False
    ndim = edge_type(entry).ndim
    exchanged = (*range(ndim - 2), ndim - 1, ndim - 2)
    return ndim >= 2 and entry.op.facts["permutation"](entry.all_settings, ndim) == exchanged


def _transposed(entry: Edge, like: Node) -> Any:
    """An operand with its last two axes exchanged, by the op that `like` is, or what it was made from by one."""
    if is_transposition(entry):
        return edge_node(entry).inputs[0]
    types = edge_type(entry)
    *stack, rows, columns = types.shape
    return make_node(
        like.op, (entry,), like.settings, ArrayType((*stack, columns, rows), types.dtype), like=like
    )
