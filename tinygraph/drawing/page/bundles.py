"""Bundles: where many values leave one box, a single curve stands for all of them outside of it.

A weight that every sample of a scalar network reads would else be a curve through every part of the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tinygraph.drawing.page.areas import SAVED, UPDATED, Area, Flow, Value

MOST_LEAVING = 6  # values of one kind that cross a border each on its own
ROLES = ("data", "gradient", "saved", "carry")


class Edge(NamedTuple):
    """What flows from one box to another."""

    tail: Area
    head: Area
    value: Value
    flow: Flow


def bundled(edges: Iterable[Edge]) -> list[Edge]:
    """The edges between different boxes, those of one bundle with the bundle for their value, each once."""
    crossing = [edge for edge in dict.fromkeys(edges) if edge.tail is not edge.head]
    reach: dict[tuple[Value, Flow], tuple[Area, int]] = {}  # where a value comes from, how far out it goes
    for tail, head, value, flow in crossing:
        if value not in (SAVED, UPDATED):
            depth = _common_depth(tail, head)
            known = reach.get((value, flow))
            if known is None or depth < known[1]:
                reach[value, flow] = (tail, depth)
    leaving: Counter[tuple[Area, Flow]] = Counter()
    for (_, flow), (tail, depth) in reach.items():
        leaving.update((box, flow) for box in _left(tail, depth))
    names: dict[tuple[Value, Flow], Value] = {}
    for (value, flow), (tail, depth) in reach.items():
        wide = [box for box in _left(tail, depth) if box.inside or leaving[box, flow] > MOST_LEAVING]
        if wide:
            names[value, flow] = (id(wide[-1]), -1 - 2 * ROLES.index(flow.role) - flow.up)
    if not names:
        return crossing
    return list(
        dict.fromkeys(
            edge._replace(value=names.get((edge.value, edge.flow), edge.value)) for edge in crossing
        )
    )


def _left(box: Area, depth: int) -> list[Area]:
    """The boxes that a value from inside leaves on its way out to a group of that depth, from the inside out."""
    found = []
    while box.depth > depth:
        found.append(box)
        assert box.parent is not None
        box = box.parent
    return found


def _common_depth(a: Area, b: Area) -> int:
    """How deep the innermost group around both boxes lies."""
    while a is not b:
        if a.depth >= b.depth:
            assert a.parent is not None
            a = a.parent
        else:
            assert b.parent is not None
            b = b.parent
    return a.depth
