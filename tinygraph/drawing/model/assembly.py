"""From a graph and the parts that are visible of it to a picture: boxes, arrows, groups and their words."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.analysis.phases import Phases, is_join
from tinygraph.analysis.units import BYTES
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, Port, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.subgraphs import unfolding_of
from tinygraph.core.types import ArrayType
from tinygraph.drawing.model.amounts import Known
from tinygraph.drawing.model.channels import Opened
from tinygraph.drawing.model.frames import Frames, dotted
from tinygraph.drawing.model.iterations import LoopName, OpenedLoops
from tinygraph.drawing.model.labels import (
    MOST_ELEMENTS,
    array_text,
    constant_text,
    constants_of,
    op_text,
    packed,
    settings_of,
    shape_text,
    shorten,
    tally,
    tooltip_of,
    type_text,
    usual_dtype,
)
from tinygraph.drawing.model.layers import class_of, is_norm, says_sizes, settings_words
from tinygraph.drawing.model.levels import Part
from tinygraph.drawing.model.numbers import Differentiated
from tinygraph.drawing.model.overlays import Heat
from tinygraph.drawing.model.picture import Arrow, Box, Direction, Identifiers, Picture
from tinygraph.drawing.model.planes import Plane, as_plane, limit_of
from tinygraph.drawing.model.selection import Repeats

if TYPE_CHECKING:
    from tinygraph.core.node import Edge

Opener = Callable[[Identifiers], Opened]  # makes the interior of one op
Incoming = tuple[str, str, str, float | None, int]  # an arrow: the tail's id, its label, role, share and rank

WIDEST = 5.0  # points that the arrow with a whole gradient is wider than others
UPDATES_A_ROW = 4
MOST_PARAMETERS = 3  # lines of a collapsed box
NARROW = 20  # letters of a line where columns are to be narrow
MOST_RESULTS = 3  # types of a box's results
# What a collapsed group is coloured as: the first of these kinds that it contains.
TELLING_KINDS = (
    "convolution", "contraction", "normalization", "pooling", "loss", "collective", "random", "reduction", "indexing",
    "other", "comparison", "elementwise", "shape",
)  # fmt: skip


@dataclass(slots=True)
class Numbers:
    """Values and gradients to write into the boxes, by a node's id; empty where none are shown."""

    values: Mapping[int, Any] = field(default_factory=dict)
    gradients: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a picture is assembled from.

    Attributes:
        parts: what of the graph is visible, box by box.
        show: what is written into boxes and at arrows.
        known: what the graph keeps for later passes, if it is asked.
        phases: which passes the nodes belong to.
        numbers: values and gradients to write.
        differentiated: what of the graph are backward passes that were added for the picture.
        opened: what makes the interiors of nodes that are drawn from inside, by the node's id.
        lit: ids of the nodes that the picture is about; the others stand back.
        heat: what overlays say of nodes.
        repeats: blocks of which only the first is among the parts.
        flows: shares of a gradient by (id of a node, operand's position): the widths of its arrows.
        compact: whether types stand in boxes, where arrows have no room for them.
        loops: what was opened of loops and choices.
    """

    graph: Graph
    parts: Sequence[Part]
    show: Collection[str]
    known: Known
    phases: Phases
    heat: Heat
    numbers: Numbers
    differentiated: Differentiated
    repeats: Repeats
    opened: Mapping[int, Opener]
    lit: Collection[int] | None
    flows: Mapping[tuple[int, int], float]
    loops: OpenedLoops
    direction: Direction
    notes: Sequence[str]
    compact: bool = False


def assemble(scene: Scene) -> Picture:
    """The picture of a graph whose visible parts are given."""
    return _Assembly(scene).picture()


class _Assembly:
    """One picture in the making."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.graph = graph = scene.graph
        self.output_names = graph.output_names
        self.phases = phases = scene.phases
        self.opened = scene.opened
        self.types_inside = bool(scene.opened) or scene.compact
        self.lit = scene.lit
        self.heat = scene.heat
        self.quoted = _shared_states(graph, phases)  # written where they are read instead of drawn
        shown_inside = _only_inside(scene.parts, scene.opened) | self.quoted
        self.parts = [part for part in scene.parts if not (part.single and id(part.nodes[0]) in shown_inside)]
        self.interiors: dict[str, Opened] = {}  # by the id that stands for the op
        self.rows: list[tuple[str, ...]] = []
        self.show = scene.show
        self.numbers = scene.numbers
        self.identifiers = Identifiers()
        self.usual = usual_dtype(graph.nodes)
        self.all_scalar = all(types.shape == () for node in graph.nodes for types in node.output_types)
        self.place = {id(node): i for i, part in enumerate(self.parts) for node in part.nodes}
        # Of the blocks that are left out, by the node that stands for them.
        self.copies: dict[int, list[Node]] = {}
        self.repeats = repeats = scene.repeats
        self.flows = scene.flows
        for node in graph.nodes if repeats.drawn else ():
            if id(node) in repeats.drawn and id(repeats.of(node)) in self.place:
                self.place[id(node)] = self.place[id(repeats.of(node))]
                self.copies.setdefault(id(repeats.of(node)), []).append(node)
        self.frames = Frames(self.parts, self.identifiers, repeats, phases)
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.ids: list[str] = []  # of the parts, in their order
        self.beside: dict[str, list[str]] = {}  # a forward box -> those of other passes in its row
        self.row_of: dict[str, str] = {}  # a box of another pass -> the forward box that begins its row
        self.rows_taken: set[tuple[str, int, bool]] = set()
        self.aside: set[str] = set()
        self.faded: set[str] = set()
        self.seeds = scene.differentiated.seeds
        self.gradients = scene.differentiated.gradients
        self.gradient_edges = _gradient_edges(graph, phases)
        self.again: dict[
            tuple[Scope, Any], str
        ] = {}  # (update, what it reads) -> the box for that next to it
        self.updating: list[
            tuple[tuple[int, int], str]
        ] = []  # (gradient's edge, the box of an update reading it)

    def picture(self) -> Picture:
        for i, part in enumerate(self.parts):
            incoming = self._incoming(i, part)
            if part.single and id(part.nodes[0]) in self.opened:
                self._open(part, incoming)
                continue
            box = self._box(part, [(tail, label) for tail, label, *_ in incoming])
            incoming += self._again(part)
            self.ids.append(box.id)
            if box.kind in ("parameter", "buffer"):
                self.aside.add(box.id)
            self.boxes.append(box)
            self.frames.put(box.id, part.scope)
            for tail, label, role, share, rank in incoming:
                self._arrow(tail, box.id, label, role, share, rank)
            self.updating += [(key, box.id) for key in self._read_gradients(part)]
        self._from_step_to_step()
        self._ends(self.gradients)
        name = self.graph.name or "graph"
        self.frames.merge_chains()
        hottest = max((box.heat for box in self.boxes if box.heat), default=0.0)
        if self.heat:
            self.boxes = [replace(box, heat=_share(box.heat, hottest)) for box in self.boxes]
        return Picture(
            name,
            self.boxes,
            self.arrows,
            self.frames.root,
            self.scene.direction,
            (*self.scene.notes, *(note for one in self.interiors.values() for note in one.notes)),
            tuple(self.rows),
            self._below(),
        )

    def _open(self, part: Part, incoming: Sequence[Incoming]) -> None:
        """Put the interior of an op in place of its box."""
        node = part.nodes[0]
        interior = self.opened[id(node)](self.identifiers)
        first = interior.exits[0]
        self.ids.append(first)
        self.interiors[first] = interior
        caption = self.frames.caption(part.scope)
        group = self.frames.open(part.scope, f"{caption}  {interior.title}" if caption else interior.title)
        group.boxes += [box.id for box in interior.boxes]
        self.boxes += interior.boxes
        self.arrows += interior.arrows
        self.rows += interior.rows
        reached: Counter[str] = Counter()
        for position, entry in enumerate(node.inputs):
            if not is_recorded(entry) or id(edge_node(entry)) not in self.place:
                continue
            tail = self.ids[self.place[id(edge_node(entry))]]
            label = next((label for one, label, *_ in incoming if one == tail), "")
            for head in interior.entries.get(position, []):
                self._arrow(tail, head, "" if reached[tail] else label, "data")
                reached[tail] += 1

    def _from_step_to_step(self) -> None:
        """Arrows from what a step makes back to where the next one reads it; rows of the same op in several steps."""
        for edge, carry in self.scene.loops.back:
            tail, head = (self.place.get(id(one)) for one in (edge_node(edge), carry))
            if tail is None or head is None:
                continue
            part = self.parts[head]
            if tail != head or isinstance(part.name, LoopName):
                label = type_text(edge_type(edge), self.usual, self.show) if not self.all_scalar else ""
                self._arrow(self.ids[tail], self.ids[head], label, "carry", rank=-1 if tail != head else 0)
        for part, made in zip(self.parts, self.ids, strict=True):
            unfolding = unfolding_of(part.nodes[0]) if part.single else None
            if unfolding is not None and unfolding.carries:
                self._arrow(made, made, "", "carry", rank=0)
        for row in self.scene.loops.rows:
            ids = [self.ids[self.place[id(node)]] for node in row if id(node) in self.place]
            if len(set(ids)) == len(row):
                self.rows.append(tuple(ids))

    # -- boxes ---------------------------------------------------------------------------------------------------------

    def _box(self, part: Part, incoming: Sequence[tuple[str, str]]) -> Box:
        first = part.nodes[0]
        if part.folded:
            kind, title, tooltip = "fold", f"… {len(part.nodes):,} nodes folded …", ""
            lines = self._inside(part)
        elif part.name is not None:
            kind, title, lines, tooltip = self._collapsed(part)
            if self.scene.compact and not part.order:
                lines = [*lines, *self._result_type(part)]
        elif part.serves is not None:
            kind, title, lines = part.serves.kind, self._derived(part, shorten(part.serves.op.name)), []
            tooltip = ", ".join(tally(node.op.name for node in part.nodes))
        elif isinstance(first, Leaf):
            kind, title, lines = self._leaf(first, part.scope)
            tooltip = tooltip_of(first)
        elif is_join(first):
            kind, title, lines, tooltip = "join", "+", [], "gradients of several uses add up"
        else:
            kind, title, lines = first.kind, self._title(first), self._settings(first)
            if self.types_inside:
                lines = [*lines, *self._result_type(part)]
            tooltip = tooltip_of(first)
        if part.order and part.name is not None:
            title = self._derived(part, title)
        caption = self.frames.caption(part.scope)
        content = (kind, title, lines, part.order, self.frames.path(part.scope), list(incoming))
        made = self.identifiers.make("n", *content)
        opposite = self._opposite(part, made) if part.order else None
        faded = self.lit is not None and not any(id(node) in self.lit for node in part.nodes)
        if faded:
            self.faded.add(made)
        heat, costs, marked = self.heat.of(part.nodes)
        numbers = (*self._numbers(part), *costs)
        return Box(
            made, kind, title, tuple(lines), numbers, tooltip, part.order, opposite, caption,
            plane=self._plane(part), heat=heat, tint=self.heat.tint, faded=faded, marked=marked,
            path=dotted(_whole_scope(part)) if part.name is not None else first.name or "",
            shape=() if part.order or kind in ("parameter", "buffer") else edge_type(self._results(part)[0]).shape,
        )  # fmt: skip

    def _derived(self, part: Part, title: str) -> str:
        """What a part of a backward pass is called whose op or group is."""
        return f"∂ {title}" if part.order == 1 else f"∂(∂ {title})" if part.descends else f"∂² {title}"

    def _plane(self, part: Part) -> Plane | None:
        """The first plane of a tensor's value, where values are shown and it is too large to be written out."""
        value = self.numbers.values.get(id(edge_node(self._results(part)[0]))) if not part.folded else None
        if value is None or isinstance(value, tuple | list):
            return None
        array = np.asarray(value)
        if array.ndim < 2 or array.size <= MOST_ELEMENTS or array.dtype.kind not in "fiub":
            return None
        return as_plane(array[(0,) * (array.ndim - 2)], limit_of(array))

    def _title(self, node: Node) -> str:
        named = node.name if "names" in self.show else None
        return f"{shorten(named)} = {op_text(node)}" if named else op_text(node)

    def _settings(self, node: Node) -> list[str]:
        pairs = settings_of(node) if "settings" in self.show else []
        lines = packed([f"{name} {text}" for name, text in pairs])
        lines += packed([f"{name} {text}" for name, text in (*constants_of(node), *self._states_of(node))])
        if "source" in self.show and node.source is not None:
            lines.append(shorten(str(node.source)))
        return lines

    def _result_type(self, part: Part) -> list[str]:
        """What stands on arrows elsewhere: labels there would make room that the planes of an opened op need."""
        types = dict.fromkeys(edge_type(edge) for edge in self._results(part)[:MOST_RESULTS])
        texts = [text for one in types if (text := type_text(one, self.usual, self.show))]
        return [f"→ {', '.join(texts)}"] if texts else []

    def _results(self, part: Part) -> list[Edge]:
        """What others read of a part, in the order in which they do; not the states that it makes for itself."""
        read = self._read[id(part)]
        last = part.nodes[-1]
        return read or [last if isinstance(last.types, ArrayType) else Port(last, 0)]

    @functools.cached_property
    def _read(self) -> dict[int, list[Edge]]:
        """By a part's id, the edges that lead out of it."""
        found: dict[int, dict[tuple[int, int], Edge]] = {id(part): {} for part in self.parts}
        readers = [(self.place.get(id(node), -1), edge) for node in self.graph.nodes for edge in node.inputs]
        readers += [(-1, edge) for edge in self.graph.outputs]
        for reader, edge in readers:
            place = self.place.get(id(edge_node(edge)), -1) if is_recorded(edge) else -1
            if place >= 0 and place != reader:
                found[id(self.parts[place])].setdefault(_key(edge), edge)
        return {part: [*edges.values()] for part, edges in found.items()}

    def _leaf(self, leaf: Leaf, scope: Scope) -> tuple[str, str, list[str]]:
        if leaf.kind == "seed":
            out = self._gradient_title(self.seeds.get(id(leaf), 0)) or self._output_name(0)
            first = self.phases.order(leaf) == 1
            return "gradient", f"∂{out}/∂{out} = 1" if first else f"1 × {out}", self._type_line(leaf)
        return self._kind(leaf), self._leaf_name(leaf, scope), self._type_line(leaf)

    def _leaf_name(self, leaf: Leaf, scope: Scope) -> str:
        name = leaf.name if "names" in self.show else None
        return shorten((name and _without(name, scope)) or leaf.kind)

    def _type_line(self, leaf: Leaf) -> list[str]:
        text = "" if self.all_scalar else type_text(leaf.types, self.usual, self.show)
        return [text] if text else []

    def _collapsed(self, part: Part) -> tuple[str, str, list[str], str]:
        ops = [node for node in part.nodes if not isinstance(node, Leaf)]
        if self._is_update(part):
            return self._update(part, ops)
        kinds = {node.kind for node in _served(ops)}
        norm = is_norm(class_of(_whole_scope(part)))
        kind = (
            "normalization" if norm else next((kind for kind in TELLING_KINDS if kind in kinds), "composite")
        )
        inside = ", ".join(tally(node.op.name for node in ops))
        title, lines = self.frames.title(part), self._inside(part)
        what = self._class(part)
        if title.partition(" ")[0].isdigit():  # a number says too little
            title = (
                f"{title} {what or next((node.op.name for node in _served(ops) if node.kind == kind), kind)}"
            )
            what = ""
        lines[:0] = self._layer(part, what)
        return kind, title, lines, f"{shorten(part.name or '')}: {inside}"

    def _layer(self, part: Part, what: str) -> list[str]:
        """The class of a layer, as far as the title does not say it, and its settings."""
        shown = "settings" in self.show and not part.order
        kernel, settings = settings_words(_whole_scope(part)) if shown else ("", [])
        longest = {"longest": NARROW} if self.scene.compact else {}
        return packed([*([f"{what} {kernel}".strip()] if what or kernel else []), *settings], **longest)

    def _update(self, part: Part, ops: Sequence[Node]) -> tuple[str, str, list[str], str]:
        """The box of an update: the state whose new value it makes, and all other states that it makes it from."""
        leaf = self._updated(part)
        name = leaf.name or leaf.kind
        read = {
            id(one): one
            for node in ops
            for one in node.parents()
            if isinstance(one, Leaf) and one is not leaf
        }
        own = sorted(read.values(), key=lambda one: id(one) in self.quoted)
        others = packed([shorten((one.name or one.kind).removeprefix(f"{name}."), 24) for one in own])
        tooltip = ", ".join(tally(node.op.name for node in ops))
        return "update", f"new {shorten(name)}", [*self._type_line(leaf), *others], tooltip

    def _is_update(self, part: Part) -> bool:
        return self.phases.is_update(_whole_scope(part))

    def _updated(self, part: Part) -> Leaf:
        return self.phases.updated[_whole_scope(part)[:1]]

    def _class(self, part: Part) -> str:
        """The class of the module that a collapsed part is a call of, if it is known and says more than the name."""
        assert part.name is not None
        found = class_of(_whole_scope(part))
        return "" if found.lower() == part.name.lower() or part.order else found

    def _inside(self, part: Part) -> list[str]:
        """What a box that stands for many nodes contains: its parameters if it is a module's, else its ops."""
        owned = [leaf for leaf in part.nodes if isinstance(leaf, Leaf) and leaf.requires_grad]
        ops = [node.op.name for node in part.nodes if not isinstance(node, Leaf)]
        if part.folded:
            return tally([*ops, *("parameter" for _ in owned)], most=4)
        if part.order:
            return []
        if "parameters" in self.show:
            count = sum(math.prod(leaf.shape) for leaf in owned)
            return [f"{count:,} parameters"] if count else []
        if self.scene.compact and says_sizes(_whole_scope(part)):
            return []  # what a layer is made for says how large its parameters are
        scope = _whole_scope(part)
        lines = [f"{_own_name(leaf, scope)} {shape_text(leaf.shape)}" for leaf in owned[:MOST_PARAMETERS]]
        rest = len(owned) - MOST_PARAMETERS
        if rest > 0:
            lines.append(f"and {rest} more parameter{'s' * (rest > 1)}")
        if owned or part.name in ops or self._class(part):
            return lines
        return tally(ops, most=2)

    def _numbers(self, part: Part) -> tuple[tuple[str, str], ...]:
        if part.folded:
            return ()
        node = edge_node(self._results(part)[0])
        rows = []
        for label, found in (("value", self.numbers.values), ("grad", self.numbers.gradients)):
            value = found.get(id(node))
            if value is None:
                continue
            if isinstance(value, tuple | list):
                rows += [(f"{label}[{i}]", array_text(one)) for i, one in enumerate(value) if one is not None]
            else:
                rows.append((label, array_text(value)))
        return tuple(rows)

    def _opposite(self, part: Part, made: str) -> str | None:
        """The id of the box that one of a backward pass stands beside, in the row of what it differentiates."""
        origin = part.nodes[0].forward_node
        place = self.place.get(id(origin)) if origin is not None else None
        if place is None or place >= len(self.ids) or self.parts[place].order >= part.order:
            return None
        return self._beside(self.ids[place], made, part.order, part.descends)

    def _beside(self, box: str, made: str, order: int, descends: bool = False) -> str | None:
        """Put a box at the end of another's row; the id of the last one there, None if its place is taken."""
        start = self.row_of.get(box, box)
        if (start, order, descends) in self.rows_taken:
            return None
        self.rows_taken.add((start, order, descends))
        row = self.beside.setdefault(start, [start])
        row.append(made)
        self.row_of[made] = start
        return row[-2]

    # -- outputs -------------------------------------------------------------------------------------------------------

    def _ends(self, gradients: Mapping[int, tuple[str, int]]) -> None:
        """Boxes for what the graph gives: its outputs, gradients and new states."""
        starts = {position: leaf for leaf, position in self.seeds.items() if leaf in self.place}
        for position, edge in enumerate(self.graph.outputs):
            if not is_recorded(edge):
                self._constant_end(position, edge)
                continue
            if position in gradients and id(edge_node(edge)) in self.repeats.drawn:
                continue
            seed = self.ids[self.place[starts[position]]] if position in starts else None
            if position in gradients:
                of, order = gradients[position]
                self._gradient(edge, self._gradient_title(position), of, order, seed)
            elif id(edge_node(edge)) in self.place:
                self._end(edge, "output", self._output_name(position), "data", (), seed)
        for name, value in self.graph.plain_results:
            self._constant("output", shorten(name), value)
        for edge, leaf, title in self.gradient_edges.values():
            if id(edge_node(edge)) in self.place and id(edge_node(edge)) not in self.repeats.drawn:
                self._gradient(edge, title, leaf.name or leaf.kind)
        for leaf, edge in self.graph.updates:
            if id(edge_node(edge)) in self.repeats.drawn if is_recorded(edge) else True:
                continue
            if id(edge_node(edge)) in self.place and self._part(edge).single:  # else it stays within its box
                scope = self._part(edge).scope
                self._end(edge, "update", f"new {self._leaf_name(leaf, scope)}", "data", scope, None)

    def _constant_end(self, position: int, value: object) -> None:
        """The box of an output that nothing in the graph makes."""
        title = self._gradient_title(position)
        order = self.gradients.get(position, ("", 0))[1]
        self._constant("gradient" if title else "output", title or self._output_name(position), value, order)

    def _constant(self, kind: str, title: str, value: object, order: int = 0) -> None:
        text = constant_text(value)
        made = self.identifiers.make("n", kind, title, [text])
        self.boxes.append(Box(made, kind, title, (text,), backward=order))
        self.frames.put(made, ())

    def _gradient_title(self, position: int) -> str:
        """What a gradient among the outputs is called; nothing for other outputs."""
        of, order = self.gradients.get(position, ("", 0))
        out, of = self._output_name(0), shorten(of)
        if order < 2:
            return f"∂{out}/∂{of}" if order else ""
        firsts = [edge_type(self.graph.outputs[i]) for i, (_, one) in self.gradients.items() if one == 1]
        return f"∂²{out}/∂{of}²" if len(firsts) == 1 and firsts[0].size == 1 else f"∂Σ∇{out}/∂{of}"

    def _gradient(self, edge: Edge, title: str, of: str, order: int = 1, seed: str | None = None) -> None:
        """The end of a backward pass at a leaf, beside the leaf; and the start of the next pass beside that."""
        leaf, scope = self._leaf_box(of)
        scope = scope if leaf is not None else self._part(edge).scope
        made = self._end(edge, "gradient", title, "gradient", scope, leaf, order)
        if seed is not None:
            row = self.row_of.get(made, made)
            before = self._beside(row, seed, order + 1, True)
            self.boxes = [replace(box, opposite=before) if box.id == seed else box for box in self.boxes]
        for key, head in self.updating:
            if key == _key(edge):
                self._arrow(made, head, "", "data", rank=-1)

    def _end(
        self, edge: Edge, kind: str, title: str, role: str, scope: Scope, opposite: str | None, order: int = 0
    ) -> str:
        part = self._part(edge)
        tail = self.ids[self.place[id(edge_node(edge))]]
        label = self._label(part, edge)
        made = self.identifiers.make("n", kind, title, [tail, label])
        if kind == "gradient" and opposite is not None:
            opposite = self._beside(opposite, made, order)
        rank = 1 if role == "data" else -1 if part.order < 2 or not part.descends else 0
        faded = tail in self.faded
        self.boxes.append(Box(made, kind, title, backward=order, opposite=opposite, faded=faded))
        if kind == "gradient":
            self.aside.add(made)
        self.frames.put(made, scope)
        self._arrow(tail, made, label, role, rank=rank)
        return made

    def _part(self, edge: Edge) -> Part:
        return self.parts[self.place[id(edge_node(edge))]]

    def _output_name(self, position: int) -> str:
        edge = self.graph.outputs[position]
        node = edge_node(edge) if is_recorded(edge) else None
        name = self.output_names[position]
        if name and "names" in self.show:
            return shorten(name)
        if node is not None and not isinstance(node, Leaf) and node.name and "names" in self.show:
            return shorten(node.name)
        count = len(self.graph.outputs) + len(self.graph.plain_results) - len(self.gradients)
        return f"output {position}" if count > 1 else "output"

    def _leaf_box(self, name: str) -> tuple[str | None, Scope]:
        """The box of a leaf to stand opposite of, and the frames it is in."""
        for i, part in enumerate(self.parts):
            leaf = part.nodes[0]
            if part.single and isinstance(leaf, Leaf) and (leaf.name or leaf.kind) == name:
                return self.ids[i], part.scope
        return None, ()

    # -- arrows --------------------------------------------------------------------------------------------------------

    def _incoming(self, i: int, part: Part) -> list[Incoming]:
        """Each arrow into a part: one an operand, merged at a collapsed side."""
        found: list[Incoming] = []
        merged: Counter[int] = Counter()
        first: dict[int, Any] = {}
        seen: set[tuple[int, int]] = set()
        kept: dict[int, list[Any]] = {}  # all that one box keeps for this one
        for node in part.nodes:
            for position, entry in self._entries(node):
                if id(edge_node(entry)) not in self.place or self._elsewhere(part, entry):
                    continue
                tail = self.place[id(edge_node(entry))]
                if tail == i or tail >= len(self.ids):
                    continue  # inside the box, or against the order of the boxes, which only odd scopes bring about
                if part.folded or self.parts[tail].folded:
                    merged[tail] += 1
                    first.setdefault(tail, entry)
                    continue
                key = (id(edge_node(entry)), edge_index(entry))
                if not part.single and key in seen:
                    continue
                seen.add(key)
                role = self._role(tail, i)
                if role == "saved":
                    kept.setdefault(tail, []).append(entry)
                    continue
                label = self._label(self.parts[tail], entry)
                share = self.flows.get((id(node), position))
                label = label if share is None else f"  {share:.0%}"
                found.append((self.ids[tail], label, role, share, self._rank(tail, i, role)))
        for tail, edges in kept.items():
            size = 0 if self.all_scalar else self.scene.known.kept.bytes_of(edges)
            label = BYTES.text(size) if size and "shapes" in self.show else ""
            found.append((self.ids[tail], label, "saved", None, 0))
        for tail, count in merged.items():
            label = f"× {count:,}" if count > 1 else self._label(self.parts[tail], first[tail])
            role = self._role(tail, i)
            found.append((self.ids[tail], label, role, None, self._rank(tail, i, role)))
        return found

    def _entries(self, node: Node) -> Iterator[tuple[int, Any]]:
        """What a node reads, by its position, and what enters the blocks that it stands for from outside of them."""
        seen = node.inputs[: self.scene.loops.hidden.get(id(node))]
        yield from ((i, entry) for i, entry in enumerate(seen) if is_recorded(entry))
        for copy in self.copies.get(id(node), ()):
            for i, entry in enumerate(copy.inputs):
                if is_recorded(entry) and id(edge_node(entry)) not in self.repeats.drawn:
                    yield i, entry

    def _elsewhere(self, part: Part, edge: Edge) -> bool:
        """Whether an update reads what it does not get from the box that it comes from, but from one next to it.

        That is the state itself, which is drawn again or named inside, and a gradient, which has a box of its own.
        """
        if not self._is_update(part):
            return False
        leaf = self._updated(part)
        if edge_node(edge) is leaf:
            return id(leaf) not in self.place or not self._is_update(self.parts[self.place[id(leaf)]])
        return _key(edge) in self.gradient_edges

    def _read_gradients(self, part: Part) -> list[tuple[int, int]]:
        if part.single or not self._is_update(part):
            return []
        keys = dict.fromkeys(_key(edge) for node in part.nodes for _, edge in self._entries(node))
        return [key for key in keys if key in self.gradient_edges]

    def _again(self, part: Part) -> list[Incoming]:
        """The parameter and the gradient that an op of an update reads, drawn a second time next to it."""
        if not part.single or not self._is_update(part):
            return []
        found: list[Incoming] = []
        for _, edge in self._entries(part.nodes[0]):
            if not self._elsewhere(part, edge):
                continue
            key = (_whole_scope(part), _key(edge))
            if key not in self.again:
                self.again[key] = self._second_box(edge, part.scope)
            found.append((self.again[key], "", "data", None, 1))
        return found

    def _second_box(self, edge: Edge, scope: Scope) -> str:
        source = edge_node(edge)
        if isinstance(source, Leaf):
            leaf, title, kind = source, source.name or source.kind, self._kind(source)
        else:
            _, leaf, title = self.gradient_edges[_key(edge)]
            kind = "gradient"
        made = self.identifiers.make("n", "again", kind, title)
        self.boxes.append(Box(made, kind, shorten(title), tuple(self._type_line(leaf))))
        self.frames.put(made, scope)
        return made

    def _kind(self, leaf: Leaf) -> str:
        return "parameter" if leaf.requires_grad else leaf.kind

    def _below(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """Updates drawn op by op stand below all else, some in each row."""
        inside: dict[Scope, list[str]] = {}
        for scope in self.phases.updated:
            boxes = self.frames.boxes_in(scope)
            if boxes:
                inside[scope] = boxes
        if not inside:
            return ()
        tops = {arrow.head if arrow.rank < 0 else arrow.tail for arrow in self.arrows if arrow.rank}
        ends = {arrow.tail if arrow.rank < 0 else arrow.head for arrow in self.arrows if arrow.rank}
        updates = {box for boxes in inside.values() for box in boxes}
        above = [box.id for box in self.boxes if box.id not in tops and box.id not in updates]
        firsts = [[box for box in boxes if box not in ends] for boxes in inside.values()]
        lasts = [[box for box in boxes if box not in tops] for boxes in inside.values()]
        found = [(tuple(above), tuple(box for boxes in firsts[:UPDATES_A_ROW] for box in boxes))]
        pairs = zip(lasts, firsts[UPDATES_A_ROW:], strict=False)
        return (*found, *((tuple(upper), tuple(lower)) for upper, lower in pairs))

    def _states_of(self, node: Node) -> list[tuple[str, str]]:
        """The operands of a node that are states which are written in words."""
        return [
            (node.op.operand_at(i).name, f"= {shorten(entry.name or entry.kind, 24)}")
            for i, entry in enumerate(node.inputs)
            if isinstance(entry, Leaf) and id(entry) in self.quoted
        ]

    def _role(self, tail: int, head: int) -> str:
        if not self.parts[head].order:
            return "data"
        return "gradient" if self.parts[tail].order == self.parts[head].order else "saved"

    def _rank(self, tail: int, head: int, role: str) -> int:
        """Where the head stands: see `Arrow`."""
        before, after = self.parts[tail], self.parts[head]
        if self._is_update(after):
            return 1 if after.single else -1  # one box stands above its gradient; all the ops, at the end
        if role != "gradient":
            return 0 if role == "saved" else 1
        starts = before.nodes[0].kind == "seed" and before.order > 1
        if before.descends or starts:
            return 1 if after.descends else 0
        return -1

    def _label(self, tail: Part, edge: Edge) -> str:
        if self.all_scalar or self.types_inside or (tail.single and isinstance(tail.nodes[0], Leaf)):
            return ""  # a leaf's box has its type inside
        text = type_text(edge_type(edge), self.usual, self.show)
        node = edge_node(edge)
        return f"[{edge_index(edge)}] {text}".strip() if len(node.output_types) > 1 else text

    def _arrow(
        self, tail: str, head: str, label: str, role: str, share: float | None = None, rank: int = 1
    ) -> None:
        width = 1.0 if share is None else 1.0 + WIDEST * min(1.0, abs(share))
        tails = self.interiors[tail].exits if tail in self.interiors and role != "saved" else [tail]
        for i, one in enumerate(tails):
            made = self.identifiers.make("e", one, head, label, role)
            aside = one in self.aside or head in self.aside
            faded = one in self.faded or head in self.faded
            self.arrows.append(Arrow(made, one, head, "" if i else label, role, aside, rank, width, faded))


def _key(edge: Edge) -> tuple[int, int]:
    return id(edge_node(edge)), edge_index(edge)


def _whole_scope(part: Part) -> Scope:
    """The groups around a part's nodes."""
    return part.scope if part.name is None else (*part.scope, (part.name, part.call))


def _gradient_edges(graph: Graph, phases: Phases) -> dict[tuple[int, int], tuple[Any, Leaf, str]]:
    """Where the gradients of a training step end: (edge, leaf, title) of those that it sets or updates with."""
    found = {}
    for leaf, edge in graph.gradients:
        if is_recorded(edge):
            found[_key(edge)] = (edge, leaf, f"{shorten(leaf.name or leaf.kind)}.grad")
    for node in graph.nodes:
        if id(node) in phases.scopes:
            leaf = phases.updated[phases.scopes[id(node)]]
            title = f"gradient of {shorten(leaf.name or leaf.kind)}"
            for edge in node.inputs:
                if is_recorded(edge) and phases.order(edge_node(edge)):
                    found.setdefault(_key(edge), (edge, leaf, title))
    return found


def _shared_states(graph: Graph, phases: Phases) -> set[int]:
    """Ids of the states that updates read and nothing writes: learning rates and the like."""
    written = {id(leaf) for leaf, _ in graph.updates}
    states = {id(leaf) for leaf in graph.leaves if leaf.kind == "buffer" and id(leaf) not in written}
    readers = (
        (id(parent), node) for node in graph.nodes for parent in node.parents() if id(parent) in states
    )
    return (
        states - {leaf for leaf, node in readers if id(node) not in phases.scopes} if phases.scopes else set()
    )


def _only_inside(parts: Sequence[Part], opened: Mapping[int, Opener]) -> set[int]:
    """Ids of the leaves that nothing but opened ops read going forward, which show their planes themselves."""
    if not opened:
        return set()
    inside: dict[int, bool] = {}
    for part in parts:
        for node in part.nodes:
            for parent in node.parents() if node.phase == "forward" else ():
                if isinstance(parent, Leaf):
                    inside[id(parent)] = inside.get(id(parent), True) and id(node) in opened
    return {leaf for leaf, only in inside.items() if only}


def _share(heat: float | None, hottest: float) -> float | None:
    if heat is None or not hottest:
        return None if heat is None else 0.0
    return min(1.0, heat / hottest) if math.isfinite(heat) else 1.0


def _served(nodes: Sequence[Node]) -> list[Node]:
    """The forward nodes that nodes are, or go back to."""
    return [node.served for node in nodes]


def _own_name(leaf: Leaf, scope: Scope) -> str:
    """What a parameter is called in the module that a group is a call of."""
    name = leaf.name or leaf.kind
    own = _without(name, scope)
    return shorten(own if own != name else name.rpartition(".")[2] or leaf.kind, 24)


def _without(name: str, scope: Scope) -> str:
    """A name without the groups around it, which say the rest."""
    for group, _ in scope:
        name = name.removeprefix(f"{group}.")
    return name
