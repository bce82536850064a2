"""The curves of a training as HTML, for notebooks: an SVG of lines and words that follows the page's colours."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BELOW = 420, 170, 52, 24
COLOURS = ("#2f6db5", "#d9480f")  # training, validation

Line = Sequence[float | None]


def curves_html(panels: Mapping[str, Mapping[str, Line]], words: str) -> str:
    """Panels side by side, each with lines over the epochs.

    Args:
        panels: title -> name of a line -> its values; what is None or not finite is left out.
        words: a sentence below.
    """
    drawn = "".join(
        _panel(title, lines) for title, lines in panels.items() if any(map(_points, lines.values()))
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.5rem">{drawn}</div><p>{html.escape(words)}</p>'


def _points(line: Line) -> list[tuple[int, float]]:
    return [(i, one) for i, one in enumerate(line) if one is not None and math.isfinite(one)]


def _panel(title: str, lines: Mapping[str, Line]) -> str:
    found = {name: points for name, line in lines.items() if (points := _points(line))}
    values = [one for points in found.values() for _, one in points]
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    last = max(max(i for i, _ in points) for points in found.values())

    def place(i: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 12) * (i / last if last else 0.5)
        return x, 12 + (HEIGHT - 12 - BELOW) * (1 - (value - low) / (high - low))

    marks = [
        f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end" dy="4">{value:.3g}</text>'
        for value, y in ((high, 12.0), (low, float(HEIGHT - BELOW)))
    ]
    for (name, points), colour in zip(found.items(), COLOURS, strict=False):
        at = [place(*point) for point in points]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        end = f"{html.escape(name)} {points[-1][1]:.4g}"
        marks.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(f'<circle cx="{at[-1][0]:.1f}" cy="{at[-1][1]:.1f}" r="3" fill="{colour}"/>')
        place_of_name = LEFT + 6 + 150 * list(found).index(name)
        marks.append(f'<text x="{place_of_name}" y="{HEIGHT - 6}" style="fill:{colour}">{end}</text>')
    label = html.escape(f"{title} by epoch")
    return (
        f'<figure style="margin:0"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'style="font:11px sans-serif;fill:currentColor;max-width:100%">{"".join(marks)}</svg></figure>'
    )
