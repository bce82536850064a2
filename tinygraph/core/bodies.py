"""Ops whose body is a graph: one node stands for many, draws as a group that opens, and is differentiable as they are.

A body is pure: it reads its operands, draws no random numbers and writes no state. Its derivative rule is the graph of
its gradient, again the body of an op, so that it can be differentiated to any order. What the gradient reads of the
body - operands, and values from between, which the op returns behind its results - is kept, as on the tape; nothing is
computed twice. Who runs a body (a compiled plan, or one op after another) is told by whoever makes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.core.doors import doors
from tinygraph.core.engine import ancestors, propagate
from tinygraph.core.graph import Graph, evaluate
from tinygraph.core.locks import Lock
from tinygraph.core.modes import Place, mode, modes
from tinygraph.core.node import (
    Edge,
    Leaf,
    Node,
    edge_index,
    edge_node,
    edge_type,
    entry_type,
    is_recorded,
    next_order,
)
from tinygraph.core.op import Op
from tinygraph.core.op import op as make_op
from tinygraph.core.registry import ops
from tinygraph.core.remaking import edges, with_inputs
from tinygraph.core.tensor import Tensor, varies
from tinygraph.core.types import ArrayType

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# From a graph to what computes its outputs from the values of its inputs. Other leaves are read where they live.
Runner = Callable[[Graph], Callable[[Sequence[Any]], Sequence[Any]]]


class Inside(NamedTuple):
    """What an op with a body consists of: the leaves that stand for its operands, and the edges that it returns."""

    operands: tuple[Leaf, ...]
    ends: tuple[Any, ...]


class _Form(NamedTuple):
    """A body with some operands whose gradients are wanted.

    Attributes:
        wanted: their positions.
        ends: the edges of all that the op returns: the results, and behind them what the gradient reads.
        kept: positions of the operands that the gradient reads.
    """

    wanted: tuple[int, ...]
    ends: tuple[Any, ...]
    kept: tuple[int, ...]


class _Pull(NamedTuple):
    """The gradient of a body, for cotangents of some of its results.

    Attributes:
        body: takes the kept operands, the `read` results, and the cotangents.
        read: positions of the results of the form that it reads.
        served: for each gradient that it computes the position of the operand.
    """

    body: Body
    read: tuple[int, ...]
    served: tuple[int, ...]


class Body:
    """A pure graph that is applied as one op.

    Attributes:
        graph: what it computes.
        operands: the leaves of the graph that stand for its operands: its inputs, and states that it reads where they
            live, for which the states' own tensors must be given.
        name: what the op is called.
    """

    def __init__(
        self,
        graph: Graph,
        operands: Sequence[Leaf],
        name: str,
        *,
        run: Runner | None = None,
        results: int | None = None,
        standing: Sequence[tuple[Node, Leaf]] = (),
    ) -> None:
        """A body.

        Args:
            run: makes what runs the graph; by default it is evaluated op by op.
            results: how many leading outputs may get cotangents; all by default.
            standing: nodes at which gradients arrive besides, each with the operand that gets them.
        """
        self.graph, self.operands, self.name = graph, tuple(operands), name
        count = len(graph.outputs) if results is None else results
        self._rules = _BodyRules(graph, self.operands, name, run, count, tuple(standing))
        self._ops: dict[tuple[int, ...], Op] = {}
        self._lock = Lock()

    def __call__(self, *operands: object) -> tuple[Any, ...]:
        """The results for operands in the order of `operands`: tensors or arrays."""
        recording = modes.current.recording
        wanted = tuple(
            i for i, x in enumerate(operands) if recording and isinstance(x, Tensor) and x.requires_grad
        )
        with self._lock.held:
            made = self._ops.get(wanted)
            if made is None:
                made = self._ops[wanted] = self._rules.op(self._rules.form(wanted))
        out = made(*operands)
        return out[: len(self.graph.outputs)] if isinstance(out, tuple) else (out,)

    def kept(self, wanted: tuple[int, ...]) -> list[Leaf]:
        """The operands that the gradients of the wanted ones, given by position, read."""
        return [self.operands[i] for i in self._rules.form(wanted).kept]

    def linear(self, wanted: tuple[int, ...], given: tuple[int, ...]) -> tuple[_Form, _Pull | None]:
        """The gradient of the wanted operands for cotangents of the given results, and the form that it reads from."""
        return self._rules.linear(wanted, given)

    def release(self) -> None:
        """Give back the memory of what runs the body and its gradients; it is made again when it is needed."""
        with self._lock.held:
            self._ops.clear()
        self._rules.release()


class _BodyRules:
    """What the ops of a body run, and how they are differentiated. It holds no op: ops hold it.

    So nothing leads back from an op to itself, and whoever lets go of a body lets go of its plans at once.
    """

    def __init__(
        self,
        graph: Graph,
        operands: tuple[Leaf, ...],
        name: str,
        run: Runner | None,
        results: int,
        standing: tuple[tuple[Node, Leaf], ...],
    ) -> None:
        self.graph, self.operands, self.name = graph, operands, name
        self._make_run, self._results, self._standing = run, results, standing
        self._pulls: dict[tuple[tuple[int, ...], ...], _Pull | None] = {}
        self._running: list[dict[str, Any]] = []
        self._lock = Lock()

    def linear(self, wanted: tuple[int, ...], given: tuple[int, ...]) -> tuple[_Form, _Pull | None]:
        """As `Body.linear`. Unlike `form`, it keeps what this gradient reads, and not what gradients of that read."""
        gradients, _, floor = self._gradients(self.graph.outputs, wanted, given)
        ends, kept = self._read(gradients, floor, list(self.graph.outputs))
        form = _Form(wanted, tuple(ends), tuple(sorted(kept)))
        return form, self._pull(form, given)

    def release(self) -> None:
        """As `Body.release`."""
        with self._lock.held:
            pulls = [pull for pull in self._pulls.values() if pull is not None]
            self._pulls.clear()
            for running in self._running:
                running.clear()
            self._running.clear()
        for pull in pulls:
            pull.body.release()

    # -- making ----------------------------------------------------------------------------------------------------

    def form(self, wanted: tuple[int, ...]) -> _Form:
        """The body with the wanted operands, and all that any gradient of theirs reads."""
        ends = list(self.graph.outputs)
        if not wanted:
            return _Form((), tuple(ends), ())
        kept: set[int] = set()
        given = _differentiable(ends[: self._results])
        while True:  # the gradient of what is kept may read more
            count = len(ends)
            gradients, _, floor = self._gradients(ends, wanted, given)
            ends, read = self._read(gradients, floor, ends)
            kept |= read
            if len(ends) == count:
                return _Form(wanted, tuple(ends), tuple(sorted(kept)))
            given = [*given, *(i for i in _differentiable(ends) if i >= count)]

    def _read(self, gradients: Sequence[Any], floor: int, ends: list[Any]) -> tuple[list[Any], set[int]]:
        """The ends with what gradients made since `floor` read from between, and the operands that they read."""
        ends, kept = list(ends), set[int]()
        places = {id(leaf): i for i, leaf in enumerate(self.operands)}
        known = {_key(end) for end in ends if is_recorded(end)}
        for edge in _from_before(gradients, floor):
            if id(edge) in places:
                kept.add(places[id(edge)])
            elif not isinstance(edge, Leaf) and _key(edge) not in known:
                known.add(_key(edge))
                ends.append(edge)
        return ends, kept

    def op(self, form: _Form) -> Op:
        """The op of a form."""
        names = [f"x{i}" for i in range(len(self.operands))]
        graph = Graph(self.graph.inputs, form.ends, name=self.name)
        inputs, among = set(map(id, graph.inputs)), set(map(id, graph.leaves))
        fed = [i for i, leaf in enumerate(self.operands) if id(leaf) in inputs]
        homes = [
            (i, leaf) for i, leaf in enumerate(self.operands) if id(leaf) in among and id(leaf) not in inputs
        ]
        running: dict[str, Any] = {}

        def forward(*values: object) -> Any:
            if self._make_run is not None and all(leaf.value is values[i] for i, leaf in homes):
                with self._lock.held:
                    run = running.get("run")
                    if run is None:
                        run = running["run"] = self._make_run(graph)
                        self._running.append(running)
                results = run([values[i] for i in fed])
            else:
                results = self._evaluated(graph, values)
            return tuple(results) if len(results) != 1 else results[0]

        def wrt_operands(g: Numeric, *asked: object) -> Any:
            count = len(form.kept)
            out = asked[count] if len(asked) > count else ()
            cotangents, outs = (x if isinstance(x, tuple) else (x,) for x in (g, out))
            found = self._pulled(form, cotangents, asked[:count], outs)
            return found if len(found) != 1 else found[0]  # a rule for one operand returns its gradient alone

        forward.__doc__ = f"What the graph of {self.name} computes."
        forward.__signature__ = _signature(names)  # type: ignore[attr-defined]
        inside = Inside(self.operands, form.ends)
        made = make_op(name=self.name, kind="composite", facts={"body": inside}, declare=False)(forward)
        types = tuple(map(_end_type, form.ends))
        made.types(lambda *_: types if len(types) != 1 else types[0])
        if form.wanted:
            reads_out = any(is_recorded(end) and not isinstance(end, Leaf) for end in form.ends)
            asks = [*(names[i] for i in form.kept), *(["out"] if reads_out else [])]
            wrt_operands.__signature__ = _signature(["g", *asks])  # type: ignore[attr-defined]
            made.vjp(*(names[i] for i in form.wanted))(wrt_operands)
        return made

    def _evaluated(self, graph: Graph, values: Sequence[Any]) -> list[Any]:
        """The outputs op by op, for operands that lie elsewhere than the states of the graph."""
        found = {id(leaf): value for leaf, value in zip(self.operands, values, strict=True)}
        with mode(recording=False):
            evaluate(graph.nodes, found, keep=graph.outputs)
        results = []
        for end in graph.outputs:
            value = found[id(edge_node(end))] if is_recorded(end) else end
            results.append(value[edge_index(end)] if isinstance(value, tuple) else value)
        return [one._value if isinstance(one, Tensor) else one for one in results]

    # -- differentiating -------------------------------------------------------------------------------------------

    def _pulled(
        self, form: _Form, cotangents: Sequence[Any], kept: Sequence[Any], outs: Sequence[Any]
    ) -> tuple[Any, ...]:
        """One gradient per wanted operand, None where nothing flows."""
        given = tuple(i for i, one in enumerate(cotangents) if one is not None)
        # what is a convention at kinks is NaN only for what varies, here as in an eager pass
        fixed = tuple(i for i in given if not varies(cotangents[i]))
        with self._lock.held:
            key = (form.wanted, given, fixed)
            if key not in self._pulls:
                self._pulls[key] = self._pull(form, given, fixed)
            pull = self._pulls[key]
        if pull is None:
            return (None,) * len(form.wanted)
        found = pull.body(*kept, *(outs[i] for i in pull.read), *(cotangents[i] for i in given))
        by_position = dict(zip(pull.served, found, strict=True))
        return tuple(by_position.get(i) for i in form.wanted)

    def _pull(self, form: _Form, given: tuple[int, ...], fixed: tuple[int, ...] = ()) -> _Pull | None:
        gradients, cotangents, floor = self._gradients(form.ends, form.wanted, given, fixed)
        places = {_key(end): i for i, end in enumerate(form.ends) if is_recorded(end)}
        stands: dict[int, Any] = {}
        leaves: dict[int, Leaf] = {}
        for edge in _from_before(gradients, floor):
            if not isinstance(edge, Leaf):
                node = edge_node(edge)
                name = node.name or node.op.name
                leaf = Leaf(None, kind="input", types=ArrayType(*edge_type(edge)), name=name)
                leaves[places[_key(edge)]] = leaf
                stands.setdefault(id(node), [None] * len(node.output_types))[edge_index(edge)] = leaf
        nodes = ancestors((edge_node(one) for one in gradients if is_recorded(one)), floor)
        ends = substituted(nodes, gradients, stands)
        served = tuple(i for i, end in zip(form.wanted, ends, strict=True) if end is not None)
        if not served:
            return None
        read = tuple(sorted(leaves))
        kept = [self.operands[i] for i in form.kept]
        taken = [*(leaves[i] for i in read), *cotangents]
        fed = set(map(id, self.graph.inputs))
        name = f"{self.name} backward"
        inputs = [*(leaf for leaf in kept if id(leaf) in fed), *taken]
        graph = Graph(inputs, [end for end in ends if end is not None], name=name)
        return _Pull(Body(graph, [*kept, *taken], name, run=self._make_run), read, served)

    def _gradients(
        self, ends: Sequence[Any], wanted: Sequence[int], given: Sequence[int], fixed: Sequence[int] = ()
    ) -> tuple[list[Any], list[Leaf], int]:
        """The edges of the wanted operands' gradients (None: nothing flows), the leaves of the cotangents they start
        from, and a creation number that all that is new is above. Cotangents of the results `fixed` do not vary.
        """
        floor = next_order()
        cotangents = [
            Leaf(None, kind="input", types=ArrayType(*edge_type(ends[i])), name=f"gradient of result {i}")
            for i in given
        ]
        seeds = [(ends[i], Tensor(None, leaf, leaf)) for i, leaf in zip(given, cotangents, strict=True)]
        arriving: dict[int, list[Node]] = {id(self.operands[i]): [self.operands[i]] for i in wanted}
        for node, leaf in self._standing:
            if id(leaf) in arriving:
                arriving[id(leaf)].append(node)
        nodes = ancestors(edge_node(end) for end, _ in seeds)
        reached = {node for several in arriving.values() for node in several}
        gradients: list[Any] = []
        capture = doors.open_capture()
        capture.fixed = frozenset(id(leaf) for i, leaf in zip(given, cotangents, strict=True) if i in fixed)
        with mode(recording=True, tangents=False, capture=capture, place=Place()):
            found = propagate(nodes, seeds, wanted=reached, record=True)
            for i in wanted:
                total: object = None
                for node in arriving[id(self.operands[i])]:
                    part = found.get(node)
                    total = part if total is None else total if part is None else ops.add(total, part)
                gradients.append(
                    total._edge if isinstance(total, Tensor) and total._edge is not None else total
                )
        return gradients, cotangents, floor


def _signature(names: Iterable[str]) -> inspect.Signature:
    return inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )


def _end_type(end: object) -> ArrayType:
    return ArrayType(*(entry_type(end)))


def _key(edge: Any) -> tuple[int, int]:
    return id(edge_node(edge)), edge_index(edge)


def _differentiable(ends: Sequence[Any]) -> list[int]:
    return [i for i, end in enumerate(ends) if is_recorded(end) and edge_type(end).differentiable]


def _from_before(ends: Sequence[Any], floor: int) -> list[Any]:
    """The edges made before `floor` that what was made since reads, or that are ends, each once."""
    found: dict[tuple[int, int], Any] = {}
    nodes = ancestors((edge_node(end) for end in ends if is_recorded(end)), floor)
    for entry in (*(entry for node in nodes for entry in node.inputs), *ends):
        if is_recorded(entry) and edge_node(entry).order < floor:
            found.setdefault(_key(entry), entry)
    return list(found.values())


def substituted(nodes: Sequence[Node], ends: Sequence[Any], stands: dict[int, Any]) -> list[Any]:
    """The ends of a graph with other entries in the place of some nodes' outputs; what depends on them is made again.

    Args:
        nodes: inputs before consumers.
        stands: id of a node -> what stands for each of its outputs; extended by the nodes made again.
    """
    for node in nodes:
        if id(node) in stands or not any(id(parent) in stands for parent in node.parents()):
            continue
        inputs = tuple(now(entry, stands) for entry in node.inputs)
        again = with_inputs(node, inputs, node.place.origin)
        again.versions = node.versions
        stands[id(node)] = edges(again)
    return [now(end, stands) for end in ends]


# -- opening -------------------------------------------------------------------------------------------------------


def body_of(node: Node) -> Inside | None:
    """What is inside a node whose op has a body."""
    inside: Inside | None = None if isinstance(node, Leaf) else node.op.facts.get("body")
    return inside


def opened(graph: Graph) -> Graph:
    """The graph with the bodies' own nodes, in a group each, instead of the nodes that stand for them.

    What files and drawings hold; the graph itself if there is none.
    """
    return open_bodies(graph)[0]


def ruled_in(graph: Graph) -> Node | None:
    """A node, on its own or in a body, with another derivative rule than that of its body, which opening would lose."""
    nodes: list[Node] = list(graph.nodes)
    known: set[int] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, Leaf) or id(node) in known:
            continue
        known.add(id(node))
        if node.op.facts.get("own_rule"):
            return node
        inside = body_of(node)
        if inside is not None:
            nodes += ancestors(edge_node(end) for end in inside.ends if is_recorded(end))
    return None


def open_bodies(graph: Graph) -> tuple[Graph, Callable[[Edge], Edge]]:
    """The graph opened (see `opened`), and what finds in it the edge that carries what an edge did before."""
    stands: list[dict[int, Any]] = []
    before = [graph]  # ids of nodes are keys as long as the nodes are
    while any(body_of(node) is not None for node in graph.nodes):
        graph, found = _opened_once(graph)
        stands.append(found)
        before.append(graph)

    def find(edge: Edge) -> Edge:
        for found, _ in zip(stands, before, strict=False):
            edge = now(edge, found)
        return edge

    return graph, find


def _opened_once(graph: Graph) -> tuple[Graph, dict[int, Any]]:
    copies: dict[
        int, dict[int, Any]
    ] = {}  # id of a node with a body -> what stands for the nodes of that body

    def unfold(node: Node, stands: dict[int, Any]) -> tuple[Any, ...] | None:
        inside = body_of(node)
        return None if inside is None else _unfolded(node, inside, stands, copies)

    return replaced(graph, unfold)


def replaced(
    graph: Graph, replace: Callable[[Node, dict[int, Any]], tuple[Any, ...] | None]
) -> tuple[Graph, dict[int, Any]]:
    """The graph with other edges in the place of some nodes' outputs; what depends on them is made again.

    Args:
        replace: for a node, and what stands for nodes so far, what stands for its outputs; None where it stays.

    Returns:
        The graph, and by the id of a node what stands for each of its outputs.
    """
    stands: dict[int, Any] = {}
    for node in graph.nodes:
        found = replace(node, stands)
        origin = node.place.origin
        if found is not None:
            stands[id(node)] = found
        elif any(id(parent) in stands for parent in node.parents()) or (
            origin is not None and id(origin) in stands
        ):
            inputs = tuple(now(entry, stands) for entry in node.inputs)
            again = with_inputs(node, inputs, _origin(origin, stands))
            again.versions = node.versions
            stands[id(node)] = _edges_or_constants(again)
    again_graph = Graph(
        graph.inputs,
        [now(out, stands) for out in graph.outputs],
        result=graph.result,
        updates=[(leaf, now(value, stands)) for leaf, value in graph.updates],
        gradients=[(leaf, now(value, stands)) for leaf, value in graph.gradients],
        name=graph.name,
    )
    return again_graph, stands


def now(entry: Any, stands: dict[int, Any]) -> Any:
    """What stands for an entry of a node's inputs, by the id of its node; itself where nothing does."""
    found = stands.get(id(edge_node(entry))) if is_recorded(entry) else None
    return entry if found is None else found[edge_index(entry)]


def _origin(origin: Node | None, stands: dict[int, Any]) -> Node | None:
    found = stands.get(id(origin)) if origin is not None else None
    return edge_node(found[0]) if found is not None and is_recorded(found[0]) else origin


def _edges_or_constants(node: Node) -> tuple[Any, ...]:
    """The edges of a node's outputs; where all it reads are constants, its values, since a graph holds no such node."""
    if node.op.kind == "collective" or any(map(is_recorded, node.inputs)):
        return edges(node)
    with mode(recording=False), np.errstate(all="ignore"):
        found = evaluate([node], {})[id(node)]
    return found if isinstance(found, tuple) else (found,)


def _unfolded(
    node: Node, body: Inside, stands: dict[int, Any], copies: dict[int, dict[int, Any]]
) -> tuple[Any, ...]:
    """The nodes of a body, made again where the node stood; what stands for the node's outputs."""
    outer = node.place
    inside: dict[int, Any] = {
        id(leaf): (now(entry, stands),) for leaf, entry in zip(body.operands, node.inputs, strict=True)
    }
    served = copies.get(id(outer.origin), {}) if outer.origin is not None else {}
    versions = {kept: version for kept, version in node.versions or () if isinstance(kept, Leaf)}
    for inner in ancestors(edge_node(end) for end in body.ends if is_recorded(end)):
        if isinstance(inner, Leaf):
            continue
        origin = _origin(inner.place.origin, served if outer.origin is not None else inside)
        inputs = tuple(now(entry, inside) for entry in inner.inputs)
        again = with_inputs(inner, inputs, origin)
        phase = outer.phase if outer.phase != "forward" else inner.place.phase
        again.place = Place((*outer.scope, *inner.place.scope), phase, origin)
        read = [leaf for leaf in inputs if isinstance(leaf, Leaf) and leaf in versions]
        again.versions = tuple((leaf, versions[leaf]) for leaf in read) or None
        inside[id(inner)] = _edges_or_constants(again)
    copies[id(node)] = inside
    return tuple(now(end, inside) for end in body.ends)
