"""The pass that puts one op in the place of two where an op says so and its kernel serves: no array is made in between.

Such ops are made for plans alone ("behind" in the facts of `core/op.py`); graphs that are drawn, saved or
differentiated have the two.
"""

from __future__ import annotations

from tinygraph import kernels
from tinygraph.compiler.choosing import kernel_cpu, lower
from tinygraph.compiler.passes.rewriting import make_node, rewrite, uses_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node
from tinygraph.kernels.lowering import rows


def join_ops(graph: Graph) -> Graph:
    """Replace an op that reads what another made for it alone by the op that is both."""
    if not kernels.available():
        return graph
    uses, cpu = uses_of(graph), kernel_cpu()
    before = {id(node): node for node in graph.nodes}

    def visit(node: Node, inputs: tuple[object, ...]) -> tuple[Node] | None:
        for place, (first, both) in node.op.facts["behind"].items():
            old = before.get(id(node.inputs[place]))
            read = inputs[place]
            if old is None or isinstance(old, Leaf) or not isinstance(read, Node):
                continue
            if read.op is not first or uses[id(old)] != 1 or old.place.phase != node.place.phase:
                continue
            operands = (*inputs[:place], *read.inputs, *inputs[place + 1 :])
            joined = make_node(both, operands, {**read.settings, **node.settings}, node.types, like=node)
            layouts = [None if one is None else rows(len(one.shape)) for one in joined.input_types]
            if lower(joined, layouts, [rows(len(node.shape))], cpu) is not None:
                return (joined,)
        return None

    return rewrite(graph, visit, ["behind"])
