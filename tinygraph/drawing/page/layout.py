"""Where the boxes of one interior go: Graphviz once for each distinct interior, our own rows where it cannot help.

An interior is what a group shows when it is opened: its boxes, the curves between them, and the places on its border
where curves come in and leave. Names and values are no part of it, so equal groups share one.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tinygraph.drawing.dot.render import RenderError, render
from tinygraph.drawing.page.folding import Curve, Draft, Piece, Point, fold

BORDER = -1
POINTS_PER_INCH = 72.0
MARGIN, STUB = 14.0, 26.0  # around an interior; above and below it where curves cross its border
ROW_GAP, COLUMN_GAP = 34.0, 20.0
GAP, BRIDGE = 26.0, 74.0  # between the boxes of one row, without and with a link across, which is written on
MOST_PORTS = 12  # on one side of a border; more share places
MOST_POINTS = 24  # that stand for ports in one layout
LARGEST_SCALE, WIDEST, TALLEST = 0.25, 260.0, 200.0  # of an interior seen from outside
LEAST_WIDTH, LEAST_HEIGHT = 104.0, 48.0
# Width over height beyond which boxes side by side come in several lines, about what it is then, how many are a crowd.
WIDE, WRAPPED, CROWD = 4.0, 1.8, 8
LONGEST_LAYOUT = 5.0  # seconds for one interior
INNER, UNTANGLING = (
    0.75,
    0.25,
)  # shares of the time: for all but the outermost interior, and until when layouts are improved


class Kid(NamedTuple):
    """A box in an interior: its size, and the curves that enter and leave it at places of their own."""

    width: float
    height: float
    ins: int = 0
    outs: int = 0
    side: float = 0.5  # where on its height a link from beside it arrives


class Link(NamedTuple):
    """A curve from a lower port of a kid (or of the upper border) to an upper port of another below it.

    With `up` it is drawn against that order. Between two kids of one row it goes straight across.
    """

    tail: int
    tail_port: int
    head: int
    head_port: int
    up: bool = False


@dataclass(frozen=True)
class Interior:
    """One laid-out interior.

    Attributes:
        width, height: its own size.
        box: the size of its box in the interior around it, of the same proportions.
        places: (x, y) of each kid's upper left corner.
        paths: SVG path data of each link.
        ins, outs: the ports in the order in which they stand on the border.
        side: where on its height a link from beside it comes in.
    """

    width: float
    height: float
    box: tuple[float, float]
    places: tuple[Point, ...]
    paths: tuple[str, ...]
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    side: float = 0.5


@dataclass(frozen=True)
class Problem:
    """An interior that is to be laid out.

    Attributes:
        kids, links: its boxes, and the curves between them.
        ins, outs: how many curves cross its upper and its lower border.
        rows: kids that lie side by side, from left to right.
        aside: the one of the `ins` that comes in at the left instead.
        in_order, out_order: the orders of the places on the borders, where they are not free.
        least: the width of its box, at least.
    """

    kids: tuple[Kid, ...]
    links: tuple[Link, ...]
    ins: int
    outs: int
    rows: tuple[tuple[int, ...], ...]
    aside: int | None = None
    in_order: tuple[int, ...] | None = None
    out_order: tuple[int, ...] | None = None
    least: float = LEAST_WIDTH

    @functools.cached_property
    def row_of(self) -> list[int]:
        """The row of each kid."""
        found = [0] * len(self.kids)
        for number, row in enumerate(self.rows):
            for kid in row:
                found[kid] = number
        return found

    @functools.cached_property
    def gaps(self) -> list[float]:
        """Room between the kids of each row."""
        bridged = {self.row_of[link.tail] for link in self.links if self.across(link)}
        return [BRIDGE if row in bridged else GAP for row in range(len(self.rows))]

    @functools.cached_property
    def sizes(self) -> list[tuple[float, float]]:
        """Width and height of each row."""
        return [
            (
                sum(self.kids[i].width for i in row) + gap * (len(row) - 1),
                max(self.kids[i].height for i in row),
            )
            for row, gap in zip(self.rows, self.gaps, strict=True)
        ]

    @functools.cached_property
    def offsets(self) -> list[float]:
        """From the middle of its row to the middle of each kid."""
        found = [0.0] * len(self.kids)
        for row, gap, (width, _) in zip(self.rows, self.gaps, self.sizes, strict=True):
            left = -width / 2
            for kid in row:
                found[kid] = left + self.kids[kid].width / 2
                left += self.kids[kid].width + gap
        return found

    def across(self, link: Link) -> bool:
        """Whether a link joins two kids of one row."""
        return BORDER not in (link.tail, link.head) and self.row_of[link.tail] == self.row_of[link.head]

    def placed(self, middles: Sequence[Point]) -> list[Point]:
        """The middle of each kid, given that of each row."""
        return [
            (middles[row][0] + offset, middles[row][1])
            for row, offset in zip(self.row_of, self.offsets, strict=True)
        ]

    def port(self, kid: int, port: int, down: bool) -> float:
        """How far from the middle of a kid's row a port of its lower or upper side lies."""
        box = self.kids[kid]
        count = max(1, box.outs if down else box.ins)
        return self.offsets[kid] + (port_share(min(port, count - 1), count) - 0.5) * box.width


class Interiors:
    """Interiors by their structure, laid out within a time budget; after that in plain rows."""

    def __init__(self, seconds: float) -> None:
        self.start = time.monotonic()
        self.seconds = seconds
        self.outermost = True  # what is seen first may take all the time that is left
        self.found: dict[Problem, Interior] = {}
        self.plain = 0
        self.reason = ""
        self.longest = LONGEST_LAYOUT
        self.too_many = (
            math.inf
        )  # links with which Graphviz was too slow: inside, it is not asked that much again

    def interior(self, problem: Problem) -> Interior:
        """The interior with these boxes and links."""
        known = self.found.get(problem)
        if known is None:
            known = self.found[problem] = finish(self._draft(problem), problem)
        return known

    @property
    def has_time(self) -> bool:
        """Whether there is time to lay out better what is laid out already."""
        return not self.plain and time.monotonic() - self.start < UNTANGLING * self.seconds

    def _draft(self, problem: Problem) -> Draft:
        share = 1.0 if self.outermost else INNER
        left = self.start + share * self.seconds - time.monotonic()
        if left > 0 and (self.outermost or len(problem.links) < self.too_many):
            try:
                return by_graphviz(problem, min(left, LONGEST_LAYOUT if self.outermost else self.longest))
            except RenderError as reason:
                self.reason = self.reason or str(reason).partition(". ")[0].partition("\n")[0]
                self.longest /= 2
                self.too_many = min(self.too_many, len(problem.links))
        self.plain += 1
        return by_rows(problem)


def port_share(port: int, count: int) -> float:
    """Where a port stands on a side of length 1: evenly, several in one place if there are many."""
    shown = min(count, MOST_PORTS)
    return (port * shown // count + 0.5) / shown


# -- by Graphviz -------------------------------------------------------------------------------------------------------


def by_graphviz(problem: Problem, time_limit: float) -> Draft:
    """A draft in Graphviz's coordinates, y downwards.

    Raises:
        RenderError: Graphviz is missing, or too slow.
    """
    start = time.monotonic()
    draft = _read_plain(render(_dot(problem), "plain", time_limit=time_limit).decode(), problem)
    steps = _wrapped(draft, problem)
    left = time_limit - (time.monotonic() - start)
    if not steps or left <= 0:
        return draft
    try:
        wrapped = _read_plain(render(_dot(problem, steps), "plain", time_limit=left).decode(), problem)
    except RenderError:
        return draft
    return wrapped if wrapped.width < draft.width else draft


def _wrapped(draft: Draft, problem: Problem) -> dict[int, tuple[int, int]]:
    """Of a draft much wider than high, the boxes side by side in several lines: by row, the ranks below what it reads
    and above what reads it."""
    lines: dict[float, list[tuple[float, int]]] = {}
    for number, row in enumerate(problem.rows):
        x, y = draft.centres[row[0]]
        lines.setdefault(round(y), []).append((x, number))
    crowded = [sorted(line) for line in lines.values() if len(line) >= CROWD]
    if draft.width < WIDE * draft.height or not crowded:
        return {}
    longest = max(map(len, crowded))
    found = {}
    for line in crowded:
        count = math.ceil(math.sqrt(draft.width / (WRAPPED * draft.height)) * len(line) / longest)
        for place, (_, number) in enumerate(line):
            found[number] = (1 + place % count, count - place % count)
    return found


def _point(port: int, count: int) -> int:
    return port if count <= MOST_POINTS else port * MOST_POINTS // count


def _points(count: int) -> int:
    return min(count, MOST_POINTS)


def _ends(problem: Problem, link: Link) -> tuple[str, str]:
    """The names of the nodes that a link joins."""
    return (
        f"i{_point(link.tail_port, problem.ins)}" if link.tail == BORDER else f"n{problem.row_of[link.tail]}",
        f"o{_point(link.head_port, problem.outs)}"
        if link.head == BORDER
        else f"n{problem.row_of[link.head]}",
    )


def _dot(problem: Problem, steps: Mapping[int, tuple[int, int]] | None = None) -> str:
    """The interior for Graphviz; `steps` are the least ranks before and after some rows."""
    steps = steps or {}
    lines = [
        'digraph { nodesep=0.28 ranksep=0.42 node [shape=box fixedsize=true fontsize=1 label=""] edge [arrowhead=none]'
    ]
    for number, (row, (width, height)) in enumerate(zip(problem.rows, problem.sizes, strict=True)):
        size = f"width={width / POINTS_PER_INCH:.4f} height={height / POINTS_PER_INCH:.4f}"
        plain = len(row) == 1 and max(problem.kids[row[0]].ins, problem.kids[row[0]].outs) <= 1
        ports = "" if plain else f" shape=record {_record(problem, row)}"
        lines.append(f"n{number} [{size}{ports}]")
    for letter, count, rank in (("i", problem.ins, "source"), ("o", problem.outs, "sink")):
        if count:
            names = " ".join(f"{letter}{k} [shape=point width=0.01]" for k in range(_points(count)))
            lines.append(f"{{rank={rank} {names}}}")
    for letter, count, order in (
        ("i", problem.ins, problem.in_order),
        ("o", problem.outs, problem.out_order),
    ):
        if order is not None:
            chain = dict.fromkeys(f"{letter}{_point(k, count)}" for k in order)
            lines.append(f"{' -> '.join(chain)} [style=invis]")
    for link in problem.links:
        if not problem.across(link):
            tail, head = _ends(problem, link)
            leaving, arriving = (
                _side(problem, link.tail, link.tail_port, "o"),
                _side(problem, link.head, link.head_port, "i"),
            )
            before = 1 if link.head == BORDER else steps.get(problem.row_of[link.head], (1, 1))[0]
            after = 1 if link.tail == BORDER else steps.get(problem.row_of[link.tail], (1, 1))[1]
            apart = f" [minlen={before + after - 1}]" if before + after > 2 else ""
            lines.append(f"{tail}{leaving} -> {head}{arriving}{apart}")
    return "\n".join([*lines, "}"])


def _shown(count: int) -> int:
    return min(max(count, 1), MOST_PORTS)


def _record(problem: Problem, row: Sequence[int]) -> str:
    """A label with a field for each port of each kid, the upper ones above the lower ones."""
    fields = [
        "|".join(
            f"<{letter}{kid}_{k}>"
            for kid in row
            for k in range(_shown(problem.kids[kid].ins if letter == "i" else problem.kids[kid].outs))
        )
        for letter in "io"
    ]
    return f'label="{{{{{fields[0]}}}|{{{fields[1]}}}}}"'


def _side(problem: Problem, kid: int, port: int, letter: str) -> str:
    if kid == BORDER:
        return ""
    compass = "s" if letter == "o" else "n"
    box = problem.kids[kid]
    if len(problem.rows[problem.row_of[kid]]) == 1 and max(box.ins, box.outs) <= 1:
        return f":{compass}"
    count = max(1, box.outs if letter == "o" else box.ins)
    return f":{letter}{kid}_{min(port, count - 1) * _shown(count) // count}:{compass}"


def _read_plain(text: str, problem: Problem) -> Draft:
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
    middles = [centres[f"n{i}"] for i in range(len(problem.rows))]
    ins, outs = problem.ins, problem.outs
    return Draft(
        width,
        height,
        problem.placed(middles),
        [(kid.width, kid.height) for kid in problem.kids],
        [centres[f"i{_point(k, ins)}"] for k in range(ins)],
        [centres[f"o{_point(k, outs)}"] for k in range(outs)],
        _joined(problem, middles, _in_order(curves, problem)),
    )


def _in_order(curves: dict[tuple[str, str], list[list[Point]]], problem: Problem) -> dict[int, list[Point]]:
    """The curve of each link; parallel ones, which no name tells apart, in the order of their ports."""
    waiting = {
        pair: sorted(points, key=lambda one: (one[0], one[-1]), reverse=True)
        for pair, points in curves.items()
    }

    def place(i: int) -> tuple[float, float]:
        link = problem.links[i]
        leaving = link.tail_port if link.tail == BORDER else problem.port(link.tail, link.tail_port, True)
        arriving = link.head_port if link.head == BORDER else problem.port(link.head, link.head_port, False)
        return (leaving, arriving)

    order = sorted((i for i, link in enumerate(problem.links) if not problem.across(link)), key=place)
    return {i: waiting[_ends(problem, problem.links[i])].pop() for i in order}


def _joined(problem: Problem, middles: Sequence[Point], curves: dict[int, list[Point]]) -> list[Curve]:
    """Each link's curve, brought from the ends of its rows to the very places of its ports; none for those across."""
    found: list[Curve] = []
    for i, link in enumerate(problem.links):
        points = list(curves.get(i, ()))
        if points and link.tail != BORDER:
            points = _brought(points, _port_place(problem, middles, link.tail, link.tail_port, True))
        if points and link.head != BORDER:
            end = _port_place(problem, middles, link.head, link.head_port, False)
            points = _brought(points[::-1], end)[::-1]
        found.append([Piece("C", points)] if points else [])
    return found


def _port_place(problem: Problem, middles: Sequence[Point], kid: int, port: int, down: bool) -> Point:
    x, y = middles[problem.row_of[kid]]
    half = problem.kids[kid].height / 2
    return (x + problem.port(kid, port, down), y + half if down else y - half)


def _brought(points: list[Point], place: Point) -> list[Point]:
    """A curve that begins at a place right above or below which it began, or a little beside."""
    dx = place[0] - points[0][0]
    moved = [(points[0][0] + dx, points[0][1]), (points[1][0] + dx, points[1][1]), *points[2:]]
    if abs(place[1] - points[0][1]) < 1.5:
        return [place, *moved[1:]]
    corner = moved[0]
    between = [(place[0], place[1] + (corner[1] - place[1]) * part) for part in (1 / 3, 2 / 3)]
    return [place, *between, *moved]


# -- in rows, without Graphviz -----------------------------------------------------------------------------------------


def by_rows(problem: Problem) -> Draft:
    """A draft in levels by the longest way from the top: always possible, fast, and less beautiful."""
    rank = _ranks(problem)
    levels: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for row, level in enumerate(rank):
        levels[level].append(row)
    widths = [sum(problem.sizes[row][0] + COLUMN_GAP for row in level) - COLUMN_GAP for level in levels]
    width = max([*widths, 60.0])
    middles: list[Point] = [(0.0, 0.0)] * len(problem.rows)
    y = STUB if problem.ins else 0.0
    for rows, own in zip(levels, widths, strict=True):
        x = (width - own) / 2
        tallest = max(problem.sizes[row][1] for row in rows)
        for row in rows:
            middles[row] = (x + problem.sizes[row][0] / 2, y + tallest / 2)
            x += problem.sizes[row][0] + COLUMN_GAP
        y += tallest + ROW_GAP
    height = max(y - ROW_GAP, 20.0) + (STUB if problem.outs else 0.0)
    starts = [(width * port_share(k, problem.ins), 0.0) for k in range(problem.ins)]
    finishes = [(width * port_share(k, problem.outs), height) for k in range(problem.outs)]

    def end(kid: int, port: int, down: bool) -> Point:
        if kid == BORDER:
            return starts[port] if down else finishes[port]
        return _port_place(problem, middles, kid, port, down)

    curves = [
        []
        if problem.across(link)
        else [_s_curve(end(link.tail, link.tail_port, True), end(link.head, link.head_port, False))]
        for link in problem.links
    ]
    sizes = [(kid.width, kid.height) for kid in problem.kids]
    return Draft(width, height, problem.placed(middles), sizes, starts, finishes, curves)


def _ranks(problem: Problem) -> list[int]:
    """Longest paths of the rows; links back to an earlier one do not count."""
    rank = [0] * len(problem.rows)
    inner = [link for link in problem.links if BORDER not in (link.tail, link.head)]
    for tail, head in sorted((problem.row_of[link.tail], problem.row_of[link.head]) for link in inner):
        if head > tail:
            rank[head] = max(rank[head], rank[tail] + 1)
    return rank


def _s_curve(start: Point, end: Point) -> Piece:
    """A curve that leaves and arrives vertically."""
    reach = max(abs(end[1] - start[1]) / 2, 8.0)
    return Piece("C", [start, (start[0], start[1] + reach), (end[0], end[1] - reach), end])


# -- the finish, for both ----------------------------------------------------------------------------------------------


def finish(draft: Draft, problem: Problem) -> Interior:
    """Columns, margins, ports spread evenly along the border, and the proportions of the box."""
    draft = fold(draft)
    ins, outs = problem.ins, problem.outs
    in_order = problem.in_order or tuple(
        sorted((k for k in range(ins) if k != problem.aside), key=lambda k: (draft.starts[k][0], k))
    )
    out_order = problem.out_order or tuple(sorted(range(outs), key=lambda k: (draft.finishes[k][0], k)))
    above, below = _stub(draft.starts, in_order, draft.width), _stub(draft.finishes, out_order, draft.width)
    above = above if problem.aside is None else max(above, STUB)
    width, height = draft.width + 2 * MARGIN, draft.height + above + below
    scale = min(LARGEST_SCALE, WIDEST / width, TALLEST / height)
    box = (max(problem.least, round(scale * width)), max(LEAST_HEIGHT, round(scale * height)))
    full_width = max(width, height * box[0] / box[1])
    full_height = full_width * box[1] / box[0]
    dx, dy = (full_width - draft.width) / 2, above + (full_height - height) / 2
    in_places = {k: (full_width * port_share(i, len(in_order)), 0.0) for i, k in enumerate(in_order)}
    out_places = {k: (full_width * port_share(i, outs), full_height) for i, k in enumerate(out_order)}
    beside = (0.0, dy - above / 2)
    paths = []
    for link, curve in zip(problem.links, draft.curves, strict=True):
        pieces = [piece.moved(dx, dy) for piece in curve]
        if problem.across(link):
            pieces = [_bridge(draft, problem.kids, link).moved(dx, dy)]
        if link.tail == BORDER:  # straight up past the boxes, then aside
            first = pieces[0].points[0]
            top = (first[0], dy)
            entry = (
                Piece("C", [beside, (top[0] * 0.6, beside[1]), (top[0], beside[1]), top])
                if link.tail_port == problem.aside
                else _s_curve(in_places[link.tail_port], top)
            )
            pieces[:0] = [entry, Piece("L", [top, first])]
        if link.head == BORDER:
            last = pieces[-1].points[-1]
            bottom = (last[0], dy + draft.height)
            pieces += [Piece("L", [last, bottom]), _s_curve(bottom, out_places[link.head_port])]
        paths.append(path_data(_turned(pieces) if link.up else pieces))
    places = tuple(
        (round(x - w / 2 + dx, 1), round(y - h / 2 + dy, 1))
        for (x, y), (w, h) in zip(draft.centres, draft.sizes, strict=True)
    )
    return Interior(
        round(full_width, 1), round(full_height, 1), box, places, tuple(paths), in_order, out_order,
        beside[1] / full_height,
    )  # fmt: skip


def _bridge(draft: Draft, kids: Sequence[Kid], link: Link) -> Piece:
    """From the right of one box to the left of another in its row; in an arc below what is between."""
    (x, y), (width, _) = draft.centres[link.tail], draft.sizes[link.tail]
    (u, v), (across, height) = draft.centres[link.head], draft.sizes[link.head]
    start, end = (x + width / 2, y), (u - across / 2, v + (kids[link.head].side - 0.5) * height)
    middle = (start[0] + end[0]) / 2
    if end[0] - start[0] > 1.5 * BRIDGE:  # past another one
        low = y + max(draft.sizes[link.tail][1], height) / 2 + 12
        return Piece("C", [start, (start[0] + 40, low), (end[0] - 40, low), end])
    return Piece("C", [start, (middle, start[1]), (middle, end[1]), end])


def _turned(curve: Curve) -> Curve:
    return [Piece(piece.kind, piece.points[::-1]) for piece in reversed(curve)]


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
