"""Graphs for every size: made from the same program at a few sizes, and made again for the sizes at hand.

What differs between the examples must follow from the sizes by a formula (`formulas.py`); what does not is refused,
with the line that made it. At other sizes each op types its results anew, so that pools round as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

import numpy as np

from tinygraph.core.bodies import opened, ruled_in
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, entry_type, is_recorded
from tinygraph.core.registry import registry
from tinygraph.core.remaking import edges, make_node
from tinygraph.core.sizes import FreeInt, Sizes, is_free, said, valued
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.errors import CaptureError, ShapeError, TinygraphError
from tinygraph.tracing.applying import infer_types
from tinygraph.tracing.formulas import Fitting, Unfitted, nearly

MOST_KEPT = 32  # graphs for sizes that a graph keeps
RESIDUES = (2, 3, 5, 6, 7, 9, 12, 17)  # added to sizes, to see how they round
LEAST_OTHERS = 2  # sizes besides the example's at which a program must run

Make = Callable[[dict[str, int]], Graph]


# -- from a graph with free sizes to one without -------------------------------------------------------------------


def at_sizes(graph: Graph, sizes: Sizes) -> Graph:
    """The graph for some sizes, without free ones; each is made once, and kept.

    Raises:
        ShapeError: an op takes no such sizes, or a setting is no integer there; naming the line.
    """
    key = tuple(sizes.items())
    kept: dict[tuple[tuple[str, int], ...], Graph] = graph.__dict__.setdefault("_at_sizes", {})
    if key not in kept:
        while len(kept) >= MOST_KEPT:
            kept.pop(next(iter(kept)), None)
        kept[key] = _Sizing(sizes).graph(graph)
    return kept[key]


class _Remaking:
    """Nodes on their way into another graph: what stands for each."""

    def __init__(self) -> None:
        self.stands: dict[int, tuple[Any, ...]] = {}

    def now(self, entry: Any) -> Any:
        if not is_recorded(entry):
            return entry
        found = self.stands.get(id(edge_node(entry)))
        return entry if found is None else found[edge_index(entry)]

    def place(self, node: Node) -> Place:
        place = node.place
        found = self.stands.get(id(place.origin)) if place.origin is not None else None
        return place if found is None else Place(place.scope, place.phase, edge_node(found[0]))

    def made(self, node: Node, inputs: tuple[Any, ...], settings: dict[str, Any], types: Any) -> None:
        """Make a node in the place of one."""
        again = make_node(node.op, inputs, settings, types, like=node, place=self.place(node))
        self.stands[id(node)] = edges(again)

    def leaf(self, leaf: Leaf, types: ArrayType) -> Leaf:
        made = Leaf(None, kind=leaf.kind, types=types, name=leaf.name, requires_grad=leaf.requires_grad)
        self.stands[id(leaf)] = (made,)
        return made

    def ends(self, graph: Graph, inputs: Sequence[Leaf], end: Callable[[Any], Any]) -> Graph:
        return Graph(
            inputs,
            [end(out) for out in graph.outputs],
            result=graph.result,
            updates=[(leaf, end(value)) for leaf, value in graph.updates],
            gradients=[(leaf, end(value)) for leaf, value in graph.gradients],
            name=graph.name,
        )


class _Sizing(_Remaking):
    """A graph with free sizes on its way to one for given sizes."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    def graph(self, graph: Graph) -> Graph:
        inputs = [self.input(leaf) for leaf in graph.inputs]
        for node in graph.nodes:
            if not isinstance(node, Leaf):
                self.node(node)
        return self.ends(graph, inputs, lambda end: valued(self.now(end), self.sizes))

    def input(self, leaf: Leaf) -> Leaf:
        if not is_free(leaf.types.shape):
            return leaf
        return self.leaf(leaf, type(leaf.types)(valued(leaf.types.shape, self.sizes), leaf.types.dtype))

    def node(self, node: Node) -> None:
        settings, inputs = node.settings, tuple(map(self.now, node.inputs))
        same = all(now is before for now, before in zip(inputs, node.inputs, strict=True))
        free = any(map(_is_free, settings.values())) or any(map(is_free, inputs))
        if same and not free:  # made again all the same: what reads free sizes comes before and after it
            self.made(node, inputs, settings, node.types)
            return
        try:
            types = [_known(entry) for entry in inputs]
            if free:
                known = types_around(types, self.place(node).origin)
                settings = {name: _setting_at(one, self.sizes, known) for name, one in settings.items()}
                inputs = tuple(valued(entry, self.sizes, known) for entry in inputs)
            asked = [_asked(entry, found) for entry, found in zip(inputs, types, strict=True)]
            made = infer_types(node.op, asked, inputs, settings)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is raised again with the line
            raise ShapeError(f"{node.describe()}: at {said(self.sizes)}: {error}") from (
                None if isinstance(error, TinygraphError) else error
            )
        if isinstance(node.types, WeakType):
            made = WeakType(*made)
        self.made(node, inputs, settings, made)


def types_around(types: Sequence[ArrayType | None], origin: Node | None) -> list[ArrayType | None]:
    """The types that formulas of a node refer to: of its operands, and of the forward node that it serves."""
    return [*types] if origin is None else [*types, *origin.input_types, *origin.output_types]


def _known(entry: Any) -> ArrayType | None:
    if entry is None:
        return None
    return entry_type(entry)


def _asked(entry: Any, found: ArrayType | None) -> Any:
    """What a type rule gets for an operand: numbers as numbers."""
    if is_recorded(entry):
        return found.number if isinstance(found, WeakType) else found
    return type_of(entry) if isinstance(entry, np.ndarray | np.generic) else entry


def _setting_at(value: Any, sizes: Sizes, types: Sequence[ArrayType | None]) -> Any:
    if isinstance(value, Subgraph):
        return Subgraph(_Sizing(sizes).graph(value.graph), value.name) if _is_free(value) else value
    if isinstance(value, tuple) and any(isinstance(one, Subgraph) for one in value):
        return tuple(_setting_at(one, sizes, types) for one in value)
    return valued(value, sizes, types)


def _is_free(value: Any) -> bool:
    if isinstance(value, Subgraph):
        return bool(
            value.derived(
                "free",
                lambda: (
                    any(is_free(leaf.types.shape) for leaf in value.graph.inputs)
                    or any(_is_free(one) for node in value.graph.nodes for one in node.settings.values())
                ),
            )
        )
    return any(map(_is_free, value)) if isinstance(value, tuple) else is_free(value)


# -- from graphs at a few sizes to one with free sizes --------------------------------------------------------------


def free_graph(make: Make, example: Mapping[str, int], what: str, rounded: bool = False) -> Graph:
    """The graph of a program for every value of its free sizes.

    Args:
        make: gives the graph for sizes. What it reads besides its inputs - parameters, states - is the same each time.
        example: sizes for which the program runs, by name. Sizes of 1, at which arrays broadcast, count as 2.
        what: the program, in words.
        rounded: also make it at sizes near the example's, in which halves of halves round in many ways.

    Raises:
        CaptureError: something in it does not follow from the sizes, or it runs at too few of them; naming the line.
    """
    found = examples(make, example, what)
    for _, graph in found:
        node = ruled_in(graph)
        if node is not None:
            raise CaptureError(
                f"{node.describe()}: {node.op.name!r} has a derivative rule of its own, which is of one size; leave "
                f"dynamic_axes out, or declare an op with the rule"
            )
    if rounded:
        found[1:1] = list(_near(make, found[0][0]))
    graphs = [opened(graph) for _, graph in found]
    sizes = [one for one, _ in found]
    free = _Fit(Fitting(sizes[:-1]), what).graph(graphs[:-1])
    _verify(free, sizes[-1], graphs[-1], what)
    _recheck(free, sizes)
    return free


def free_gradient(graph: Graph, wrt: object) -> Graph:
    """`Graph.gradient` of a graph with free sizes."""
    several = wrt if isinstance(wrt, tuple | list) else (wrt,)
    leaves = None if wrt is None else [graph._leaf(one) for one in several]

    def make(sizes: dict[str, int]) -> Graph:
        here = at_sizes(graph, sizes)
        twins = dict(zip(map(id, graph.inputs), here.inputs, strict=True))
        return here.gradient(None if leaves is None else [twins.get(id(leaf), leaf) for leaf in leaves])

    return free_graph(make, graph.sizes, f"the gradient of {graph.name or 'the graph'}", rounded=True)


def _near(make: Make, first: Mapping[str, int]) -> Iterator[tuple[dict[str, int], Graph]]:
    """A program at sizes near others, as far as it runs there."""
    for shift in RESIDUES:
        one = {name: size + shift + k for k, (name, size) in enumerate(first.items())}
        with suppress(TinygraphError):
            yield one, make(one)


def examples(make: Make, example: Mapping[str, int], what: str) -> list[tuple[dict[str, int], Graph]]:
    """The program at the sizes of the example, at others one by one, and last at others all at once."""
    first = {name: max(size, 2) for name, size in example.items()}
    make(first)  # what a program makes when it first runs - states, cells - is there in all examples
    found = [(first, make(first))]
    others: dict[str, list[int]] = {}
    for name, size in first.items():
        failed: Exception | None = None
        others[name] = []
        for other in _other_sizes(size):
            try:
                found.append(({**first, name: other}, make({**first, name: other})))
                others[name].append(other)
            except TinygraphError as error:
                failed = failed or error
            if len(others[name]) >= (4 if len(first) == 1 else 3):
                break
        if len(others[name]) < LEAST_OTHERS:
            raise CaptureError(
                f"{what} runs for {name}={size}, but not for other sizes, so {name} is not free: {failed}"
            )
    for turn in range(3) if len(first) > 1 else ():
        mixed = {name: sizes[(turn + k) % len(sizes)] for k, (name, sizes) in enumerate(others.items())}
        try:
            found.append((mixed, make(mixed)))
        except TinygraphError as error:
            raise CaptureError(f"{what} does not run for {said(mixed)}: {error}") from error
    return found


def _other_sizes(size: int) -> list[int]:
    """Sizes to try besides one: multiples, which divide as it does, its neighbours, and smaller ones."""
    tried = [2 * size, size + 1, 3 * size, size - 1, size // 2, size + 3, size + 2, 5 * size]
    return list(dict.fromkeys(one for one in tried if one > 1 and one != size))


class _Fit(_Remaking):
    """The same program at several sizes on its way to one graph: node by node, in the order in which they were made."""

    def __init__(self, fitting: Fitting, what: str) -> None:
        super().__init__()
        self.fitting, self.what = fitting, what

    def graph(self, graphs: Sequence[Graph]) -> Graph:
        first = graphs[0]
        keys = [_Keys(graph) for graph in graphs]
        inputs = [self.leaf(leaves[0], self.fitted(None, leaves)) for leaves in self.inputs(graphs)]
        programs = [[node for node in graph.nodes if not isinstance(node, Leaf)] for graph in graphs]
        for nodes in zip_longest(*programs):
            self.node(nodes, keys)
        others = [[key.of(end) for end in graph.ends] for key, graph in zip(keys, graphs, strict=True)]
        if any(one != others[0] for one in others):
            raise CaptureError(f"{self.what} returns or changes different things at {self.two()}")
        constants = dict(
            zip(map(id, first.ends), zip(*(graph.ends for graph in graphs), strict=True), strict=True)
        )

        def end(out: Any) -> Any:
            if out is None:
                return None
            try:
                return self.entry(constants[id(out)], ())
            except Unfitted as error:
                raise CaptureError(
                    f"a result of {self.what} does not follow from the sizes: {error}"
                ) from None

        return self.ends(first, inputs, end)

    def inputs(self, graphs: Sequence[Graph]) -> list[tuple[Leaf, ...]]:
        return list(zip(*(graph.inputs for graph in graphs), strict=True))

    def two(self) -> str:
        sizes = self.fitting.sizes
        return f"{said(sizes[0])} and {said(sizes[1])}"

    def fitted(self, node: Node | None, leaves: Sequence[Leaf]) -> ArrayType:
        return self.fitting.shape([leaf.types for leaf in leaves])

    def node(self, nodes: Sequence[Node | None], keys: Sequence[_Keys]) -> None:
        """One node of the program, which must be the same at all sizes but for numbers."""
        first = nodes[0]
        for node, sizes in zip(nodes, self.fitting.sizes, strict=True):
            same = node is first or (node is not None and first is not None and _alike(node, first))
            if not same:
                raise self.differs(first, node, sizes)
        assert first is not None
        present = [node for node in nodes if node is not None]
        read = [[key.of(entry) for entry in node.inputs] for key, node in zip(keys, present, strict=True)]
        for node, found, sizes in zip(present, read, self.fitting.sizes, strict=True):
            if found != read[0]:
                raise self.differs(first, node, sizes)
        around = (types_around(node.input_types, node.place.origin) for node in present)
        operands = list(zip(*around, strict=True))
        try:
            settings = {
                name: self.setting([node.settings[name] for node in present], operands)
                for name in first.settings
            }
            inputs = tuple(
                self.entry(entries, operands)
                for entries in zip(*(node.inputs for node in present), strict=True)
            )
            types = [
                self.fitting.shape(several)
                for several in zip(*(node.output_types for node in present), strict=True)
            ]
        except Unfitted as error:
            raise CaptureError(
                f"{first.describe()}: this depends on {' and '.join(self.fitting.names)} in a way that no formula "
                f"holds: {error}. Compute it from shapes and with tensors, or leave the size out of dynamic_axes"
            ) from None
        several = not isinstance(first.types, ArrayType)
        self.made(first, inputs, settings, tuple(types) if several else types[0])

    def entry(self, entries: Sequence[Any], operands: Sequence[Any]) -> Any:
        """An operand: what stands for it, or a constant; data that is not the same at all sizes is one."""
        first = entries[0]
        if isinstance(first, Leaf) and first is not entries[1] and id(first) not in self.stands:
            found = self.constant([leaf.value for leaf in entries], operands)
            return found if is_free(found) else first
        return self.now(first) if is_recorded(first) else self.constant(entries, operands)

    def differs(self, first: Node | None, node: Node | None, sizes: Sizes) -> CaptureError:
        here, there = ("nothing more" if one is None else one.describe() for one in (first, node))
        if here == there:
            here, there = f"{here} of one value", "of another"
        return CaptureError(
            f"{self.what} does something else at other sizes: {here} at {said(self.fitting.sizes[0])}, but {there} at "
            f"{said(sizes)}. A loop as long as a size is tg.scan or tg.fori_loop; a choice by a size is of one size, "
            f"which stays out of dynamic_axes"
        )

    def setting(self, values: Sequence[Any], operands: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, Subgraph):
            return self.body(values)
        if isinstance(first, tuple):
            if any(type(one) is not tuple or len(one) != len(first) for one in values):
                raise Unfitted(f"a setting is {first} or {next(one for one in values if one != first)}")
            return tuple(self.setting(several, operands) for several in zip(*values, strict=True))
        if all(type(one) is type(first) and one == first for one in values):
            return first
        return self.constant(values, operands)

    def body(self, values: Sequence[Subgraph]) -> Subgraph:
        if all(one == values[0] for one in values):
            return values[0]
        return Subgraph(_Fit(self.fitting, self.what).graph([one.graph for one in values]), values[0].name)

    def constant(self, values: Sequence[Any], operands: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, np.ndarray | np.generic):
            return self.fitting.array(values, operands)
        if all(type(one) is type(first) and one == first for one in values):
            return first
        if all(type(one) is int for one in values):
            return self.fitting.integer(tuple(values), operands)
        if all(type(one) in (int, float) for one in values):
            return self.fitting.number(values, operands)
        raise Unfitted(f"{first!r} or {next((one for one in values if one != first), None)!r}")


class _Keys:
    """What tells the values of a graph apart, in a way that graphs of the same program share."""

    def __init__(self, graph: Graph) -> None:
        self.known: dict[int, Any] = {id(leaf): ("input", i) for i, leaf in enumerate(graph.inputs)}
        self.since = min((leaf.order for leaf in graph.inputs), default=0)
        for i, node in enumerate(node for node in graph.nodes if not isinstance(node, Leaf)):
            self.known[id(node)] = i
        self.count = 0

    def of(self, entry: Any) -> Any:
        if not is_recorded(entry):
            return None if entry is None else "constant"
        node = edge_node(entry)
        if id(node) not in self.known:
            self.count += 1
            self.known[id(node)] = ("data", self.count) if self.is_data(node) else id(node)
        return self.known[id(node)], edge_index(entry)

    def is_data(self, node: Node) -> bool:
        """Whether a leaf is data that the program makes, each time anew; others are the same each time."""
        new = isinstance(node, Leaf) and node.order > self.since and not node.requires_grad
        return new and node.kind in ("tensor", "input")


def _alike(node: Node, first: Node) -> bool:
    ops_alike = node.op is first.op or (
        registry.declared(node.op.name) is not node.op
        and (node.op.name, node.op.package) == (first.op.name, first.op.package)
    )
    return (
        ops_alike
        and node.settings.keys() == first.settings.keys()
        and len(node.inputs) == len(first.inputs)
        and len(node.output_types) == len(first.output_types)
        and (node.phase, node.served.code, node.served.offset)
        == (first.phase, first.served.code, first.served.offset)
    )


def _verify(free: Graph, sizes: Sizes, wanted: Graph, what: str) -> None:
    """Compare the graph at sizes that it was not made from with the program there.

    Raises:
        CaptureError: they differ; naming the node.
    """
    try:
        found = at_sizes(free, sizes)
    except ShapeError as error:
        raise CaptureError(f"{what} does not follow from its sizes: {error}") from None
    programs = [[node for node in graph.nodes if not isinstance(node, Leaf)] for graph in (found, wanted)]
    for node, other in zip_longest(*programs):
        if node is None or other is None or not _agree(node, other):
            here = (node or other).describe()
            raise CaptureError(
                f"{here}: it follows from the sizes tried, but is something else at {said(sizes)}: what depends on one "
                f"value of a size stays out of dynamic_axes"
            )


def _recheck(free: Graph, sizes: Sequence[Sizes]) -> None:
    """Hold what the graph says of its types' sizes against more sizes: halves of halves round in many ways.

    The types at other sizes come from the ops themselves; here it is about what pictures and tables say.
    """
    if not any(_divides(size) for node in free.nodes for types in node.output_types for size in types.shape):
        return
    found = more_examples(free, sizes)
    programs = [[node for node in graph.nodes if not isinstance(node, Leaf)] for _, graph in found]
    fitting = Fitting([one for one, _ in found])
    own = [node for node in free.nodes if not isinstance(node, Leaf)]
    for node, *others in zip(own, *programs, strict=True):
        types = [
            fitting.shape(several) for several in zip(*(one.output_types for one in others), strict=True)
        ]
        node.types = types[0] if isinstance(node.types, ArrayType) else tuple(types)


def more_examples(free: Graph, sizes: Sequence[Sizes]) -> list[tuple[Sizes, Graph]]:
    """A graph at sizes, and at others near the first, in which halves of halves round in many ways."""

    def make(one: Sizes) -> Graph:
        return at_sizes(free, one)

    known = [(one, make(one)) for one in sizes]
    return [*known, *_near(make, sizes[0])]


def _divides(size: int) -> bool:
    if not isinstance(size, FreeInt):
        return False
    return size.formula is None or any(factor.denominator > 1 for factor, _ in size.formula.terms)


def _agree(node: Node, other: Node) -> bool:
    return (
        _alike(node, other)
        and node.output_types == other.output_types
        and node.settings == other.settings
        and all(
            _equal(one, another)
            for one, another in zip(node.inputs, other.inputs, strict=True)
            if not is_recorded(one)
        )
    )


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(other, Leaf) and other.value is not None:
        other = other.value
    if is_recorded(other) or one is None or other is None:
        return False
    return nearly(np.asarray(one), other)
