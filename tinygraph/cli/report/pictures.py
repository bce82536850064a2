"""Arrays of numbers as pictures: signed grids as SVG, images as PNG. Needs no plotting library.

Colours are names, defined by the page for light and dark, or by `standalone` for a file of its own: strength is
opacity, so one picture fits both. What the numbers mean is said by whoever shows them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.drawing.png import png

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Array

CELL = 24
GAP = 16
MOST_COUNTS, MOST_NAMES = 30, 60  # classes for which a confusion matrix has numbers, and names
STANDALONE_STYLE = (
    "svg{background:#fff;color:#1b1f24;font-family:'DejaVu Sans',Verdana,sans-serif}"
    ".plus{fill:#d9480f}.minus{fill:#1971c2}.count{fill:#2b8a3e}.frame{fill:none;stroke:#adb5bd}"
    ".cell{stroke:#adb5bd;stroke-opacity:.4}text{fill:currentColor}"
)


class TitledGrid(NamedTuple):
    """A grid with the words above it."""

    title: str
    values: Any


def number(value: float, digits: int = 3) -> str:
    """A number as people write it: `-0.25` with a true minus sign, `1.2e-05` for the tiny.

    >>> number(-0.25), number(0.0), number(12)
    ('−0.25', '0', '12')
    """
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def signed_grid(
    values: object,
    *,
    limit: float | None = None,
    written: bool = False,
    name: Callable[[int, int], str] | None = None,
) -> str:
    """The inside of an SVG (`CELL` units a cell): orange for positive, blue for negative, empty for zero.

    Args:
        values: 2-D.
        limit: the magnitude of full colour; the largest one here by default.
        written: write each number into its cell.
        name: what a cell is called when pointed at, from its row and column.
    """
    grid = np.asarray(values, dtype=float)
    top = float(np.nanmax(np.abs(grid), initial=0.0)) if limit is None else limit
    cells = [_cell(i, j, float(v), top, written, name) for (i, j), v in np.ndenumerate(grid)]
    rows, columns = grid.shape
    return "".join(cells) + f'<rect class="frame" width="{columns * CELL}" height="{rows * CELL}"/>'


def _cell(
    i: int, j: int, value: float, limit: float, written: bool, name: Callable[[int, int], str] | None
) -> str:
    strength = min(abs(value) / limit, 1.0) if limit > 0 and np.isfinite(value) else 0.0
    place = f'x="{j * CELL}" y="{i * CELL}" width="{CELL}" height="{CELL}"'
    kind = "plus" if value > 0 else "minus"
    words = escape(f"{name(i, j) if name else f'({i}, {j})'}: {number(value, 4)}")
    drawn = f'<rect class="cell {kind}" {place} fill-opacity="{strength:.3g}"><title>{words}</title></rect>'
    if written:
        drawn += (
            f'<text x="{(j + 0.5) * CELL:g}" y="{(i + 0.63) * CELL:g}" text-anchor="middle" '
            f'font-size="{CELL * 0.29:.3g}">{number(round(value, 2))}</text>'
        )
    return drawn


def svg(inside: str, width: float, height: float, label: str, *, shown: float = 1.0) -> str:
    """An SVG element around drawn cells; `label` is read aloud to those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'viewBox="-1 -1 {width + 2:g} {height + 2:g}" width="{(width + 2) * shown:g}" '
        f'height="{(height + 2) * shown:g}">{inside}</svg>'
    )


def grid_svg(values: Array, label: str, *, shown: float = 1.0, **options: Any) -> str:
    """One signed grid as an SVG element; `options` are those of `signed_grid`."""
    rows, columns = np.shape(values)
    return svg(signed_grid(values, **options), columns * CELL, rows * CELL, label, shown=shown)


def sheet(tiles: Sequence[TitledGrid], label: str, *, columns: int, limit: float | None = None) -> str:
    """Titled grids in rows, as one SVG element."""
    width = max((np.shape(tile.values)[1] for tile in tiles), default=1) * CELL + GAP
    height = max((np.shape(tile.values)[0] for tile in tiles), default=1) * CELL + 2 * GAP
    width = max(width, max((len(tile.title) for tile in tiles), default=0) * 6 + GAP)
    drawn = []
    for place, tile in enumerate(tiles):
        x, y = place % columns * width, place // columns * height
        drawn.append(
            f'<g transform="translate({x} {y})"><text y="11" font-size="11">{escape(tile.title)}</text>'
            f'<g transform="translate(0 {GAP})">{signed_grid(tile.values, limit=limit)}</g></g>'
        )
    rows = -(-len(tiles) // columns)
    return svg("".join(drawn), min(len(tiles), columns) * width, rows * height, label)


def confusion_svg(confusion: object, classes: Sequence[str], label: str) -> str:
    """A confusion matrix: a row per true class, a column per answer, with counts and names while they fit."""
    cells = _confusion_cells(np.asarray(confusion), classes)
    side = len(classes) * CELL
    left = max(map(len, classes)) * 5.5 + 30
    frame = f'<rect class="frame" width="{side}" height="{side}"/>'
    true_class = _word("true class", 0, 0, "middle", 10)
    true_class = f'<g transform="translate({12 - left:g} {side / 2:g}) rotate(-90)">{true_class}</g>'
    names = _class_names(classes) if len(classes) <= MOST_NAMES else ""
    names += _word("answer", side / 2, -22, "middle", 10) + true_class
    inside = f'<g transform="translate({left:g} 34)">{cells}{frame}{names}</g>'
    return svg(inside, left + side, 34 + side, label, shown=1.5)


def _confusion_cells(counts: np.ndarray[Any, Any], classes: Sequence[str]) -> str:
    """Every cell of a small matrix, of a large one those that are not empty: strength is the share of the row."""
    rows = counts.sum(axis=1)
    few = len(classes) <= MOST_COUNTS
    drawn = ""
    for i, j in np.ndindex(counts.shape) if few else np.argwhere(counts):
        count = counts[i, j]
        share = count / max(rows[i], 1)
        kind, opacity = ("count", 0.85 * share) if i == j else ("plus", min(1.0, 0.25 * (count > 0) + share))
        words = escape(f"{classes[i]} answered as {classes[j]}: {count} of {rows[i]}")
        drawn += (
            f'<rect class="cell {kind}" x="{j * CELL}" y="{i * CELL}" width="{CELL}" height="{CELL}" '
            f'fill-opacity="{opacity:.3g}"><title>{words}</title></rect>'
        )
        if count and few:
            drawn += _word(str(count), (j + 0.5) * CELL, (i + 0.64) * CELL, "middle", CELL * 0.4)
    return drawn


def _class_names(classes: Sequence[str]) -> str:
    drawn = ""
    for place, name in enumerate(classes):
        drawn += _word(name, -7, (place + 0.64) * CELL, "end", 9)
        drawn += _word(name if len(name) < 4 else name[:3] + "…", (place + 0.5) * CELL, -7, "middle", 9)
    return drawn


def _word(text: str, x: float, y: float, anchor: str, size: float) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}">{escape(text)}</text>'


def standalone(svg_element: str) -> str:
    """An SVG element as a file of its own, with the light colours."""
    start = svg_element.index(">") + 1
    return f"{svg_element[:start]}<style>{STANDALONE_STYLE}</style>{svg_element[start:]}\n"


def image_data(image: Numeric) -> str:
    """An image (channels first, 1 or 3 of them; of others the first is shown) as a `data:` address holding a PNG.

    Pixels run from 0 to 1; grey ones are ink on paper, 1 is black.
    """
    pixels = np.asarray(image, dtype=float)
    pixels = pixels if len(pixels) == 3 else pixels[:1]
    scaled = np.clip(pixels, 0.0, 1.0)
    shades = np.round(255 * (scaled if len(scaled) == 3 else 1.0 - scaled)).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(np.moveaxis(shades, 0, -1))).decode("ascii")
