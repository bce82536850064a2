"""Long pictures folded: into columns side by side, or, where values skip from one end to the other, into a U.

Both take a picture and where its boxes stand when it runs straight down, and give one that fits a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tinygraph.drawing.model.picture import Arrow, Box, Frame, Picture

GAP = 40.0  # points between columns
NEAR = 1 / 3  # of a column's height: how far from even columns a cut may be
MOST_COLUMNS = 8
LEAST_SKIPS = 2  # values that pass over others, one within the other, that make a U
LEAST_SKIPPED = 3  # boxes that such a value passes over
FEW = 10  # boxes that need no folding
WORTH = 0.98  # of its scale is left of a picture for each column: one more is to be worth it
CANDIDATES = 3  # numbers of columns that are laid out to see which one is best


class Spot(NamedTuple):
    """Where a box stands: the middle and the size, in points, y downwards."""

    x: float
    y: float
    width: float
    height: float


Spots = Mapping[str, Spot]


def in_columns(
    picture: Picture, places: Spots, room: tuple[float, float], most: float = math.inf
) -> list[Picture]:
    """The picture in those numbers of columns that promise the largest words in that room, the best one first.

    How large they are is seen once each is laid out: a column may come out wider or narrower than it was in the whole.

    Args:
        most: how much larger than it comes a picture is drawn at most.
    """
    found: dict[int, tuple[float, Picture]] = {}
    for count in range(1, MOST_COLUMNS + 1):
        columns = _columns(picture, places, count)
        width = sum(_extent(column, places, 0) + GAP for column in columns) - GAP
        height = max(_extent(column, places, 1) for column in columns)
        scale = min(room[0] / width, room[1] / height, most) * WORTH ** len(columns)
        found.setdefault(len(columns), (scale, picture if len(columns) == 1 else _cut(picture, columns)))
    ranked = sorted(found.values(), key=lambda one: -one[0])
    return [one for _, one in ranked[:CANDIDATES]]


def _extent(boxes: Sequence[str], places: Spots, axis: int) -> float:
    low = min(places[box][axis] - places[box][axis + 2] / 2 for box in boxes)
    return max(places[box][axis] + places[box][axis + 2] / 2 for box in boxes) - low


def _columns(picture: Picture, places: Spots, count: int) -> list[list[str]]:
    """The boxes of each column, from the top."""
    order = sorted((box.id for box in picture.boxes if box.id in places), key=lambda one: places[one].y)
    low = min(places[one].y for one in order)
    share = (max(places[one].y for one in order) - low) / count
    gaps = gaps_between(order, places)
    costs = _costs(picture, places, gaps)
    cuts = []
    for wanted in (low + share * i for i in range(1, count)):
        near = [gap for gap in gaps if abs(gap - wanted) < share * NEAR]
        if near:
            cuts.append(min(near, key=lambda gap: abs(gap - wanted) / share + costs[gap]))
    bounds = sorted(set(cuts))
    columns: list[list[str]] = [[] for _ in range(len(bounds) + 1)]
    for one in order:
        columns[sum(places[one].y > cut for cut in bounds)].append(one)
    return [column for column in columns if column]


def gaps_between(order: Sequence[str], places: Spots) -> list[float]:
    """The middles of the strips across the picture that no box reaches into."""
    spans = sorted(
        (places[one].y - places[one].height / 2, places[one].y + places[one].height / 2) for one in order
    )
    gaps, low = [], spans[0][1]
    for top, bottom in spans[1:]:
        if top > low:
            gaps.append((low + top) / 2)
        low = max(low, bottom)
    return gaps


def _costs(picture: Picture, places: Spots, gaps: Sequence[float]) -> dict[float, float]:
    """What a cut costs: a tenth of a column for each arrow more than one that it cuts, and for each frame."""
    found = dict.fromkeys(gaps, -0.1)
    spans = [
        (places[arrow.tail].y, places[arrow.head].y)
        for arrow in picture.arrows
        if arrow.tail in places and arrow.head in places
    ]
    for frame in _frames(picture.root):
        inside = [places[box].y for box in boxes_within(frame) if box in places]
        spans += [(min(inside), max(inside))] if inside else []
    for gap in gaps:
        found[gap] += 0.1 * sum(min(span) < gap < max(span) for span in spans)
    return found


def _frames(frame: Frame) -> Iterator[Frame]:
    for inner in frame.groups:
        yield inner
        yield from _frames(inner)


def boxes_within(frame: Frame) -> Iterator[str]:
    """The boxes of a frame and of all frames in it."""
    yield from frame.boxes
    for inner in frame.groups:
        yield from boxes_within(inner)


def _cut(picture: Picture, columns: Sequence[Sequence[str]]) -> Picture:
    """The picture with its boxes, and pieces of its frames, in columns."""
    root = Frame(picture.root.id, picture.root.title)
    seen: set[str] = set()
    for number, column in enumerate(columns):
        piece = _piece(picture.root, set(column), number, seen)
        root.boxes += piece.boxes
        root.groups += piece.groups
    return replace(picture, root=root, columns=tuple(map(tuple, columns)), below=())


def _piece(frame: Frame, boxes: set[str], number: int, seen: set[str]) -> Frame:
    """What of a frame is in one column."""
    groups = [_piece(inner, boxes, number, seen) for inner in frame.groups]
    made = Frame(
        f"{frame.id}c{number}",
        f"{frame.title} …" if frame.id in seen else frame.title,
        [box for box in frame.boxes if box in boxes],
        [inner for inner in groups if inner.boxes or inner.groups],
        frame.path,
    )
    if made.boxes or made.groups:
        seen.add(frame.id)
    return made


# -- a U ---------------------------------------------------------------------------------------------------------------


def as_u(picture: Picture, places: Spots, *, rows: bool) -> Picture | None:
    """The picture down one side and up the other, joined by the values that skip; None where that is not its shape.

    Args:
        rows: whether chains of boxes in a frame run to the right, which makes it wider and less high.
    """
    skips = _nested_skips(picture, places)
    if len(skips) < LEAST_SKIPS or picture.mirrored:
        return None
    inner = skips[-1]
    bottom = _bottom(picture, places, inner)
    if bottom is None or not _turns(picture, places, bottom, skips):
        return None
    rising = {box.id for box in picture.boxes if places[box.id].y > bottom}
    chains = _with_skips(_chains(picture), skips, picture) if rows else []
    row_of = {box: i for i, chain in enumerate(chains) for box in chain}
    arrows = []
    for arrow in picture.arrows:
        sides = (arrow.tail in rising, arrow.head in rising)
        if row_of.get(arrow.tail, -1) == row_of.get(arrow.head, -2):
            arrow = replace(arrow, rank=0, across=True)
        elif sides == (True, True):
            arrow = replace(arrow, rank=-arrow.rank)
        elif sides == (False, True) and (arrow in skips or not rows):
            arrow = replace(arrow, rank=0, across=True)
        elif sides == (False, True):
            arrow = replace(arrow, rank=-1)
        arrows.append(arrow)
    left, right = ([box.id for box in picture.boxes if (box.id in rising) is side] for side in (False, True))
    picture = _cut(picture, [left, right])
    level = [*chains, *((arrow.tail, arrow.head) for arrow in skips if arrow.tail not in row_of)]
    return replace(picture, arrows=arrows, columns=(), rows=(*picture.rows, *map(tuple, level)))


def _turns(picture: Picture, places: Spots, bottom: float, skips: Sequence[Arrow]) -> bool:
    """Whether one arrow alone goes on at the bottom, beside those that skip, and no frame is on both sides."""
    crossing = [arrow for arrow in picture.arrows if places[arrow.tail].y < bottom < places[arrow.head].y]
    heights = ([places[box].y for box in boxes_within(frame)] for frame in _frames(picture.root))
    cut = any(min(inside) < bottom < max(inside) for inside in heights if inside)
    return not cut and sum(arrow not in skips for arrow in crossing) == 1


def _with_skips(chains: list[list[str]], skips: Sequence[Arrow], picture: Picture) -> list[list[str]]:
    """Chains of both sides in one row, where a value skips from the one to the other."""
    rest = list(chains)
    found = []
    for skip in skips:
        left = next((chain for chain in rest if chain[-1] == skip.tail), [skip.tail])
        fed = {arrow.head for arrow in picture.arrows if arrow.tail == skip.head}
        right = next((chain for chain in rest if chain[0] in fed), [])
        rest = [chain for chain in rest if chain is not left and chain is not right]
        found.append([*left, skip.head, *right])
    return [*found, *rest]


def _chains(picture: Picture) -> list[list[str]]:
    """The boxes of each frame that holds nothing but one chain of them."""
    found = []
    for frame in _frames(picture.root):
        inside = set(frame.boxes)
        following = {
            one.tail: one.head for one in picture.arrows if one.tail in inside and one.head in inside
        }
        starts = inside.difference(following.values())
        if frame.groups or len(starts) != 1 or len(following) != len(inside) - 1:
            continue
        chain = [*starts]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        if 1 < len(chain) == len(inside):
            found.append(chain)
    return found


def _nested_skips(picture: Picture, places: Spots) -> list[Arrow]:
    """Arrows over several boxes, each within the one before: the longest such row."""
    order = {box.id: i for i, box in enumerate(sorted(picture.boxes, key=lambda box: places[box.id].y))}
    heads = {box.id for box in picture.boxes if _joins(box, picture)}
    long = [
        arrow
        for arrow in picture.arrows
        if arrow.role == "data"
        and not arrow.aside
        and arrow.head in heads
        and order[arrow.head] - order[arrow.tail] > LEAST_SKIPPED
    ]
    long.sort(key=lambda arrow: (order[arrow.tail], -order[arrow.head]))
    found: list[Arrow] = []
    for arrow in long:
        if not found or (
            order[arrow.tail] > order[found[-1].tail] and order[arrow.head] < order[found[-1].head]
        ):
            found.append(arrow)
    return found


def _joins(box: Box, picture: Picture) -> bool:
    return sum(arrow.head == box.id for arrow in picture.arrows) > 1


def _bottom(picture: Picture, places: Spots, inner: Arrow) -> float | None:
    """The height at which one arrow alone leads from one side to the other, nearest the middle of the inner skip."""
    low, high = places[inner.tail].y, places[inner.head].y
    gaps = [gap for gap in gaps_between([box.id for box in picture.boxes], places) if low < gap < high]
    cut = _costs(picture, places, gaps)
    least = min(cut.values(), default=0)
    best = [gap for gap in gaps if cut[gap] == least]
    return min(best, key=lambda gap: abs(gap - (low + high) / 2)) if best else None
