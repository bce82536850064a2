"""A picture that is larger than a sheet of paper, on several: a PDF whose pages show its parts, to be read or glued.

The pages share what Graphviz painted: each is the same page through another window (ISO 32000-1, 7.7.3.3 and 7.5.6).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tinygraph.drawing.model.columns import Spot
from tinygraph.errors import DrawingError

SHEETS = {"a4": (595.28, 841.89), "a3": (841.89, 1190.55), "letter": (612.0, 792.0)}  # points, upright
OVERLAP, MOST_OVERLAP = (
    28.0,
    0.4,
)  # points that two neighbours both show, at least; at most, as a share of a sheet

_PAGE = re.compile(rb"\n(\d+) 0 obj\n<< /Type /Page\b.*?\nendobj\n", re.DOTALL)
_PAGES = re.compile(rb"\n(\d+) 0 obj\n<< /Type /Pages\b.*?\nendobj\n", re.DOTALL)
_BOX = re.compile(rb"/MediaBox \[ *([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) *\]")
_END = re.compile(rb"trailer\n<< /Size (\d+)\s+/Root (\d+ 0 R).*?startxref\n(\d+)\n%%EOF\s*$", re.DOTALL)


def on_sheets(pdf: bytes, sheet: str, boxes: Iterable[Spot]) -> bytes:
    """A PDF of one page cut into pages of a sheet's size, row by row; those without a box are left out.

    Args:
        pdf: as Graphviz writes it.
        sheet: "A4", "A3" or "letter"; upright or lying, whichever needs fewer.
        boxes: where boxes are on the page, as shares of its width and height, from the top. Neighbours share enough for
            every box to be whole on one of them.
    """
    if sheet.lower() not in SHEETS:
        raise DrawingError(f"pages={sheet!r}: the sheets are {', '.join(map(repr, SHEETS))}")
    page, pages, box, end = (form.search(pdf) for form in (_PAGE, _PAGES, _BOX, _END))
    if page is None or pages is None or box is None or end is None:
        raise DrawingError(
            "Graphviz wrote this PDF in a form that cannot be cut into pages; save it whole, or as .svg"
        )
    width, height = float(box[3]), float(box[4])
    wide, high = SHEETS[sheet.lower()]
    places = [*boxes]
    windows = min((_windows(width, height, size, places) for size in ((wide, high), (high, wide))), key=len)
    if len(windows) == 1 and width <= wide and height <= high:
        return pdf
    made: list[tuple[int, bytes]] = []
    first, parent = int(end[1]), int(pages[1])
    body = page[0].partition(b" 0 obj\n")[2]
    for number, (left, top, right, bottom) in enumerate(windows, first):
        window = f"/MediaBox [ {left:.2f} {height - bottom:.2f} {right:.2f} {height - top:.2f} ]".encode()
        made.append((number, b"%d 0 obj\n" % number + _BOX.sub(window, body)))
    kids = " ".join(f"{number} 0 R" for number, _ in made)
    made.append(
        (
            parent,
            f"{parent} 0 obj\n<< /Type /Pages /Kids [ {kids} ] /Count {len(windows)} >>\nendobj\n".encode(),
        )
    )
    return _appended(pdf, made, first + len(windows), end[2], int(end[3]))


def _windows(
    width: float, height: float, sheet: tuple[float, float], boxes: list[Spot]
) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the part that each page shows, the parts spread evenly."""
    starts = []
    largest = (width * max(spot.width for spot in boxes), height * max(spot.height for spot in boxes))
    for whole, side, most in zip((width, height), sheet, largest, strict=True):
        shared = min(max(OVERLAP, most + 2.0), MOST_OVERLAP * side)
        count = max(1, math.ceil((whole - shared) / (side - shared)))
        spare = count * (side - shared) + shared - whole
        starts.append([i * (side - shared) - spare / 2 for i in range(count)])
    found = [(x, y, x + sheet[0], y + sheet[1]) for y in starts[1] for x in starts[0]]
    return [
        one for one in found
        if any(one[0] < spot.x * width < one[2] and one[1] < spot.y * height < one[3] for spot in boxes)
    ] or found  # fmt: skip


def _appended(pdf: bytes, objects: list[tuple[int, bytes]], size: int, root: bytes, before: int) -> bytes:
    """A PDF with further objects, and others in place of those of the same number: what changes stands at its end."""
    out = bytearray(pdf if pdf.endswith(b"\n") else pdf + b"\n")
    table = []
    for number, text in objects:
        table.append(b"%d 1\n%010d 00000 n \n" % (number, len(out)))
        out += text
    start = len(out)
    out += b"xref\n" + b"".join(table)
    out += b"trailer\n<< /Size %d /Root %s /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        root,
        before,
        start,
    )
    return bytes(out)
