"""Looks of pictures, one TOML file each: what colour and shape a kind of box has, never what an op's name has.

`light.toml` is complete; the others, and files of your own, name only what they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tinygraph.errors import DrawingError

FOLDER = Path(__file__).parent
DEFAULT = "light"
FONTS = {"sans": "", "serif": "Times"}
SHAPES = ("rounded", "box", "pill", "dashed")


class Look(NamedTuple):
    """How a kind of box looks."""

    fill: str
    border: str
    shape: str
    text: str


@dataclass(frozen=True)
class Style:
    """A whole look: colours of the page and its frames, of roles of arrows, of values, of kinds of boxes."""

    page: Mapping[str, str]
    arrows: Mapping[str, str]
    values: Mapping[str, str]
    kinds: Mapping[str, Look]
    font: str = ""  # Graphviz's name of the typeface; its usual one where empty

    def look(self, kind: str) -> Look:
        """The look of a kind; kinds that a style does not know look like "other"."""
        return self.kinds.get(kind) or self.kinds["other"]


def style_names() -> list[str]:
    """The styles that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_style(style: str | Path) -> Style:
    """The style of that name, or in that TOML file.

    Raises:
        DrawingError: no such style, or a file with something in it that no style has.
    """
    known = style in style_names()
    path = FOLDER / f"{style}.toml" if known else Path(style)
    if not known and path.suffix != ".toml":
        names = ", ".join(map(repr, style_names()))
        raise DrawingError(
            f"there is no style {str(style)!r}: the styles are {names}, or a path to a .toml file"
        )
    return _style(path.name, _text(path), _text(FOLDER / f"{DEFAULT}.toml"))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as reason:
        raise DrawingError(f"style {path.name} cannot be read: {reason.strerror}") from reason
    except ValueError as reason:
        raise DrawingError(f"style {path.name} is no TOML file: {reason}") from reason


@lru_cache(maxsize=16)
def _style(name: str, text: str, complete: str) -> Style:
    """The style that a text and the complete one behind it say, worked out once: parsing takes as long as a drawing."""
    tables = _parsed(f"{DEFAULT}.toml", complete)
    for table, entries in _parsed(name, text).items():
        if table not in tables or not isinstance(entries, dict):
            raise DrawingError(f"style {name}: unknown table [{table}]; the tables are {', '.join(tables)}")
        for key, value in entries.items():
            _check(name, table, key, value, tables)
        tables[table].update(entries)
    texts = tables["dark_text"]
    kinds = {
        kind: Look(fill, border, shape, texts.get(kind, tables["page"]["text"]))
        for kind, (fill, border, shape) in tables["kinds"].items()
    }
    return Style(tables["page"], tables["arrows"], tables["values"], kinds, FONTS[tables["text"]["font"]])


def _parsed(name: str, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as reason:  # no TOML, numbers too long, nested too deeply
        raise DrawingError(f"style {name} is no TOML file: {reason}") from reason


def _check(name: str, table: str, key: str, value: object, tables: dict[str, Any]) -> None:
    if table in ("page", "arrows", "values") and key not in tables[table]:
        raise DrawingError(f"style {name}: [{table}] has no {key!r}; it has {', '.join(tables[table])}")
    if table == "text":
        if key != "font" or value not in FONTS:
            fonts = " or ".join(map(repr, FONTS))
            raise DrawingError(f"style {name}: [text] has font alone, {fonts}, not {key} = {value!r}")
        return
    if table == "kinds":
        if not isinstance(value, list) or len(value) != 3 or value[2] not in SHAPES:
            shapes = ", ".join(SHAPES)
            raise DrawingError(
                f"style {name}: kind {key!r} must be [fill, border, shape], shape one of {shapes}"
            )
        colours = value[:2]
    else:
        colours = [value]
    for colour in colours:
        if not _is_colour(colour):
            raise DrawingError(f'style {name}: {key!r} is {colour!r}; colours are written "#rrggbb"')


def _is_colour(text: object) -> bool:
    digits = text[1:] if isinstance(text, str) and text.startswith("#") else ""
    return len(digits) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in digits)
