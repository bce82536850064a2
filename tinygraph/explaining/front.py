"""`explain`: one element of a gradient as the sum of its impacts through the ops that read its tensor."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.bodies import opened, ruled_in
from tinygraph.core.engine import ancestors, propagate
from tinygraph.core.graph import Graph, evaluate, graph_of, replay
from tinygraph.core.modes import mode
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node, edge_type, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError, DTypeError, RecordingError, SettingError, ShapeError
from tinygraph.explaining.cotangents import value_on
from tinygraph.explaining.impacts import Group, Impacts
from tinygraph.explaining.unrolling import open_all
from tinygraph.explaining.uses import Use, at_element, uses_of, uses_through


def explain(
    output: Tensor | Graph, wrt: Tensor | str, element: object = (), *, inputs: Sequence[Any] = ()
) -> Impacts:
    """List every impact of one element of a tensor on a scalar output, through the ops that read the tensor.

    An impact is one output element of such an op: its local derivative with respect to the element, times the
    cotangent there. The contributions add up to the gradient. Where an op is linear in the tensor, an impact through
    a factor that happens to be 0 is listed too, with the local derivative 0; what meets only padding is none. Views,
    transposes and other ops that only move elements are seen through, to the ops that compute with the element, and a
    compiled call to the ops in it, a loop to its steps.

    Args:
        output: a recorded scalar, such as a loss; or a graph whose first output is one.
        wrt: the tensor, recorded in the graph of `output`, or its name.
        element: the index of the element, an int for each axis.
        inputs: what to evaluate a graph on.

    Returns:
        `Impacts`: a sequence of `Impact`; prints as a table, `.formula()` as a formula, `.total` is the gradient.

    Raises:
        RecordingError: the output was not recorded or is no scalar, or `wrt` is not in its graph.
        ShapeError: there is no such element.
        StaleValueError: a saved value was changed since.

    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> impacts = explain((x * x).sum(), wrt=x, element=1)
    >>> [impact.contribution for impact in impacts], impacts.total
    ([2.0, 2.0], 4.0)
    """
    if isinstance(output, Graph):
        output = _evaluated(output, inputs)
    edge = output_edge(output)
    graph = graph_of(output)
    target = find_edge(wrt, graph.nodes, inside=opened(graph).nodes)
    edge, target, graph = _without_bodies(edge, target, graph)
    nodes = graph.nodes
    chosen = _element(element, edge_type(target).shape, name_of(target))
    if edge_type(target).dtype.kind == "c":
        raise DTypeError(
            "explain takes an element of a real tensor: a complex one has no single local derivative"
        )
    found = uses_of(target, nodes)
    if not found and edge_node(target) is edge_node(edge):
        raise RecordingError("explain: `wrt` is the output itself; nothing lies between them")
    values = replay(graph)

    def operands(node: Node) -> list[Any]:
        return [value_on(entry, values) if is_recorded(entry) else entry for entry in node.inputs]

    direction = at_element(value_on(target, values), chosen)
    uses = uses_through(target, direction, nodes, operands, ends=(edge,))
    names = distinct_names([use.node for use in uses])
    groups: list[Group] = []
    for use in uses:
        groups += _groups(use, _cotangents(edge, use.node), names)
    return Impacts(
        groups,
        output_name=name_of(edge),
        name=name_of(target, found),
        element=chosen,
        exact=edge_type(target).dtype.kind == "O",
    )


def _evaluated(graph: Graph, inputs: Sequence[Any]) -> Tensor:
    """The first output of a graph, recorded on inputs of which the real ones may be explained too."""
    given = []
    if inputs and len(inputs) != len(graph.inputs):
        raise ShapeError(f"the graph takes {len(graph.inputs)} input(s) but inputs= holds {len(inputs)}")
    for leaf, value in zip(graph.inputs, inputs, strict=False):
        array = value._value if isinstance(value, Tensor) else np.asarray(value, leaf.dtype)[()]
        differentiable = leaf.output_types[0].differentiable
        given.append(Tensor._of_leaf(Leaf(array, requires_grad=differentiable, name=leaf.name)))
    whole = Graph(graph.inputs, graph.outputs[:1])
    result = whole(*given)
    if not isinstance(result, Tensor):
        raise RecordingError("explain: the graph's first output depends on nothing that can have a gradient")
    return result


def _without_bodies(edge: Edge, target: Edge, graph: Graph) -> tuple[Edge, Edge, Graph]:
    """The output, the explained edge and the graph, with compiled calls run op by op instead of as one."""
    opening, find = open_all(graph)
    if opening is graph or ruled_in(graph) is not None:
        return edge, target, graph
    for node in graph.nodes:
        node.check_versions()
    with mode(recording=True), np.errstate(all="ignore"):
        values = evaluate(opening.nodes, {})

    def now(before: Edge) -> Edge:
        found = find(before)
        tensor = value_on(found, values)
        return tensor._edge if isinstance(tensor, Tensor) and tensor._edge is not None else found

    for node in opening.nodes:
        made = values[id(node)]
        if node.name and isinstance(made, Tensor) and isinstance(made._edge, Node):
            made._edge.name = node.name
    whole = graph_of(value_on(find(edge), values))
    return now(edge), now(target), whole


def output_edge(output: object) -> Edge:
    if not isinstance(output, Tensor) or output._edge is None:
        raise RecordingError(
            f"explain needs an output that was recorded, not {output!r:.200}: make its operands with "
            f"tg.tensor(value, requires_grad=True)"
        )
    if output._value is None:
        raise CaptureError(
            "explain needs values: capture the function, then tg.explain(graph, ..., inputs=(...))"
        )
    if output.size != 1 or not output.type.differentiable:
        raise RecordingError(
            f"explain needs a real scalar output, such as a loss; this one is {output.type}. Reduce it first: "
            f".sum(), .mean(), or pick an element"
        )
    return output._edge


def find_edge(wrt: object, nodes: Sequence[Node], inside: Sequence[Node] = ()) -> Edge:
    """The edge that carries the tensor called or given as `wrt`; a name may be one `inside` of compiled calls, too."""
    named = list({id(node): node for node in (*nodes, *inside) if node.name}.values())
    if isinstance(wrt, str):
        found = [node for node in named if node.name == wrt]
        if len(found) == 1:
            return found[0] if len(found[0].output_types) == 1 else Port(found[0], 0)
        reason = (
            f"{len(found) or 'no'} tensors are called {wrt!r}{'; pass the tensor itself' if found else ''}"
        )
    elif isinstance(wrt, Tensor):
        edge = wrt._edge if wrt._edge is not None else wrt._leaf
        if edge is not None and any(edge_node(edge) is node for node in nodes):
            return edge
        reason = f"the given tensor {wrt.name or ''} ({wrt.type}) is not in the graph of the output"
    else:
        reason = f"`wrt` must be a tensor or a name, not {type(wrt).__name__}"
    listed = ", ".join(sorted({str(node.name) for node in named})) or "none"
    raise RecordingError(f"explain: {reason}. Named tensors in the graph: {listed}")


def _element(element: object, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The index of one element, non-negative."""
    items = element if isinstance(element, tuple | list) else (element,)
    try:
        indices = [operator.index(item) for item in items]
    except TypeError:
        raise SettingError(f"element must be an int for each axis of {name}, not {element!r}") from None
    if len(indices) != len(shape) or any(
        not -size <= i < size for i, size in zip(indices, shape, strict=True)
    ):
        raise ShapeError(f"element {tuple(items)} does not exist: {name} has the shape {shape}")
    return tuple(i % size for i, size in zip(indices, shape, strict=True))


def _cotangents(output: Edge, node: Node) -> list[Any]:
    """The gradient of the output with respect to each output of a node; zeros where nothing arrives."""
    # One pass a node: with all of them wanted at once, a path that runs through two would end at the later one.
    types = edge_type(output)
    seed = np.full(types.shape, 1, types.dtype)[()]
    reached = ancestors([output], floor=node.order)
    with np.errstate(all="ignore"):
        found = propagate(reached, [(output, seed)], wanted={node}, record=False).get(node)
    parts = found if isinstance(found, list) else [found] * len(node.output_types)
    return [
        np.zeros(types.shape, types.dtype if types.differentiable else float)
        if part is None
        else np.asarray(part)
        for part, types in zip(parts, node.output_types, strict=True)
    ]


def distinct_names(nodes: Sequence[Node]) -> dict[int, str]:
    """What nodes are called, by id: their own name or their op's, numbered where several share it."""
    names: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for node in nodes:
        if id(node) not in names:
            name = node.name or node.op.name
            taken[name] += 1
            names[id(node)] = name if taken[name] == 1 else f"{name}#{taken[name]}"
    return names


def _groups(use: Use, cotangents: Sequence[Any], names: dict[int, str]) -> list[Group]:
    """The impacts of one use, a group for each output of its op."""
    local = use.local()
    reach = use.reach(local, cotangents)
    groups = []
    for i, (derivative, mask, cotangent) in enumerate(zip(local, reach, cotangents, strict=True)):
        if derivative is not None and mask.any():
            groups.append(Group(use, i, names, np.argwhere(mask), derivative[mask], cotangent[mask]))
    return groups


def name_of(edge: Edge, uses: Sequence[tuple[Node, int]] = ()) -> str:
    """A tensor's own name, else that of its op, else that of the operand it is used as."""
    node = edge_node(edge)
    if node.name:
        return node.name
    if not isinstance(node, Leaf):
        return node.op.name
    return uses[0][0].op.operand_at(uses[0][1]).name if uses else "the tensor"
