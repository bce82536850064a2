"""Fitting a picture to its sheet: laid out once as it is, then folded and scaled by what Graphviz said of its size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tinygraph.drawing.dot.render import Engine
from tinygraph.drawing.dot.side_by_side import write_columns
from tinygraph.drawing.dot.writing import write_dot
from tinygraph.drawing.model.columns import FEW, WORTH, Spot, as_u, in_columns
from tinygraph.drawing.model.picture import Picture
from tinygraph.drawing.sheet import SMALLEST_FONT, USUAL_FONT, Sheet
from tinygraph.drawing.styles import Style
from tinygraph.errors import TinygraphWarning

if TYPE_CHECKING:
    import graphviz

PAD = 0.15 * 72  # points around a picture
SCREEN = (1450.0, 1000.0)  # what is filled where no width is given: only the proportions count

Layout = Callable[
    [str], bytes
]  # DOT text -> Graphviz's "plain", by the engine "nop2" where everything has its place


class Placed(NamedTuple):
    """A layout: the size of the picture and where its boxes stand, in points, y downwards."""

    width: float
    height: float
    places: dict[str, Spot]


def fit(
    picture: Picture, style: Style, sheet: Sheet, layout: Layout
) -> tuple[Picture, tuple[float, float] | None]:
    """The picture as it goes onto the sheet, and the size in points that it is brought to; None for its own."""
    if sheet.flow in ("down", "right"):
        picture = replace(picture, direction=sheet.flow)
    if sheet.plain:
        return picture, None
    if sheet.flow == "wrap":
        picture = _folded(replace(picture, direction="down"), style, sheet, layout)
    found = placed(layout(str(written(picture, style, sheet, layout).source)))
    width, height = found.width + 2 * PAD, found.height + 2 * PAD
    scale = sheet.font_size / USUAL_FONT
    if sheet.room is not None:
        scale = min(scale, sheet.room[0] / width, sheet.room[1] / height)
    if USUAL_FONT * scale < SMALLEST_FONT and sheet.room is not None:
        columns = "" if sheet.flow == "wrap" else '; or in columns, direction="wrap"'
        warnings.warn(
            f"{picture.name}: {len(picture.boxes)} boxes in that room make words {USUAL_FONT * scale:.1f} points high. "
            f'Draw less: zoom="module", depth=1, collapse={columns}; or without width=, on several sheets: '
            f'drawing.save("x.pdf", pages="A4")',
            TinygraphWarning,
            stacklevel=6,
        )
    return picture, (width * scale, height * scale)


def written(
    picture: Picture, style: Style, sheet: Sheet, layout: Layout, size: tuple[float, float] | None = None
) -> graphviz.Digraph:
    """The DOT text of a picture that was fitted."""
    if picture.columns:
        return write_columns(picture, style, sheet, layout, size)
    return write_dot(picture, style, sheet, size)


def engine_of(picture: Picture) -> Engine:
    """What lays a picture out that was fitted; columns are laid out already."""
    return "nop2" if picture.columns else "dot"


def _folded(picture: Picture, style: Style, sheet: Sheet, layout: Layout) -> Picture:
    """The picture in columns, or as a U where it is one and can be read: whichever way its words become largest."""
    if picture.rows or (sheet.room is None and len(picture.boxes) <= FEW):
        return picture
    places = placed(layout(str(write_dot(picture, style, sheet).source))).places
    room = sheet.room or SCREEN

    def scale(one: Picture) -> float:
        found = placed(layout(str(written(one, style, sheet, layout).source)))
        return min(room[0] / found.width, room[1] / found.height, sheet.most) * WORTH ** len(one.columns)

    shapes = [made for rows in (False, True) if (made := as_u(picture, places, rows=rows)) is not None]
    best = max(shapes, key=scale) if shapes else None
    if best is not None and (sheet.room is None or USUAL_FONT * scale(best) >= SMALLEST_FONT):
        return best
    columns = in_columns(picture, places, room, sheet.most)
    return max([*columns, *([best] if best is not None else [])], key=scale)


def placed(plain: bytes) -> Placed:
    """What a drawing in Graphviz's format "plain" says of its boxes."""
    width = height = 0.0
    places = {}
    for line in plain.decode().splitlines():
        words = line.split(" ")
        if words[0] == "graph":
            width, height = float(words[2]) * 72, float(words[3]) * 72
        elif words[0] == "node":
            x, y, wide, high = (float(word) * 72 for word in words[2:6])
            places[words[1].strip('"')] = Spot(x, height - y, wide, high)
    return Placed(width, height, places)
