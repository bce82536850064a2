"""Capturing a body: a function that a loop or a choice runs becomes a graph within the capture around it.

What the body closes over - values that the program around it computes, parameters, buffers - becomes an operand
(closure conversion), so that gradients reach it. A body computes and nothing else: it writes no state, draws no random
numbers and runs no backward pass into `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinygraph.core.capture import Capture
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode, modes
from tinygraph.core.node import Edge, Leaf, Node, edge_node, edge_type, is_recorded, key_of, next_order
from tinygraph.core.op import Op
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.tensor import CapturedNumber, Tensor
from tinygraph.core.trees import Tree, flatten
from tinygraph.core.types import ArrayType, WeakType
from tinygraph.errors import CaptureError, SideEffectError
from tinygraph.tracing.applying import apply_captured
from tinygraph.tracing.open_capture import OpenCapture
from tinygraph.tracing.trace import require_fed


class Typed:
    """Stands among a body's arguments for an array of a type; types themselves are tuples, which have parts."""

    def __init__(self, types: ArrayType) -> None:
        self.types = types


class CapturedBody(NamedTuple):
    """A body as a graph.

    Attributes:
        results: what it computes, its inputs being the arguments and then what it closes over.
        tree: the structure of its result.
        closed_over: what it closes over, as operands in the program around it.
    """

    results: Graph
    tree: Tree
    closed_over: list[Any]


class BodyCapture:
    """The capture of one body: what is older than the body and no constant becomes an input of its graph.

    Args:
        outer: the capture around it.
        name: of the body, for errors.
    """

    def __init__(self, outer: Capture, name: str) -> None:
        self.outer, self._name = outer, name
        self.probing: bool = (
            outer.probing if isinstance(outer, BodyCapture) else isinstance(outer, OpenCapture)
        )
        self.floor = next_order()
        self.versions: dict[Node, Leaf] = {}
        self.ran_backward = False
        self.covered, self.passed = outer.covered, outer.passed
        self.primals: AbstractSet[int] = outer.primals
        self.inputs_vary, self.fixed, self.scalars = outer.inputs_vary, outer.fixed, outer.scalars
        self.lifted: dict[tuple[int, int], tuple[Any, Leaf]] = {}
        self._inputs: set[int] = set()

    @property
    def with_tensors(self) -> bool:
        return self.outer.with_tensors

    @with_tensors.setter
    def with_tensors(self, value: bool) -> None:
        self.outer.with_tensors = value

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        for i, (x, entry) in enumerate(zip(operands, entries, strict=True)):
            if not isinstance(x, Tensor) or not is_recorded(entry):
                continue
            # outside of captures a body is run for its types alone, among tensors that have values
            if x._value is None or (self.probing and not isinstance(entry, Leaf)):
                entries[i] = self.inside(entry)
        return apply_captured(self, op, operands, entries, settings)

    def inside(self, edge: Edge) -> Any:
        """What stands in the body for an edge: itself, or an input if it is from before."""
        return edge if edge_node(edge).order >= self.floor else self._input(edge)

    def _input(self, edge: Edge) -> Leaf:
        key = key_of(edge)
        if key not in self.lifted:
            node = edge_node(edge)
            name = node.name or (node.kind if isinstance(node, Leaf) else node.op.name)
            leaf = Leaf(None, kind="input", types=edge_type(edge), name=name)
            self.lifted[key] = edge, leaf
            self._inputs.add(id(leaf))
        return self.lifted[key][1]

    def read(self, leaf: Leaf) -> Tensor:
        return Tensor(None, self.entry(leaf))

    def entry(self, leaf: Leaf) -> Any:
        if leaf.kind == "generator":
            raise self._side_effect(_DRAWS)
        if id(leaf) in self._inputs:
            return leaf
        found = self.outer.entry(leaf)  # which the capture around may make now: its age says nothing
        return self._input(found) if is_recorded(found) else found

    def write(self, leaf: Leaf, value: object) -> NoReturn:
        raise self._side_effect(f"writes {leaf.describe()}")

    def attach(self, leaf: Leaf) -> None:
        """States are not written here."""

    def read_grad(self, leaf: Leaf) -> NoReturn:
        raise self._side_effect(f"reads the gradient of {leaf.describe()}")

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> NoReturn:
        raise self._side_effect(f"sets the gradient of {leaf.describe()}")

    def closed_over(self, tensor: Tensor) -> Leaf:
        return self._input(self.outer.closed_over(tensor))

    def constant(self, tensor: Tensor) -> None:
        self.outer.constant(tensor)

    def made(self, tensor: Tensor) -> None:
        self.outer.made(tensor)

    def drew(self, tensor: Tensor) -> NoReturn:
        raise self._side_effect(_DRAWS)

    def is_state(self, tensor: Tensor) -> bool:
        return self.outer.is_state(tensor)

    def may_ask_for(self, tensor: Tensor) -> bool:
        return self.outer.may_ask_for(tensor)

    def in_rows(self, leaf: Leaf) -> bool:
        """Inputs of the body itself do: a loop lays its carries out as it likes."""
        return leaf.order >= self.floor or self.outer.in_rows(leaf)

    def is_number(self, leaf: Leaf, number: int) -> bool:
        return False

    def rely(self, words: str, question: Callable[[], Any], key: Hashable = None) -> None:
        self.outer.rely(words, question, key)

    def rely_at_end(self, words: str, make: Callable[[], Callable[[], Any]], key: Hashable) -> None:
        self.outer.rely_at_end(words, make, key)

    def _side_effect(self, what: str) -> CaptureError:
        branch = "branch" in self._name
        if what == _DRAWS:
            way = (
                "draw before it and pass the numbers as an operand"
                if branch
                else (
                    "draw all random numbers before the loop and pass them among its operands (the xs of a scan)"
                )
            )
        else:
            way = "let it return the new value" + ("" if branch else " as a carry")
        kind = "a branch" if branch else "the body of a loop"
        return SideEffectError(
            f"{self._name} {what}, and in a captured program {kind} computes and does nothing else: {way}"
        )


_DRAWS = "draws random numbers"


def capture_body(function: Callable[..., Any], arguments: Sequence[Any], what: str) -> CapturedBody:
    """Run a function on its arguments and keep what it computes as a graph; outside of a capture in one of its own.

    Args:
        arguments: containers with `Typed`s in the places of arrays; anything else is passed on as it is.
        what: names the body in errors.

    Raises:
        CaptureError: it has side effects, asks for values, or lets a value of the inside out by another way.
    """
    outer = modes.current.capture or OpenCapture()
    capture = BodyCapture(outer, what)
    leaves, tree = flatten(tuple(arguments))
    inputs: list[Leaf] = []
    filled = list(leaves)
    for i, one in enumerate(leaves):
        if isinstance(one, Typed):
            inputs.append(Leaf(None, kind="input", types=one.types))
            filled[i] = Tensor(None, inputs[-1], inputs[-1])
    with mode(capture=capture, place=Place((), modes.current.place.phase)):
        result = function(*tree.unflatten(filled))
        found, shape = flatten(result)
        ends = [_end(capture, one, what) for one in found]
    lifted = list(capture.lifted.values())
    graph = Graph([*inputs, *(leaf for _, leaf in lifted)], ends, name=what)
    require_fed(graph, what)
    return CapturedBody(graph, shape, [_outside(edge) for edge, _ in lifted])


def subgraph(body: CapturedBody, name: str, also: Sequence[Any] = (), order: Sequence[int] = ()) -> Subgraph:
    """The body as a subgraph.

    Args:
        also: what its fellows close over, all together; its inputs follow that order.
        order: for each of `also` its number among what the body closes over, -1 where it does not read it.
    """
    graph = body.results
    own = len(graph.inputs) - len(body.closed_over)
    inputs = list(graph.inputs[:own])
    for one, place in zip(also, order, strict=True):
        inputs.append(graph.inputs[own + place] if place >= 0 else Leaf(None, kind="input", types=one.type))
    return Subgraph(Graph(inputs, graph.outputs, name=name), name)


def joined(bodies: Sequence[CapturedBody]) -> tuple[list[Any], list[list[int]]]:
    """All that some bodies close over, each once, and for each body the numbers that `subgraph` takes as `order`."""
    together: dict[tuple[int, int], Any] = {}
    for body in bodies:
        for one in body.closed_over:
            together.setdefault(key_of(one._edge), one)
    orders = []
    for body in bodies:
        own = {key_of(one._edge): i for i, one in enumerate(body.closed_over)}
        orders.append([own.get(key, -1) for key in together])
    return list(together.values()), orders


def _outside(edge: Edge) -> Tensor:
    """An operand of the program around the body."""
    types = edge_type(edge)
    if isinstance(types, WeakType):
        return CapturedNumber(None, edge)
    return Tensor(None, edge, edge if isinstance(edge, Leaf) else None)


def _end(capture: BodyCapture, value: object, what: str) -> Any:
    """What a graph holds for a result of a body: an edge, or an array."""
    if not isinstance(value, Tensor):
        if not isinstance(value, np.ndarray | np.generic | bool | int | float | complex):
            raise CaptureError(
                f"{what} returns a {type(value).__name__}: results must be arrays, tensors or numbers, in containers"
            )
        return np.asarray(value)
    if value._value is None:
        assert value._edge is not None
        return capture.inside(value._edge)
    if value._leaf is not None and capture.is_state(value):
        return capture.entry(value._leaf)
    capture.constant(value)
    return np.asarray(value._value)
