"""The whole model as one SVG in the page, for the time before the script runs and for browsers that run none."""

from __future__ import annotations

import html

from tinygraph.drawing.page.areas import Area


def still(root: Area) -> str:
    """The outermost interior, with the same classes that the script gives it."""
    interior = root.interior
    if interior is None:
        return ""
    roles: dict[str, list[str]] = {}
    for flow, path in zip(root.links.values(), interior.paths, strict=True):
        roles.setdefault(flow.role, []).append(path)
    lines = [f'<path class="edge {role}" d="{"".join(paths)}"/>' for role, paths in roles.items()]
    lines += [_box(kid, *place) for kid, place in zip(root.kids, interior.places, strict=True)]
    size = f"{interior.width:g} {interior.height:g}"
    return f'<svg id="still" viewBox="0 0 {size}" aria-hidden="true">{"".join(lines)}</svg>'


def _box(box: Area, x: float, y: float) -> str:
    width, height = box.size
    middle = x + width / 2
    return (
        f'<g class="k-{html.escape(box.kind)}">'
        f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'
        f"{_text(box.title, middle, y + height * 0.36, width, 12.5)}"
        f"{_text(box.note, middle, y + height * 0.68, width, 9.5)}</g>"
    )


def _text(text: str, x: float, y: float, room: float, size: float) -> str:
    size = min(size, (room - 10) / (0.6 * max(1, len(text))))
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:.1f}">{html.escape(text)}</text>'
