"""The edges of a graph as links between boxes: where they cross borders, and in which order the layout puts them there.

Which boxes there are is `grouping.py`'s, where they lie in one interior `layout.py`'s business.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from tinygraph.core.graph import Graph
from tinygraph.core.node import edge_index, edge_node, is_recorded
from tinygraph.drawing.model.iterations import OpenedLoops
from tinygraph.drawing.page.areas import LETTER, SAVED, Area, Flow, Value
from tinygraph.drawing.page.bundles import Edge, bundled
from tinygraph.drawing.page.crossings import crossings, ends
from tinygraph.drawing.page.lanes import Lanes
from tinygraph.drawing.page.layout import BORDER, LEAST_WIDTH, WIDEST, Interiors, Kid, Link, Problem

TITLE_STEP = 36.0  # by which boxes grow with their titles


def link(graph: Graph, root: Area, lanes: Lanes, loops: OpenedLoops | None = None) -> None:
    """Every edge of the graph as links in the interiors it passes through."""
    place: dict[int, Area] = {}
    ends: list[Area] = []
    for box in root.walk():
        if box.shows is not None:
            ends.append(box)
        place |= {id(node): box for node in box.nodes}
    loops = loops or OpenedLoops(graph)
    edges = itertools.chain(_edges(graph, place, ends, lanes, loops), _from_step_to_step(loops, place))
    for tail, head, value, flow in bundled(edges):
        if flow.up:
            _route(head, tail, value, flow)
        else:
            _route(tail, head, value, flow)


def _from_step_to_step(loops: OpenedLoops, place: dict[int, Area]) -> Iterator[Edge]:
    for edge, carry in loops.back:
        tail, head = place.get(id(edge_node(edge))), place.get(id(carry))
        if tail is not None and head is not None:
            yield Edge(tail, head, (id(carry), -1), Flow("carry", True))


def _edges(
    graph: Graph, place: dict[int, Area], ends: list[Area], lanes: Lanes, loops: OpenedLoops
) -> Iterator[Edge]:
    for node in graph.nodes:
        head, forward = place[id(node)], not lanes.lane(node)
        for entry in node.inputs[: loops.hidden.get(id(node))]:
            if not is_recorded(entry):
                continue
            tail = edge_node(entry)
            if forward and place[id(tail)] is head:  # most edges of a large graph
                continue
            source = place.get(id(lanes.keeper(tail, node)), place[id(tail)])
            yield Edge(source, head, lanes.value(tail, node, edge_index(entry)), lanes.flow(tail, node))
    for box in ends:
        assert box.shows is not None
        up = box.kind == "gradient"
        yield Edge(place[box.shows[0]], box, box.shows, Flow("gradient" if up else "data", up))


def _route(upper: Area, lower: Area, value: Value, flow: Flow) -> None:
    """A link in the innermost group around both, and on either side links to the borders that are crossed."""
    if upper is lower:
        return
    while upper.parent is not lower.parent:
        if upper.depth >= lower.depth:
            assert upper.parent is not None
            upper.parent.links[upper, None, value] = flow
            upper.outs[value] = None
            upper = upper.parent
        else:
            assert lower.parent is not None
            lower.parent.links[None, lower, value] = flow
            lower.ins[value] = None
            lower = lower.parent
    assert upper.parent is not None
    if upper is not lower:
        upper.outs[value] = None
        lower.ins[value] = None
        upper.parent.links[upper, lower, value] = flow


# -- layout ------------------------------------------------------------------------------------------------------------


def lay_out(root: Area, layouts: Interiors) -> None:
    """Lay out every interior, from the inside out."""
    for box in reversed([box for box in root.walk() if box.kids]):
        layouts.outermost = box is root
        _lay_out(box, layouts)
        _untangle(box, layouts)


def _untangle(box: Area, layouts: Interiors) -> None:
    """Put the ports of groups in the order in which curves come to them, where fewer cross then."""
    assert box.interior is not None
    groups = [kid for kid in box.kids if kid.kids]
    wishes = {kid: _wished(box, kid) for kid in groups}
    wishes = {kid: wish for kid, wish in wishes.items() if wish != (list(kid.ins), list(kid.outs))}
    if not wishes or not layouts.has_time:
        return
    before = [(one, one.interior, one.ins, one.outs) for one in (box, *wishes)]
    tangled = sum(crossings(one.interior.paths) for one in (box, *wishes) if one.interior is not None)
    for kid, wish in wishes.items():
        _lay_out(kid, layouts, wish)
    _lay_out(box, layouts)
    if sum(crossings(one.interior.paths) for one in (box, *wishes) if one.interior is not None) >= tangled:
        for one, interior, ins, outs in before:
            one.interior, one.ins, one.outs = interior, ins, outs


def _wished(box: Area, kid: Area) -> tuple[list[Value], list[Value]]:
    """The values at the borders of a kid, in the order in which the other ends of their curves lie."""
    assert box.interior is not None
    above: dict[Value, float] = {}
    below: dict[Value, float] = {}
    for (upper, lower, value), flow, path in zip(
        box.links, box.links.values(), box.interior.paths, strict=True
    ):
        start, end = ends(path)[:: -1 if flow.up else 1]
        if lower is kid:
            above[value] = start
        if upper is kid:
            below[value] = end
    return (
        sorted(kid.ins, key=lambda value: above.get(value, 0.0)),
        sorted(kid.outs, key=lambda value: below.get(value, 0.0)),
    )


def _lay_out(box: Area, layouts: Interiors, order: tuple[list[Value], list[Value]] | None = None) -> None:
    """Lay out an interior whose kids are laid out, and put the box's ports in the order of the result."""
    ins, outs = _entering(box), _leaving(box)
    kids = [_kid(kid) for kid in box.kids]
    ports = [_Ports(kid) for kid in box.kids]
    inner, outer = _places(ins), _places(outs)
    links = [
        Link(
            BORDER if upper is None else upper.number,
            inner[value] if upper is None else ports[upper.number].out(value),
            BORDER if lower is None else lower.number,
            outer[value] if lower is None else ports[lower.number].into(value),
            flow.up,
        )
        for (upper, lower, value), flow in box.links.items()
    ]
    rows = [[kid.number for kid in row] for row in box.rows]
    aside = inner.get(SAVED) if _bridged(box) else None
    in_order, out_order = (None, None) if order is None else _orders(order, inner, outer)
    problem = Problem(
        kids=tuple(kids),
        links=tuple(links),
        ins=len(ins),
        outs=len(outs),
        rows=tuple(map(tuple, rows)),
        aside=aside,
        in_order=in_order,
        out_order=out_order,
        least=_least(box),
    )
    box.interior = layouts.interior(problem)
    box.ins = dict.fromkeys(ins[i] for i in box.interior.ins)
    box.outs = dict.fromkeys(outs[i] for i in box.interior.outs)


def _least(box: Area) -> float:
    """A width that its title fits in, in steps, so that groups still share interiors."""
    return min(max(math.ceil((len(box.title) * LETTER + 12) / TITLE_STEP) * TITLE_STEP, LEAST_WIDTH), WIDEST)


def _entering(box: Area) -> list[Value]:
    """What crosses the upper border, in an order that does not depend on where it stood before."""
    return list(dict.fromkeys(value for upper, _, value in box.links if upper is None))


def _leaving(box: Area) -> list[Value]:
    return list(dict.fromkeys(value for _, lower, value in box.links if lower is None))


def _orders(
    order: tuple[list[Value], list[Value]], inner: dict[Value, int], outer: dict[Value, int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    ins, outs = (
        tuple(places[value] for value in values) for values, places in zip(order, (inner, outer), strict=True)
    )
    return ins if len(ins) > 1 else None, outs if len(outs) > 1 else None


def _bridged(box: Area) -> bool:
    """Whether what a box of a backward pass reads comes straight across from its row."""
    if box.leader is None or box.parent is None:
        return False
    sources = [upper for upper, lower, value in box.parent.links if lower is box and value == SAVED]
    return bool(sources) and all(one is not None and box.leader in (one, one.leader) for one in sources)


def _kid(box: Area) -> Kid:
    if not box.kids:
        return Kid(*box.size, 1, 1)
    side = box.interior.side if box.interior is not None else 0.5
    return Kid(*box.size, len(box.ins), len(box.outs), side)


def _places(values: Sequence[Value]) -> dict[Value, int]:
    return {value: i for i, value in enumerate(values)}


class _Ports:
    """Where values cross the border of a box; ops have one place above and one below."""

    def __init__(self, box: Area) -> None:
        self.ins = _places(list(box.ins)) if box.kids else {}
        self.outs = _places(list(box.outs)) if box.kids else {}

    def into(self, value: Value) -> int:
        return self.ins.get(value, 0)

    def out(self, value: Value) -> int:
        return self.outs.get(value, 0)
