"""A graph and what is wanted of it, from which pictures are made: of the whole, at any level, or of one op's inside."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygraph.analysis.phases import phases_of
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Edge, Leaf, Node, edge_node, edge_type, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.drawing.model.amounts import Known
from tinygraph.drawing.model.assembly import Numbers, Opener, Scene, assemble
from tinygraph.drawing.model.channels import open_op
from tinygraph.drawing.model.iterations import OpenedLoops, open_loops
from tinygraph.drawing.model.labels import place_text, shorten
from tinygraph.drawing.model.levels import INSIDE, MOST_BOXES, Part, visible
from tinygraph.drawing.model.naming import named
from tinygraph.drawing.model.neurons import open_element, operands_of, picture_of_element, picture_of_reach
from tinygraph.drawing.model.numbers import (
    Differentiated,
    gradients_of,
    own_gradients,
    values_of,
    with_backward,
)
from tinygraph.drawing.model.overlays import Heat, chosen
from tinygraph.drawing.model.picture import Picture
from tinygraph.drawing.model.selection import (
    Repeats,
    chosen_groups,
    find_edge,
    find_nodes,
    found_in,
    on_paths,
    relatives,
    repeats_of,
)
from tinygraph.errors import DrawingError, TinygraphWarning

MOST_NUMBERS = 20_000  # nodes whose values are worth computing for a picture
MOST_ACROSS = 6  # boxes of a picture that runs from left to right; a whole network would be far too wide
MOST_OPEN = 3  # ops that are open at once, unless one is chosen


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `tg.draw` was asked for; see there."""

    zoom: str = "op"
    element: Any = None
    inputs: Sequence[Any] = ()
    backward: int = 0
    show: Sequence[str] = ()
    focus: Any = None
    between: tuple[Any, Any] | None = None
    fold: bool = False
    collapse: Any = ()
    flows: Mapping[tuple[int, int], float] | None = None
    measured: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # elsewhere, see `Known`
    zooms: Mapping[Any, str] = field(default_factory=dict)  # levels of some nodes or groups that differ
    depth: int | None = None
    compact: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[int] | None = None  # iterations of loops

    def found(self, find: Callable[[Edge], Edge]) -> Wishes:
        """The same of a graph that was made again, where `find` says what carries what an edge did before."""
        return replace(
            self,
            element=found_in(self.element, find),
            focus=found_in(self.focus, find),
            between=found_in(self.between, find),
            zooms=found_in(self.zooms, find),
        )


class Sketch:
    """A graph and what is wanted of it; its pictures can be made coarser, one after another.

    Attributes:
        drawn: the graph as it was given.
    """

    def __init__(self, graph: Graph, wishes: Wishes) -> None:
        self.wishes = wishes
        self.notes: list[str] = []
        self.drawn = graph
        self.values: dict[int, Any] = {}
        self.gradients: dict[int, Any] = {}
        self.numbers = self._numbers(graph)
        self.differentiated = Differentiated(graph)
        if (
            wishes.backward
            and wishes.zoom != "neuron"
            and not any(node.phase == "backward" for node in graph.nodes)
        ):
            self.differentiated = with_backward(graph, wishes.backward)
            graph = self.differentiated.graph
            self.notes += [self.differentiated.note] if self.differentiated.note else []
        self.loops = OpenedLoops(graph)
        closed = (
            (wishes.backward and wishes.steps is None) or "time" in wishes.show or wishes.zoom == "neuron"
        )
        if not closed and wishes.flows is None and not wishes.measured:
            self.loops = open_loops(graph, wishes.steps)
            self.wishes = wishes = wishes.found(self.loops.find)
            self._show_iterations()
        self.graph = graph = self.loops.graph
        self.phases = phases_of(graph)
        self.known = Known(graph, self.values, self.gradients, wishes.measured, repeats=self.loops.repeats)
        self.heat = Heat(chosen(wishes.show), self.known)
        self.notes += self.heat.notes(self._place, graph.nodes)
        self.repeats = repeats_of(graph.nodes) if wishes.fold else Repeats()
        self.parts: list[Part] = []

    def _show_iterations(self) -> None:
        """The numbers of what was opened."""
        if not self.loops.loops or not self.values:
            return
        self.values = self.loops.values(self.values)
        self.gradients = self.loops.across(self.gradients)
        show = self.wishes.show
        self.numbers = Numbers(
            self.values if "values" in show else {}, self.gradients if "gradients" in show else {}
        )

    def _place(self, node: Node) -> str:
        return (
            shorten(node.describe()) if isinstance(node, Leaf) else place_text(node, self.phases.scope(node))
        )

    def picture(self, limit: int = MOST_BOXES) -> Picture:
        """The picture with at most about `limit` boxes."""
        if self.wishes.zoom == "neuron":
            return self._neuron()
        nodes = [node for node in self.graph.nodes if not self._left_out(node)]
        collapsed = chosen_groups(self.wishes.collapse) if self.wishes.collapse else None
        opened = self._opened(nodes)
        around = [node.scope for node in nodes if id(node) in opened]
        mixed = self._mixed(nodes)
        self.parts, note = visible(
            nodes, self.wishes.zoom, limit, collapsed, around, self.phases, mixed, self.wishes.depth
        )
        if note:
            warnings.warn(f"{self.graph.name or 'the graph'}: {note}", TinygraphWarning, stacklevel=4)
        picture = assemble(
            Scene(
                self.graph,
                self.parts,
                self.wishes.show,
                self.known,
                self.phases,
                self.heat,
                self.numbers,
                self.differentiated,
                self.repeats,
                opened,
                self._lit(),
                self.wishes.flows or {},
                self.loops,
                direction="right" if opened and self._fits_across() else "down",
                notes=[*self.notes, note] if note else self.notes,
                compact=self.wishes.compact,
            )
        )
        whole = limit == MOST_BOXES  # a coarser picture may lack what has a name in this one
        return named(picture, self.wishes.names, self.wishes.colors, whole=whole)

    def _fits_across(self) -> bool:
        """Whether what is around the ops that are open is so little that the picture may run to the right."""
        return sum(not isinstance(part.nodes[-1], Leaf) for part in self.parts) <= MOST_ACROSS

    def _left_out(self, node: Node) -> bool:
        """Whether a node is in a block that another one stands for, or in the update of such a block's parameter."""
        updated = self.phases.updated.get(self.phases.scopes.get(id(node), ()))
        return id(node) in self.repeats.drawn or id(updated) in self.repeats.drawn

    def coarser(self) -> Picture | None:
        """A picture with half as many boxes as the last, or None if nothing is left to leave out."""
        before = len(self.parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TinygraphWarning)  # the drawing warns of the whole
            picture = self.picture(limit=before // 2)
        return picture if len(self.parts) < before else None

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _numbers(self, graph: Graph) -> Numbers:
        """The numbers to write into boxes; those that are only needed on the way are kept too."""
        show = self.wishes.show
        inside = any(level in INSIDE for level in (self.wishes.zoom, *self.wishes.zooms.values()))
        needing = any(set(one.needs).difference(self.wishes.measured) for one in chosen(show))
        if not inside and not needing and not {"values", "gradients"}.intersection(show):
            return Numbers()
        if len(graph.nodes) > MOST_NUMBERS:
            self.notes.append(
                f"Numbers are left out: {len(graph.nodes):,} nodes are more than {MOST_NUMBERS:,}."
            )
            return Numbers()
        self._compute(graph)
        return Numbers(self.values if "values" in show else {}, self.gradients if "gradients" in show else {})

    def _compute(self, graph: Graph) -> None:
        show = self.wishes.show
        self.values = values_of(graph, self.wishes.inputs)
        overlays = chosen(show)
        if "gradients" in show or any("gradients" in one.needs for one in overlays):
            self.gradients = self._gradients(graph)
        elif any("gradients" in one.uses for one in overlays) and self._has_scalar(graph):
            self.gradients = gradients_of(graph, self.values)

    def _has_scalar(self, graph: Graph) -> bool:
        out = graph.outputs[0] if graph.outputs else None
        return is_recorded(out) and edge_type(out).size == 1 and edge_type(out).differentiable

    def _gradients(self, graph: Graph) -> dict[int, Any]:
        if self._has_scalar(graph):
            name = "the output" if len(graph.outputs) == 1 else "the first output"
            self.notes.append(f"grad: gradient of {name}, computed for this picture.")
            return gradients_of(graph, self.values)
        found = own_gradients(graph.nodes)
        if not found:
            raise DrawingError(
                "there are no gradients to show: the output is no scalar, and backward() has not been called. Draw a "
                "scalar such as a loss, or call output.backward(gradient) first"
            )
        self.notes.append("grad: what backward() has accumulated in .grad of each leaf.")
        return found

    # -- what it is about ----------------------------------------------------------------------------------------------

    def _lit(self) -> set[int] | None:
        """Ids of the nodes that the picture is about; None for all."""
        wishes, nodes = self.wishes, self.graph.nodes
        if wishes.between is not None:
            start, end = (find_nodes(nodes, one) for one in wishes.between)
            found = on_paths(nodes, start, end)
        elif wishes.focus is not None and wishes.zoom != "channel":
            found = relatives(nodes, find_nodes(nodes, wishes.focus))
        elif wishes.flows is not None:
            entered = {key for key, _ in wishes.flows}
            heads = [node for node in nodes if id(node) in entered]
            steps = [
                (head, i) for head in heads for i in range(len(head.inputs)) if (id(head), i) in wishes.flows
            ]
            found = entered | {id(edge_node(head.inputs[i])) for head, i in steps}
        else:
            return None
        return found | {id(self.repeats.of(node)) for node in nodes if id(node) in found}

    # -- what is open --------------------------------------------------------------------------------------------------

    def _opened(self, nodes: Sequence[Node]) -> dict[int, Opener]:
        """What makes the interiors of the ops that are drawn from inside, by the node's id."""
        wishes = self.wishes
        inside = {what: level for what, level in wishes.zooms.items() if level in INSIDE}
        if wishes.zoom != "channel" and not inside:
            return {}
        if not self.values:
            count = len(self.graph.nodes)
            raise DrawingError(f"channels and neurons show values, but {count:,} nodes are too many for that")
        ops = [node for node in nodes if not isinstance(node, Leaf) and id(node) in self.values]
        if wishes.zoom == "channel":
            pair = _index(wishes.element)
            return {id(node): self._opener(node, "channel", pair) for node in self._ops_to_open(ops)}
        elements = wishes.element or {}
        return {
            id(node): self._opener(node, level, _index(elements.get(what)))
            for what, level in inside.items()
            for node in _telling(find_nodes(ops, what))
        }

    def _opener(self, node: Node, level: str, element: tuple[int, ...] | None) -> Opener:
        values, operands = self.values[id(node)], operands_of(node, self.values)
        out = values[0] if isinstance(values, tuple) else values
        if level == "channel":
            return lambda identifiers: open_op(node, operands, out, element, identifiers)
        index = tuple(size // 2 for size in np.shape(out)) if element is None else element
        return lambda identifiers: open_element(node, operands, out, index, identifiers)

    def _mixed(self, nodes: Sequence[Node]) -> list[tuple[str, set[Scope]]]:
        """The scopes whose level differs, those of larger groups first."""
        outside = {what: level for what, level in self.wishes.zooms.items() if level not in INSIDE}
        found = [(level, [node.scope for node in find_nodes(nodes, what)]) for what, level in outside.items()]
        return [(level, set(scopes)) for level, scopes in sorted(found, key=lambda pair: -len(pair[1]))]

    def _ops_to_open(self, ops: Sequence[Node]) -> list[Node]:
        """The ops that are drawn from inside at channel level."""
        if self.wishes.focus is not None:
            return _telling(find_nodes(ops, self.wishes.focus))
        convolutions = [node for node in ops if node.kind == "convolution"]
        if self.wishes.element is not None and len(convolutions) > 1:
            raise DrawingError(
                f"element={self.wishes.element!r}: there are {len(convolutions)} convolutions; choose one with focus="
            )
        if len(convolutions) > MOST_OPEN:
            self.notes.append(
                f"{MOST_OPEN} of {len(convolutions)} convolutions are open; focus= opens another."
            )
        if convolutions:
            return convolutions[:MOST_OPEN]
        return [node for node in ops if node.kind == "contraction"][:MOST_OPEN] or list(ops[-1:])

    def _neuron(self) -> Picture:
        wishes, graph = self.wishes, self.drawn
        if not self.values:
            raise DrawingError('zoom="neuron" shows values, which this graph is too large for')
        element = wishes.element
        if isinstance(element, Mapping) and len(element) == 1:
            element = next(iter(element.items()))
        if (
            isinstance(element, tuple | list)
            and len(element) == 2
            and isinstance(element[0], Tensor | Node | str)
        ):
            return self._reach(find_edge(graph.nodes, element[0]), _index(element[1]) or ())
        node = self._focused(graph)
        index = _index(element)
        notes: tuple[str, ...] = ()
        if index is None:
            index = tuple(size // 2 for size in node.output_types[0].shape)
            notes = (f"element={index}, the middle one, since none was chosen.",)
        picture = picture_of_element(graph, node, index, self.values)
        picture.notes = (*notes, *picture.notes)
        return picture

    def _focused(self, graph: Graph) -> Node:
        focus = self.wishes.focus
        if focus is not None:
            node: Node | None = find_nodes(graph.nodes, focus)[-1]
        else:
            edge = next(iter(graph.outputs), None)
            node = edge_node(edge) if is_recorded(edge) else None
        if node is None or isinstance(node, Leaf):
            raise DrawingError(
                "the neuron level shows an element that an op makes, and this is none: choose an op's output with "
                "focus=, or what a leaf's element reaches with element=(tensor, index)"
            )
        return node

    def _reach(self, edge: Edge, index: tuple[int, ...]) -> Picture:
        graph = self.drawn
        out = graph.outputs[0]
        wanted = self.wishes.backward or self._has_scalar(graph)
        cotangents = None
        if wanted and is_recorded(out) and edge_type(out).differentiable:
            cotangents = gradients_of(graph, self.values)
        name = shorten((edge_node(out).name if is_recorded(out) else None) or "output", 24)
        picture = picture_of_reach(graph, edge, index, self.values, cotangents, name)
        if cotangents is not None and not self._has_scalar(graph):
            picture.notes = (*picture.notes, f"∂{name} starts as ones, since {name} is no scalar.")
        return picture


def _telling(found: Sequence[Node]) -> list[Node]:
    """The ops to open of a group: its convolutions, else its contractions, else all."""
    ops = [node for node in found if not isinstance(node, Leaf)]
    best = [node for node in ops if node.kind == "convolution"]
    best = best or [node for node in ops if node.kind == "contraction"] or ops
    return best[:MOST_OPEN]


def _index(element: object) -> tuple[int, ...] | None:
    """An element's index as a tuple.

    Raises:
        DrawingError: it is none.
    """
    if element is None:
        return None
    items = element if isinstance(element, tuple | list) else (element,)
    try:
        return tuple(operator.index(item) for item in items)
    except TypeError:
        raise DrawingError(
            f"element={element!r} is no index: give ints, such as (0, 1, 3, 3), or (tensor, index)"
        ) from None
