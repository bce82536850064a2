"""From a graph to the tree of boxes that a page opens one inside another: model > modules > composites > ops.

Names, scopes and passes only: where boxes go is `layout.py`'s, the links between them `linking.py`'s business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Scope
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.drawing.model.assembly import TELLING_KINDS
from tinygraph.drawing.model.iterations import OpenedLoops
from tinygraph.drawing.model.labels import constant_text, op_text, shape_text, shorten
from tinygraph.drawing.model.layers import class_of, is_norm
from tinygraph.drawing.model.levels import common_scope, is_composite
from tinygraph.drawing.page.areas import Area
from tinygraph.drawing.page.lanes import Lanes, gradients_in, sorted_by_lane
from tinygraph.drawing.page.layout import Interiors
from tinygraph.drawing.page.linking import lay_out, link

MOST_ROWS = 100  # of boxes in one interior; Graphviz needs seconds for 200
MOST_PARTS = 48  # that an interior with more is split into
WINDOW = 50  # rows in each part, at least
MOST_OUTPUTS = 6  # that are drawn outside all groups
MOST_BOXES = 20_000  # boxes in one page
PHASES = {"backward": "backward pass", "update": "update"}
DERIVATIVES = ("", "∂ ", "∂² ")


def tree(
    graph: Graph,
    pictured: set[int],
    *,
    seconds: float,
    most: int = MOST_BOXES,
    loops: OpenedLoops | None = None,
) -> tuple[Area, list[str]]:
    """The tree of boxes of a graph, laid out, and what has to be said about it.

    Args:
        pictured: ids of the nodes whose boxes have room for a small image.
        seconds: how long laying out may take.
        most: how many boxes the page may have.
        loops: what was opened of loops in the graph.
    """
    lanes = Lanes(graph)
    root = _Growing(graph, lanes, pictured).root
    notices = _close(root, most)
    _number(root)
    link(graph, root, lanes, loops)
    layouts = Interiors(seconds)
    lay_out(root, layouts)
    if layouts.plain:
        why = layouts.reason or f"laying out took longer than {seconds:g} s"
        notices.append(f"{layouts.plain} of {len(layouts.found)} interiors are in plain rows: {why}")
    return root, notices


class _Growing:
    """The tree before anything is left out of it."""

    def __init__(self, graph: Graph, lanes: Lanes, pictured: set[int]) -> None:
        self.lanes = lanes
        self.pictured = pictured
        self.root = Area(graph.name or "model")
        self.groups: dict[tuple[str, Scope], Area] = {("forward", ()): self.root}
        self.calls: dict[tuple[Scope, str], dict[int, int]] = {}
        # In a graph with far too many nodes several that follow one another are one box from the start.
        count = len(graph.nodes)
        self.run = math.ceil(2 * count / MOST_BOXES) if count > 2 * MOST_BOXES else 1
        self.places: dict[int, Area] = {}  # of forward nodes, and of the gradients of leaves, by a node's id
        self.opposite: dict[Area, list[Area]] = {}  # what lies opposite of a box, in the order of the passes
        for node in graph.nodes:
            scope = lanes.scope(node)
            for depth, (name, number) in enumerate(scope):
                calls = self.calls.setdefault((scope[:depth], name), {})
                calls.setdefault(number, len(calls))
        self._forward(graph)
        self._backward(graph)
        self._ends(graph)
        for group in list(self.root.walk()):
            group.kids = [one for kid in group.kids for one in (kid, *self._opposite_of(kid))]
        self._tidy(self.root, graph)

    # -- boxes of nodes ------------------------------------------------------------------------------------------------

    def _forward(self, graph: Graph) -> None:
        lanes = self.lanes
        for node in graph.nodes:
            if not isinstance(node, Leaf) and not lanes.lane(node):
                self._put(node, node.phase, lanes.scope(node))
        scopes = _leaf_scopes(graph, lanes)
        first: dict[Area, list[Area]] = {}  # what is read stands before what reads it
        leaves = graph.leaves
        for leaf in leaves:
            if leaf.kind != "seed":
                boxes = first.setdefault(self._group(*scopes[id(leaf)]), [])
                if len(leaves) > MOST_BOXES:
                    self._together(boxes, leaf)
                else:
                    boxes.append(self._box(leaf))
                self.places[id(leaf)] = boxes[-1]
        for group, boxes in first.items():
            group.kids[:0] = boxes

    def _put(self, one: Node | Area, phase: str, scope: Scope) -> None:
        kids = self._group(phase, scope).kids
        if isinstance(one, Area):
            kids.append(one)
        elif self.run == 1:
            kids.append(self._box(one))
        else:
            self._together(kids, one)
        for node in kids[-1].nodes[-1:]:
            self.places[id(node)] = kids[-1]

    def _together(self, boxes: list[Area], node: Node, lane: int = 0) -> None:
        """A node in the last box, or in one after it when that is full."""
        if not boxes or not 0 < len(boxes[-1].inside) < self.run:
            box = self._box(node)
            boxes.append(Area(box.title, box.kind, lane=lane))
        boxes[-1].inside.append(node)

    def _backward(self, graph: Graph) -> None:
        """Backward nodes opposite of what they serve; where gradients of several uses add up stands by itself."""
        lanes = self.lanes
        for (key, lane), nodes in sorted_by_lane(lanes, graph.nodes).items():
            origin = lanes.served(nodes[0])
            leader = self.places.get(key)
            if leader is not None and lane and leader.inside:
                self._beside(leader, lane, nodes)
            elif leader is not None and lane:
                self._face(leader, self._derivative(origin, nodes))
            else:
                phase = origin.phase if origin is not None else "backward"
                self._put(self._derivative(origin, nodes), phase, lanes.scope(nodes[0]))
        for node in graph.nodes:
            if id(node) in lanes.joins:
                note = shape_text(node.output_types[0].shape)
                self._put(Area("+", "join", note, node, lane=lanes.lane(node)), "forward", lanes.scope(node))

    def _derivative(self, origin: Node | None, nodes: list[Node]) -> Area:
        """One node itself, several as a group."""
        lane = self.lanes.lane(nodes[0])
        boxes = [self._box(node) for node in nodes]
        for box in boxes:
            box.lane = lane
        if origin is None:
            return boxes[0] if len(boxes) == 1 else Area(PHASES["backward"], kids=boxes, lane=lane)
        title = DERIVATIVES[min(lane, 2)] + shorten(origin.name or origin.op.name, 26)
        if len(boxes) > 1:
            return Area(title, origin.kind, f"{len(nodes)} ops", kids=boxes, lane=lane)
        (box,) = boxes
        if box.node is not None:
            box.note = shorten(f"{box.node.op.name} · {box.note}", 36)
        box.title = title
        return box

    def _face(self, leader: Area, box: Area) -> None:
        """Put a box opposite of one of the forward pass."""
        box.leader = leader
        self.opposite.setdefault(leader, []).append(box)

    def _beside(self, leader: Area, lane: int, nodes: list[Node]) -> None:
        """Put nodes into the one box opposite of one that stands for many."""
        opposite = self.opposite.setdefault(leader, [])
        box = next((one for one in opposite if one.lane == lane), None)
        if box is None:
            box = Area(DERIVATIVES[min(lane, 2)] + leader.title, leader.kind, lane=lane, leader=leader)
            opposite.append(box)
        box.inside += nodes

    def _opposite_of(self, leader: Area) -> list[Area]:
        return sorted(self.opposite.get(leader, ()), key=lambda box: box.lane)

    # -- outputs -------------------------------------------------------------------------------------------------------

    def _ends(self, graph: Graph) -> None:
        """Boxes for what the graph gives: gradients opposite of their leaves, seeds opposite of where passes begin."""
        gradients, own = gradients_in(graph, self.lanes)
        for leaf, node, index in own:
            self._gradient(leaf, node, index)
        outputs = [(i, out) for i, out in enumerate(graph.outputs) if is_recorded(out)]
        for i, out in outputs:
            if i in gradients:
                self._gradient(gradients[i], edge_node(out), edge_index(out))
        others = [(i, out) for i, out in outputs if i not in gradients]
        constants = [(i, out) for i, out in enumerate(graph.outputs) if not is_recorded(out)]
        plain = graph.plain_results
        count = len(others) + len(constants) + len(plain)
        names = [
            shorten(name, 28) or (f"output {i}" if count > 1 else "output")
            for i, name in enumerate(graph.output_names)
        ]
        boxes = [self._output(names[i], out, len(others)) for i, out in others]
        for name, value in (*((names[i], value) for i, value in constants), *plain):
            self._put(Area(shorten(name, 28), "output", shorten(constant_text(value), 36)), "forward", ())
        for leaf in graph.leaves:
            if leaf.kind == "seed":
                self._seed(leaf, graph, boxes)

    def _output(self, name: str, out: Edge, count: int) -> Area:
        node = edge_node(out)
        near = count > MOST_OUTPUTS and not isinstance(node, Leaf)
        box = Area(name, "output", shows=(id(node), edge_index(out)), lane=self.lanes.lane(node))
        self._put(box, *((node.phase, self.lanes.scope(node)) if near else ("forward", ())))
        return box

    def _gradient(self, leaf: Leaf, node: Node, index: int) -> None:
        lane = max(1, self.lanes.lane(node))
        box = Area(
            DERIVATIVES[min(lane, 2)] + self.places[id(leaf)].title,
            "gradient",
            shape_text(leaf.shape),
            lane=lane,
        )
        box.shows, box.pictured = (id(node), index), id(node) in self.pictured
        self._face(self.places[id(leaf)], box)
        self.places.setdefault(id(node), box)

    def _seed(self, leaf: Leaf, graph: Graph, outputs: list[Area]) -> None:
        """What a pass begins with lies opposite of what it is the gradient of."""
        box = self._box(leaf)
        box.lane, box.title, box.kind = max(1, self.lanes.lane(leaf)), "seed", "gradient"
        readers = [node for node in graph.nodes if any(parent is leaf for parent in node.parents())]
        if box.lane > 1:
            starts = [self.places.get(id(node.forward_node)) for node in readers]
            leader = next(
                (start.leader for start in starts if start is not None and start.leader is not None), None
            )
        else:
            leader = next((one for one in outputs if not one.lane), None)
        if leader is not None:
            self._face(leader, box)
        else:
            self.root.kids.append(box)

    # -- groups --------------------------------------------------------------------------------------------------------

    def _group(self, phase: str, scope: Scope) -> Area:
        found = self.groups.get((phase, scope))
        if found is None:
            if scope:
                parent, title = self._group(phase, scope[:-1]), self._title(scope)
            else:
                parent, title = self.root, PHASES[phase]
            name = "" if phase == "update" else class_of(scope)
            kind = "composite" if scope and is_composite(scope[-1][0]) else "module"
            if title.isdigit() and name:  # a number says too little
                title, name = f"{title} · {name}", ""
            found = self.groups[phase, scope] = Area(title, kind, note=name if name != title else "")
            parent.kids.append(found)
        return found

    def _title(self, scope: Scope) -> str:
        name, number = scope[-1]
        calls = self.calls[scope[:-1], name]
        return shorten(name) if len(calls) == 1 else f"{shorten(name)} · call {calls[number] + 1}"

    def _box(self, node: Node) -> Area:
        if isinstance(node, Leaf):
            owned = node.kind in ("parameter", "buffer")
            title = shorten(
                ((node.name or node.kind).rpartition(".")[2] if owned else node.name) or node.kind, 28
            )
        else:
            title = shorten(node.name or op_text(node), 28)
        note = ", ".join(shape_text(types.shape) for types in node.output_types[:3])
        kind = "parameter" if isinstance(node, Leaf) and node.requires_grad else node.kind
        return Area(title, kind, shorten(note, 36), node, pictured=id(node) in self.pictured)

    def _tidy(self, root: Area, graph: Graph) -> None:
        """Lone groups become one, a group around one op becomes that op, large ones are split; notes are written."""
        readers = _readers(graph)
        for box in reversed(list(root.walk())):
            box.kids = [_without_shell(kid) for kid in box.kids]
            if not box.kids or box.lane:
                continue
            count = sum(1 for one in box.walk() if not one.kids and not isinstance(one.node, Leaf))
            shapes = _out_note(box, readers)
            box.note = " · ".join(
                word for word in (box.note, shapes or f"{count} op{'s' * (count != 1)}") if word
            )
            box.kind = _telling_kind(box) if box is not root else "module"
            ops = [kid for kid in box.kids if not kid.lane and not isinstance(kid.node, Leaf)]
            if len(ops) == 1 and box.title.isdigit():
                box.title = f"{box.title} · {ops[0].title}"  # a number says too little
        for box in list(root.walk()):
            if box.inside:
                first, last = box.inside[0], box.inside[-1]
                box.title = f"{box.title} … {shorten(_name(last), 16)}" if first is not last else box.title
                box.note = _counted(box.inside)
            _split(box)


def _leaf_scopes(graph: Graph, lanes: Lanes) -> dict[int, tuple[str, Scope]]:
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
        phase = "update" if mine and mine[0].phase == "update" else "forward"
        state = leaf.kind in ("parameter", "buffer") or (leaf.kind == "tensor" and leaf.requires_grad)
        scope = common_scope([lanes.scope(node) for node in mine]) if state else ()
        found[id(leaf)] = (phase if state else "forward", scope)
    return found


def _name(node: Node) -> str:
    return node.name or (node.kind if isinstance(node, Leaf) else node.op.name)


def _counted(nodes: list[Node]) -> str:
    return f"{len(nodes):,} nodes inside, left out"


def _without_shell(box: Area) -> Area:
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


def _out_note(box: Area, readers: Mapping[int, Collection[int]]) -> str:
    """The shape of what a group gives: of its last op that somebody reads outside of it, else of its last one."""
    ops = [
        one.node
        for one in box.walk()
        if one.node is not None and not isinstance(one.node, Leaf) and not one.lane
    ]
    inside = {id(node) for node in ops}
    given = [node for node in ops if not inside.issuperset(readers.get(id(node), ()))]
    last = max(given or ops, key=lambda node: node.order, default=None)
    return shape_text(last.output_types[0].shape) if last is not None else ""


def _readers(graph: Graph) -> dict[int, list[int]]:
    """The ids of the forward nodes that read each node, 0 for the graph's results."""
    found: dict[int, list[int]] = {}
    for node in graph.nodes:
        for parent in node.parents() if node.phase == "forward" else ():
            found.setdefault(id(parent), []).append(id(node))
    for out in graph.outputs:
        if is_recorded(out):
            found.setdefault(id(edge_node(out)), []).append(0)
    return found


def _telling_kind(box: Area) -> str:
    kinds = {kid.kind for kid in box.kids if not kid.lane}
    deep = {kid.kind for kid in box.kids if kid.kids and not kid.lane}
    if is_norm(box.title) or is_norm(box.note.partition(" · ")[0]):  # by its class
        return "normalization"
    if deep:
        return "module"
    return next((kind for kind in TELLING_KINDS if kind in kinds), box.kind)


def _split(box: Area) -> None:
    """Too many rows become groups of consecutive ones, of at most `MOST_ROWS` each, in levels if need be."""
    while len(rows := box.rows) > MOST_ROWS:
        window = max(WINDOW, math.ceil(len(rows) / MOST_PARTS))
        parts = [rows[i : i + window] for i in range(0, len(rows), window)]
        box.kids = [_window([kid for row in part for kid in row]) for part in parts]
        for part in box.kids:
            part.lane = box.lane
            _split(part)


def _window(kids: list[Area]) -> Area:
    kinds = Counter(kid.kind for kid in kids)
    kind = next((kind for kind in TELLING_KINDS if kind in kinds), "module")
    first, last = shorten(kids[0].title, 16), shorten(kids[-1].title, 16)
    title = f"{first} … {last}" if first != last else f"{first} …"
    return Area(title, kind, note=f"{len(kids)} boxes", kids=kids)


def _close(root: Area, most: int) -> list[str]:
    """Keep at most so many boxes, the outer ones first; a group that is closed says how much is in it."""
    room = most - len(root.kids)
    waiting = [root]
    while waiting:
        inner = [kid for box in waiting for kid in box.kids if kid.kids]
        for box in inner:
            room -= len(box.kids)
            if room < 0:
                box.inside = [node for one in box.walk() for node in one.nodes]
                box.kids = []
                box.note = _counted(box.inside)
        waiting = [box for box in inner if box.kids]
    left_out = sum(len(box.inside) for box in root.walk())
    return [f"{left_out:,} nodes are left out of this page, which holds at most {most:,} boxes"] * bool(
        left_out
    )


def _number(root: Area) -> None:
    for box in root.walk():
        for number, kid in enumerate(box.kids):
            kid.parent, kid.number, kid.depth = box, number, box.depth + 1
