"""Columns side by side: each is laid out by Graphviz on its own; arrows between them are led through the gutters.

The result is DOT text in which everything has its place, which Graphviz only paints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tinygraph.drawing.dot.writing import (
    CLOSE_MARGIN,
    HEADING_SIZE,
    LEGEND_SIZE,
    POINTS_PER_INCH,
    arrow_options,
    caption,
    new_graph,
    text,
    write_box,
    write_dot,
    write_frame,
)
from tinygraph.drawing.model.columns import Spot, boxes_within, gaps_between
from tinygraph.drawing.model.picture import Arrow, Frame, Picture
from tinygraph.drawing.sheet import Sheet
from tinygraph.drawing.styles import Style

if TYPE_CHECKING:
    import graphviz

    from tinygraph.drawing.dot.onto_sheet import Layout

GUTTER, LANE = 16.0, 6.0  # points between columns, and between arrows in there
FRAME_MARGIN, FRAME_TITLE = float(CLOSE_MARGIN), 15.0
LETTER = 5.9  # points of a letter in a frame's title, about
TIP = 6.0  # points of an arrow's head
CORNER = 6.0
MOST_ASIDE, ASIDE = 2, 7.0  # arrows that come in at a box's left, and points between them
ROOM = 14.0  # above the columns and below the heading
UNREADABLE = 1e-6

Point = tuple[float, float]
Sides = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(slots=True)
class Standings:
    """Where everything stands, in points, y downwards from the top of the columns."""

    places: dict[str, Spot] = field(default_factory=dict)
    curves: dict[str, tuple[list[Point], Point | None]] = field(
        default_factory=dict
    )  # by an arrow's id, with label
    lefts: list[float] = field(default_factory=list)  # of the columns
    rights: list[float] = field(default_factory=list)
    height: float = 0.0


def write_columns(
    picture: Picture, style: Style, sheet: Sheet, layout: Layout, size: tuple[float, float] | None = None
) -> graphviz.Digraph:
    """The DOT text of a picture whose boxes are in columns, for Graphviz's engine "nop2"."""
    column_of = {box: i for i, column in enumerate(picture.columns) for box in column}
    crossing = [arrow for arrow in picture.arrows if column_of[arrow.tail] != column_of[arrow.head]]
    positions = _columns(picture, style, sheet, layout, column_of, crossing)
    _lead(picture, positions, column_of, crossing)
    graph = new_graph(style, size, "TB")
    frames: dict[str, Sides] = {}
    for inner in picture.root.groups:
        _frame_sides(inner, positions, column_of, frames)
    boxes = {box.id: box for box in picture.boxes}
    _write_frames(graph, picture.root, positions, frames, style, 0)
    for name, place in positions.places.items():
        write_box(graph, boxes[name], style, pos=_at((place.x, place.y)))
    for arrow in picture.arrows:
        curve, label = positions.curves.get(arrow.id, ([], None))
        if curve:
            options = arrow_options(arrow, style)
            placed = {"pos": _curve(curve)} | ({"lp": _at(label)} if label and "label" in options else {})
            graph.edge(arrow.tail, arrow.head, **options, **placed)
    _write_around(graph, picture, style, sheet, layout, positions)
    return graph


# -- the columns -------------------------------------------------------------------------------------------------------


def _columns(
    picture: Picture,
    style: Style,
    sheet: Sheet,
    layout: Layout,
    column_of: dict[str, int],
    crossing: Sequence[Arrow],
) -> Standings:
    found = Standings()
    x = 0.0
    for number, column in enumerate(picture.columns):
        inside = set(column)
        arrows = [arrow for arrow in picture.arrows if arrow.tail in inside and arrow.head in inside]
        part = replace(
            picture,
            boxes=[box for box in picture.boxes if box.id in inside],
            arrows=arrows,
            root=_only(picture.root, inside),
            rows=tuple(row for row in picture.rows if inside.issuperset(row)),
            columns=(),
            notes=(),
        )
        plain = layout(str(write_dot(part, style, Sheet(flow=sheet.flow, legend=False)).source)).decode()
        width, height = _read(plain, arrows, x, found)
        found.lefts.append(x)
        found.rights.append(x + width)
        found.height = max(found.height, height)
        lanes = sum(
            column_of[arrow.tail] == number or column_of[arrow.head] == number + 1 for arrow in crossing
        )
        x += width + GUTTER + LANE * lanes
    return found


def _only(frame: Frame, inside: set[str]) -> Frame:
    groups = [_only(inner, inside) for inner in frame.groups]
    boxes = [box for box in frame.boxes if box in inside]
    return Frame(frame.id, frame.title, boxes, [one for one in groups if one.boxes or one.groups], frame.path)


def _read(plain: str, arrows: Sequence[Arrow], left: float, found: Standings) -> tuple[float, float]:
    """Take over what Graphviz says of one column; its width and height."""
    waiting: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in arrows:
        ends = (arrow.head, arrow.tail) if arrow.rank < 0 else (arrow.tail, arrow.head)
        waiting.setdefault(ends, []).append(arrow)
    width = height = 0.0
    for line in plain.splitlines():
        words = line.split(" ")
        if words[0] == "graph":
            width, height = float(words[2]) * POINTS_PER_INCH, float(words[3]) * POINTS_PER_INCH
        elif words[0] == "node":
            x, y, wide, high = (float(word) * POINTS_PER_INCH for word in words[2:6])
            found.places[words[1].strip('"')] = Spot(left + x, height - y, wide, high)
        elif words[0] == "edge":
            named = waiting.get((words[1].strip('"'), words[2].strip('"')))
            if not named or "invis" in words:
                continue  # what only keeps boxes in their order
            count = int(words[3])
            numbers = [float(word) * POINTS_PER_INCH for word in words[4 : 4 + 2 * count]]
            points = [(left + x, height - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            arrow = named.pop(0)
            label = None
            if arrow.label:
                x, y = (float(word) * POINTS_PER_INCH for word in words[-4:-2])
                label = (left + x, height - y)
            found.curves[arrow.id] = (points[::-1] if arrow.rank < 0 else points, label)
    return width, height


# -- arrows between columns --------------------------------------------------------------------------------------------


def _lead(
    picture: Picture, positions: Standings, column_of: dict[str, int], crossing: Sequence[Arrow]
) -> None:
    """Out of a box to the right, through the gutters, and from the left into the other.

    Where another box is in the way, an arrow leaves downwards instead, and comes in from above.
    """
    places = positions.places
    free = [gaps_between(column, places) for column in picture.columns]
    columns = [[places[box] for box in column] for column in picture.columns]
    used = [0] * (len(picture.columns) + 1)  # lanes of the gutter before each column
    leaving, arriving = (Counter[str]() for _ in range(2))
    above = 0
    for arrow in crossing:
        tail, head = places[arrow.tail], places[arrow.head]
        start, end = column_of[arrow.tail], column_of[arrow.head]
        leaving[arrow.tail] += 1
        arriving[arrow.head] += 1
        if _is_open(tail, columns[start], 1) and leaving[arrow.tail] == 1:
            low = tail.y
            points = [(tail.x + tail.width / 2, low)]
        else:
            low = min((gap for gap in free[start] if gap > tail.y), default=tail.y + tail.height / 2 + 10)
            points = [(tail.x, tail.y + tail.height / 2), (tail.x, low)]
        if _is_open(head, columns[end], -1) and arriving[arrow.head] <= MOST_ASIDE:
            high = head.y + ASIDE * (arriving[arrow.head] - 1)
            points_in = [(head.x - head.width / 2 - TIP, high)]
        else:
            high = max((gap for gap in free[end] if gap < head.y), default=head.y - head.height / 2 - 12)
            alone = len([one for one in picture.arrows if one.head == arrow.head]) == 1
            x, top_of_box = head.x - (0.0 if alone else head.width / 6), head.y - head.height / 2
            points_in = [(x, high), (x, top_of_box - TIP)]
        first = _lane(positions, start + 1, used)
        points += [(first, low)]
        if end == start + 1:
            points += [(first, high)]
        else:
            above += 1
            top = -6.0 - LANE * above
            second = _lane(positions, end, used)
            points += [(first, top), (second, top), (second, high)]
        positions.curves[arrow.id] = (_rounded([*points, *points_in]), None)


def _is_open(box: Spot, column: Sequence[Spot], side: int) -> bool:
    """Whether nothing stands beside a box in its column, on the left (-1) or on the right (1)."""
    return not any(
        side * (other.x - box.x) > 0 and abs(other.y - box.y) < (other.height + box.height) / 2 + LANE
        for other in column
        if other is not box
    )


def _lane(positions: Standings, gutter: int, used: list[int]) -> float:
    """The next free line in the gutter before a column."""
    used[gutter] += 1
    left = positions.rights[gutter - 1] if gutter else positions.lefts[0] - GUTTER
    return left + GUTTER / 2 + LANE * (used[gutter] - 1)


def _rounded(points: Sequence[Point]) -> list[Point]:
    """A polyline as cubic curves, its corners rounded."""
    kept = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
    found = [kept[0]]
    for before, corner, after in zip(kept, kept[1:], kept[2:], strict=False):
        entry, leave = _toward(corner, before), _toward(corner, after)
        found += [*_straight(found[-1], entry), _part(entry, corner), _part(leave, corner), leave]
    return [*found, *_straight(found[-1], kept[-1])]


def _toward(corner: Point, other: Point) -> Point:
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1]) or 1.0
    share = min(0.5, CORNER / length)
    return (corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share)


def _part(one: Point, other: Point) -> Point:
    return (one[0] + (other[0] - one[0]) * 0.55, one[1] + (other[1] - one[1]) * 0.55)


def _straight(start: Point, end: Point) -> list[Point]:
    thirds = [
        (start[0] + (end[0] - start[0]) * k / 3, start[1] + (end[1] - start[1]) * k / 3) for k in (1, 2)
    ]
    return [*thirds, end]


# -- frames, heading, legend -------------------------------------------------------------------------------------------


def _frame_sides(
    frame: Frame, positions: Standings, column_of: dict[str, int], found: dict[str, Sides]
) -> Sides:
    """The corners of each frame, around what is in it, and as wide as its title where there is room for that."""
    parts = [_frame_sides(inner, positions, column_of, found) for inner in frame.groups]
    inside = set(boxes_within(frame))
    column = column_of[next(iter(inside))]
    sides = [*parts, *(_sides(positions.places[name]) for name in frame.boxes)]
    left, top, right, bottom = (
        pick(side[i] for side in sides) for i, pick in enumerate((min, min, max, max))
    )
    left, top, right, bottom = (
        left - FRAME_MARGIN, top - FRAME_MARGIN - FRAME_TITLE, right + FRAME_MARGIN, bottom + FRAME_MARGIN,
    )  # fmt: skip
    least, most = positions.lefts[column], positions.rights[column]
    for name, other in positions.places.items():
        beside = top < other.y + other.height / 2 and other.y - other.height / 2 < bottom
        if column_of[name] != column or name in inside or not beside:
            continue
        if other.x < left:
            least = max(least, other.x + other.width / 2 + FRAME_MARGIN)
        elif other.x > right:
            most = min(most, other.x - other.width / 2 - FRAME_MARGIN)
    needed = max(0.0, LETTER * len(frame.title) + 2 * FRAME_MARGIN - (right - left))
    wider = min(needed, max(0.0, most - right))
    found[frame.id] = (left - min(needed - wider, max(0.0, left - least)), top, right + wider, bottom)
    return found[frame.id]


def _sides(place: Spot) -> Sides:
    half = (place.width / 2, place.height / 2)
    return (place.x - half[0], place.y - half[1], place.x + half[0], place.y + half[1])


def _write_frames(
    graph: graphviz.Digraph,
    frame: Frame,
    positions: Standings,
    sides: dict[str, Sides],
    style: Style,
    depth: int,
) -> None:
    for inner in frame.groups:
        left, top, right, bottom = sides[inner.id]
        with graph.subgraph(name=f"cluster_{inner.id}") as made:
            write_frame(made, inner, style, depth, CLOSE_MARGIN)
            made.attr(bb=f"{left:.2f},{-bottom:.2f},{right:.2f},{-top:.2f}")
            made.attr(lp=_at((left + FRAME_MARGIN + LETTER * len(inner.title) / 2, top + 10)))
            _write_frames(made, inner, positions, sides, style, depth + 1)


def _write_around(
    graph: graphviz.Digraph,
    picture: Picture,
    style: Style,
    sheet: Sheet,
    layout: Layout,
    positions: Standings,
) -> None:
    """The heading above and the legend below, as boxes without an outline."""
    labels = {
        "heading": text(sheet.title) if sheet.title else "",
        "below": caption(picture, style, sheet.legend),
    }
    looks = {
        "heading": {"fontsize": HEADING_SIZE, "fontcolor": style.page["text"]},
        "below": {"fontsize": LEGEND_SIZE, "fontcolor": style.page["muted"]},
    }
    wanted = {name: label for name, label in labels.items() if label}
    points = [point for curve, _ in positions.curves.values() for point in curve]
    top = min([0.0, *(y for _, y in points)])
    bottom = max([positions.height, *(y for _, y in points)])
    middle = (positions.lefts[0] + positions.rights[-1]) / 2
    for name, label in wanted.items():
        alone = new_graph(style, None, "TB")
        alone.node(name, label=label, shape="plain", **looks[name])
        _read(layout(str(alone.source)).decode(), (), 0.0, found := Standings())
        half = found.places[name].height / 2
        y = top - ROOM - half if name == "heading" else bottom + ROOM + half
        graph.node(name, label=label, shape="plain", pos=_at((middle, y)), **looks[name])


def _at(point: Point) -> str:
    return f"{point[0]:.2f},{-point[1]:.2f}"


def _curve(points: Sequence[Point]) -> str:
    """An arrow's curve as Graphviz reads it: where its tip is, then the control points."""
    (x, y), (u, v) = points[-2], points[-1]
    before = next((point for point in reversed(points[:-1]) if point != points[-1]), (x, y - 1))
    length = ((u - before[0]) ** 2 + (v - before[1]) ** 2) ** 0.5 or UNREADABLE
    tip = (u + (u - before[0]) / length * TIP, v + (v - before[1]) / length * TIP)
    return " ".join([f"e,{_at(tip)}", *map(_at, points)])
