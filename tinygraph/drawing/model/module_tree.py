"""The picture of a module that has not been run: its submodules as a tree, with the parameters each one owns."""

from __future__ import annotations

from typing import Any

from tinygraph.drawing.model.labels import packed, shape_text, shorten
from tinygraph.drawing.model.layers import in_words
from tinygraph.drawing.model.picture import Arrow, Box, Frame, Identifiers, Picture
from tinygraph.errors import DrawingError

MOST_MODULES = 1500


def is_module(target: object) -> bool:
    """Whether something is an nn.Module, which this layer knows only by what it can be asked."""
    return hasattr(target, "named_children") and hasattr(target, "named_parameters")


def draw_tree(module: object) -> Picture:
    """The tree of a module, to be read from left to right.

    Raises:
        DrawingError: it has more modules than one picture can show.
    """
    identifiers = Identifiers()
    root = Frame("g0", "")
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    waiting: list[tuple[str, Any, str]] = [(type(module).__name__, module, "")]
    while waiting:
        name, one, parent = waiting.pop()
        if len(boxes) == MOST_MODULES:
            raise DrawingError(
                f"more than {MOST_MODULES:,} modules do not fit one picture: draw a part of the model"
            )
        box = _box(name, one, parent, identifiers)
        boxes.append(box)
        root.boxes.append(box.id)
        if parent:
            arrows.append(Arrow(identifiers.make("e", parent, box.id), parent, box.id, role="child"))
        waiting += [(key, child, box.id) for key, child in reversed(list(one.named_children()))]
    return Picture(type(module).__name__, boxes, arrows, root, direction="right")


def _box(name: str, module: Any, parent: str, identifiers: Identifiers) -> Box:
    kind = type(module).__name__
    title = f"{name} {kind}" if name.isdigit() else name  # a number says too little
    kernel, settings = in_words(kind, str(module.extra_repr()) if hasattr(module, "extra_repr") else "")
    first = f"{'' if kind in title else kind} {kernel}".strip()
    lines = [shorten(line) for line in packed([*([first] if first else []), *settings])]
    own = list(module.named_parameters(recurse=False))
    lines += [f"{shorten(key, 24)} {shape_text(parameter.shape)}" for key, parameter in own]
    total = sum(parameter.size for _, parameter in module.named_parameters())
    if not own and total:
        lines.append(f"{total:,} parameters")
    made = identifiers.make("n", kind, name, lines, parent)
    return Box(made, "parameter" if own else "module", shorten(title), tuple(lines))
