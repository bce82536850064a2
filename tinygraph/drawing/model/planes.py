"""Planes: two-dimensional slices of tensors as coloured grids, and the PNG files of those too large for cells.

A scale runs from a style's negative colour over its zero colour to its positive one. No layout and no graphs here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.analysis.terms import widened
from tinygraph.core.types import Array
from tinygraph.drawing.png import png

MOST_CELLS = 16  # a side up to which a plane is a grid of cells; larger ones are images
NUMBERED = 8  # a side up to which cells may hold their numbers
IMAGE_SIDE = 200  # pixels that an image has at least, so that it stays sharp
LARGEST_SIDE = 1024  # elements of a side beyond which an image shows only every n-th


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """A grid of numbers to be shown as colours.

    Attributes:
        values: the numbers, two-dimensional.
        limit: the magnitude that has the full colour.
        numbers: whether cells hold their numbers too, where there is room.
        marked: (row, column) of cells with an outline.
        crossed: cells without a part in what is shown, such as those whose partner is padding.
    """

    values: Array
    limit: float
    numbers: bool = False
    marked: frozenset[tuple[int, int]] = frozenset()
    crossed: frozenset[tuple[int, int]] = frozenset()

    @property
    def is_image(self) -> bool:
        return bool(max(self.values.shape) > MOST_CELLS)

    @property
    def numbered(self) -> bool:
        return self.numbers and max(self.values.shape) <= NUMBERED


def limit_of(*arrays: object) -> float:
    """The largest finite magnitude in some arrays, so that they share a scale; 1 where there is none.

    >>> limit_of(np.array([1.0, -3.0]), np.array([np.inf]))
    3.0
    """
    largest = 0.0
    for array in arrays:
        wide = np.abs(widened(array)).astype(np.float64)
        finite = wide[np.isfinite(wide)]
        if finite.size:
            largest = max(largest, float(np.abs(finite).max()))
    return largest or 1.0


def as_plane(array: object, limit: float | None = None, **options: Any) -> Plane:
    """An array of any rank up to two as a plane; a vector stands upright, of complex numbers the real part counts."""
    values = np.asarray(array)
    values = values.real if values.dtype.kind == "c" else values
    values = values.astype(np.float64).reshape(values.shape if values.ndim == 2 else (-1, 1))
    return Plane(values, limit_of(values) if limit is None else limit, **options)


def colours(plane: Plane, scale: Mapping[str, str]) -> Array:
    """The colour of each element: (rows, columns, 3) bytes. NaN has a colour of its own."""
    negative, zero, positive, broken = (
        _rgb(scale[name]) for name in ("negative", "zero", "positive", "broken")
    )
    with np.errstate(invalid="ignore", over="ignore"):
        share = np.clip(plane.values / plane.limit, -1, 1)[..., None]
        mixed = zero + np.where(share < 0, negative - zero, positive - zero) * np.abs(share)
    found: Array = np.where(np.isnan(share), broken, mixed).round().astype(np.uint8)
    return found


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)


def is_dark(rgb: Array) -> bool:
    """Whether light text reads better on a colour."""
    red, green, blue = (float(one) for one in rgb)
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def image(plane: Plane, scale: Mapping[str, str]) -> tuple[str, bytes]:
    """A plane as a PNG, and a name that says its content."""
    step = -(-max(plane.values.shape) // LARGEST_SIDE)
    pixels = colours(plane, scale)[::step, ::step]
    factor = max(1, -(-IMAGE_SIDE // max(pixels.shape[:2])))
    pixels = pixels.repeat(factor, 0).repeat(factor, 1)
    for row, column in plane.marked:
        _outline(pixels, row // step * factor, column // step * factor, factor, _rgb(scale["mark"]))
    content = png(pixels)
    return f"plane-{hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]}.png", content


def _outline(pixels: Array, top: int, left: int, size: int, colour: Array) -> None:
    width = max(1, size // 5)
    cell = pixels[top : top + size, left : left + size]
    inner = cell[width:-width, width:-width].copy()
    cell[:] = colour
    cell[width:-width, width:-width] = inner
