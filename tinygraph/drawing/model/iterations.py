"""Loops and choices opened for a picture: one iteration in a frame with its carries as arrows back, or several beside
each other; all branches of a choice.

The graph that comes of it is looked at and never run: `OpenedLoops.values` runs the loop itself, up to the iteration
that is shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygraph.core.bodies import now, replaced
from tinygraph.core.graph import Graph, evaluate
from tinygraph.core.modes import CompositeName, Place, Scope, mode
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.op import Op, op
from tinygraph.core.remaking import edges, make_node, with_inputs
from tinygraph.core.subgraphs import Subgraph, Unfolding, unfolding_of
from tinygraph.core.types import ArrayType
from tinygraph.errors import DrawingError

MOST_RUN = 4096  # steps that are run one by one for a picture


class LoopName(CompositeName):
    """The name of the group that a loop, a choice, or one of their parts makes."""

    __slots__ = ()


class ConditionName(LoopName):
    """The name of the group of what a loop asks before each step: much goes in above, one truth comes out below."""

    __slots__ = ()


def _stand_in(name: str, operands: str, words: str) -> Op:
    def forward(*given: object) -> Any:
        return given[-1]

    forward.__doc__ = words
    kind = inspect.Parameter.VAR_POSITIONAL
    forward.__signature__ = inspect.Signature([inspect.Parameter(operands, kind)])  # type: ignore[attr-defined]
    made = op(name=name, kind="control", declare=False)(forward)

    def goes_on(g: Any, wanted: tuple[int, ...]) -> Any:
        """What arrives goes on to each."""
        return (g,) * len(wanted)

    made.vjp(operands)(goes_on)
    return made


CARRY = _stand_in("carry", "start", "What one step hands on to the next.")
SLICE = _stand_in("slice", "of", "The slice of this step.")
LAST = _stand_in("last", "step", "What the last step hands on.")
STACKED = _stand_in("stacked", "steps", "What all steps make, stacked.")
CHOSEN = _stand_in("chosen", "branches", "The result of the branch that runs.")
STEPS = _stand_in("steps", "asked", "How many steps there were.")


@dataclass(slots=True)
class OpenLoop:
    """A node that was opened.

    Attributes:
        node: it, in the graph that it is of.
        steps: the iterations drawn.
        copies: for each iteration, or branch, the ids of the nodes of its graphs -> what stands for their outputs.
        carries, slices: for each iteration the nodes that stand for them.
        results: nodes that stand for results, with the result's number.
        inner: (number of the copy, what was opened in there).
        reached: what the body gets in each iteration that was run, where the loop stands in the graph itself.
    """

    node: Node
    unfolding: Unfolding
    steps: tuple[int, ...]
    copies: list[dict[int, Any]] = field(default_factory=list)
    carries: list[list[Node]] = field(default_factory=list)
    slices: list[list[Node]] = field(default_factory=list)
    results: list[tuple[Node, int]] = field(default_factory=list)
    inner: list[tuple[int, OpenLoop]] = field(default_factory=list)
    reached: list[list[Any]] = field(default_factory=list)


@dataclass(slots=True)
class OpenedLoops:
    """A graph whose loops and choices are open.

    Attributes:
        graph: it, to be looked at.
        stands: id of a node of the graph before -> what stands for its outputs.
        back: (edge, node): what one step makes, and what stands for it in the next.
        rows: nodes that are the same op in several iterations, or where a loop begins and its gradient ends.
        hidden: id of a node -> from which operand on it only keeps others in the graph.
        repeats: id of a node in a loop -> how often it runs, as far as that is known.
        loops: what was opened, the outermost.
        before: the graph as it was.
    """

    graph: Graph
    stands: dict[int, Any] = field(default_factory=dict)
    back: list[tuple[Edge, Node]] = field(default_factory=list)
    rows: list[list[Node]] = field(default_factory=list)
    hidden: dict[int, int] = field(default_factory=dict)
    repeats: dict[int, int] = field(default_factory=dict)
    loops: list[OpenLoop] = field(default_factory=list)
    before: Graph | None = None

    @property
    def longest(self) -> int:
        """How many iterations there are to be shown: of the longest loop, as far as it was run."""
        counts = (loop.unfolding.count or len(loop.reached) for loop in self.loops)
        return min(max(counts, default=0), MOST_RUN)

    def find(self, edge: Edge) -> Edge:
        """The edge that carries what one of the graph before did."""
        found: Edge = now(edge, self.stands)
        return found

    def across(self, values: dict[int, Any]) -> dict[int, Any]:
        """What is known of nodes of the graph before, of those that are made again outside of all loops."""
        found = dict(values)
        if self.before is not None:
            _across(self.before.nodes, self.stands, values, found)
        return found

    def values(self, values: dict[int, Any], step: int | None = None) -> dict[int, Any]:
        """The values of its nodes, for those of the graph before; `step` shows another iteration than was drawn."""
        if not self.loops:
            return values
        found = self.across(values)
        for loop in self.loops:
            _fill(loop, values, found, step, loop.reached)
        return found


def open_loops(graph: Graph, steps: Sequence[int] | None = None) -> OpenedLoops:
    """The graph with what loops and choices run in frames of their own.

    Args:
        steps: the iterations to draw, one beside the other; negative ones count from the last. The first by default.

    Raises:
        DrawingError: a loop has no such iteration.
    """
    opening = _Opening((0,) if steps is None else tuple(steps))
    found = OpenedLoops(
        graph,
        back=opening.back,
        rows=opening.rows,
        hidden=opening.hidden,
        repeats=opening.repeats,
        loops=opening.loops,
        before=graph,
    )
    if not any(unfolding_of(node) is not None for node in graph.nodes):
        return found

    def unfold(node: Node, stands: dict[int, Any]) -> tuple[Any, ...] | None:
        unfolding = unfolding_of(node)
        if unfolding is None or unfolding.count == 0:
            return None
        loop, results = opening.open(node, unfolding, stands, node.scope)
        opening.loops.append(loop)
        return results

    found.graph, found.stands = replaced(graph, unfold)
    begins = {id(loop.node): (loop.carries + loop.slices)[0] for loop in opening.loops if loop.carries}
    for loop in opening.loops:
        start = begins.get(id(loop.node.place.origin))
        if start and loop.results and loop.unfolding.reverse:
            found.rows.append([start[0], loop.results[0][0]])
    return found


class _Opening:
    """Nodes made for the loops of one graph."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self._steps = steps
        self._made = 0
        self.back: list[tuple[Edge, Node]] = []
        self.rows: list[list[Node]] = []
        self.loops: list[OpenLoop] = []
        self.hidden: dict[int, int] = {}
        self.repeats: dict[int, int] = {}
        self._often = 1  # how often what is being opened runs

    def open(
        self, node: Node, unfolding: Unfolding, stands: dict[int, Any], scope: Scope
    ) -> tuple[OpenLoop, tuple[Any, ...]]:
        """What a node consists of, and what stands for its outputs."""
        self._made += 1
        around = (*scope, (LoopName(unfolding.title(node.op.name)), self._made))
        entries = [now(entry, stands) for entry in node.inputs]
        if unfolding.choice:
            return self._choice(node, unfolding, entries, around)
        return self._loop(node, unfolding, entries, around)

    def _choice(
        self, node: Node, unfolding: Unfolding, entries: list[Any], scope: Scope
    ) -> tuple[OpenLoop, tuple[Any, ...]]:
        loop = OpenLoop(node, unfolding, (0,))
        index, *operands = entries
        ends = []
        for number, branch in enumerate(unfolding.parts):
            name = branch.name if not branch.name.startswith("<") else f"branch {number}"
            inside = self._copy(loop, number, branch, operands, (*scope, (LoopName(name), number)))
            ends.append([now(end, inside) for end in branch.graph.outputs])
        results = []
        for i, types in enumerate(node.output_types):
            chosen = _made(CHOSEN, (index, *(one[i] for one in ends)), types, node, scope)
            loop.results.append((chosen, i))
            results.append(chosen)
        return loop, tuple(results)

    def _loop(
        self, node: Node, unfolding: Unfolding, entries: list[Any], scope: Scope
    ) -> tuple[OpenLoop, tuple[Any, ...]]:
        loop = OpenLoop(node, unfolding, _resolved(self._steps, unfolding, node))
        carries, slices = unfolding.carries, unfolding.slices
        (body,) = unfolding.parts
        columns: list[list[Any]] = []
        ends: list[Any] = []
        handed: list[Any] = []
        for number, step in enumerate(loop.steps):
            # frames around columns would cost Graphviz their order
            told = {} if len(loop.steps) == 1 else {"step": step}
            starts = entries[:carries] if not number else [None] * carries
            carried = [
                _made(CARRY, () if entry is None else (entry,), types, node, scope, told)
                for entry, types in zip(starts, body.input_types, strict=False)
            ]
            sliced = [
                _made(SLICE, (entry,), body.input_types[i], node, scope, told)
                for i, entry in enumerate(entries[carries : carries + slices], carries)
            ]
            loop.carries.append(carried)
            loop.slices.append(sliced)
            if number:
                self._hand_on(ends[:carries], carried)
            operands = [*carried, *sliced, *entries[carries + slices :]]
            loop.copies.append({})
            asked = self._condition(loop, number, unfolding, operands, scope)
            inside = self._copy(loop, number, body, operands, scope)
            ends = [now(end, inside) for end in body.graph.outputs]
            columns.append([*asked, *ends[carries:]])
            handed += ends[:carries]
        if len(loop.steps) == 1:
            self._hand_on(ends[:carries], loop.carries[0])
        else:
            self._beside(loop)
        results = self._results(loop, ends, columns, scope)
        handed = [end for end in handed if is_recorded(end)]
        for one in results:  # what only the next step reads would not be in the graph
            self.hidden[id(one)] = len(one.inputs)
            one.inputs = (*one.inputs, *handed)
        return loop, tuple(results)

    def _results(self, loop: OpenLoop, ends: list[Any], columns: list[list[Any]], scope: Scope) -> list[Node]:
        """What stands for the results of a loop: the last carries, then what steps made, stacked, or their number."""
        node, carries = loop.node, loop.unfolding.carries
        asked = columns[-1] if loop.unfolding.condition is not None else []
        made = STACKED if loop.unfolding.condition is None else STEPS
        results = [
            _made(LAST, (*asked, ends[i]), one, node, scope)
            if i < carries
            else _made(made, tuple(column[i - carries] for column in columns), one, node, scope)
            for i, one in enumerate(node.output_types)
        ]
        loop.results += [(one, i) for i, one in enumerate(results)]
        return results

    def _condition(
        self, loop: OpenLoop, number: int, unfolding: Unfolding, operands: list[Any], scope: Scope
    ) -> list[Any]:
        if unfolding.condition is None:
            return []
        scope = (*scope, (ConditionName("while"), 0))
        inside = self._copy(loop, number, unfolding.condition, operands, scope)
        return [now(end, inside) for end in unfolding.condition.graph.outputs]

    def _hand_on(self, ends: Sequence[Any], carried: Sequence[Node]) -> None:
        self.back += [
            (end, carry)
            for end, carry in zip(ends, carried, strict=True)
            if is_recorded(end) and end is not carry
        ]

    def _copy(
        self, loop: OpenLoop, number: int, part: Subgraph, operands: Sequence[Any], scope: Scope
    ) -> dict[int, Any]:
        """The nodes of a subgraph, made again for these operands."""
        inside: dict[int, Any] = {
            id(leaf): (one,) for leaf, one in zip(part.graph.inputs, operands, strict=True)
        }
        outer, often = loop.node.place, self._often
        self._often *= (loop.unfolding.count or 1) if len(loop.steps) == 1 else 1
        for inner in part.graph.nodes:
            if isinstance(inner, Leaf):
                continue
            within = (*scope, *inner.place.scope)
            unfolding = unfolding_of(inner)
            if unfolding is not None and unfolding.count != 0:
                opened, inside[id(inner)] = self.open(inner, unfolding, inside, within)
                loop.inner.append((number, opened))
                continue
            again = with_inputs(inner, tuple(now(entry, inside) for entry in inner.inputs), None)
            again.place = Place(within, outer.phase)
            self.repeats[id(again)] = self._often
            inside[id(inner)] = edges(again)
        self._often = often
        if number < len(loop.copies):
            loop.copies[number].update(inside)
        else:
            loop.copies.append(inside)
        return inside

    def _beside(self, loop: OpenLoop) -> None:
        """The same op of several iterations in one row."""
        first = loop.copies[0]
        for key, stands in first.items():
            row = [edge_node(copy[key][0]) for copy in loop.copies if is_recorded(copy[key][0])]
            if len(set(map(id, row))) == len(loop.copies) and len(stands) and not isinstance(row[0], Leaf):
                self.rows.append(row)


def _made(
    stand_in: Op,
    inputs: tuple[Any, ...],
    types: ArrayType,
    node: Node,
    scope: Scope,
    settings: dict[str, Any] | None = None,
) -> Node:
    place = Place(scope, node.place.phase)
    made = make_node(stand_in, inputs, settings or {}, ArrayType(*types), like=node, place=place)
    made.name = None
    return made


def _resolved(steps: tuple[int, ...], unfolding: Unfolding, node: Node) -> tuple[int, ...]:
    count = unfolding.count
    if count is None:
        return tuple(step for step in steps if step >= 0) or (0,)
    found = tuple(step + count if step < 0 else step for step in steps)
    wrong = [step for step, one in zip(steps, found, strict=True) if not 0 <= one < count]
    if wrong:
        raise DrawingError(f"steps={wrong[0]}: {unfolding.title(node.op.name)} has no such step")
    return tuple(dict.fromkeys(found))


# -- values --------------------------------------------------------------------------------------------------------


def _across(
    nodes: Sequence[Node], stands: dict[int, Any], values: dict[int, Any], found: dict[int, Any]
) -> None:
    """The values of nodes that were made again with one output for one."""
    for node in nodes:
        again = stands.get(id(node))
        if again is None or id(node) not in values or unfolding_of(node) is not None:
            continue
        if is_recorded(again[0]) and not isinstance(edge_node(again[0]), Leaf):
            found[id(edge_node(again[0]))] = values[id(node)]


def _fill(
    loop: OpenLoop, values: dict[int, Any], found: dict[int, Any], step: int | None, reached: list[list[Any]]
) -> None:
    """The values of all that stands for a loop, for those of the graph that it is in."""
    node, unfolding = loop.node, loop.unfolding
    if id(node) not in values:
        return
    outputs = values[id(node)]
    for one, i in loop.results:
        found[id(one)] = outputs[i]
    operands = [_value(entry, values) for entry in node.inputs]
    if unfolding.choice:
        number = min(max(int(np.asarray(operands[0])), 0), len(unfolding.parts) - 1)
        _enter(loop, number, [(unfolding.parts[number], operands[1:])], found, step)
        return
    steps = loop.steps if step is None else [min(step, (unfolding.count or step + 1) - 1)]
    for number, (wanted, at) in enumerate(_iterations(unfolding, operands, steps, reached)):
        carries, slices = unfolding.carries, unfolding.slices
        for carry, value in zip(loop.carries[number], at[:carries], strict=True):
            found[id(carry)] = value
        for one, value in zip(loop.slices[number], at[carries : carries + slices], strict=True):
            found[id(one)] = value
        parts = [(one, at) for one in (unfolding.condition, *unfolding.parts) if one is not None]
        _enter(loop, number, parts, found, step if step is not None else wanted)


def _iterations(
    unfolding: Unfolding, operands: list[Any], steps: Sequence[int], reached: list[list[Any]]
) -> list[tuple[int, list[Any]]]:
    """For some iterations what the body gets; of a loop that ends before, for its last one."""
    carries, slices = unfolding.carries, unfolding.slices
    (body,), condition, count = unfolding.parts, unfolding.condition, unfolding.count
    xs, rest = operands[carries : carries + slices], operands[carries + slices :]
    if max(steps) >= MOST_RUN:
        raise DrawingError(f"step {max(steps):,}: a picture shows the first {MOST_RUN:,} steps")
    with mode(recording=False), np.errstate(all="ignore"):
        while len(reached) <= max(steps):
            number = len(reached)
            carry = body(*reached[-1])[:carries] if reached else operands[:carries]
            if condition is not None and number and not condition(*carry, *rest)[0]:
                break
            place = number if not unfolding.reverse or count is None else count - 1 - number
            reached.append([*carry, *(np.asarray(x)[place] for x in xs), *rest])
    return [(step, reached[min(step, len(reached) - 1)]) for step in steps]


def _enter(
    loop: OpenLoop,
    number: int,
    parts: Sequence[tuple[Subgraph, list[Any]]],
    found: dict[int, Any],
    step: int | None,
) -> None:
    """The values of the nodes of one iteration or branch, and of what was opened in there."""
    inside: dict[int, Any] = {}
    with mode(recording=False), np.errstate(all="ignore"):
        for part, operands in parts:
            given = {id(leaf): one for leaf, one in zip(part.graph.inputs, operands, strict=True)}
            inside |= evaluate(part.graph.nodes, given)
    copy = loop.copies[number]
    for part, _ in parts:
        _across([node for node in part.graph.nodes if not isinstance(node, Leaf)], copy, inside, found)
    for own, inner in loop.inner:
        if own == number:
            _fill(inner, inside, found, step, [])


def _value(entry: Any, values: dict[int, Any]) -> Any:
    if not is_recorded(entry):
        return entry
    value = values[id(edge_node(entry))]
    several = not isinstance(edge_node(entry).types, ArrayType)
    return value[edge_index(entry)] if several else value
