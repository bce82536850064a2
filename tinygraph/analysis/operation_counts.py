"""How many floating-point operations an op makes, by its own rule, else from its expansion, else by its kind.

Types only, no values; a transcendental function counts as one operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from tinygraph.analysis.expansion import Expansion
from tinygraph.core.node import Leaf, Node
from tinygraph.core.op import Op
from tinygraph.core.subgraphs import Unfolding, unfolding_of
from tinygraph.core.types import ArrayType

NO_ARITHMETIC = ("shape", "indexing")


def operations(
    op: Op,
    operands: Sequence[ArrayType | None],
    outputs: Sequence[ArrayType],
    settings: Mapping[str, Any],
) -> tuple[int | None, str]:
    """The number of operations, None where nothing says how many, and how they are counted."""
    settings = {**op.signature.settings, **settings}
    if op.cost_rule is not None:
        words = (op.cost_rule.__doc__ or "counted by a rule of its own").strip().partition("\n")[0]
        return op.cost_rule(*operands, **settings), words
    if op.kind in NO_ARITHMETIC:
        return 0, "none"
    if op.kind in ("elementwise", "comparison", "random"):
        return sum(one.size for one in outputs), "1 an output element"
    expansion = (
        op.expansion(*operands, **settings) if op.expansion is not None and len(outputs) == 1 else None
    )
    if expansion is not None:
        return _counted(expansion)
    if op.kind == "reduction":
        return sum(x.size for x in operands if x is not None), "1 an operand element"
    return None, "not declared"


def operations_of(node: Node) -> int | None:
    """The number of operations of a node that is no leaf, None where nothing says how many.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> operations_of(tg.capture(np.exp, np.zeros((2, 3))).nodes[-1])
    6
    >>> operations_of(tg.capture(lambda x: tg.ops.softmax(x, axis=1), np.zeros((2, 5))).nodes[-1])
    30
    """
    unfolding = unfolding_of(node)
    if unfolding is not None:
        return _of_steps(unfolding)
    return operations(node.op, node.input_types, node.output_types, node.settings)[0]


def _of_steps(unfolding: Unfolding) -> int | None:
    """Those of all steps of a loop; None where their number, or the branch, shows only when it runs."""
    if unfolding.count is None:
        return None
    counts = [
        operations_of(node)
        for one in unfolding.parts
        for node in one.graph.nodes
        if not isinstance(node, Leaf)
    ]
    known = [count for count in counts if count is not None]
    return sum(known) * unfolding.count if len(known) == len(counts) else None


def _counted(expansion: Expansion) -> tuple[int, str]:
    """Operations of an expansion: what is read outside an operand is counted, as a kernel over padding does it."""
    terms, outputs = prod(expansion.over), prod(expansion.shape)
    together = {"op": 1, "only": 0, "product": len(expansion.reads) - 1}[expansion.join]
    in_a_term = together + (expansion.each != "identity")
    reduced = expansion.reduce != "none"
    after = sum((expansion.bias is not None, expansion.after != "identity", expansion.share is not None))
    a_term = in_a_term + reduced
    if expansion.share is not None:  # one sum serves all the elements that it goes over
        return outputs * (a_term + after), f"{a_term + after} an element"
    words = " + ".join(
        filter(None, (f"{a_term} a term" if a_term else "", f"{after} an element" if after else ""))
    )
    return outputs * (terms * a_term + after), words or "none"
