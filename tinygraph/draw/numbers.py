"""The numbers and the backward pass of a graph that a picture may show: values, gradients, the graph of both passes.

Values come from replaying the graph, gradients from pulling a cotangent back through it op by op, so neither needs
`backward()` to have run and neither touches `.grad`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.engine import propagate
from tinygraph.core.graph import Graph, replay
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf, Node, edge_type, is_recorded
from tinygraph.core.open_capture import OpenCapture
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.errors import DrawingError
from tinygraph.explain.cotangents import gradients_of as gradients_of

SEED = "seed"


def values_of(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """The value of every node by its id, a tuple for several outputs.

    Raises:
        DrawingError: the graph was captured and `inputs` are missing.
    """
    lacking = [leaf for leaf in graph.leaves if leaf.value is None]
    if len(inputs) < len(lacking):
        names = ", ".join(leaf.name or "unnamed" for leaf in lacking)
        raise DrawingError(
            f"a captured graph has no values of its own: draw it with inputs=(...), one for each of {names}"
        )
    return replay(graph, inputs)


def with_backward(graph: Graph) -> tuple[Graph, dict[int, str]]:
    """The graph and its backward pass from the first output as one graph, and what its new outputs are called.

    Unlike in `Graph.gradient` the cotangent that the pass starts from is a leaf, so that nothing of the pass is
    worked out as a constant and left out of the picture; it need not be a scalar.

    Returns:
        The graph, whose outputs are the graph's own and one gradient for each leaf that wants one (each input, if
        none does), and position of an output -> the name of the leaf it is the gradient of.

    Raises:
        DrawingError: nothing in the graph can have a gradient.
    """
    out = graph.outputs[0] if graph.outputs else None
    wanted = [leaf for leaf in graph.leaves if leaf.requires_grad]
    wanted = wanted or [leaf for leaf in graph.inputs if leaf.types.differentiable]
    if not is_recorded(out) or not edge_type(out).differentiable or not wanted:
        raise DrawingError(
            "backward=True needs a differentiable output and a parameter or input to differentiate with respect to; "
            "make the leaves with tg.tensor(value, requires_grad=True)"
        )
    types = edge_type(out)
    start = Leaf(np.ones(types.shape, types.dtype)[()], requires_grad=True, name=SEED, kind="seed")
    captured = any(node.saved is None for node in graph.nodes)
    seed = Tensor(None if captured else start.value, start, start)
    with mode(recording=True, capture=OpenCapture() if captured else None, place=Place()):
        found = propagate(graph.nodes, [(out, seed)], wanted={id(leaf) for leaf in wanted}, record=True)
    edges: list[Any] = []
    names: dict[int, str] = {}
    for leaf in wanted:
        gradient = found.get(id(leaf))
        if gradient is not None:
            names[len(graph.outputs) + len(edges)] = leaf.name or leaf.kind
            edges.append(gradient._edge if isinstance(gradient, Tensor) else gradient)
    ends = (*graph.outputs, *edges)
    return Graph(graph.inputs, ends, updates=graph.updates, gradients=graph.gradients, name=graph.name), names


def own_gradients(nodes: Sequence[Node]) -> dict[int, Any]:
    """What `.backward()` has left in the leaves, by the leaf's id."""
    return {
        id(leaf): leaf.grad._value
        for leaf in nodes
        if isinstance(leaf, Leaf)
        and leaf.grad is not None
        and type_of(leaf.grad._value).shape == leaf.types.shape
    }
