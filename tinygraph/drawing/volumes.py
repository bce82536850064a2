"""Architectures as volumes: what flows from layer to layer as boxes of height x width x channels, side by side.

An SVG of polygons, lines and words alone, so that it becomes TikZ as well. Sides grow with the root of a size, since
channels and pixels span three decades.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tinygraph.drawing.dot.render import FONT_STACK, SERIF_STACK
from tinygraph.drawing.model.picture import Box, Picture
from tinygraph.drawing.sheet import Sheet
from tinygraph.drawing.styles import Style
from tinygraph.errors import DrawingError

UNIT = 13.0  # points of the root of one row or column
THICKNESS = 3.2  # points of the root of one channel
SLANT = 0.38  # how far the side of a volume goes to the right and up, of its depth
GAP = 26.0  # points between volumes
LIFT = 16.0  # points from one value that skips to the next, above
TALLEST = 190.0
WORDS, SMALL, HEADING = 9.5, 8.0, 14.0
LETTER = 0.6  # of a size: how wide a letter is, about


class Volume(NamedTuple):
    """One box: where its front's left lower corner is, how wide, high and deep it is, and its words."""

    box: Box
    x: float
    width: float
    height: float
    depth: float
    words: tuple[str, ...]


def draw_volumes(picture: Picture, style: Style, sheet: Sheet) -> str:
    """The layers of a picture as volumes, from left to right.

    Raises:
        DrawingError: no box has a shape.
    """
    shown = [box for box in picture.boxes if box.shape and _telling(box, picture)]
    if not shown:
        raise DrawingError(
            "volumes show what layers make of a batch, and no box here has a shape with a batch axis"
        )
    tallest = max(math.sqrt(box.shape[2]) if len(box.shape) > 3 else 0.0 for box in shown) * UNIT
    shrink = min(1.0, TALLEST / tallest) if tallest else 1.0
    volumes: list[Volume] = []
    x = 0.0
    for box in shown:
        width, height, depth = _sides(box.shape, shrink)
        said = box.lines[:1] if box.kind not in ("input", "tensor") else ()
        words = (box.title, *said, "×".join(map(str, box.shape[1:])))
        room = max(width + SLANT * depth, max(len(word) for word in words) * SMALL * LETTER)
        volumes.append(Volume(box, x + (room - width - SLANT * depth) / 2, width, height, depth, words))
        x += room + GAP
    return _svg(picture, volumes, x - GAP, style, sheet)


def _telling(box: Box, picture: Picture) -> bool:
    """Whether a box changes the shape of what it reads, or is where values begin or meet."""
    shapes = {one.id: one.shape for one in picture.boxes}
    read = [arrow.tail for arrow in picture.arrows if arrow.head == box.id and shapes.get(arrow.tail)]
    weighty = box.kind in ("convolution", "contraction", "pooling", "input")
    return weighty or len(read) != 1 or shapes[read[0]][1:] != box.shape[1:]


def _sides(shape: Sequence[int], shrink: float) -> tuple[float, float, float]:
    """Width (channels), height (rows) and depth (columns) in points; a vector is a bar."""
    if len(shape) < 3:
        return 9.0, min(TALLEST, THICKNESS * 2.2 * math.sqrt(shape[-1] if len(shape) > 1 else 1)), 9.0
    rows, columns = (shape[-2], shape[-1]) if len(shape) > 3 else (shape[-1], 1)
    channels = shape[1]
    return (
        max(4.0, THICKNESS * math.sqrt(channels)),
        max(5.0, UNIT * shrink * math.sqrt(rows)),
        max(5.0, UNIT * shrink * math.sqrt(columns)),
    )


def _svg(picture: Picture, volumes: Sequence[Volume], width: float, style: Style, sheet: Sheet) -> str:
    page = style.page
    highest = max(one.height + SLANT * one.depth for one in volumes)
    middle = highest / 2
    places = {one.box.id: i for i, one in enumerate(volumes)}
    flows = _flows(picture, places)
    skips = [pair for pair in flows if pair[1] - pair[0] > 1]
    top = -LIFT * (len(skips) + 1) if skips else 0.0
    top -= 2 * HEADING if sheet.title else 0.0
    marks: list[str] = []
    for number, (before, after) in enumerate(pairwise(volumes)):
        if (number, number + 1) not in flows:
            continue
        start = before.x + before.width + SLANT * before.depth / 2 + 3
        marks.append(_arrow([(start, middle), (after.x - 3, middle)], style))
    for number, (tail, head) in enumerate(skips):
        high = -LIFT * (number + 1)
        left, right = volumes[tail], volumes[head]
        xs = (left.x + left.width, right.x + right.width / 2)
        ends = [middle - (one.height + SLANT * one.depth) / 2 for one in (left, right)]
        marks.append(_arrow([(xs[0], ends[0]), (xs[0], high), (xs[1], high), (xs[1], ends[1] - 2)], style))
    for one in volumes:
        marks += _faces(one, middle, style)
        marks += _words(one, highest, page)
    if sheet.title:
        marks.append(_text(sheet.title, width / 2, top + HEADING, HEADING, page["text"]))
    bottom = highest + 12 + 3 * (WORDS + 3)
    full, tall = width + 20, bottom - top + 20
    scale = sheet.font_size / 11.5
    if sheet.room is not None:
        scale = min(scale, sheet.room[0] / full, sheet.room[1] / tall)
    font = SERIF_STACK if style.font else FONT_STACK
    body = "\n".join(marks).replace("FONT", font)
    ground = f'<rect x="-10" y="{top - 10:.1f}" width="{full:.1f}" height="{tall:.1f}" fill="{page["background"]}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{full * scale:.2f}pt" height="{tall * scale:.2f}pt" '
        f'viewBox="-10 {top - 10:.1f} {full:.1f} {tall:.1f}">\n<g transform="scale(1 1)" data-scale="{scale:.4f}">\n'
        f"{ground}\n{body}\n</g>\n</svg>\n"
    )


def _flows(picture: Picture, places: dict[str, int]) -> list[tuple[int, int]]:
    """Pairs of volumes that a value joins, directly or through boxes that are not shown; the shortest first."""
    before: dict[str, set[int]] = {}
    for box in picture.boxes:
        tails = [arrow.tail for arrow in picture.arrows if arrow.head == box.id and arrow.role == "data"]
        reached = {
            one for tail in tails for one in ({places[tail]} if tail in places else before.get(tail, set()))
        }
        before[box.id] = reached
    pairs = {(one, places[box]) for box, tails in before.items() if box in places for one in tails}
    return sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair))


def _faces(one: Volume, middle: float, style: Style) -> list[str]:
    """Front, top and side."""
    look = style.look(one.box.kind)
    fill = one.box.fill or look.fill
    rise = SLANT * one.depth
    low = middle + (one.height + rise) / 2
    high = low - one.height
    left, right = one.x, one.x + one.width
    front = [(left, high), (right, high), (right, low), (left, low)]
    cover = [(left, high), (left + rise, high - rise), (right + rise, high - rise), (right, high)]
    side = [(right, high), (right + rise, high - rise), (right + rise, low - rise), (right, low)]
    return [
        _polygon(face, shade, look.border)
        for face, shade in ((front, fill), (cover, _shaded(fill, 0.95)), (side, _shaded(fill, 0.87)))
    ]


def _words(one: Volume, highest: float, page: Mapping[str, str]) -> list[str]:
    middle = one.x + (one.width + SLANT * one.depth) / 2
    y = highest + 14
    sizes = [WORDS, *[SMALL] * (len(one.words) - 1)]
    return [
        _text(word, middle, y + i * (WORDS + 2.5), size, page["text" if i == 0 else "muted"])
        for i, (word, size) in enumerate(zip(one.words, sizes, strict=True))
    ]


def _shaded(colour: str, share: float) -> str:
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * share):02x}" for i in (1, 3, 5))


def _polygon(points: Sequence[tuple[float, float]], fill: str, stroke: str) -> str:
    corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return f'<polygon fill="{fill}" stroke="{stroke}" points="{corners}"/>'


def _arrow(points: Sequence[tuple[float, float]], style: Style) -> str:
    colour = style.arrows["data"]
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    (x, y), (u, v) = points[-2], points[-1]
    length = math.hypot(u - x, v - y) or 1.0
    dx, dy = (u - x) / length, (v - y) / length
    head = [
        (u, v),
        (u - 5 * dx - 2.2 * dy, v - 5 * dy + 2.2 * dx),
        (u - 5 * dx + 2.2 * dy, v - 5 * dy - 2.2 * dx),
    ]
    return f'<polyline fill="none" stroke="{colour}" points="{line}"/>\n{_polygon(head, colour, colour)}'


def _text(words: str, x: float, y: float, size: float, colour: str) -> str:
    return (
        f'<text text-anchor="middle" x="{x:.2f}" y="{y:.2f}" font-family="FONT" font-size="{size:.2f}" '
        f'fill="{colour}">{html.escape(words)}</text>'
    )
