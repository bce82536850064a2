"""Subgraphs: closed graphs as settings of ops - the body of a loop, the branches of a choice.

A subgraph reads its inputs alone: what a body closes over has become an operand of the op. Rules of such ops ask it for
its gradient (`linear`) and its forward mode (`pushed`), which are subgraphs again, so that the ops apply to them in
turn and derivatives of every order follow. Each is worked out once.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygraph.core.batching import Batched, run_batched, spread, value_of
from tinygraph.core.bodies import Body
from tinygraph.core.doors import doors
from tinygraph.core.engine import ancestors
from tinygraph.core.graph import Graph, evaluate
from tinygraph.core.modes import Phase, Place, mode
from tinygraph.core.node import (
    Leaf,
    Node,
    edge_index,
    edge_node,
    entry_type,
    is_recorded,
    next_order,
)
from tinygraph.core.registry import registry
from tinygraph.core.tangents import push, tangent_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType

T = TypeVar("T")


class BodyGradient(NamedTuple):
    """The gradient of a subgraph.

    Attributes:
        forward: the subgraph with more results: what its gradient reads of its inside.
        backward: takes the `kept` operands, the `read` results of `forward`, and cotangents; gives the gradients of
            the `served`.
        given: results that it takes cotangents of: those of the given ones that are computed.
        kept: operands that the gradient reads, by position.
        read: results of `forward` that it reads.
        served: operands to which a gradient flows.
    """

    forward: Subgraph
    backward: Subgraph | None
    given: tuple[int, ...]
    kept: tuple[int, ...]
    read: tuple[int, ...]
    served: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unfolding:
    """How an op runs its subgraphs: what pictures, reports and explanations say of a loop or a choice.

    Attributes:
        parts: the subgraphs: of a loop its body, of a choice its branches.
        condition: what a loop asks before each step, of the same operands.
        carries, slices: how many operands go from step to step, and along how many the loop runs; all steps read the
            others. Results are the carries, then what steps make, stacked - or the number of steps, with a condition.
        count: how many steps there are; None where only running shows it.
        most: how many there are at most; None where there is no bound.
        reverse: whether it goes from the last slice to the first.
        choice: whether the first operand says which one of the parts runs, on the others.
    """

    parts: tuple[Subgraph, ...]
    condition: Subgraph | None = None
    carries: int = 0
    slices: int = 0
    count: int | None = None
    most: int | None = None
    reverse: bool = False
    choice: bool = False

    def title(self, op: str) -> str:
        """In a few words; `op` stands for a function without a name."""
        names = [one.name for one in self.parts if not one.name.startswith("<")]
        if self.choice:
            return f"one of {len(self.parts)}" + (f": {', '.join(dict.fromkeys(names))}" if names else "")
        name = next(iter(names), op)
        if self.condition is None:
            return f"{name} × {self.count:,}" + (", from the last on" if self.reverse else "")
        asked = self.condition.name
        return f"{name} × n" if asked.startswith("<") else f"{name} while {asked}"


class Planned(NamedTuple):
    """A subgraph ready to run again and again on the same memory.

    Attributes:
        inputs, outputs: where its operands are read, and where its results are afterwards.
        prepare: to be called when operands were written that stay for many runs.
        calls: what a run calls, in order.
        threads: how many they are meant for.
        prepared: whether `prepare` has something to do.
    """

    inputs: tuple[np.ndarray[Any, Any], ...]
    outputs: tuple[np.ndarray[Any, Any], ...]
    prepare: Callable[[], None]
    calls: tuple[Callable[[], Any], ...]
    threads: int
    prepared: bool


class Subgraph:
    """A graph that reads nothing but its inputs, as a setting of an op: immutable, equal to one that is built alike.

    Attributes:
        graph: the graph; its inputs are the operands.
        name: of the function that it was.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self._derived: dict[Hashable, Any] = {}

    @classmethod
    def of(
        cls,
        function: Callable[..., Sequence[Any]],
        types: Sequence[ArrayType],
        name: str,
        phase: Phase = "forward",
    ) -> Subgraph:
        """The subgraph of a function of tensors, which reads nothing else, for operands of these types."""
        leaves = [Leaf(None, kind="input", types=one, name=f"x{i}") for i, one in enumerate(types)]
        place = Place((), phase)
        with mode(recording=True, tangents=False, capture=doors.open_capture(), place=place):
            ends = [_end(one) for one in function(*(Tensor(None, leaf, leaf) for leaf in leaves))]
        return cls(Graph(leaves, ends, name=name), name)

    @property
    def input_types(self) -> tuple[ArrayType, ...]:
        """Those of its operands, Python numbers as such."""
        return tuple(leaf.types for leaf in self.graph.inputs)

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return tuple(ArrayType(*(entry_type(end))) for end in self.graph.outputs)

    def __call__(self, *operands: Any) -> list[Any]:
        """The results for arrays or tensors, op by op."""
        found = {id(leaf): value for leaf, value in zip(self.graph.inputs, operands, strict=True)}
        evaluate(self.graph.nodes, found, keep=self.graph.outputs)
        results = []
        for end in self.graph.outputs:
            value = found[id(edge_node(end))] if is_recorded(end) else end
            several = is_recorded(end) and not isinstance(edge_node(end).types, ArrayType)
            results.append(value[edge_index(end)] if several else value)
        return results

    def beginning(self, count: int) -> Subgraph:
        """The subgraph of its first results alone."""
        graph = self.graph
        return self.derived(
            ("beginning", count),
            lambda: Subgraph(Graph(graph.inputs, graph.outputs[:count], name=self.name), self.name),
        )

    def alike_in_all_steps(self, first: int, results: Sequence[int]) -> tuple[tuple[int, ...], Subgraph]:
        """Those of some results that read no operand before the `first`, and a subgraph that makes them of the rest."""
        graph = self.graph
        moving = {id(leaf) for leaf in graph.inputs[:first]}
        for node in graph.nodes:
            if any(is_recorded(one) and id(edge_node(one)) in moving for one in node.inputs):
                moving.add(id(node))
        ends = {i: graph.outputs[i] for i in results}
        which = tuple(
            i for i, end in ends.items() if not is_recorded(end) or id(edge_node(end)) not in moving
        )
        alone = Graph(graph.inputs[first:], [ends[i] for i in which], name=self.name)
        return which, Subgraph(alone, self.name)

    @functools.cached_property
    def reached(self) -> tuple[frozenset[int], ...]:
        """Of each result, by which operands it has a derivative: what the ops in between let through."""
        graph = self.graph
        found: dict[int, tuple[frozenset[int], ...]] = {
            id(leaf): (frozenset({i}) if leaf.output_types[0].differentiable else _NOTHING,)
            for i, leaf in enumerate(graph.inputs)
        }

        def of(entry: object) -> frozenset[int]:
            return found[id(edge_node(entry))][edge_index(entry)] if is_recorded(entry) else _NOTHING

        for node in graph.nodes:
            if id(node) not in found:
                found[id(node)] = _reached(node, [of(entry) for entry in node.inputs])
        return tuple(map(of, graph.outputs))

    @functools.cached_property
    def optimized(self) -> Subgraph:
        """The same computation after the passes that do not think of kernels and memory."""
        return Subgraph(doors.optimized(self.graph), self.name)

    def planned(self, exact: bool = False) -> Planned:
        """A plan of its own for the subgraph: passes, memory and kernels as for a compiled function.

        Args:
            exact: leave kernels out that round more than sums do.
        """
        return doors.planned(self.graph, exact)

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes of the subgraph, made once for each key."""
        if key not in self._derived:
            self._derived[key] = make()
        found: T = self._derived[key]
        return found

    def linear(self, wanted: tuple[int, ...], given: tuple[int, ...]) -> BodyGradient:
        """The gradient with respect to some operands, for cotangents of some results; both by position."""
        return self.derived(("linear", wanted, given), lambda: self._linear(wanted, given))

    def _linear(self, wanted: tuple[int, ...], given: tuple[int, ...]) -> BodyGradient:
        graph = self.graph
        given = tuple(i for i in given if is_recorded(graph.outputs[i]))
        form, pull = Body(graph, graph.inputs, self.name).linear(wanted, given)
        forward = Subgraph(Graph(graph.inputs, form.ends, name=self.name), self.name)
        if pull is None:
            return BodyGradient(forward, None, (), (), (), ())
        # a state's own leaves would be read where they live: here all that is read is fed
        backward = Subgraph(pull.body.graph, f"{self.name} backward")
        return BodyGradient(forward, backward, given, form.kept, pull.read, pull.served)

    def pushed(self, moving: tuple[int, ...]) -> tuple[Subgraph, tuple[int, ...]]:
        """Forward mode: the subgraph with tangents of the `moving` operands behind its operands, and those of its
        results behind these; and of which results it has one.
        """
        return self.derived(("pushed", moving), lambda: self._pushed(moving))

    def _pushed(self, moving: tuple[int, ...]) -> tuple[Subgraph, tuple[int, ...]]:
        count, moved = len(self.graph.inputs), list[int]()

        def both(*xs: Any) -> list[Any]:
            floor = next_order()
            with mode(tangents=True):
                results = self(*xs[:count])
            made = [one._edge for one in results if isinstance(one, Tensor) and one._edge is not None]
            nodes = ancestors(map(edge_node, made), floor)
            tangents = {id(xs[i]._edge): xs[count + k] for k, i in enumerate(moving)}
            found = push(nodes, tangents, record=True)
            after = []
            for i, one in enumerate(results):
                tangent = tangent_of(found, one._edge) if isinstance(one, Tensor) and one._edge else None
                if tangent is not None:
                    moved.append(i)
                    after.append(tangent)
            return [*results, *after]

        types = self.input_types
        pushed = Subgraph.of(both, [*types, *(types[i] for i in moving)], f"{self.name} forward mode")
        return pushed, tuple(moved)

    def batched(self, flags: tuple[bool, ...], size: int) -> Subgraph:
        """The subgraph of so many examples at once: of the operands that the flags say, and of all results."""
        return self.derived(("batched", flags, size), lambda: self._batched(flags, size))

    def _batched(self, flags: tuple[bool, ...], size: int) -> Subgraph:
        graph = self.graph

        def together(*xs: object) -> list[Any]:
            found = {id(leaf): Batched(x, one) for leaf, x, one in zip(graph.inputs, xs, flags, strict=True)}
            run_batched(graph.nodes, found)
            ends = (value_of(end, found) for end in graph.outputs)
            return [value if one else spread(value, size) for value, one in ends]

        types = [
            ArrayType((size, *one.shape), one.dtype) if flag else one
            for one, flag in zip(self.input_types, flags, strict=True)
        ]
        return Subgraph.of(together, types, self.name)

    def __repr__(self) -> str:
        count = sum(not isinstance(node, Leaf) for node in self.graph.nodes)
        return f"<{self.name}: {count} ops, {self.digest}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subgraph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @functools.cached_property
    def digest(self) -> str:
        """What tells its computation from others'."""
        text = hashlib.sha256()
        numbers: dict[int, int] = {id(leaf): i for i, leaf in enumerate(self.graph.inputs)}
        text.update(repr([str(one) for one in self.input_types]).encode())
        for node in self.graph.nodes:
            if id(node) in numbers:
                continue
            numbers[id(node)] = len(numbers)
            op = node.op
            own = (
                () if registry.declared(op.name) is op else id(op)
            )  # made for one call: nothing else is like it
            read = [_text(entry, numbers) for entry in node.inputs]
            text.update(repr((op.name, op.package, own, read, sorted(node.settings.items()))).encode())
        text.update(repr([_text(end, numbers) for end in self.graph.outputs]).encode())
        return text.hexdigest()[:16]


_NOTHING: frozenset[int] = frozenset()


def _reached(node: Node | Leaf, operands: Sequence[frozenset[int]]) -> tuple[frozenset[int], ...]:
    """By what the results of a node have a derivative, if this is so of its operands."""
    how = unfolding_of(node)
    if how is None:
        together = _NOTHING.union(*operands)
        return tuple(together if one.differentiable else _NOTHING for one in node.output_types)
    if how.choice:
        several = [_through(part, operands[1:]) for part in how.parts]
        return tuple(_NOTHING.union(*results) for results in zip(*several, strict=True))
    (body,) = how.parts
    carried = list(operands[: how.carries])
    while True:  # what a step adds to a carry comes back in the next one
        made = _through(body, [*carried, *operands[how.carries :]])
        grown = [one | other for one, other in zip(carried, made, strict=False)]
        if grown == carried:
            steps = [_NOTHING] if how.condition is not None else []
            return (*carried, *made[how.carries :], *steps)
        carried = grown


def _through(part: Subgraph, operands: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    return [_NOTHING.union(*(operands[i] for i in one)) for one in part.reached]


def _text(entry: object, numbers: dict[int, int]) -> Any:
    if is_recorded(entry):
        return numbers[id(edge_node(entry))], edge_index(entry)
    if isinstance(entry, np.ndarray | np.generic):
        array = np.asarray(entry)
        content = array.tolist() if array.dtype.hasobject else hashlib.sha256(array.tobytes()).hexdigest()
        return array.dtype.str, array.shape, content
    return type(entry).__name__, repr(entry)


def _end(value: object) -> Any:
    if isinstance(value, Tensor):
        return value._edge if value._edge is not None else value._value
    return value


def unfolding_of(node: Node) -> Unfolding | None:
    """How a node runs its subgraphs; None if it has none."""
    unfolds = None if isinstance(node, Leaf) else node.op.facts.get("unfolds")
    found: Unfolding | None = None if unfolds is None else unfolds(node.settings)
    return found


def parts_of(node: Node) -> tuple[Subgraph, ...]:
    """What a loop or a choice runs: its body, or its branches."""
    how = unfolding_of(node)
    return () if how is None else how.parts


def subgraphs_of(node: Node) -> dict[str, Subgraph]:
    """The subgraphs in the settings of a node, by what its op calls them."""
    if isinstance(node, Leaf):
        return {}
    found: dict[str, Subgraph] = {}
    for name, value in node.settings.items():
        if isinstance(value, Subgraph):
            found[name] = value
        elif isinstance(value, tuple):
            found |= {f"{name}[{i}]": one for i, one in enumerate(value) if isinstance(one, Subgraph)}
    return found
