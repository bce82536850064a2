"""Let a loop leave to one product what its steps would add up from many: the gradients of the weights it reads.

A carry that only grows by x yᵀ in each step is Σ x yᵀ over the steps, and that is one product of what the steps made,
side by side. What it needs of them is stacked; sums over the axes of such stacks (gradients of a bias) follow them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compiler.passes.rewriting import Rewriting, as_op, edges, make_node, uses_of
from tinygraph.compiler.passes.transpose_products import is_transposition
from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.registry import ops
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType

MOST_BYTES = 2**28  # of what a loop stacks for this; the bound that the gradients of loops keep, too


class _Sum(NamedTuple):
    """A carry that can be summed after the loop.

    Attributes:
        carry: which one.
        operands: of the product, or the one array that is summed; each is stacked.
        turned: whether each operand lies transposed, and then whether the result does.
        axes: of the one array that are summed besides the steps.
    """

    carry: int
    operands: tuple[Edge, ...]
    turned: tuple[bool, ...] = ()
    axes: tuple[int, ...] = ()


class _Parted(NamedTuple):
    """A body without some carries, and where to find what makes them.

    Attributes:
        body: the subgraph that is left, with more results.
        sums: what is done afterwards.
        places: of each operand of the sums: a slice (its number) or a result (its number among those stacked).
    """

    body: Subgraph
    sums: tuple[_Sum, ...]
    places: dict[tuple[int, int], tuple[str, int]]


def sum_after_loops(graph: Graph) -> Graph:
    """Take sums of products out of loops."""
    loops = [node for node in graph.nodes if not isinstance(node, Leaf) and node.op is ops.scan]
    if not loops:
        return graph
    rewriting = Rewriting(graph)
    for node in graph.nodes:
        if isinstance(node, Leaf):
            continue
        split = _split_of(node) if node.op is ops.scan else None
        if split is None:
            rewriting.keep(node)
        else:
            rewriting.put(node, _apart(node, rewriting.entries(node.inputs), split))
    return rewriting.graph()


def _split_of(node: Node) -> _Parted | None:
    settings = node.all_settings
    body, carries, slices, length = (settings[name] for name in ("body", "carries", "slices", "length"))
    if length < 2:
        return None
    found: _Parted | None = body.derived(
        ("summed after", carries, slices, length), lambda: _split(body, carries, slices, length)
    )
    return found


def _split(body: Subgraph, carries: int, slices: int, length: int) -> _Parted | None:
    graph = body.graph
    uses = uses_of(graph)
    same = set(map(id, graph.inputs[carries + slices :]))  # read by all steps
    products = [
        one for i in range(carries) if (one := _product(graph, i, uses)) and not _reads(one.operands, same)
    ]
    if not products:
        return None
    known = {_key(edge) for one in products for edge in one.operands}
    known |= {(id(leaf), 0) for leaf in graph.inputs[carries : carries + slices]}
    taken = {one.carry for one in products}
    plain = [one for i in range(carries) if i not in taken and (one := _plain(graph, i, uses, known))]
    sums = (*products, *plain)

    gone = {one.carry for one in sums}
    results = [end for i, end in enumerate(graph.outputs) if i not in gone]
    stacked = {
        _key(end): i for i, end in enumerate(graph.outputs[carries:]) if is_recorded(end)
    }  # what steps return anyway
    own = {(id(leaf), 0): i for i, leaf in enumerate(graph.inputs[carries : carries + slices])}
    places: dict[tuple[int, int], tuple[str, int]] = {}
    count, added = len(graph.outputs) - carries, 0
    for edge in (edge for one in sums for edge in one.operands):
        key = _key(edge)
        if key in places:
            continue
        if key in own:
            places[key] = "slice", own[key]
        elif key in stacked:
            places[key] = "result", stacked[key]
        else:
            places[key] = "result", count
            results.append(edge)
            count += 1
            added += edge_type(edge).nbytes
    if added * length > MOST_BYTES:
        return None
    inputs = [leaf for i, leaf in enumerate(graph.inputs) if i not in gone]
    return _Parted(Subgraph(Graph(inputs, results, name=body.name), body.name), sums, places)


def _key(edge: Edge) -> tuple[int, int]:
    return id(edge_node(edge)), edge_index(edge)


def _reads(operands: Sequence[Edge], same: set[int]) -> bool:
    return any(id(edge_node(one)) in same for one in operands)


def _grown_by(graph: Graph, i: int, uses: Counter[int]) -> Edge | None:
    """What a carry grows by in each step, if that is all that happens to it."""
    leaf, end = graph.inputs[i], graph.outputs[i]
    if uses[id(leaf)] != 1 or not isinstance(end, Node) or isinstance(end, Leaf) or end.op is not ops.add:
        return None
    if uses[id(end)] != 1 or leaf.types.dtype.kind not in "fc":
        return None
    others = [one for one in end.inputs if one is not leaf]
    if len(others) != 1 or not is_recorded(others[0]) or edge_type(others[0]) != leaf.types:
        return None
    grown: Edge = others[0]
    return grown


def _product(graph: Graph, i: int, uses: Counter[int]) -> _Sum | None:
    """A carry that grows by a product of two matrices, which nothing else reads."""
    grown = _grown_by(graph, i, uses)
    if grown is None:
        return None
    found, turned = _untransposed(grown, uses)
    if not isinstance(found, Node) or isinstance(found, Leaf) or found.op is not ops.matmul:
        return None
    if uses[id(found)] != 1 or not all(is_recorded(one) and edge_type(one).ndim == 2 for one in found.inputs):
        return None
    if any(edge_type(one).dtype != found.dtype for one in found.inputs):
        return None
    (x, x_turned), (y, y_turned) = (_untransposed(one, None) for one in found.inputs)
    return _Sum(i, (x, y), (x_turned, y_turned, turned))


def _untransposed(edge: Edge, uses: Counter[int] | None) -> tuple[Edge, bool]:
    """What a matrix was before it was transposed, and whether it was; with `uses`, as long as nothing else reads it."""
    turned = False
    while isinstance(edge, Node) and not isinstance(edge, Leaf) and edge.inputs:
        before = edge.inputs[0]
        if not is_recorded(before) or (uses is not None and uses[id(edge)] != 1):
            break
        if is_transposition(edge):
            turned = not turned
        elif edge.op is not ops.reshape or edge_type(before).shape != edge.shape:
            break
        edge = before
    return edge, turned


def _plain(graph: Graph, i: int, uses: Counter[int], known: set[tuple[int, int]]) -> _Sum | None:
    """A carry that grows by something stacked anyway, or by its sum over some axes."""
    edge = _grown_by(graph, i, uses)
    while isinstance(edge, Node) and not isinstance(edge, Leaf) and _key(edge) not in known:
        before = edge.inputs[0] if edge.inputs else None
        if not is_recorded(before) or edge_type(before).dtype != edge.dtype:
            return None
        if edge.op is ops.sum and _key(before) in known:
            axes = edge.all_settings["axis"]
            ndim = edge_type(before).ndim
            all_axes = range(ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
            return _Sum(i, (before,), axes=tuple(axis % ndim for axis in all_axes))
        if edge.op is not ops.reshape:
            return None
        edge = before
    return None if edge is None or _key(edge) not in known else _Sum(i, (edge,))


def _apart(node: Node, inputs: tuple[Any, ...], split: _Parted) -> list[Any]:
    """What stands for a loop's results: a smaller loop's, and sums of what it stacked."""
    settings = node.all_settings
    carries, slices, length = (settings[name] for name in ("carries", "slices", "length"))
    gone = {one.carry for one in split.sums}
    made = split.body.output_types
    left = carries - len(gone)
    types = (*made[:left], *(ArrayType((length, *one.shape), one.dtype) for one in made[left:]))
    loop = make_node(
        node.op,
        tuple(one for i, one in enumerate(inputs) if i not in gone),
        {**settings, "body": split.body, "carries": left},
        types,
        like=node,
    )
    ports = edges(loop)
    xs = inputs[carries : carries + slices]

    def stack(edge: Edge) -> Any:
        kind, number = split.places[_key(edge)]
        return xs[number] if kind == "slice" else ports[left + number]

    rest = iter(ports[:left])
    totals = {
        one.carry: _total(node, one, [stack(edge) for edge in one.operands], inputs) for one in split.sums
    }
    carried = [totals[i] if i in totals else next(rest) for i in range(carries)]
    return [*carried, *ports[left : left + len(node.output_types) - carries]]


def _total(node: Node, one: _Sum, stacks: list[Any], inputs: tuple[Any, ...]) -> Any:
    """A carry after the loop: what it was at first, and the sum over all steps."""
    types = node.output_types[one.carry]
    if one.turned:
        x, y, out = (
            pair[::-1] if turned else pair
            for pair, turned in zip(("mk", "kn", "mn"), one.turned, strict=True)
        )
        total = make_node(
            as_op(ops.einsum), tuple(stacks), {"subscripts": f"t{x},t{y}->{out}"}, types, like=node
        )
    else:
        (array,) = stacks
        axes = (0, *(axis + 1 for axis in one.axes))
        shape = edge_type(array).shape if is_recorded(array) else np.shape(array)
        left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        total = make_node(as_op(ops.sum), (array,), {"axis": axes}, ArrayType(left, types.dtype), like=node)
        if left != types.shape:
            total = make_node(as_op(ops.reshape), (total,), {"shape": types.shape}, types, like=node)
    start = inputs[one.carry]
    if not is_recorded(start) and not np.any(start):
        return total
    return make_node(as_op(ops.add), (start, total), {}, types, like=node)
