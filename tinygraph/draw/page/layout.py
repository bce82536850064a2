"""Where the boxes of one interior go: Graphviz once for each distinct interior, our own rows where it cannot help.

An interior is what a group shows when it is opened: its boxes, the curves between them, and the places on its border
where curves come in and leave. Names and values are no part of it, so equal groups share one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tinygraph.draw.page.folding import Curve, Draft, Piece, Point, fold
from tinygraph.draw.render import RenderError, render

BORDER = -1
POINTS_PER_INCH = 72.0
MARGIN, STUB = 14.0, 26.0  # around an interior; above and below it where curves cross its border
ROW_GAP, COLUMN_GAP = 34.0, 20.0
MOST_PORTS = 12  # on one side of a border; more share places
MOST_POINTS = 24  # that stand for ports in one layout
LARGEST_SCALE, WIDEST, TALLEST = 0.25, 260.0, 200.0  # of an interior seen from outside
LEAST_WIDTH, LEAST_HEIGHT = 104.0, 48.0
LONGEST_LAYOUT = 5.0  # seconds for one interior


class Kid(NamedTuple):
    """A box in an interior: its size, and the curves that enter and leave it at places of their own."""

    width: float
    height: float
    ins: int = 0
    outs: int = 0


class Link(NamedTuple):
    """A curve from a port of a kid (or of the border) to another's."""

    tail: int
    tail_port: int
    head: int
    head_port: int


@dataclass(frozen=True)
class Interior:
    """One laid-out interior.

    Attributes:
        width, height: its own size.
        box: the size of its box in the interior around it, of the same proportions.
        places: (x, y) of each kid's upper left corner.
        paths: SVG path data of each link.
        ins, outs: the ports in the order in which they stand on the border.
    """

    width: float
    height: float
    box: tuple[float, float]
    places: tuple[Point, ...]
    paths: tuple[str, ...]
    ins: tuple[int, ...]
    outs: tuple[int, ...]


class Layouts:
    """Interiors by their structure, laid out within a time budget; after that in plain rows."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.found: dict[object, Interior] = {}
        self.plain = 0
        self.reason = ""

    def interior(self, kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int) -> Interior:
        """The interior with these boxes and links."""
        key = (tuple(kids), tuple(links), ins, outs)
        known = self.found.get(key)
        if known is None:
            known = self.found[key] = finish(self._draft(kids, links, ins, outs), kids, links, ins, outs)
        return known

    def _draft(self, kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int) -> Draft:
        left = self.deadline - time.monotonic()
        if left > 0:
            try:
                return by_graphviz(kids, links, ins, outs, min(left, LONGEST_LAYOUT))
            except RenderError as reason:
                self.reason = self.reason or str(reason).partition("\n")[0]
        self.plain += 1
        return by_rows(kids, links, ins, outs)


def port_share(port: int, count: int) -> float:
    """Where a port stands on a side of length 1: evenly, several in one place if there are many."""
    shown = min(count, MOST_PORTS)
    return (port * shown // count + 0.5) / shown


# -- by Graphviz -------------------------------------------------------------------------------------------------------


def by_graphviz(kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int, time_limit: float) -> Draft:
    """A draft in Graphviz's coordinates, y downwards.

    Raises:
        RenderError: Graphviz is missing, or too slow.
    """
    text = _dot(kids, links, ins, outs)
    return _read_plain(
        render(text, "plain", time_limit=time_limit).decode(), kids, _ends(links, ins, outs), ins, outs
    )


def _point(port: int, count: int) -> int:
    return port if count <= MOST_POINTS else port * MOST_POINTS // count


def _points(count: int) -> int:
    return min(count, MOST_POINTS)


def _ends(links: Sequence[Link], ins: int, outs: int) -> list[tuple[str, str]]:
    """The names of the nodes that each link joins."""
    return [
        (
            f"i{_point(link.tail_port, ins)}" if link.tail == BORDER else f"n{link.tail}",
            f"o{_point(link.head_port, outs)}" if link.head == BORDER else f"n{link.head}",
        )
        for link in links
    ]


def _dot(kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int) -> str:
    lines = [
        'digraph { nodesep=0.28 ranksep=0.42 node [shape=box fixedsize=true fontsize=1 label=""] edge [arrowhead=none]'
    ]
    for i, kid in enumerate(kids):
        size = f"width={kid.width / POINTS_PER_INCH:.4f} height={kid.height / POINTS_PER_INCH:.4f}"
        ports = f" shape=record {_record(kid)}" if max(kid.ins, kid.outs) > 1 else ""
        lines.append(f"n{i} [{size}{ports}]")
    for letter, count, rank in (("i", ins, "source"), ("o", outs, "sink")):
        if count:
            names = " ".join(f"{letter}{k} [shape=point width=0.01]" for k in range(_points(count)))
            lines.append(f"{{rank={rank} {names}}}")
    for link, (tail, head) in zip(links, _ends(links, ins, outs), strict=True):
        leaving, arriving = (
            _side(kids, link.tail, link.tail_port, "o"),
            _side(kids, link.head, link.head_port, "i"),
        )
        lines.append(f"{tail}{leaving} -> {head}{arriving}")
    return "\n".join([*lines, "}"])


def _record(kid: Kid) -> str:
    """A label with a field for each port, the incoming above the outgoing."""
    rows = [
        "|".join(f"<{letter}{k}>" for k in range(min(max(count, 1), MOST_PORTS)))
        for letter, count in (("i", kid.ins), ("o", kid.outs))
    ]
    return f'label="{{{{{rows[0]}}}|{{{rows[1]}}}}}"'


def _side(kids: Sequence[Kid], kid: int, port: int, letter: str) -> str:
    if kid == BORDER:
        return ""
    compass = "s" if letter == "o" else "n"
    count = kids[kid].outs if letter == "o" else kids[kid].ins
    if max(kids[kid].ins, kids[kid].outs) <= 1:
        return f":{compass}"
    return f":{letter}{port * min(count, MOST_PORTS) // count}:{compass}"


def _read_plain(
    text: str, kids: Sequence[Kid], ends: Sequence[tuple[str, str]], ins: int, outs: int
) -> Draft:
    height = 0.0
    centres: dict[str, Point] = {}
    curves: dict[tuple[str, str], list[list[Point]]] = {}
    width = 0.0
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == "graph":
            width, height = (float(word) * POINTS_PER_INCH for word in words[2:4])
        elif words[0] == "node":
            centres[words[1]] = (
                float(words[2]) * POINTS_PER_INCH,
                height - float(words[3]) * POINTS_PER_INCH,
            )
        elif words[0] == "edge":
            numbers = [float(word) * POINTS_PER_INCH for word in words[4 : 4 + 2 * int(words[3])]]
            points = [(x, height - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            curves.setdefault((words[1], words[2]), []).append(points)
    return Draft(
        width,
        height,
        [centres[f"n{i}"] for i in range(len(kids))],
        [(kid.width, kid.height) for kid in kids],
        [centres[f"i{_point(k, ins)}"] for k in range(ins)],
        [centres[f"o{_point(k, outs)}"] for k in range(outs)],
        [[Piece("C", points)] for points in _in_order(curves, ends)],
    )


def _in_order(
    curves: dict[tuple[str, str], list[list[Point]]], ends: Sequence[tuple[str, str]]
) -> list[list[Point]]:
    """The curve of each link; parallel ones, which no name tells apart, in the order of their ports."""
    waiting = {pair: sorted(points, reverse=True) for pair, points in curves.items()}
    order = sorted(range(len(ends)), key=lambda i: ends[i])
    found = {i: waiting[ends[i]].pop() for i in order}
    return [found[i] for i in range(len(ends))]


# -- in rows, without Graphviz -----------------------------------------------------------------------------------------


def by_rows(kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int) -> Draft:
    """A draft in rows by the longest way from the top: always possible, fast, and less beautiful."""
    rank = _ranks(len(kids), links)
    rows: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for i, level in enumerate(rank):
        rows[level].append(i)
    widths = [sum(kids[i].width + COLUMN_GAP for i in row) - COLUMN_GAP for row in rows]
    width = max([*widths, 60.0])
    centres: list[Point] = [(0.0, 0.0)] * len(kids)
    y = STUB if ins else 0.0
    for row, own in zip(rows, widths, strict=True):
        x = (width - own) / 2
        tallest = max(kids[i].height for i in row)
        for i in row:
            centres[i] = (x + kids[i].width / 2, y + tallest / 2)
            x += kids[i].width + COLUMN_GAP
        y += tallest + ROW_GAP
    height = max(y - ROW_GAP, 20.0) + (STUB if outs else 0.0)
    starts = [(width * port_share(k, ins), 0.0) for k in range(ins)]
    finishes = [(width * port_share(k, outs), height) for k in range(outs)]

    def end(kid: int, port: int, down: int) -> Point:
        if kid == BORDER:
            return starts[port] if down > 0 else finishes[port]
        count = kids[kid].outs if down > 0 else kids[kid].ins
        share = port_share(port, count) if count else 0.5
        x, y = centres[kid]
        return (x + (share - 0.5) * kids[kid].width, y + down * kids[kid].height / 2)

    curves = [
        [_s_curve(end(link.tail, link.tail_port, 1), end(link.head, link.head_port, -1))] for link in links
    ]
    sizes = [(kid.width, kid.height) for kid in kids]
    return Draft(width, height, centres, sizes, starts, finishes, curves)


def _ranks(count: int, links: Sequence[Link]) -> list[int]:
    """Longest paths; links back to an earlier box do not count."""
    rank = [0] * count
    for link in sorted(links, key=lambda link: (link.tail, link.head)):
        if link.tail != BORDER and link.head > link.tail:
            rank[link.head] = max(rank[link.head], rank[link.tail] + 1)
    return rank


def _s_curve(start: Point, end: Point) -> Piece:
    """A curve that leaves and arrives vertically."""
    reach = max(abs(end[1] - start[1]) / 2, 8.0)
    return Piece("C", [start, (start[0], start[1] + reach), (end[0], end[1] - reach), end])


# -- the finish, for both ----------------------------------------------------------------------------------------------


def finish(draft: Draft, kids: Sequence[Kid], links: Sequence[Link], ins: int, outs: int) -> Interior:
    """Columns, margins, ports spread evenly along the border, and the proportions of the box."""
    draft = fold(draft)
    in_order = tuple(sorted(range(ins), key=lambda k: (draft.starts[k][0], k)))
    out_order = tuple(sorted(range(outs), key=lambda k: (draft.finishes[k][0], k)))
    above, below = _stub(draft.starts, in_order, draft.width), _stub(draft.finishes, out_order, draft.width)
    width, height = draft.width + 2 * MARGIN, draft.height + above + below
    scale = min(LARGEST_SCALE, WIDEST / width, TALLEST / height)
    box = (max(LEAST_WIDTH, round(scale * width)), max(LEAST_HEIGHT, round(scale * height)))
    full_width = max(width, height * box[0] / box[1])
    full_height = full_width * box[1] / box[0]
    dx, dy = (full_width - draft.width) / 2, above + (full_height - height) / 2
    in_places = {k: (full_width * port_share(i, ins), 0.0) for i, k in enumerate(in_order)}
    out_places = {k: (full_width * port_share(i, outs), full_height) for i, k in enumerate(out_order)}
    paths = []
    for link, curve in zip(links, draft.curves, strict=True):
        pieces = [piece.moved(dx, dy) for piece in curve]
        if link.tail == BORDER:  # straight up past the boxes, then aside
            first = pieces[0].points[0]
            top = (first[0], dy)
            pieces[:0] = [_s_curve(in_places[link.tail_port], top), Piece("L", [top, first])]
        if link.head == BORDER:
            last = pieces[-1].points[-1]
            bottom = (last[0], dy + draft.height)
            pieces += [Piece("L", [last, bottom]), _s_curve(bottom, out_places[link.head_port])]
        paths.append(path_data(pieces))
    places = tuple(
        (round(x - w / 2 + dx, 1), round(y - h / 2 + dy, 1))
        for (x, y), (w, h) in zip(draft.centres, draft.sizes, strict=True)
    )
    return Interior(
        round(full_width, 1), round(full_height, 1), box, places, tuple(paths), in_order, out_order
    )


def _stub(ends: Sequence[Point], order: Sequence[int], width: float) -> float:
    """Room between a border and the boxes: enough for the curves there to go aside without lying flat."""
    aside = [abs(ends[k][0] - width * port_share(i, len(order))) for i, k in enumerate(order)]
    return max(STUB, 0.12 * max(aside)) if aside else MARGIN


def path_data(curve: Curve) -> str:
    """SVG path data; corners of polylines are rounded."""
    words = [f"M{_at(curve[0].points[0])}"]
    for piece in curve:
        if piece.kind == "C":
            words += [
                f"C{' '.join(map(_at, piece.points[i : i + 3]))}" for i in range(1, len(piece.points), 3)
            ]
            continue
        legs = list(pairwise(piece.points))
        for (start, corner), (_, end) in pairwise(legs):
            words.append(f"L{_at(_toward(corner, start))}Q{_at(corner)} {_at(_toward(corner, end))}")
        words.append(f"L{_at(piece.points[-1])}")
    return "".join(words)


def _toward(corner: Point, other: Point, radius: float = 7.0) -> Point:
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1]) or 1.0
    share = min(0.5, radius / length)
    return (corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share)


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
