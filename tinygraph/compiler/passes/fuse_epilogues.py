"""The pass that joins a node with the fused loop that alone reads its result, where its kernel takes an epilogue.

What the loop computes is then done on sums in registers: a bias, an activation, the mask of an activation's gradient, a
residual. `compiler/epilogues.py` makes the op and its kernel.
"""

from __future__ import annotations

from tinygraph import kernels
from tinygraph.compiler.choosing import kernel_cpu
from tinygraph.compiler.epilogues import Joined, joined_op, takes_epilogues
from tinygraph.compiler.passes.rewriting import Rewriting, edges, make_node, uses_of
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_node, is_recorded

# Of a program for a vector: a kernel has it once for each of the two dozen sums that it holds in registers, and longer
# ones do not stay in the cache of instructions. With 53 (an activation by the error function) a product of 1024 x 128 x
# 512 gained 8 %, with 97 (its derivative) it took 1.7 times as long as with a loop behind it.
_MOST_INSTRUCTIONS = 64


def fuse_epilogues(graph: Graph) -> Graph:
    """Join products, convolutions and whatever takes an epilogue with the loops behind them."""
    if not kernels.available():
        return graph
    uses, cpu = uses_of(graph), kernel_cpu()
    # updates are written where their states live, which only a loop of its own can do
    updates = {id(edge_node(value)) for _, value in graph.updates if is_recorded(value)}
    position = {id(node): i for i, node in enumerate(graph.nodes)}
    found: dict[int, Joined] = {}
    absorbed: set[int] = set()
    for node in graph.nodes:
        if isinstance(node, Leaf) or "program" not in node.op.facts or id(node) in updates:
            continue
        places = [i for i in range(len(node.inputs)) if _may_join(node, i, uses, cpu)]
        if places:
            place = max(places, key=lambda i: position[id(node.inputs[i])])
            found[id(node)] = Joined(node.inputs[place], node, place)
            absorbed.add(id(node.inputs[place]))
    if not found:
        return graph
    rewriting = Rewriting(graph)
    for node in graph.nodes:
        if isinstance(node, Leaf) or id(node) in absorbed:
            continue
        joined = found.get(id(node))
        if joined is None:
            rewriting.keep(node)
            continue
        types = node.output_types
        inputs = tuple(map(rewriting.now, joined.inputs))
        found_types = types if len(types) > 1 else types[0]
        # most of the time goes into the first, so the node stands where that does
        made = make_node(joined_op(joined), inputs, {}, found_types, like=joined.first)
        rewriting.put(node, edges(made))
        rewriting.put(joined.first, (made,))
    return rewriting.graph()


def _may_join(loop: Node, place: int, uses: dict[int, int], cpu: object) -> bool:
    """Whether an operand of a loop is made by a node that may carry the loop out on its sums."""
    first = loop.inputs[place]
    if not is_recorded(first) or isinstance(first, Leaf) or first.__class__ is not Node:
        return False
    if uses[id(first)] != 1 or first.place.phase != loop.place.phase or "program" in first.op.facts:
        return False
    from tinygraph.kernels.elementwise import instructions

    program, reductions = loop.op.facts["program"].program, loop.op.facts["program"].reductions
    if instructions(program) > _MOST_INSTRUCTIONS:
        return False
    types = first.types
    full = [one for one, kind in zip(loop.output_types, reductions, strict=True) if kind is None]
    return types in full and takes_epilogues(first, cpu)
