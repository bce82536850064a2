"""The neutral model of a picture: boxes, arrows and groups, with identifiers that depend on their content alone.

Made from graphs by `assembly.py`, from single ops by `channels.py` and `neurons.py`, from modules by `module_tree.py`;
read by `dot.py`. Knows no graphs, no colours and no layout engine; a kind is a word that a style gives a look to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from tinygraph.drawing.model.planes import Plane

Direction = Literal["down", "right"]


@dataclass(frozen=True, slots=True)
class Box:
    """One visible thing.

    Attributes:
        id: from `Identifiers`; starts with "n".
        kind: what the style keys on: an op's kind, "parameter", "output", "module", "fold" ...
        title: the name of the thing, large.
        caption: a small line above the title: the group that consists of this box alone.
        plane: a grid of numbers below the title.
        table: rows of an arithmetic below the title; the last one is the result.
        heat: how hot it is, from 0 to 1, where an overlay asks for that.
        tint: the colour of 1, as styles call it.
        faded: whether it stands back, because the focus is elsewhere.
        marked: whether it has a thicker outline, as the peak of an overlay has.
        lines: more lines of structure: settings, constants, parameters.
        numbers: (label, value) rows, only if numbers were asked for; no part of the identifier.
        tooltip: shown while pointing at it.
        backward: the pass: 0 forward, 1 backward, 2 the backward pass of that.
        opposite: the id of the box of another pass that it stands beside.
        path: what it is called where somebody names it: a group's dotted name, or its node's name.
        fill: a colour that was asked for, in place of its kind's.
        shape: of what it makes, the batch first.
    """

    id: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str], ...] = ()
    tooltip: str = ""
    backward: int = 0
    opposite: str | None = None
    caption: str = ""
    plane: Plane | None = None
    table: tuple[tuple[str, ...], ...] = ()
    heat: float | None = None
    tint: str = "heat"
    faded: bool = False
    marked: bool = False
    path: str = ""
    fill: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrow:
    """What flows from one box to another.

    `role` is "data", "gradient" (between backward boxes), "saved" (a forward value that the backward pass uses),
    "carry" (from one step of a loop to the next), "impact" (a gradient, in a picture that flows one way) or "child" (in
    a tree of modules). One that comes `aside`, from a parameter, may bend so that the others stay straight.
    `rank` says where the head stands: 1 below the tail, -1 above it, 0 wherever other arrows put it.
    `width` is in points; one that is `faded` stands back; one that goes `across` a U is drawn from side to side.
    """

    id: str
    tail: str
    head: str
    label: str = ""
    role: str = "data"
    aside: bool = False
    rank: int = 1
    width: float = 1.0
    faded: bool = False
    across: bool = False


@dataclass(slots=True)
class Frame:
    """Boxes that belong together, drawn inside a frame; groups nest. A title stands where few arrows pass."""

    id: str
    title: str
    boxes: list[str] = field(default_factory=list)
    groups: list[Frame] = field(default_factory=list)
    path: str = ""
    title_below: bool = False


@dataclass(slots=True)
class Picture:
    """Everything there is to draw.

    `notes` are sentences below the picture; `rows` are boxes that stand side by side in that order; `below` are pairs
    of some boxes and others that stand below all of them; `columns` are all boxes, where they stand in columns.
    """

    name: str
    boxes: list[Box]
    arrows: list[Arrow]
    root: Frame
    direction: Direction = "down"
    notes: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    below: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    columns: tuple[tuple[str, ...], ...] = ()

    @property
    def mirrored(self) -> bool:
        """Whether forward and backward stand side by side."""
        return any(box.backward for box in self.boxes)


class Identifiers:
    """Hands out identifiers from what things are and where they hang, never from memory addresses or counters.

    Equal contents are told apart by how often they have occurred, so the order of asking matters and is the order
    of the graph.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def make(self, prefix: str, *content: object) -> str:
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]
        self._seen[digest] += 1
        repeated = self._seen[digest]
        return f"{prefix}{digest}" if repeated == 1 else f"{prefix}{digest}-{repeated}"
