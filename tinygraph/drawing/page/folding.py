"""Long chains folded into columns, so that a deep model is a page and not a ribbon. Geometry only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

Point = tuple[float, float]

FOLD_ABOVE = 2.2  # height over width beyond which a draft is folded
ASPECT = 1.45  # width over height that folding aims at
LEAST_ROWS = 6  # rows that are worth folding
MOST_CUT = (
    6  # curves on average that may run from one column to the next: more would hide what is joined with what
)
GUTTER, LANE, TURN = 30.0, 7.0, 12.0  # between columns; between curves there; above and below the columns


class Piece(NamedTuple):
    """Part of a curve: Bezier control points ("C"), or corners of a polyline ("L")."""

    kind: Literal["C", "L"]
    points: list[Point]

    def moved(self, dx: float, dy: float) -> Piece:
        return Piece(self.kind, [(x + dx, y + dy) for x, y in self.points])


Curve = list[Piece]


@dataclass
class Draft:
    """Boxes by centre and size, ports and curves, before margins and borders."""

    width: float
    height: float
    centres: list[Point]
    sizes: list[tuple[float, float]]
    starts: list[Point]
    finishes: list[Point]
    curves: list[Curve]


def fold(draft: Draft) -> Draft:
    """The draft in as many columns side by side as make it about as wide as a screen, if it is a long chain."""
    gaps = _gaps(draft)
    if draft.height < FOLD_ABOVE * draft.width or len(gaps) < LEAST_ROWS - 1:
        return draft
    columns = max(2, round(math.sqrt(ASPECT * draft.height / (draft.width + GUTTER))))
    cut = _cut_by(draft, gaps)
    share = draft.height / columns
    wanted = [share * i for i in range(1, columns)]
    near = [[gap for gap in gaps if abs(gap - one) < share / 4] or gaps for one in wanted]
    cuts = sorted(
        {
            min(found, key=lambda gap: abs(gap - one) / share + 0.1 * cut[gap])
            for one, found in zip(wanted, near, strict=True)
        }
    )
    if sum(cut[gap] for gap in cuts) > MOST_CUT * len(cuts):
        return draft
    return _Folding(draft, cuts).result()


def _cut_by(draft: Draft, gaps: Sequence[float]) -> dict[float, int]:
    """How many curves run through each gap."""
    spans = [
        (min(y for _, y in points), max(y for _, y in points))
        for points in (curve[0].points for curve in draft.curves if curve)
    ]
    return {gap: sum(low < gap < high for low, high in spans) for gap in gaps}


def _gaps(draft: Draft) -> list[float]:
    """The middles of the horizontal strips that no box reaches into."""
    spans = sorted((y - h / 2, y + h / 2) for (_, y), (_, h) in zip(draft.centres, draft.sizes, strict=True))
    gaps, low = [], spans[0][1] if spans else 0.0
    for top, bottom in spans[1:]:
        if top > low:
            gaps.append((low + top) / 2)
        low = max(low, bottom)
    return gaps


class _Folding:
    """One draft on its way into columns that begin at the tops 0, cuts[0], cuts[1] ..."""

    def __init__(self, draft: Draft, cuts: Sequence[float]) -> None:
        self.draft = draft
        self.tops = [0.0, *cuts]
        self.height = max(b - a for a, b in zip(self.tops, [*cuts, draft.height], strict=True))
        crossing = [_pieces(curve[0].points, cuts) if curve else [] for curve in draft.curves]
        self.pieces = [[(self._column(points), points) for points in pieces] for pieces in crossing]
        self.lanes = [0] * len(self.tops)
        lanes = min(12, sum(len(pieces) > 1 for pieces in crossing))
        self.gutter = GUTTER + LANE * lanes
        self.turn = TURN + LANE * lanes / 2

    def _column(self, points: Sequence[Point]) -> int:
        middle = (points[0][1] + points[-1][1]) / 2
        return max(i for i, top in enumerate(self.tops) if middle >= top or i == 0)

    def _shift(self, column: int) -> Point:
        return (column * (self.draft.width + self.gutter), self.turn - self.tops[column])

    def _move(self, point: Point, column: int) -> Point:
        dx, dy = self._shift(column)
        return (point[0] + dx, point[1] + dy)

    def _placed(self, point: Point) -> Point:
        return self._move(point, self._column([point]))

    def result(self) -> Draft:
        draft, count = self.draft, len(self.tops)
        return Draft(
            count * draft.width + (count - 1) * self.gutter,
            self.height + 2 * self.turn,
            [self._placed(point) for point in draft.centres],
            draft.sizes,
            [self._placed(point) for point in draft.starts],
            [self._placed(point) for point in draft.finishes],
            [self._curve(pieces) for pieces in self.pieces],
        )

    def _curve(self, pieces: Sequence[tuple[int, list[Point]]]) -> Curve:
        curve: Curve = []
        last = 0
        for column, points in pieces:
            placed = [self._move(point, column) for point in points]
            if curve:
                curve.append(self._lane(last, column, curve[-1].points[-1], placed[0]))
            curve.append(Piece("C", placed))
            last = column
        return curve

    def _lane(self, before: int, after: int, start: Point, end: Point) -> Piece:
        """Down, aside into the gutter, all the way up, and over the next column; or the same backwards."""
        left = min(before, after)
        lane = self.lanes[left] = self.lanes[left] + 1
        offset = LANE * min(lane, 12)
        x = (left + 1) * self.draft.width + left * self.gutter + GUTTER / 2 - LANE + offset
        low = self.height + self.turn + min(offset / 2, self.turn - 2)
        high = self.turn - min(offset / 2 + 3, self.turn - 2)
        first, then = (low, high) if after > before else (high, low)
        return Piece("L", [start, (start[0], first), (x, first), (x, then), (end[0], then), end])


def _pieces(points: Sequence[Point], cuts: Sequence[float]) -> list[list[Point]]:
    """A Bezier curve cut where it crosses the given heights."""
    pieces = [[points[0]]]
    for i in range(0, len(points) - 1, 3):
        rest = list(points[i : i + 4])
        for cut in cuts if points[-1][1] >= points[0][1] else reversed(cuts):
            if min(rest[0][1], rest[-1][1]) < cut < max(rest[0][1], rest[-1][1]):
                before, rest = _split(rest, cut)
                pieces[-1] += before[1:]
                pieces.append([rest[0]])
        pieces[-1] += rest[1:]
    return pieces


def _split(bezier: list[Point], height: float) -> tuple[list[Point], list[Point]]:
    """A cubic cut in two where it reaches a height (de Casteljau, the place by bisection)."""
    falling = bezier[0][1] < bezier[-1][1]
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if (_halves(bezier, middle)[0][-1][1] < height) == falling:
            low = middle
        else:
            high = middle
    return _halves(bezier, low)


def _halves(bezier: list[Point], t: float) -> tuple[list[Point], list[Point]]:
    rows = [bezier]
    while len(rows[-1]) > 1:
        row = rows[-1]
        rows.append([(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for a, b in pairwise(row)])
    return [row[0] for row in rows], [row[-1] for row in reversed(rows)]
