"""From a graph to the tree of boxes that a page opens one inside another: model > modules > composites > ops.

Names, scopes and edges only: where boxes go is `layout.py`, what they carry for the page is `payload.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.draw.assembly import TELLING_KINDS
from tinygraph.draw.labels import shape_text, shorten
from tinygraph.draw.levels import common_scope, is_composite
from tinygraph.draw.page.layout import BORDER, Interior, Kid, Layouts, Link

MOST_KIDS = 100  # boxes in one interior; Graphviz needs seconds for 200
MOST_PARTS = 48  # that an interior with more is split into
WINDOW = 50  # boxes in each part, at least
MOST_OUTPUTS = 6  # that are drawn outside all groups
MOST_BOXES = 20_000  # boxes in one page
LETTER, SMALL_LETTER = 7.6, 5.9  # widths, of titles and of what is below
OP_WIDTH, OP_HEIGHT, PICTURE_HEIGHT = 92.0, 40.0, 58.0
PHASES = {"backward": "backward pass", "update": "update"}

Value = tuple[int, int]  # a node by its id, and which of its outputs
SAVED: Value = (0, 0)  # all that one box keeps for another's backward pass, as one bundle


@dataclass(eq=False, slots=True)
class Box:
    """A box of the page: a group with kids, or an op, leaf or output without.

    Attributes:
        title, note: what is written in it.
        kind: what it is coloured as.
        node: the node it stands for; None for a group.
        kids: boxes inside.
        links: (tail kid or None for the border, head kid or None, value) -> role.
        ins, outs: the values that cross its border, later in the order in which they stand there.
        left_out: how many boxes in it the page does not carry.
        inside: the nodes of those.
        interior: how its kids are laid out.
        number: its place among its parent's kids.
    """

    title: str
    kind: str = "module"
    note: str = ""
    node: Node | None = None
    parent: Box | None = None
    depth: int = 0
    number: int = 0
    kids: list[Box] = field(default_factory=list)
    links: dict[tuple[Box | None, Box | None, Value], str] = field(default_factory=dict)
    ins: dict[Value, None] = field(default_factory=dict)
    outs: dict[Value, None] = field(default_factory=dict)
    left_out: int = 0
    inside: list[Node] = field(default_factory=list)
    interior: Interior | None = None
    pictured: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Its size in its parent's interior."""
        if self.interior is not None:
            return self.interior.box
        text = max(len(self.title) * LETTER, len(self.note) * SMALL_LETTER)
        width = min(max(math.ceil((text + 22) / 4) * 4.0, OP_WIDTH), 240.0)
        return (width, OP_HEIGHT + PICTURE_HEIGHT if self.pictured else OP_HEIGHT)

    def walk(self) -> Iterable[Box]:
        """This box and all inside, from the outside in."""
        waiting = [self]
        while waiting:
            box = waiting.pop()
            yield box
            waiting += reversed(box.kids)


def tree(
    graph: Graph, classes: Mapping[str, str], pictured: set[int], *, seconds: float, most: int = MOST_BOXES
) -> tuple[Box, list[str]]:
    """The tree of boxes of a graph, laid out, and what has to be said about it.

    Args:
        classes: dotted path of a module -> its class, where that is known.
        pictured: ids of the nodes whose boxes have room for a small image.
        seconds: how long laying out may take.
        most: how many boxes the page may have.
    """
    root = _Growing(graph, classes, pictured).root
    notices = _close(root, most)
    _number(root)
    _link(graph, root)
    layouts = Layouts(seconds)
    groups = [box for box in root.walk() if box.kids]
    for box in reversed(groups):
        _lay_out(box, layouts)
    if layouts.plain:
        why = layouts.reason or f"laying out took longer than {seconds:g} s"
        notices.append(f"{layouts.plain} of {len(layouts.found)} interiors are in plain rows: {why}")
    return root, notices


class _Growing:
    """The tree before anything is left out of it."""

    def __init__(self, graph: Graph, classes: Mapping[str, str], pictured: set[int]) -> None:
        self.classes = classes
        self.pictured = pictured
        self.root = Box(graph.name or "model")
        self.groups: dict[tuple[str, Scope], Box] = {("forward", ()): self.root}
        self.calls: dict[tuple[Scope, str], dict[int, int]] = {}
        for node in graph.nodes:
            for depth, (name, number) in enumerate(node.scope):
                calls = self.calls.setdefault((node.scope[:depth], name), {})
                calls.setdefault(number, len(calls))
        for node in graph.nodes:
            if not isinstance(node, Leaf):
                self._group(node.phase, node.scope).kids.append(self._box(node))
        scopes = _leaf_scopes(graph)
        for leaf in reversed(graph.leaves):  # what is read stands before what reads it
            self._group(*scopes[id(leaf)]).kids.insert(0, self._box(leaf))
        ends = [
            (out, name)
            for out, name in zip(graph.outputs, _output_names(graph), strict=True)
            if is_recorded(out)
        ]
        for out, name in ends:
            node = edge_node(out)
            near = len(ends) > MOST_OUTPUTS and not isinstance(node, Leaf)
            group = self._group(node.phase, node.scope) if near else self.root
            group.kids.append(Box(name, "output", outs={(id(node), edge_index(out)): None}))
        self._tidy(self.root)

    def _group(self, phase: str, scope: Scope) -> Box:
        found = self.groups.get((phase, scope))
        if found is None:
            if scope:
                parent, title = self._group(phase, scope[:-1]), self._title(scope)
            else:
                parent, title = self.root, PHASES[phase]
            name = self.classes.get(".".join(one for one, _ in scope), "")
            kind = "composite" if scope and is_composite(scope[-1][0]) else "module"
            if title.isdigit() and name:  # a number says too little
                title, name = f"{title} · {name}", ""
            found = self.groups[phase, scope] = Box(title, kind, note=name if name != title else "")
            parent.kids.append(found)
        return found

    def _title(self, scope: Scope) -> str:
        name, number = scope[-1]
        calls = self.calls[scope[:-1], name]
        return shorten(name) if len(calls) == 1 else f"{shorten(name)} · call {calls[number] + 1}"

    def _box(self, node: Node) -> Box:
        if isinstance(node, Leaf):
            owned = node.kind in ("parameter", "buffer")
            title = shorten(
                ((node.name or node.kind).rpartition(".")[2] if owned else node.name) or node.kind, 28
            )
        else:
            title = shorten(node.name or node.op.name, 28)
        note = ", ".join(shape_text(types.shape) for types in node.output_types[:3])
        return Box(title, node.kind, shorten(note, 36), node, pictured=id(node) in self.pictured)

    def _tidy(self, root: Box) -> None:
        """Lone groups become one, a group around one op becomes that op, large ones are split; notes are written."""
        for box in reversed(list(root.walk())):
            box.kids = [_without_shell(kid) for kid in box.kids]
            if not box.kids:
                continue
            count = sum(1 for one in box.walk() if not one.kids and not isinstance(one.node, Leaf))
            shapes = _out_note(box)
            box.note = " · ".join(
                word for word in (box.note, shapes or f"{count} op{'s' * (count != 1)}") if word
            )
            box.kind = _telling_kind(box) if box is not root else "module"
        for box in list(root.walk()):
            _split(box)


def _leaf_scopes(graph: Graph) -> dict[int, tuple[str, Scope]]:
    """Where each leaf is drawn: with its readers of the first pass that reads it, inputs outside all groups."""
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for parent in node.parents():
            if isinstance(parent, Leaf):
                readers.setdefault(id(parent), []).append(node)
    found: dict[int, tuple[str, Scope]] = {}
    for leaf in graph.leaves:
        mine = readers.get(id(leaf), [])
        mine = [node for node in mine if node.phase == "forward"] or mine
        phase = mine[0].phase if mine else "forward"
        state = leaf.kind in ("parameter", "buffer")
        scope = common_scope([node.scope for node in mine]) if state else ()
        found[id(leaf)] = (phase if state else "forward", scope)
    return found


def _output_names(graph: Graph) -> list[str]:
    """Outputs by number; the last ones are the parameters' gradients if they look like them."""
    names = [f"output {i}" if len(graph.outputs) > 1 else "output" for i in range(len(graph.outputs))]
    parameters = graph.parameters
    first = len(names) - len(parameters)
    pairs = list(zip(graph.outputs[first:], parameters, strict=True)) if parameters and first > 0 else []
    if all(
        is_recorded(out) and edge_node(out).phase == "backward" and edge_type(out).shape == p.shape
        for out, p in pairs
    ):
        names[first:] = [shorten(f"gradient of {p.name or 'parameter'}", 40) for _, p in pairs] or names[
            first:
        ]
    return names


def _without_shell(box: Box) -> Box:
    """What a group with a single box in it is shown as."""
    if len(box.kids) != 1:
        return box
    (only,) = box.kids
    if only.kids:
        only.title = shorten(f"{box.title} / {only.title}")
    else:
        outer = box.title.partition(" · ")[0]
        only.title = only.title if only.title == outer else shorten(f"{outer} · {only.title}", 36)
    return only


def _out_note(box: Box) -> str:
    """The shape of the last op in a group."""
    ops = [one.node for one in box.walk() if one.node is not None and not isinstance(one.node, Leaf)]
    last = max(ops, key=lambda node: node.order, default=None)
    return shape_text(last.shape) if last is not None else ""


def _telling_kind(box: Box) -> str:
    kinds = {kid.kind for kid in box.kids}
    deep = {kid.kind for kid in box.kids if kid.kids}
    if deep:
        return "module"
    return next((kind for kind in TELLING_KINDS if kind in kinds), box.kind)


def _split(box: Box) -> None:
    """Too many kids become groups of consecutive ones, of at most `MOST_KIDS` each, in levels if need be."""
    while len(box.kids) > MOST_KIDS:
        window = max(WINDOW, math.ceil(len(box.kids) / MOST_PARTS))
        parts = [box.kids[i : i + window] for i in range(0, len(box.kids), window)]
        box.kids = [_window(part) for part in parts]
        for part in box.kids:
            _split(part)


def _window(kids: list[Box]) -> Box:
    kinds = Counter(kid.kind for kid in kids)
    kind = next((kind for kind in TELLING_KINDS if kind in kinds), "module")
    first, last = shorten(kids[0].title, 16), shorten(kids[-1].title, 16)
    title = f"{first} … {last}" if first != last else f"{first} …"
    return Box(title, kind, note=f"{len(kids)} boxes", kids=kids)


def _close(root: Box, most: int) -> list[str]:
    """Keep at most so many boxes, the outer ones first; a group that is closed says how much is in it."""
    room = most - len(root.kids)
    left_out = 0
    waiting = [root]
    while waiting:
        inner = [kid for box in waiting for kid in box.kids if kid.kids]
        for box in inner:
            room -= len(box.kids)
            if room < 0:
                box.left_out = sum(1 for one in box.walk() if not one.kids)
                left_out += box.left_out
                box.note = f"{box.left_out:,} boxes inside, left out"
        waiting = [box for box in inner if not box.left_out]
    return [f"{left_out:,} boxes are left out of this page, which holds at most {most:,}"] * bool(left_out)


def _number(root: Box) -> None:
    for box in root.walk():
        for number, kid in enumerate(box.kids):
            kid.parent, kid.number, kid.depth = box, number, box.depth + 1


def _link(graph: Graph, root: Box) -> None:
    """Every edge of the graph as links in the interiors it passes through."""
    place: dict[int, Box] = {}
    outputs = []
    for box in root.walk():
        if box.left_out:
            box.inside = [one.node for one in box.walk() if one.node is not None]
            place |= {id(node): box for node in box.inside}
            box.kids = []
        elif box.kind == "output" and box.node is None:
            outputs.append(box)
        elif box.node is not None:
            place[id(box.node)] = box
    for node in graph.nodes:
        head = place[id(node)]
        for entry in node.inputs:
            if is_recorded(entry):
                tail = edge_node(entry)
                role = _role(tail, node)
                value = SAVED if role == "saved" else (id(tail), edge_index(entry))
                _route(place[id(tail)], head, value, role)
    for box in outputs:
        (value,) = box.outs
        box.outs = {}
        _route(place[value[0]], box, value, "data")


def _role(tail: Node, head: Node) -> str:
    if head.phase == "forward":
        return "data"
    return "gradient" if tail.phase == head.phase and not isinstance(tail, Leaf) else "saved"


def _route(tail: Box, head: Box, value: Value, role: str) -> None:
    """A link in the innermost group around both, and on either side links to the borders that are crossed."""
    if tail is head:
        return
    while tail.parent is not head.parent:
        if tail.depth >= head.depth:
            assert tail.parent is not None
            tail.parent.links[tail, None, value] = role
            tail.outs[value] = None
            tail = tail.parent
        else:
            assert head.parent is not None
            head.parent.links[None, head, value] = role
            head.ins[value] = None
            head = head.parent
    assert tail.parent is not None
    if tail is not head:
        tail.outs[value] = None
        head.ins[value] = None
        tail.parent.links[tail, head, value] = role


def _lay_out(box: Box, layouts: Layouts) -> None:
    """Lay out an interior whose kids are laid out, and put the box's ports in the order of the result."""
    ins, outs = list(box.ins), list(box.outs)
    kids = [Kid(*kid.size, *((len(kid.ins), len(kid.outs)) if kid.kids else (1, 1))) for kid in box.kids]
    ports = [_Ports(kid) for kid in box.kids]
    inner, outer = _places(ins), _places(outs)
    links = [
        Link(
            BORDER if tail is None else tail.number,
            inner[value] if tail is None else ports[tail.number].out(value),
            BORDER if head is None else head.number,
            outer[value] if head is None else ports[head.number].into(value),
        )
        for tail, head, value in box.links
    ]
    box.interior = layouts.interior(kids, links, len(ins), len(outs))
    box.ins = dict.fromkeys(ins[i] for i in box.interior.ins)
    box.outs = dict.fromkeys(outs[i] for i in box.interior.outs)


def _places(values: Sequence[Value]) -> dict[Value, int]:
    return {value: i for i, value in enumerate(values)}


class _Ports:
    """Where values cross the border of a box; ops have one place above and one below."""

    def __init__(self, box: Box) -> None:
        self.ins = _places(list(box.ins)) if box.kids else {}
        self.outs = _places(list(box.outs)) if box.kids else {}

    def into(self, value: Value) -> int:
        return self.ins.get(value, 0)

    def out(self, value: Value) -> int:
        return self.outs.get(value, 0)
