"""Names and colours that somebody gave to boxes and frames of a picture, in place of those that they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tinygraph.drawing.model.labels import shorten
from tinygraph.drawing.model.picture import Box, Frame, Picture
from tinygraph.errors import DrawingError

MOST_NAMES = 12  # in a message


def named(
    picture: Picture, names: Mapping[str, str], colors: Mapping[str, str], *, whole: bool = True
) -> Picture:
    """The picture with other titles and fills.

    Args:
        names: what a box or frame is called -> its title; the dotted name, its end, or the title that it has.
        colors: the same, or a kind of boxes -> "#rrggbb".
        whole: whether all that can be named is in the picture.

    Raises:
        DrawingError: nothing is called so, or a colour is none.
    """
    if not names and not colors:
        return picture
    frames = list(_frames(picture.root))
    ones: list[Box | Frame] = [*picture.boxes, *frames]
    known = [called for one in ones for called in _called(one)]
    if whole:
        _check(names, known, "names")
        _check(colors, [*known, *(box.kind for box in picture.boxes)], "colors")
    for name, colour in colors.items():
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", str(colour)):
            raise DrawingError(f'colors: {name!r} is {colour!r}; colours are written "#rrggbb"')
    for frame in frames:
        frame.title = shorten(next((names[one] for one in _called(frame) if one in names), frame.title))
    return replace(picture, boxes=[_renamed(box, names, colors) for box in picture.boxes])


def _renamed(box: Box, names: Mapping[str, str], colors: Mapping[str, str]) -> Box:
    title = next((names[one] for one in _called(box) if one in names), None)
    fill = next((colors[one] for one in (*_called(box), box.kind) if one in colors), box.fill)
    if title is None:
        return replace(box, fill=fill)
    return replace(box, title=shorten(title), caption="", fill=fill)


def _called(one: Box | Frame) -> list[str]:
    """What a box or frame answers to, the most exact first."""
    path = one.path
    return [called for called in dict.fromkeys((path, one.title, path.rpartition(".")[2])) if called]


def _frames(frame: Frame) -> Iterable[Frame]:
    for inner in frame.groups:
        yield inner
        yield from _frames(inner)


def _check(given: Mapping[str, str], known: Iterable[str], argument: str) -> None:
    names = dict.fromkeys(known)
    for one in given:
        if one not in names:
            listed = ", ".join(list(names)[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
            raise DrawingError(f"{argument}: nothing is called {one!r} here; names: {listed or 'none'}")
