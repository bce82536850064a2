"""How often the curves of an interior cross each other. Geometry only."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np

PARTS = 5  # straight pieces that stand for one curved one
ROWS = 64  # pieces that are held against others at once
_COMMAND = re.compile(r"([MLCQ])([^MLCQ]*)")
_NUMBER = re.compile(r"-?[\d.]+")

Points = np.ndarray[Any, Any]


@functools.lru_cache(maxsize=4096)
def crossings(paths: tuple[str, ...]) -> int:
    """How many pairs of pieces of different paths cross.

    >>> crossings(("M0,0L10,10", "M10,0L0,10")), crossings(("M0,0L0,10", "M5,0L5,10"))
    (1, 0)
    """
    lines = [polyline(path) for path in paths]
    if sum(map(len, lines)) < 4:
        return 0
    starts = np.concatenate([line[:-1] for line in lines])
    ends = np.concatenate([line[1:] for line in lines])
    owner = np.repeat(np.arange(len(lines)), [len(line) - 1 for line in lines])
    order = np.argsort(np.minimum(starts[:, 1], ends[:, 1]), kind="stable")
    starts, ends, owner = starts[order], ends[order], owner[order]
    tops, bottoms = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    found = 0
    for at in range(0, len(starts), ROWS):
        # Sorted by their tops, only what begins above the lowest end of these can reach them.
        part = slice(at, at + ROWS)
        near = slice(at, int(np.searchsorted(tops, bottoms[part].max(), "right")))
        a, b = starts[part, None], ends[part, None]
        c, d = starts[None, near], ends[None, near]
        apart = _side(a, b, c) * _side(a, b, d) < 0
        across = _side(c, d, a) * _side(c, d, b) < 0
        place = np.arange(near.start, near.stop)
        once = (place[None] > place[:ROWS, None]) & (owner[None, near] != owner[part, None])
        found += int((apart & across & once).sum())
    return found


def _side(a: Points, b: Points, c: Points) -> Points:
    """Positive where c lies to the left of the line from a to b."""
    along, to = b - a, c - a
    side: Points = along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]
    return side


def polyline(path: str) -> Points:
    """SVG path data of moves, lines and Bezier curves as points."""
    points: list[Points] = []
    for command, words in _COMMAND.findall(path):
        numbers = np.array([float(word) for word in _NUMBER.findall(words)]).reshape(-1, 2)
        if command in "ML":
            points.append(numbers)
            continue
        step = 3 if command == "C" else 2
        for i in range(0, len(numbers), step):
            points.append(_bezier(np.concatenate([points[-1][-1:], numbers[i : i + step]])))
    return np.concatenate(points)


def _bezier(controls: Points) -> Points:
    """Points on a curve after its beginning (de Casteljau)."""
    t = (np.arange(1, PARTS + 1) / PARTS)[:, None, None]
    row = np.broadcast_to(controls, (PARTS, *controls.shape))
    while row.shape[1] > 1:
        row = row[:, :-1] + (row[:, 1:] - row[:, :-1]) * t
    return row[:, 0]


def ends(path: str) -> tuple[float, float]:
    """Where across a path begins and ends."""
    numbers = _NUMBER.findall(path)
    return float(numbers[0]), float(numbers[-2])
