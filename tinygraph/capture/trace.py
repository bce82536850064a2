"""Running a function on tensors that have types but no values, and keeping the nodes it makes.

Parameters and buffers that the function reads become leaves of the graph, by reference. Python code that asks for a
value (`if x > 0`, `float(x)`) raises at the user's line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.errors import CaptureError


class Trace:
    """What a capture in progress has read and written.

    Attributes:
        reads: the states (parameters, buffers, generators) that the program reads, by id.
        writes: the states it replaces, each with the last captured value.
        gradients: the leaves whose `.grad` it sets, each with the last captured value (None: cleared).
        guards: Python facts that the capture relied on, such as a module's training flag: (words, question, answer).
    """

    def __init__(self) -> None:
        self.reads: dict[int, Leaf] = {}
        self.writes: dict[int, tuple[Leaf, Any]] = {}
        self.gradients: dict[int, tuple[Leaf, Tensor | None]] = {}
        self.guards: list[tuple[str, Callable[[], Any], Any]] = []

    def rely(self, words: str, question: Callable[[], Any]) -> None:
        """Note that the captured graph is right only as long as a question has the answer it has now."""
        self.guards.append((words, question, question()))

    def broken(self) -> str | None:
        """What the capture relied on and is no longer so, in words; None if everything still holds."""
        return next((words for words, question, answer in self.guards if question() != answer), None)

    def read(self, leaf: Leaf) -> Any:
        """The captured value of a state: what was last written, or the leaf itself."""
        written = self.writes.get(id(leaf))
        if written is not None:
            return written[1]
        self.reads[id(leaf)] = leaf
        return Tensor(None, leaf, leaf)

    def write(self, leaf: Leaf, value: Any) -> None:
        """Note that the program replaces a state."""
        self.writes[id(leaf)] = (leaf, value)

    def read_grad(self, leaf: Leaf) -> Tensor | None:
        """The captured gradient of a leaf: what was last set, or the one it has, as a state of its own."""
        set_here = self.gradients.get(id(leaf))
        if set_here is not None:
            return set_here[1]
        if leaf.grad is None:
            return None
        found: Tensor = self.read(leaf.grad._own_leaf())
        return found

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> None:
        """Note that the program sets a leaf's gradient."""
        self.gradients[id(leaf)] = (leaf, gradient)


def capture(function: Callable[..., Any], *example_args: Any) -> Graph:
    """The graph of a function or module, found by running it on the types of its arguments.

    Args:
        function: takes the arguments; returns tensors, or a container of them.
        example_args: arrays, tensors and numbers, of which only types count; containers of them; anything else
            (bools, strings, modules) is passed on as it is.

    Returns:
        A `Graph` whose inputs are the arrays among the arguments, in order, and which holds live references to the
        parameters that the function read.

    Raises:
        CaptureError: the function asks for a value, or returns no tensors or arrays.

    >>> import numpy as np
    >>> graph = capture(lambda x: np.sin(x) * 2, np.zeros(3))
    >>> graph(np.array([0.0, np.pi / 2, 0.0]))
    array([0., 2., 0.])
    """
    return capture_with(function, example_args)[0]


def capture_with(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Graph, Trace]:
    """Capture a function, and return what the capture read and relied on besides."""
    leaves, tree = flatten(args)
    names = _names(function, args)
    inputs: list[Leaf] = []
    filled: list[Any] = []
    for i, leaf in enumerate(leaves):
        types = _input_type(leaf)
        if types is None:
            filled.append(leaf)
            continue
        name = leaf.name if isinstance(leaf, Tensor) and leaf.name else names.get(i)
        inputs.append(Leaf(None, kind="input", types=types, name=name))
        filled.append(Tensor(None, inputs[-1], inputs[-1]))
    trace = Trace()
    with mode(recording=True, capture=trace, place=Place()):
        result = function(*tree.unflatten(filled))
    outputs, shape = flatten(result)
    if not trace.writes and not any(isinstance(out, Tensor | np.ndarray | np.generic) for out in outputs):
        raise CaptureError(
            f"{_title(function)} returned nothing that was captured: its result must be tensors or arrays, or "
            f"containers of them. It returned {type(result).__name__}"
        )
    edges = [_output(out) for out in outputs]
    updates = [(leaf, _output(value)) for leaf, value in trace.writes.values()]
    gradients = [
        (leaf, None if value is None else _output(value)) for leaf, value in trace.gradients.values()
    ]
    graph = Graph(inputs, edges, result=shape, updates=updates, gradients=gradients, name=_title(function))
    return graph, trace


def _input_type(value: Any) -> ArrayType | None:
    """The type of an argument that becomes an input of the graph; None for what is passed on as it is."""
    if isinstance(value, Tensor):
        return ArrayType(*value.type)
    if isinstance(value, np.ndarray | np.generic):
        return type_of(value)
    if isinstance(value, int | float | complex) and not isinstance(value, bool):
        return WeakType((), np.asarray(value).dtype)
    return None


def _output(out: Any) -> Any:
    """What a graph holds for a value: its edge, or an array."""
    if isinstance(out, Tensor):
        return out._edge if out._edge is not None else out._value
    return np.asarray(out)


def _title(function: Any) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


def _names(function: Callable[..., Any], args: tuple[Any, ...]) -> dict[int, str]:
    """Names for the flat arguments, from the function's parameters."""
    target = function.forward if hasattr(function, "forward") else function
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return {}
    names: dict[int, str] = {}
    start = 0
    for i, arg in enumerate(args):
        count = flatten(arg)[1].count
        if i < len(parameters) and parameters[i].kind is not inspect.Parameter.VAR_POSITIONAL:
            for k in range(count):
                names[start + k] = parameters[i].name if count == 1 else f"{parameters[i].name}.{k}"
        start += count
    return names
