"""The areas of a page, boxes one inside another, and the links between them: plain data that other files fill.

`grouping.py` makes the tree, `linking.py` the links and the layout, `payload.py` what the page carries of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tinygraph.core.node import Node
from tinygraph.drawing.page.layout import Interior

LETTER, SMALL_LETTER = 7.6, 5.9  # widths, of titles and of what is below
OP_WIDTH, OP_HEIGHT, PICTURE_HEIGHT, JOIN_WIDTH = 92.0, 40.0, 58.0, 48.0

Value = tuple[int, int]  # a node by its id, and which of its outputs
SAVED: Value = (0, 0)  # all that one box keeps for another's backward pass, as one bundle
UPDATED: Value = (0, 1)  # all that goes into the update of the parameters, as one bundle

Role = Literal["data", "gradient", "saved", "carry"]  # what a link carries


class Flow(NamedTuple):
    """What a link carries, and whether upwards, against the order of the boxes."""

    role: Role
    up: bool = False


@dataclass(eq=False, slots=True)
class Area:
    """An area of the page, drawn as a box: a group with kids, or an op, leaf or output without.

    Attributes:
        title, note: what is written in it.
        kind: what it is coloured as.
        node: the node it stands for; None for a group.
        shows: the value that a box without a node shows.
        lane: the pass it belongs to: 0 forward, 1 backward, 2 the backward pass of that.
        leader: the forward box that it lies opposite of, in one row.
        kids: boxes inside; those of a row follow their leader.
        links: (upper kid or None for the border, lower kid or None, value) -> what flows there.
        ins, outs: the values that cross its upper and its lower border, later in the order in which they stand there.
        inside: the nodes that it stands for without a box for each.
        interior: how its kids are laid out.
        number: its place among its parent's kids.
    """

    title: str
    kind: str = "module"
    note: str = ""
    node: Node | None = None
    shows: Value | None = None
    lane: int = 0
    leader: Area | None = None
    parent: Area | None = None
    depth: int = 0
    number: int = 0
    kids: list[Area] = field(default_factory=list)
    links: dict[tuple[Area | None, Area | None, Value], Flow] = field(default_factory=dict)
    ins: dict[Value, None] = field(default_factory=dict)
    outs: dict[Value, None] = field(default_factory=dict)
    inside: list[Node] = field(default_factory=list)
    interior: Interior | None = None
    pictured: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Its size in its parent's interior."""
        if self.interior is not None:
            return self.interior.box
        text = max(len(self.title) * LETTER, len(self.note) * SMALL_LETTER)
        least = JOIN_WIDTH if self.kind == "join" else OP_WIDTH
        width = min(max(math.ceil((text + 22) / 4) * 4.0, least), 240.0)
        return (width, OP_HEIGHT + PICTURE_HEIGHT if self.pictured else OP_HEIGHT)

    @property
    def rows(self) -> list[list[Area]]:
        """Its kids, those that lie opposite of each other together."""
        rows: list[list[Area]] = []
        for kid in self.kids:
            if rows and kid.leader is rows[-1][0]:
                rows[-1].append(kid)
            else:
                rows.append([kid])
        return rows

    @property
    def nodes(self) -> list[Node]:
        """The nodes it stands for itself, those of its kids not counted."""
        return self.inside if self.node is None else [self.node]

    @property
    def results(self) -> list[Value]:
        """What the forward pass gives to the boxes around it."""
        leaving = (
            value for (_, head, value), flow in self.links.items() if head is None and flow.role == "data"
        )
        return [value for value in dict.fromkeys(leaving) if value not in (SAVED, UPDATED)]

    def walk(self) -> Iterable[Area]:
        """This box and all inside, from the outside in."""
        waiting = [self]
        while waiting:
            box = waiting.pop()
            yield box
            waiting += reversed(box.kids)
