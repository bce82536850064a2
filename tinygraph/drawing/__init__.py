"""Drawing: a graph becomes DOT text, a picture or a page that zooms. `tg.draw` is the door.

Imported with `tinygraph` itself, so what lays out and writes files comes in with the first drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygraph.drawing.front import draw as draw

if TYPE_CHECKING:
    from tinygraph.drawing.drawing import Drawing as Drawing


def __getattr__(name: str) -> Any:
    if name != "Drawing":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygraph.drawing.drawing import Drawing

    return Drawing
