"""A step length that satisfies the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating]

DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2 of the conditions
TRIES = 25


class Point(NamedTuple):
    """A point on the line: how far along it is, the loss there, its gradient, and the slope along the line."""

    length: float
    loss: float
    gradient: Vector
    slope: float


def strong_wolfe(
    at: Callable[[float], Point], start: Point, first: float, size: float, tolerance: float
) -> tuple[Point, int]:
    """Find a point with enough decrease, loss <= loss0 + c1 t slope0, and a flat enough slope, |slope| <= c2 |slope0|.

    Args:
        at: evaluates the point of a length.
        start: the point of length zero.
        first: the length tried first.
        size: the largest element of the direction.
        tolerance: brackets whose length times `size` is below it are not divided any more.

    Returns:
        the best point found, and the number of evaluations.
    """
    low, high, tries = _bracket(at, start, first)
    evaluations = tries + 1
    stalled = False
    while high is not None and tries < TRIES and abs(high.length - low.length) * size >= tolerance:
        length, stalled = _inside(low, high, stalled)
        new = at(length)
        evaluations += 1
        tries += 1
        if not _enough(new, start) or new.loss >= low.loss:
            low, high = (low, new) if low.loss <= new.loss else (new, low)
        elif _flat(new, start):
            return new, evaluations
        else:
            if new.slope * (high.length - low.length) >= 0:
                high = low
            low = new
    return low, evaluations


def _bracket(at: Callable[[float], Point], start: Point, first: float) -> tuple[Point, Point | None, int]:
    """Two points with a good one between them, the lower first; or a good point and None. And how often it went on."""
    before, here = start, at(first)
    for tries in range(TRIES):
        if not _enough(here, start) or (tries > 1 and here.loss >= before.loss):
            return (*_sorted(before, here), tries)
        if _flat(here, start):
            return here, None, tries
        if here.slope >= 0:
            return (*_sorted(before, here), tries)
        least = here.length + 0.01 * (here.length - before.length)
        length = _cubic(before, here, least, here.length * 10)
        before, here = here, at(length)
    return (*_sorted(start, here), TRIES)


def _sorted(a: Point, b: Point) -> tuple[Point, Point]:
    return (a, b) if a.loss <= b.loss else (b, a)


def _enough(point: Point, start: Point) -> bool:
    return point.loss <= start.loss + DECREASE * point.length * start.slope


def _flat(point: Point, start: Point) -> bool:
    return abs(point.slope) <= -CURVATURE * start.slope


def _inside(low: Point, high: Point, stalled: bool) -> tuple[float, bool]:
    """A length between two points: the cubic's minimum, kept off the ends when it comes near them twice in a row."""
    left, right = sorted((low, high), key=lambda point: point.length)
    length = _cubic(left, right, left.length, right.length)
    margin = 0.1 * (right.length - left.length)
    if min(right.length - length, length - left.length) >= margin:
        return length, False
    if not stalled and left.length < length < right.length:
        return length, True
    nearer_right = abs(length - right.length) < abs(length - left.length)
    return (right.length - margin if nearer_right else left.length + margin), False


def _cubic(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is smallest, within bounds (Nocedal and Wright, 3.59)."""
    if a.length > b.length:
        a, b = b, a
    one = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length)
    square = one * one - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    root = sqrt(square)
    length = b.length - (b.length - a.length) * ((b.slope + root - one) / (b.slope - a.slope + 2 * root))
    return min(max(length, least), most)
