"""The numbers and the backward pass of a graph that a picture may show: values, gradients, the graph of both passes.

Values come from replaying the graph, gradients from pulling a cotangent back through it op by op, so neither needs
`backward()` to have run and neither touches `.grad`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygraph.core.engine import propagate
from tinygraph.core.graph import Graph, replay
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf, Node, edge_type, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.errors import DrawingError
from tinygraph.explaining.cotangents import gradients_of as gradients_of
from tinygraph.tracing.open_capture import OpenCapture

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


@dataclass(frozen=True, slots=True)
class Differentiated:
    """A graph with its backward passes.

    Attributes:
        gradients: position of an output -> (name of the leaf that it is a gradient of, order of the pass).
        seeds: id of the leaf that a pass starts from -> the position of the output it stands for.
        note: what is to be said of the passes, or nothing.
    """

    graph: Graph
    gradients: dict[int, tuple[str, int]] = field(default_factory=dict)
    seeds: dict[int, int] = field(default_factory=dict)
    note: str = ""


def with_backward(graph: Graph, passes: int = 1) -> Differentiated:
    """The graph and its backward pass from the first output as one graph; with two passes, also the pass from there.

    Unlike in `Graph.gradient` the cotangents that a pass starts from are leaves, so that nothing of it is worked out
    as a constant and left out of the picture; the output need not be a scalar. The second pass starts from every
    gradient of the first, each with ones: it is the gradient of their sum.

    Returns:
        The graph, whose outputs are the graph's own and one gradient for each leaf that wants one (each input, if
        none does) and pass, as far as there are any.

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
    found = Differentiated(graph)
    starts = [0]
    for order in range(1, passes + 1):
        before = len(found.graph.outputs)
        found = _one_pass(found, starts, wanted, order)
        starts = list(range(before, len(found.graph.outputs)))
        starts = [i for i in starts if is_recorded(found.graph.outputs[i])]
    if passes == 2:
        several = len(wanted) > 1 or wanted[0].types.size > 1
        note = "The second pass differentiates the sum of all gradients of the first." if several else ""
        found = replace(
            found, note=note if starts else "The gradients are constant: there is no second order."
        )
    return found


def _one_pass(
    found: Differentiated, starts: Sequence[int], wanted: Sequence[Leaf], order: int
) -> Differentiated:
    """The graph with the gradients of the sum of some of its outputs."""
    graph = found.graph
    captured = any(node.saved is None for node in graph.nodes)
    seeds = dict(found.seeds)
    cotangents = []
    for position in starts:
        edge = graph.outputs[position]
        types = edge_type(edge)
        start = Leaf(np.ones(types.shape, types.dtype)[()], requires_grad=True, name=SEED, kind="seed")
        seeds[id(start)] = position
        cotangents.append((edge, Tensor(None if captured else start.value, start, start)))
    with mode(recording=True, capture=OpenCapture() if captured else None, place=Place()):
        made = propagate(graph.nodes, cotangents, wanted=set(wanted), record=True)
    edges: list[Any] = []
    names = dict(found.gradients)
    for leaf in wanted:
        gradient = made.get(leaf)
        if gradient is not None:
            names[len(graph.outputs) + len(edges)] = (leaf.name or leaf.kind, order)
            edges.append(gradient._edge if isinstance(gradient, Tensor) else gradient)
    ends = (*graph.outputs, *edges)
    whole = Graph(
        graph.inputs,
        ends,
        result=graph.result,  # for the names of the outputs
        updates=graph.updates,
        gradients=graph.gradients,
        name=graph.name,
    )
    return Differentiated(whole, names, seeds)


def own_gradients(nodes: Sequence[Node]) -> dict[int, Any]:
    """What `.backward()` has left in the leaves, by the leaf's id."""
    return {
        id(leaf): leaf.grad._value
        for leaf in nodes
        if isinstance(leaf, Leaf)
        and leaf.grad is not None
        and type_of(leaf.grad._value).shape == leaf.types.shape
    }
