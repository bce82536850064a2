"""`why`: why a gradient is missing, zero, tiny, huge or not finite, in words, at the op where it became so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph, graph_of, replay
from tinygraph.core.modes import modes
from tinygraph.core.node import Edge, Leaf, Node, edge_node, edge_type
from tinygraph.core.tensor import Tensor
from tinygraph.debugging.dying import deaths, largest, shrinkage
from tinygraph.debugging.not_finite import backward_birth, bad_elements, forward_birth
from tinygraph.debugging.reason import Reason
from tinygraph.errors import CaptureError, DTypeError, RecordingError
from tinygraph.explaining.cotangents import gradients_of
from tinygraph.explaining.unrolling import open_all

SMALL, LARGE = (
    1e-6,
    1e6,
)  # a gradient so many times smaller or larger than the one it started from is remarkable


def why(tensor: Tensor, output: Tensor | None = None) -> Reason:
    """Say why a gradient is zero, missing or not finite, and where on its way that began.

    Args:
        tensor: a parameter or any tensor whose gradient is in question; or an output, such as a loss that is NaN, whose
            graph is then looked through for the first value and the first gradient that are not finite, and for leaves
            that no gradient reaches.
        output: the scalar that was differentiated. Without it the one that this thread last called `backward()` on, if
            it is still there and `tensor` is a leaf.

    Returns:
        A `Reason`: prints as text; `.kind`, `.node` and `.script`, a program that shows the same op with the same
        numbers.

    Raises:
        RecordingError: no output is known, or it was not recorded.
        StaleValueError: a parameter was written since; compute the output again first.

    >>> import tinygraph as tg
    >>> x = tg.tensor([-1.0, -2.0], requires_grad=True, name="x")
    >>> loss = tg.ops.relu(x).sum()
    >>> reason = why(x, loss)
    >>> reason.kind, reason.node.op.name
    ('flat', 'relu')
    """
    if not isinstance(tensor, Tensor):
        raise DTypeError(f"why takes a tensor, not a {type(tensor).__name__}")
    asked: Tensor | None = tensor
    if output is None:
        asked, output = _output_of(tensor)
    if getattr(output, "_edge", None) is None:
        raise RecordingError(
            f"why: the output {output!r:.100} was not recorded, so no gradient comes from it to anything. Compute it "
            f"from tensors that require gradients, and not under tg.no_grad()"
        )
    if output._value is None:
        raise CaptureError("why needs values: call it outside of captured and compiled functions")
    graph, find = open_all(graph_of(output))
    values = replay(graph)
    wrong = forward_birth(graph, values, graph.outputs[:1])
    if wrong is not None:
        return wrong
    if not edge_type(graph.outputs[0]).differentiable:
        types = edge_type(graph.outputs[0])
        return Reason("discrete", f"the output is {types}, and such numbers have no gradient", None)
    gradients = gradients_of(graph, values)
    if asked is not None:
        return _of_one(graph, find, asked, values, gradients)
    return _of_all(graph, values, gradients)


def _output_of(tensor: Tensor) -> tuple[Tensor | None, Tensor]:
    """The tensor asked about (None for all leaves) and the output, where only one tensor was given."""
    if tensor._edge is not None and not isinstance(tensor._edge, Leaf):
        return None, tensor
    last = modes.last_output() if modes.last_output is not None else None
    if last is None:
        raise RecordingError(
            "why(tensor) of a parameter or input needs the output whose gradient is meant: tg.why(tensor, loss). "
            "(Without it, the tensor that backward() was last called on is taken, as long as somebody holds it.)"
        )
    return tensor, last


def _of_one(
    graph: Graph, find: Any, tensor: Tensor, values: Mapping[int, Any], gradients: Mapping[int, Any]
) -> Reason:
    edge = tensor._edge if tensor._edge is not None else tensor._leaf
    if isinstance(edge, Leaf) and not edge.requires_grad:
        return Reason(
            "frozen", f"{edge.describe()} has requires_grad=False: no gradient is made for it", edge
        )
    nodes = {id(node) for node in graph.nodes}
    edge = find(edge) if edge is not None else None
    if edge is None or id(edge_node(edge)) not in nodes:
        return _absent(graph, tensor)
    return _reason(graph, edge, values, gradients)


def _of_all(graph: Graph, values: Mapping[int, Any], gradients: Mapping[int, Any]) -> Reason:
    """The first thing that is wrong with the gradient of any leaf; if nothing is, their sizes."""
    wrong = backward_birth(graph, values, gradients)
    if wrong is not None:
        return wrong
    leaves = [node for node in graph.nodes if isinstance(node, Leaf) and node.requires_grad]
    found = [(leaf, _reason(graph, leaf, values, gradients)) for leaf in leaves]
    troubled = [(leaf, reason) for leaf, reason in found if not reason.ok]
    if not troubled:
        text = "; ".join(f"{leaf.describe()}: {reason.text}" for leaf, reason in found[:10])
        return Reason("fine", text or "no leaf of the output's graph requires a gradient", None)
    leaf, first = troubled[0]
    others = ", ".join(other.describe() for other, _ in troubled[1:6])
    more = f" So it is, for one reason or another, with {others}." if others else ""
    return Reason(first.kind, f"{leaf.describe()}: {first.text}{more}", first.node, first.script)


def _reason(graph: Graph, edge: Edge, values: Mapping[int, Any], gradients: Mapping[int, Any]) -> Reason:
    gradient = gradients.get(id(edge_node(edge)))
    if bad_elements(gradient, lambda value: ~np.isfinite(value)):
        wrong = backward_birth(graph, values, gradients)
        if wrong is not None:
            return wrong
    size = largest(gradient) if gradient is not None else 0.0
    if size == 0:
        found = deaths(graph, edge, values, gradients)
        if not found:
            return Reason(
                "cancelled", "what arrives on several ways adds up to exactly zero", edge_node(edge)
            )
        return found[0].reason(len({id(one.node) for one in found}) - 1)
    if SMALL <= size <= LARGE:  # it started from 1
        zero = _zeros(gradient)
        return Reason(
            "fine", f"the gradient arrives; its largest element is {size:.3g}{zero}", edge_node(edge)
        )
    steps = shrinkage(graph, edge, values, gradients)
    small = size < SMALL
    strongest = steps[:3] if small else steps[::-1][:3]
    factors = "; ".join(f"{factor:.2g} at {node.describe()}" for factor, node in strongest)
    text = (
        f"the gradient arrives, {size:.2g} times what it started from, after {len(steps)} ops. The "
        f"{'smallest' if small else 'largest'} factors: {factors}"
    )
    return Reason(
        "vanished" if small else "exploded", text, strongest[0][1] if strongest else edge_node(edge)
    )


def _zeros(gradient: object) -> str:
    parts = [
        np.asarray(one) for one in (gradient if isinstance(gradient, list) else [gradient]) if one is not None
    ]
    zero, count = sum(int(np.sum(one == 0)) for one in parts), sum(one.size for one in parts)
    return f" ({zero} of {count} elements are 0)" if zero else ""


def _absent(graph: Graph, tensor: Tensor) -> Reason:
    """The tensor is not in the graph: whether its memory is, as a plain array, or else where plain arrays come in."""
    own = np.asarray(tensor._value)
    plain: list[tuple[Node, int]] = []
    for node in graph.nodes:
        for i, one in enumerate(node.inputs):
            value = one.value if isinstance(one, Leaf) and not one.requires_grad else one
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
                continue
            plain.append((node, i))
            if own.ndim and np.may_share_memory(value, own):
                name = node.op.operand_at(i).name
                text = (
                    f"{node.describe()} reads the tensor's memory as a plain array, its operand {name!r}: it was "
                    f"detached before (.detach(), .numpy(), np.asarray(), or data of another tensor)"
                )
                return Reason("detached", text, node)
    listed = ", ".join(f"{node.op.operand_at(i).name!r} of {node.describe()}" for node, i in plain[:5])
    where = (
        f" Plain arrays, into which a value may have been turned on the way (.detach(), .item(), .numpy(), "
        f"tg.no_grad(), argmax), come in as {listed}"
        if plain
        else ""
    )
    return Reason("absent", f"nothing in the graph of the output reads this tensor.{where}", None)
