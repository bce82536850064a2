"""The sheet that a picture is for: which way it runs, how wide it may be, how large its words are, its title."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from tinygraph.errors import DrawingError

Flow = Literal["down", "right", "wrap"]

POINTS = {"pt": 1.0, "in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "px": 0.75}
# What there is to draw on: the text of an A4 page, a 16:9 slide below its heading; (width, height) in cm.
PAGES = {"a4": (17.0, 24.5), "slide": (30.0, 14.5)}
USUAL_FONT = 11.5  # points of a title in a box, where nothing else is asked for
TALL = 1.45  # height over width that columns fill, where a width alone is known
SMALLEST_FONT = 5.0  # points below which print is not read any more


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a picture is drawn on.

    Attributes:
        flow: which way values run: "down", "right", "wrap" in columns, or None as suits the picture.
        title: what stands above it.
        legend: whether the kinds of boxes are explained below it.
        font_size: points of the titles in boxes.
        width, height: points that it may take; None for as many as it needs.
    """

    flow: Flow | None = None
    title: str = ""
    legend: bool = True
    font_size: float = USUAL_FONT
    width: float | None = None
    height: float | None = None

    @property
    def plain(self) -> bool:
        """Whether a picture goes onto it as it comes."""
        return self.flow != "wrap" and self.width is None and self.font_size == USUAL_FONT

    @property
    def most(self) -> float:
        """How much larger than it comes a picture is drawn at most; without a width its proportions count alone."""
        return math.inf if self.width is None else self.font_size / USUAL_FONT

    @property
    def room(self) -> tuple[float, float] | None:
        """The width and height that there are, in points."""
        if self.width is None:
            return None
        page = PAGES["a4"][1] * POINTS["cm"]
        usual = min(page, self.width * TALL) if self.flow == "wrap" else page
        return self.width, self.height or usual


def make_sheet(direction: object, title: object, legend: object, font_size: object, width: object) -> Sheet:
    """The sheet that `tg.draw` was asked for.

    Raises:
        DrawingError: an argument that cannot be meant.
    """
    if direction is not None and direction not in get_args(Flow):
        raise DrawingError(f"direction={direction!r} is none: the directions are 'down', 'right' and 'wrap'")
    if title is not None and not isinstance(title, str):
        raise DrawingError(f"title={title!r} must be text")
    size = USUAL_FONT if font_size is None else font_size
    if isinstance(size, bool) or not isinstance(size, Real) or not 1 <= float(size) <= 200:
        raise DrawingError(f"font_size={font_size!r} must be a number of points from 1 to 200")
    wide, high = _room(width)
    return Sheet(direction, title or "", bool(legend), float(size), wide, high)  # type: ignore[arg-type]  # checked


def _room(width: object) -> tuple[float | None, float | None]:
    """Points of a width, and of a height where a page was named."""
    if width is None:
        return None, None
    if isinstance(width, str) and width.lower() in PAGES:
        wide, high = PAGES[width.lower()]
        return wide * POINTS["cm"], high * POINTS["cm"]
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]{2})\s*", width) if isinstance(width, str) else None
    points = float(found[1]) * POINTS.get(found[2], math.nan) if found else math.nan
    if not 20 <= points <= 20_000:
        units = ", ".join(POINTS)
        raise DrawingError(
            f'width={width!r} is no width: write a number and its unit ({units}), such as "8cm", or "A4" or "slide"'
        )
    return points, None
