"""From a graph and the parts that are visible of it to a picture: boxes, arrows, groups and their words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.draw.channels import Interior
from tinygraph.draw.labels import (
    MOST_ELEMENTS,
    array_text,
    constants_of,
    packed,
    settings_of,
    shape_text,
    shorten,
    tally,
    tooltip_of,
    type_text,
    usual_dtype,
)
from tinygraph.draw.levels import Part
from tinygraph.draw.overlays import Heat, bytes_text, together
from tinygraph.draw.picture import Arrow, Box, Direction, Group, Identifiers, Picture
from tinygraph.draw.planes import Plane, as_plane, limit_of
from tinygraph.draw.selection import Repeats

Opener = Callable[[Identifiers], Interior]  # makes the interior of one op

DEEPEST_FRAME = 8  # deeper groups are drawn inside the frame at this depth
WIDEST = 5.0  # points that the arrow with a whole gradient is wider than others
MOST_PARAMETERS = 3  # lines of a collapsed box
# What a collapsed group is coloured as: the first of these kinds that it contains.
TELLING_KINDS = (
    "convolution", "contraction", "normalization", "pooling", "loss", "random", "reduction", "indexing", "other",
    "comparison", "elementwise", "shape",
)  # fmt: skip


@dataclass(slots=True)
class Numbers:
    """Values and gradients to write into the boxes, by a node's id; empty where none are shown."""

    values: Mapping[int, Any] = field(default_factory=dict)
    gradients: Mapping[int, Any] = field(default_factory=dict)


def assemble(
    graph: Graph,
    parts: Sequence[Part],
    *,
    show: Collection[str],
    numbers: Numbers,
    gradient_names: Mapping[int, str],
    classes: Mapping[str, str],
    direction: Direction,
    notes: Sequence[str],
    opened: Mapping[int, Opener] | None = None,
    lit: Collection[int] | None = None,
    heats: Mapping[int, Heat] | None = None,
    repeats: Repeats | None = None,
    flows: Mapping[tuple[int, int], float] | None = None,
) -> Picture:
    """The picture of a graph whose visible parts are given.

    Args:
        gradient_names: positions of the outputs that are gradients, and of what.
        classes: dotted path of a module -> its class, where that is known.
        opened: what makes the interiors of nodes that are drawn from inside, by the node's id.
        lit: ids of the nodes that the picture is about; the others stand back.
        heats: what an overlay says of nodes, by id.
        repeats: blocks of which only the first is among the parts.
        flows: shares of a gradient by (id of a node, operand's position): the widths of its arrows.
    """
    made = _Assembly(
        graph, parts, show, numbers, classes, opened or {}, lit, heats or {}, repeats or Repeats()
    )
    made.flows = flows or {}
    return made.picture(gradient_names, direction, tuple(notes))


class _Assembly:
    """One picture in the making."""

    def __init__(
        self,
        graph: Graph,
        parts: Sequence[Part],
        show: Collection[str],
        numbers: Numbers,
        classes: Mapping[str, str],
        opened: Mapping[int, Opener],
        lit: Collection[int] | None,
        heats: Mapping[int, Heat],
        repeats: Repeats,
    ) -> None:
        self.graph = graph
        self.opened = opened
        self.lit = lit
        self.heats = heats
        shown_inside = _only_inside(parts, opened)
        self.parts = [part for part in parts if not (part.single and id(part.nodes[0]) in shown_inside)]
        self.interiors: dict[str, Interior] = {}  # by the id that stands for the op
        self.rows: list[tuple[str, ...]] = []
        self.show = show
        self.numbers = numbers
        self.identifiers = Identifiers()
        self.usual = usual_dtype(graph.nodes)
        self.all_scalar = all(types.shape == () for node in graph.nodes for types in node.output_types)
        self.place = {id(node): i for i, part in enumerate(self.parts) for node in part.nodes}
        self.copies: dict[
            int, list[Node]
        ] = {}  # of the blocks that are left out, by the node that stands for them
        self.repeats = repeats
        self.flows: Mapping[tuple[int, int], float] = {}
        for node in graph.nodes if repeats.drawn else ():
            if id(node) in repeats.drawn and id(repeats.of(node)) in self.place:
                self.place[id(node)] = self.place[id(repeats.of(node))]
                self.copies.setdefault(id(repeats.of(node)), []).append(node)
        self.classes = classes
        self.frames = _Frames(self.parts, self.identifiers, classes, repeats)
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.ids: list[str] = []  # of the parts, in their order
        self.opposed: set[str] = set()
        self.aside: set[str] = set()
        self.faded: set[str] = set()
        self.seed = next((i for i, part in enumerate(self.parts) if part.nodes[0].kind == "seed"), None)

    def picture(self, gradients: Mapping[int, str], direction: Direction, notes: tuple[str, ...]) -> Picture:
        for i, part in enumerate(self.parts):
            incoming = self._incoming(i, part)
            if part.single and id(part.nodes[0]) in self.opened:
                self._open(part, incoming)
                continue
            box = self._box(part, [(tail, label) for tail, label, *_ in incoming])
            self.ids.append(box.id)
            if box.kind in ("parameter", "buffer"):
                self.aside.add(box.id)
            self.boxes.append(box)
            self.frames.put(box.id, part.scope)
            for tail, label, role, share in incoming:
                self._arrow(tail, box.id, label, role, share)
        self._ends(gradients)
        name = self.graph.name or "graph"
        self.frames.merge_chains()
        hottest = max((box.heat for box in self.boxes if box.heat), default=0.0)
        if self.heats:
            self.boxes = [replace(box, heat=_share(box.heat, hottest)) for box in self.boxes]
        notes += tuple(note for one in self.interiors.values() for note in one.notes)
        return Picture(name, self.boxes, self.arrows, self.frames.root, direction, notes, tuple(self.rows))

    def _open(self, part: Part, incoming: Sequence[tuple[str, str, str, float | None]]) -> None:
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

    # -- boxes ---------------------------------------------------------------------------------------------------------

    def _box(self, part: Part, incoming: Sequence[tuple[str, str]]) -> Box:
        first = part.nodes[0]
        if part.folded:
            kind, title, tooltip = "fold", f"… {len(part.nodes):,} nodes folded …", ""
            lines = self._inside(part)
        elif part.name is not None:
            kind, title, lines, tooltip = self._collapsed(part)
        elif part.serves is not None:
            kind, title, lines = part.serves.kind, f"∂ {shorten(part.serves.op.name)}", []
            tooltip = ", ".join(tally(node.op.name for node in part.nodes))
        elif isinstance(first, Leaf):
            kind, title, lines = self._leaf(first, part.scope)
            tooltip = tooltip_of(first)
        elif is_join(first):
            kind, title, lines, tooltip = "join", "+", [], "gradients of several uses add up"
        else:
            kind, title, lines = first.kind, self._title(first), self._settings(first)
            if self.opened:
                lines = [*lines, *self._result_type(first)]
            tooltip = tooltip_of(first)
        backward = _is_backward(part)
        if backward and part.name is not None:
            title = f"∂ {title}"
        caption = self.frames.caption(part.scope)
        content = (kind, title, lines, backward, self.frames.path(part.scope), list(incoming))
        made = self.identifiers.make("n", *content)
        opposite = self._opposite(part) if backward else None
        faded = self.lit is not None and not any(id(node) in self.lit for node in part.nodes)
        if faded:
            self.faded.add(made)
        heat, label = self._heat(part)
        return Box(
            made, kind, title, tuple(lines), (*self._numbers(part), *label), tooltip, backward, opposite, caption,
            plane=self._plane(part), heat=heat, faded=faded,
        )  # fmt: skip

    def _plane(self, part: Part) -> Plane | None:
        """The first plane of a tensor's value, where values are shown and it is too large to be written out."""
        value = self.numbers.values.get(id(part.nodes[-1])) if not part.folded else None
        if value is None or isinstance(value, tuple | list):
            return None
        array = np.asarray(value)
        if array.ndim < 2 or array.size <= MOST_ELEMENTS or array.dtype.kind not in "fiub":
            return None
        return as_plane(array[(0,) * (array.ndim - 2)], limit_of(array))

    def _heat(self, part: Part) -> tuple[float | None, tuple[tuple[str, str], ...]]:
        found = [self.heats[id(node)] for node in part.nodes if id(node) in self.heats]
        return together(found)

    def _title(self, node: Node) -> str:
        named = node.name if "names" in self.show else None
        return f"{shorten(named)} = {shorten(node.op.name)}" if named else shorten(node.op.name)

    def _settings(self, node: Node) -> list[str]:
        pairs = settings_of(node) if "settings" in self.show else []
        lines = packed([f"{name} {text}" for name, text in pairs])
        lines += packed([f"{name} = {text}" for name, text in constants_of(node)])
        if "source" in self.show and node.source is not None:
            lines.append(shorten(str(node.source)))
        return lines

    def _result_type(self, node: Node) -> list[str]:
        """What stands on arrows elsewhere: labels there would make room that the planes of an opened op need."""
        text = type_text(node.output_types[0], self.usual, self.show)
        return [f"→ {text}"] if text else []

    def _leaf(self, leaf: Leaf, scope: Scope) -> tuple[str, str, list[str]]:
        if leaf.kind == "seed":
            out = self._output_name(0)
            return "gradient", f"∂{out}/∂{out} = 1", self._type_line(leaf)
        kind = "parameter" if leaf.requires_grad else leaf.kind
        return kind, self._leaf_name(leaf, scope), self._type_line(leaf)

    def _leaf_name(self, leaf: Leaf, scope: Scope) -> str:
        name = leaf.name if "names" in self.show else None
        for group, _ in scope:
            name = name and name.removeprefix(f"{group}.")  # the groups around it say the rest
        return shorten(name or leaf.kind)

    def _type_line(self, leaf: Leaf) -> list[str]:
        text = "" if self.all_scalar else type_text(leaf.types, self.usual, self.show)
        return [text] if text else []

    def _collapsed(self, part: Part) -> tuple[str, str, list[str], str]:
        ops = [node for node in part.nodes if not isinstance(node, Leaf)]
        kinds = {node.kind for node in _served(ops)}
        kind = next((kind for kind in TELLING_KINDS if kind in kinds), "composite")
        inside = ", ".join(tally(node.op.name for node in ops))
        title, lines = self.frames.title(part), self._inside(part)
        what = self._class(part)
        if title.partition(" ")[0].isdigit():  # a number says too little
            title = f"{title} {what or next(node.op.name for node in _served(ops) if node.kind == kind)}"
        elif what:
            lines.insert(0, what)
        return kind, title, lines, f"{part.name}: {inside}"

    def _class(self, part: Part) -> str:
        """The class of the module that a collapsed part is a call of, if it is known and says more than the name."""
        assert part.name is not None
        found = self.classes.get(_dotted((*part.scope, (part.name, part.call))), "")
        return "" if found.lower() == part.name.lower() or _is_backward(part) else found

    def _inside(self, part: Part) -> list[str]:
        """What a box that stands for many nodes contains: its parameters if it is a module's, else its ops."""
        owned = [leaf for leaf in part.nodes if isinstance(leaf, Leaf) and leaf.requires_grad]
        ops = [node.op.name for node in part.nodes if not isinstance(node, Leaf)]
        if part.folded:
            return tally([*ops, *("parameter" for _ in owned)], most=4)
        if _is_backward(part):
            return []
        lines = [f"{_last_name(leaf)} {shape_text(leaf.shape)}" for leaf in owned[:MOST_PARAMETERS]]
        rest = len(owned) - MOST_PARAMETERS
        if rest > 0:
            lines.append(f"and {rest} more parameters")
        if owned or part.name in ops or self._class(part):
            return lines
        return tally(ops, most=2)

    def _numbers(self, part: Part) -> tuple[tuple[str, str], ...]:
        if part.folded:
            return ()
        node = part.nodes[-1]
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

    def _opposite(self, part: Part) -> str | None:
        """The id of the forward box of a backward one, unless an earlier one stands there already."""
        origin = part.nodes[0].forward_node
        place = self.place.get(id(origin)) if origin is not None else None
        if place is None or _is_backward(self.parts[place]) or place >= len(self.ids):
            return None
        return self._claim(self.ids[place])

    def _claim(self, forward: str) -> str | None:
        if forward in self.opposed:
            return None
        self.opposed.add(forward)
        return forward

    # -- outputs -------------------------------------------------------------------------------------------------------

    def _ends(self, gradients: Mapping[int, str]) -> None:
        """Boxes for what the graph gives: its outputs, gradients and new states."""
        for position, edge in enumerate(self.graph.outputs):
            if not is_recorded(edge):
                continue
            if position in gradients and id(edge_node(edge)) in self.repeats.drawn:
                continue
            if position in gradients:
                of = gradients[position]
                self._gradient(edge, f"∂{self._output_name(0)}/∂{shorten(of)}", of)
            elif not isinstance(self._part(edge).nodes[-1], Leaf):  # a leaf returned as it is has its box
                opposite = self.ids[self.seed] if self.seed is not None and position == 0 else None
                self._end(edge, "output", self._output_name(position), "data", (), opposite)
        for leaf, edge in self.graph.gradients:
            if is_recorded(edge) and id(edge_node(edge)) not in self.repeats.drawn:
                name = leaf.name or leaf.kind
                self._gradient(edge, f"{shorten(name)}.grad", name)
        for leaf, edge in self.graph.updates:
            if id(edge_node(edge)) in self.repeats.drawn if is_recorded(edge) else True:
                continue
            if self._part(edge).single:  # else it stays within its box
                scope = self._part(edge).scope
                self._end(edge, "update", f"new {self._leaf_name(leaf, scope)}", "data", scope, None)

    def _gradient(self, edge: Any, title: str, of: str) -> None:
        opposite, scope = self._leaf_box(of)
        self._end(edge, "gradient", title, "gradient", scope, opposite)

    def _end(self, edge: Any, kind: str, title: str, role: str, scope: Scope, opposite: str | None) -> None:
        tail = self.ids[self.place[id(edge_node(edge))]]
        label = self._label(self._part(edge), edge)
        made = self.identifiers.make("n", kind, title, [tail, label])
        faded = tail in self.faded
        self.boxes.append(Box(made, kind, title, backward=kind == "gradient", opposite=opposite, faded=faded))
        self.frames.put(made, scope)
        self._arrow(tail, made, label, role)

    def _part(self, edge: Any) -> Part:
        return self.parts[self.place[id(edge_node(edge))]]

    def _output_name(self, position: int) -> str:
        edge = self.graph.outputs[position]
        node = edge_node(edge) if is_recorded(edge) else None
        if node is not None and node.name and "names" in self.show:
            return shorten(node.name)
        return "output" if position == 0 else f"output {position}"

    def _leaf_box(self, name: str) -> tuple[str | None, Scope]:
        """The box of a leaf to stand opposite of, and the frames it is in."""
        for i, part in enumerate(self.parts):
            leaf = part.nodes[0]
            if part.single and isinstance(leaf, Leaf) and (leaf.name or leaf.kind) == name:
                return self._claim(self.ids[i]), part.scope
        return None, ()

    # -- arrows --------------------------------------------------------------------------------------------------------

    def _incoming(self, i: int, part: Part) -> list[tuple[str, str, str, float | None]]:
        """(tail's id, label, role, share) of each arrow into a part: one an operand, merged at a collapsed side."""
        found: list[tuple[str, str, str, float | None]] = []
        merged: Counter[int] = Counter()
        first: dict[int, Any] = {}
        seen: set[tuple[int, int]] = set()
        for node in part.nodes:
            for position, entry in self._entries(node):
                if id(edge_node(entry)) not in self.place:
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
                label = self._label(self.parts[tail], entry) if role != "saved" else self._kept(entry)
                share = self.flows.get((id(node), position))
                found.append((self.ids[tail], label if share is None else f"  {share:.0%}", role, share))
        for tail, count in merged.items():
            label = f"× {count:,}" if count > 1 else self._label(self.parts[tail], first[tail])
            found.append((self.ids[tail], label, self._role(tail, i), None))
        return found

    def _entries(self, node: Node) -> Iterator[tuple[int, Any]]:
        """What a node reads, by its position, and what enters the blocks that it stands for from outside of them."""
        yield from ((i, entry) for i, entry in enumerate(node.inputs) if is_recorded(entry))
        for copy in self.copies.get(id(node), ()):
            for i, entry in enumerate(copy.inputs):
                if is_recorded(entry) and id(edge_node(entry)) not in self.repeats.drawn:
                    yield i, entry

    def _kept(self, edge: Any) -> str:
        """How much stays in memory for the backward pass."""
        if self.all_scalar or isinstance(edge_node(edge), Leaf) or "shapes" not in self.show:
            return ""
        return bytes_text(edge_type(edge).nbytes)

    def _role(self, tail: int, head: int) -> str:
        if not _is_backward(self.parts[head]):
            return "data"
        return "gradient" if _is_backward(self.parts[tail]) else "saved"

    def _label(self, tail: Part, edge: Any) -> str:
        if self.all_scalar or self.opened or (tail.single and isinstance(tail.nodes[0], Leaf)):
            return ""  # a leaf's box has its type inside
        text = type_text(edge_type(edge), self.usual, self.show)
        node = edge_node(edge)
        return f"[{edge_index(edge)}] {text}".strip() if len(node.output_types) > 1 else text

    def _arrow(self, tail: str, head: str, label: str, role: str, share: float | None = None) -> None:
        width = 1.0 if share is None else 1.0 + WIDEST * min(1.0, abs(share))
        tails = self.interiors[tail].exits if tail in self.interiors and role != "saved" else [tail]
        for i, one in enumerate(tails):
            made = self.identifiers.make("e", one, head, label, role)
            aside = one in self.aside
            faded = one in self.faded or head in self.faded
            self.arrows.append(Arrow(made, one, head, "" if i else label, role, aside, width, faded))


def _only_inside(parts: Sequence[Part], opened: Mapping[int, Opener]) -> set[int]:
    """Ids of the leaves that nothing but opened ops read, which show their planes themselves."""
    if not opened:
        return set()
    inside: dict[int, bool] = {}
    for part in parts:
        for node in part.nodes:
            for parent in node.parents():
                if isinstance(parent, Leaf):
                    inside[id(parent)] = inside.get(id(parent), True) and id(node) in opened
    return {leaf for leaf, only in inside.items() if only}


def _share(heat: float | None, hottest: float) -> float | None:
    if heat is None or not hottest:
        return None if heat is None else 0.0
    return min(1.0, heat / hottest) if math.isfinite(heat) else 1.0


def _served(nodes: Sequence[Node]) -> list[Node]:
    """The forward nodes that nodes are, or go back to."""
    return [node.forward_node or node for node in nodes]


def is_join(node: Node) -> bool:
    """Whether a backward node adds up the gradients of several uses of a tensor, rather than being part of a rule.

    A rule's own ops add what the rule itself made; what came before it, it is given as the cotangent.
    """
    origin = node.forward_node
    if origin is None or node.phase != "backward" or node.op.name != "add" or len(node.parents()) != 2:
        return False
    before = node.parents()[0]
    if before.phase != "backward" or before.kind == "seed":
        return False
    reads = [id(parent) for parent in origin.parents()]
    return before.forward_node is not origin or len(set(reads)) < len(reads)


def _dotted(scope: Scope) -> str:
    return ".".join(name for name, _ in scope)


def _is_backward(part: Part) -> bool:
    node = part.nodes[-1]
    return node.phase == "backward" or node.kind == "seed"


def _last_name(leaf: Leaf) -> str:
    return shorten((leaf.name or leaf.kind).rpartition(".")[2] or leaf.kind, 24)


def _lone_groups(parts: Sequence[Part]) -> set[Scope]:
    """The groups with a single box in them."""
    sizes = Counter(scope for part in parts for scope in _prefixes(part.scope))
    return {scope for scope, size in sizes.items() if size == 1}


def _prefixes(scope: Scope) -> list[Scope]:
    return [scope[:depth] for depth in range(1, min(len(scope), DEEPEST_FRAME) + 1)]


class _Frames:
    """The tree of groups, made as boxes are put into it; calls are numbered by their order in this graph."""

    def __init__(
        self, parts: Sequence[Part], identifiers: Identifiers, classes: Mapping[str, str], repeats: Repeats
    ) -> None:
        self.repeats = repeats
        self.identifiers = identifiers
        self.classes = classes
        self.root = Group("g0", "")
        self._groups: dict[Scope, Group] = {(): self.root}
        self._calls: dict[tuple[Scope, str], dict[int, int]] = {}
        self._paths: dict[Scope, list[str]] = {}
        self._lone = _lone_groups(parts)
        # Every op of both passes: frames would push the two columns apart, so each box says where it belongs.
        self._flat = any(
            part.single and _is_backward(part) and part.nodes[0].op is not None for part in parts
        )
        for part in parts:
            self._number(part.scope)
            if part.name is not None:
                self._number((*part.scope, (part.name, part.call)))

    def _number(self, scope: Scope) -> None:
        for depth, (name, number) in enumerate(scope):
            calls = self._calls.setdefault((scope[:depth], name), {})
            calls.setdefault(number, len(calls))

    def _title(self, scope: Scope, name: str, number: int) -> str:
        calls = self._calls[scope, name]
        title = shorten(name) if len(calls) == 1 else f"{shorten(name)} · call {calls[number] + 1}"
        return self.repeats.title((*scope, (name, number)), title)

    def title(self, part: Part) -> str:
        """What a collapsed part is called."""
        assert part.name is not None
        return self._title(part.scope, part.name, part.call)

    def path(self, scope: Scope) -> list[str]:
        """The titles of the frames around something, outermost first."""
        found = self._paths.get(scope)
        if found is None:
            titles = [self._title(scope[:depth], *call) for depth, call in enumerate(scope)]
            found = self._paths[scope] = titles
        return found

    def caption(self, scope: Scope) -> str:
        """The name of the group around a box that is alone in it, and so needs no frame."""
        return shorten(" / ".join(self.path(scope)[self._framed(scope) :]))

    def _framed(self, scope: Scope) -> int:
        """How many of the groups around a box are drawn as frames."""
        depth = 0 if self._flat else min(len(scope), DEEPEST_FRAME)
        while depth and scope[:depth] in self._lone:
            depth -= 1
        return depth

    def open(self, scope: Scope, title: str) -> Group:
        """A frame for the interior of an op."""
        made = Group(self.identifiers.make("g", title), title)
        self._group(scope[: self._framed(scope)]).groups.append(made)
        return made

    def put(self, box: str, scope: Scope) -> None:
        self._group(scope[: self._framed(scope)]).boxes.append(box)

    def merge_chains(self) -> None:
        """A frame with nothing in it but another frame becomes one with it."""
        for group in self._groups.values():
            while group is not self.root and not group.boxes and len(group.groups) == 1:
                inner = group.groups[0]
                group.title = f"{group.title} / {inner.title}"
                group.boxes, group.groups = inner.boxes, inner.groups

    def _group(self, scope: Scope) -> Group:
        group = self._groups.get(scope)
        if group is None:
            path = self.path(scope)
            found = self.classes.get(_dotted(scope), "")
            title = f"{path[-1]}  {found}" if found and found != path[-1] else path[-1]
            group = self._groups[scope] = Group(self.identifiers.make("g", path), title)
            self._group(scope[:-1]).groups.append(group)
        return group
