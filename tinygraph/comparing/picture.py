"""A difference as a picture: both graphs as one, in the colours of what was removed, added and changed.

Far from any difference, nodes that are the same are folded into one box for each connected stretch.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tinygraph.comparing.difference import Difference
from tinygraph.core.node import Leaf, Node, edge_node, is_recorded
from tinygraph.drawing.model.labels import constants_of, packed, settings_of, shape_text, shorten, tooltip_of
from tinygraph.drawing.model.picture import Arrow, Box, Frame, Identifiers, Picture

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_WHOLE = 60  # nodes up to which nothing is folded
NEAR = 2  # steps from a difference within which nodes are shown
MOST_DETAILS = 4


def picture_of(difference: Difference) -> Picture:
    """The picture of a difference, at the level of ops."""
    return _Merging(difference).picture()


class _Merging:
    """Two graphs on their way to one picture. A matched pair is shown as its node in `b`."""

    def __init__(self, difference: Difference) -> None:
        self.difference = difference
        self.status: dict[int, str] = {id(node): "added" for node in difference.added}
        self.status |= {id(node): "removed" for node in difference.removed}
        changes = (*difference.following, *difference.changed)
        self.status |= {id(change.after): "changed" for change in changes}
        self.details = {id(change.after): change.details for change in changes}
        self.after = {
            id(before): node for node in difference.b.nodes if (before := self.partner(node)) is not None
        }
        self.nodes = self._merged()
        self.places = {id(node): i for i, node in enumerate(self.nodes)}
        self.identifiers = Identifiers()

    def partner(self, node: Node) -> Node | None:
        return self.difference.partners.get(id(node))

    def _merged(self) -> list[Node]:
        """The nodes of `b`, and what was removed from `a` after what it reads."""
        removed = {id(node) for node in self.difference.removed}
        waiting = iter(self.difference.a.nodes)
        passed: set[int] = set()
        merged: list[Node] = []
        for node in self.difference.b.nodes:
            before = self.partner(node)
            while (
                before is not None and id(before) not in passed and (one := next(waiting, None)) is not None
            ):
                passed.add(id(one))
                merged += [one] if id(one) in removed else []
            merged.append(node)
        return merged + [one for one in waiting if id(one) in removed]

    def _edges(self) -> dict[tuple[int, int], bool]:
        """(place of what is read, place of the reader) -> whether only `a` has that edge between nodes of both."""
        found: dict[tuple[int, int], bool] = {}
        for node in self.nodes:
            if self.status.get(id(node)) != "removed":
                found.update(dict.fromkeys(self._reads(node, node), False))
        for node in self.nodes:
            before = node if self.status.get(id(node)) == "removed" else self.partner(node)
            for edge in self._reads(before, node) if before is not None else ():
                ends = (self.status.get(id(self.nodes[place])) for place in edge)
                found.setdefault(edge, "removed" not in ends)
        return found

    def _reads(self, node: Node, reader: Node) -> Iterable[tuple[int, int]]:
        for entry in node.inputs:
            if is_recorded(entry):
                read = edge_node(entry)
                place = self.places.get(id(read), self.places.get(id(self.after.get(id(read)))))
                if place is not None:
                    yield place, self.places[id(reader)]

    def picture(self) -> Picture:
        edges = self._edges()
        shown = self._shown(edges)
        root = Frame("g0", "")
        boxes: list[Box] = []
        box_of: dict[int, str] = {}
        for stretch in _stretches(len(self.nodes), shown, edges):
            box = self._box(self.nodes[stretch[0]]) if len(stretch) == 1 else self._folded(stretch)
            boxes.append(box)
            root.boxes.append(box.id)
            box_of.update(dict.fromkeys(stretch, box.id))
        arrows: dict[tuple[str, str], Arrow] = {}
        for (tail, head), gone in edges.items():
            ends = (box_of[tail], box_of[head])
            if ends[0] != ends[1] and (ends not in arrows or arrows[ends].role == "saved"):
                label, role = ("", "saved") if gone else (shape_text(self.nodes[tail].shape), "data")
                arrows[ends] = Arrow(self.identifiers.make("e", *ends), *ends, label=label, role=role)
        notes = tuple(self.difference.interface[:6])
        name = f"{self.difference.a.name or 'graph'} and {self.difference.b.name or 'graph'}"
        return Picture(name, boxes, list(arrows.values()), root, notes=notes or self._summary())

    def _summary(self) -> tuple[str, ...]:
        return () if self.difference else ("The graphs are the same.",)

    def _shown(self, edges: Iterable[tuple[int, int]]) -> set[int]:
        """The places of the nodes that get a box of their own: all, or those near a difference."""
        if len(self.nodes) <= MOST_WHOLE:
            return set(range(len(self.nodes)))
        near = {self.places[key] for key in self.status if key in self.places}
        neighbours = defaultdict(set)
        for tail, head in edges:
            neighbours[tail].add(head)
            neighbours[head].add(tail)
        for _ in range(NEAR):
            near |= {other for place in near for other in neighbours[place]}
        return near

    def _box(self, node: Node) -> Box:
        status = self.status.get(id(node), "same")
        lines = list(map(shorten, self.details.get(id(node), ())[:MOST_DETAILS]))
        if isinstance(node, Leaf):
            what = shorten(node.name or node.kind)
            lines.insert(0, f"{node.kind} {shape_text(node.shape)}")
        else:
            what = shorten(node.op.name)
        if not isinstance(node, Leaf) and status != "changed":
            settings = [*settings_of(node), *constants_of(node)]
            lines += packed(f"{name} {text}" for name, text in settings)
        signs = {"added": "+ ", "removed": "− ", "changed": "~ "}
        path = "/".join(name for name, _ in node.scope)
        title = f"{signs.get(status, '')}{what}"
        made = self.identifiers.make(
            "n", status, title, lines, path, [str(types) for types in node.output_types]
        )
        return Box(made, status, title, tuple(lines), tooltip=tooltip_of(node), caption=shorten(path))

    def _folded(self, stretch: list[int]) -> Box:
        title = f"… {len(stretch):,} the same …"
        return Box(self.identifiers.make("n", "fold", title), "fold", title)


def _stretches(count: int, shown: set[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The places: each shown one alone, the others with those they are connected to; in the order of their firsts."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for tail, head in edges:
        if tail not in shown and head not in shown:
            one, other = sorted((root(tail), root(head)))
            parent[other] = one
    found: dict[int, list[int]] = {}
    for place in range(count):
        found.setdefault(root(place), []).append(place)
    return list(found.values())
