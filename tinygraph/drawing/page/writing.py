"""The file of the interactive page: its text put together from the graph, the numbers, the look and the script."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from msgspec import to_builtins

from tinygraph.core.graph import Graph
from tinygraph.core.node import Node, edge_node, edge_type, is_recorded
from tinygraph.drawing.model.amounts import Known
from tinygraph.drawing.model.iterations import OpenedLoops, open_loops
from tinygraph.drawing.model.numbers import gradients_of, values_of
from tinygraph.drawing.model.overlays import TABLE
from tinygraph.drawing.page.areas import Area
from tinygraph.drawing.page.costs import overlay_records, unit_records
from tinygraph.drawing.page.grouping import tree
from tinygraph.drawing.page.joining import script
from tinygraph.drawing.page.payload import MOST_COMPUTED, Payload, Tensors
from tinygraph.drawing.page.schema import PageData
from tinygraph.drawing.page.still import still
from tinygraph.drawing.styles import Style, load_style, style_names
from tinygraph.errors import TinygraphError

HERE = Path(__file__).parent
MOST_ITERATIONS = 32  # of loops
MOST_ELEMENTS = 1_000_000  # numbers that a page carries
PACKED_ABOVE = 2**16  # bytes of data or of numbers that are written as gzip
GRADIENTS_OF = 2_000  # nodes at most, where the output is a scalar
ZERO = {"light": "#fafaf8", "dark": "#20262e"}  # the colour of the number 0
THEME_NAMES = {
    "light": "Light",
    "dark": "Dark",
    "okabe-ito": "Colour-blind safe",
    "print": "Print",
    "slides": "Slides",
}


def page(
    graph: Graph,
    *,
    inputs: Sequence[Any] = (),
    element: object = None,
    title: str | None = None,
    style: Style | str | Path = "light",
    time_limit: float = 20.0,
    most_elements: int = MOST_ELEMENTS,
    overlay: str | None = None,
    timing: bool = False,
    measured: Mapping[str, Mapping[int, float]] | None = None,
    loops: OpenedLoops | None = None,
) -> str:
    """A page that shows a graph with semantic zoom: the whole model first, down to the terms of one element.

    Args:
        inputs: what a captured graph is run with; without them the page has structure and no numbers.
        element: anything but None begins at the op of the first output; an index into it, at that element.
        title: the page's title; the graph's name by default.
        style: the look to begin with. "light" follows the reader's system.
        time_limit: seconds that the layout may take; what is left then is drawn in plain rows.
        most_elements: how many numbers the page may carry; with 0 it has not even statistics of them.
        overlay: the one that tints boxes at the start; the page switches between all that could be computed.
        timing: whether ops are timed too, which makes every page another.
        measured: see `Known`.
        loops: what was opened of the graph's loops; where there is no backward pass, all, by default.

    Returns:
        The text of one HTML file that needs nothing from elsewhere. The graph itself is not in it.
    """
    notices: list[str] = []
    if loops is None:
        both = any(node.phase == "backward" for node in graph.nodes)
        loops = OpenedLoops(graph) if both else open_loops(graph)
    whole, graph = loops.before or graph, loops.graph
    values = _values(whole, inputs, notices) if most_elements else {}
    pulled = loops.across(_gradients(whole, values))
    own, values = values, loops.values(values)
    one_pass = all(node.phase == "forward" for node in graph.nodes)
    gradients = (
        pulled if one_pass else {}
    )  # of a graph that has its backward pass, its own nodes are the gradients
    pictured = {key for key, value in values.items() if _has_picture(value)}
    root, said = tree(graph, pictured, seconds=time_limit, loops=loops)
    name = title or graph.name or "model"
    root.title = name
    numbers = Tensors(most_elements)
    known = _known(graph, values, pulled, measured, timing, loops, notices)
    order = {id(node): i for i, node in enumerate(graph.nodes)}
    payload = Payload(
        values, gradients, numbers, order, known.in_all_steps(known.kept.carried) if known else {}
    )
    made = payload.box(root)
    iterations = _iterations(loops, own, values, numbers)
    block = packed(numbers.block())
    if numbers.left_out:
        several = f"{numbers.left_out} large tensors" if numbers.left_out > 1 else "one large tensor"
        said.append(f"the elements of {several} are left out")
    start = _start(graph, root, element)
    index = list(element) if isinstance(element, tuple | list) else []
    data = PageData(
        root=made,
        interiors=payload.interior_records,
        ops=payload.ops,
        expansions=payload.expansion_records,
        values=numbers.records,
        overlays=overlay_records(known, overlay) if known else [],
        units=unit_records(),
        overlay=overlay or "",
        start=start,
        element=None if start is None else index,
        iterations=iterations,
    )
    notices += said
    return _html(name, root, data, block, style, "; ".join(notices))


def _known(
    graph: Graph,
    values: Mapping[int, Any],
    gradients: Mapping[int, Any],
    measured: Mapping[str, Mapping[int, float]] | None,
    timing: bool,
    loops: OpenedLoops,
    notices: list[str],
) -> Known | None:
    """What overlays are computed from; of a graph with too many ops they are left out, which is noticed."""
    if len(graph.nodes) > MOST_COMPUTED:
        notices.append("so are overlays")
        return None
    return Known(graph, values, gradients, measured, timing, loops.repeats)


def _html(
    name: str, root: Area, data: PageData, block: tuple[str, str], style: Style | str | Path, notices: str
) -> str:
    """The page's text, with its data and its block of numbers in it."""
    data_type, written = packed(script_json(to_builtins(data)))
    values_type, values = block
    text = Template((HERE / "page.html").read_text("utf-8")).substitute(
        title=html.escape(name),
        theme=_initial_theme(style),
        style=_looks(style) + (HERE / "zoom.css").read_text("utf-8"),
        themes=_theme_options(style),
        hidden="",
        notices=f'<p id="notices">{html.escape(notices)}.</p>' if notices else "",
        still=still(root),
        data_type=data_type,
        data=written,
        values_type=values_type,
        values=values,
        script=script(),
    )
    return text.encode("utf-8", "replace").decode()  # half of a surrogate pair has no place in a file


def script_json(data: object) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def packed(content: str | bytes) -> tuple[str, str]:
    """What a script element holds, and as which type: text, bytes as base64, much of either as gzip."""
    raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if len(raw) > PACKED_ABOVE:
        return "application/gzip", base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()
    if isinstance(content, str):
        return "application/json", content
    return "text/plain", base64.b64encode(raw).decode()


def _values(graph: Graph, inputs: Sequence[Any], notices: list[str]) -> dict[int, Any]:
    if len(graph.nodes) > MOST_COMPUTED:
        notices.append(f"numbers are left out: {len(graph.nodes):,} nodes are more than {MOST_COMPUTED:,}")
        return {}
    try:
        return values_of(graph, inputs)
    except TinygraphError as reason:
        notices.append(f"there are no numbers: {reason}")
        return {}


def _iterations(
    loops: OpenedLoops, own: dict[int, Any], shown: dict[int, Any], numbers: Tensors
) -> list[int] | None:
    """The iterations that the page switches between; what is within loops gets the numbers of each."""
    if not loops.loops or not shown or max(len(loop.steps) for loop in loops.loops) > 1:
        return None
    loops.values(own, MOST_ITERATIONS - 1)
    steps = sorted({round(i) for i in np.linspace(0, loops.longest - 1, min(loops.longest, MOST_ITERATIONS))})
    rounds = [loops.values(own, step) for step in steps]
    for key, value in shown.items():
        if key in own or len(steps) < 2 or all(one.get(key) is value for one in rounds):
            continue
        several = value if isinstance(value, tuple) else (value,)
        for i in range(len(several)):
            number = numbers.known.get(("value", key, i))
            found = [one.get(key, value) for one in rounds]
            if number is not None:
                numbers.in_rounds(
                    number, ("round", key, i), [one[i] if isinstance(one, tuple) else one for one in found]
                )
    return steps if len(steps) > 1 else None


def _gradients(graph: Graph, values: dict[int, Any]) -> dict[int, Any]:
    """The gradients of a scalar output, where they are quickly had."""
    out = graph.outputs[0] if graph.outputs else None
    if not values or len(graph.nodes) > GRADIENTS_OF or not is_recorded(out):
        return {}
    if edge_type(out).size != 1 or not edge_type(out).differentiable:
        return {}
    try:
        return gradients_of(graph, values)
    except TinygraphError:  # an op without a rule: the page is as good without
        return {}


def _has_picture(value: object) -> bool:
    return not isinstance(value, tuple) and math.prod(getattr(value, "shape", ())) >= 1


def _start(graph: Graph, root: Area, element: object) -> list[int] | None:
    """The way to the op that made the first output, in numbers of kids."""
    out = graph.outputs[0] if graph.outputs else None
    if element is None or not is_recorded(out):
        return None
    wanted: Node = edge_node(out)
    for box in root.walk():
        if box.node is wanted:
            way = []
            while box.parent is not None:
                way.append(box.number)
                box = box.parent
            return way[::-1]
    return None


# -- looks -------------------------------------------------------------------------------------------------------------


def _looks(style: Style | str | Path) -> str:
    """The colours of every theme as CSS variables."""
    own = _own(style)
    themes = {name: load_style(name) for name in style_names()} | ({"own": own} if own else {})
    parts = [_look(":root", themes["light"])]
    parts.append(
        f"@media (prefers-color-scheme: dark) {{ {_look(':root:not([data-theme])', themes['dark'])} }}"
    )
    parts += [_look(f'[data-theme="{name}"]', look) for name, look in themes.items() if name != "light"]
    return "\n".join(parts) + "\n"


def _look(selector: str, style: Style) -> str:
    page = style.page
    dark = _lightness(page["background"]) < 0.5
    channels = ZERO["dark" if dark else "light"]
    zero = ", ".join(str(int(channels[i : i + 2], 16)) for i in (1, 3, 5))
    variables = {
        "background": page["background"],
        "text": page["text"],
        "muted": page["muted"],
        "frame": page["frame"],
        "raised": page["frame_fill"],
        "accent": "#6ea8fe" if dark else "#0b5fd0",
        **{overlay.tint: style.values[overlay.tint] for overlay in TABLE},
        "zero": zero,
        **{role: style.arrows[role] for role in ("data", "gradient", "saved", "carry")},
    }
    lines = [
        f"{selector} {{ color-scheme: {'dark' if dark else 'light'}; "
        + " ".join(f"--{name}: {value};" for name, value in variables.items())
        + " }"
    ]
    for kind, look in style.kinds.items():
        lines.append(
            f"{selector} .k-{kind} {{ --fill: {look.fill}; --border: {look.border}; --ink: {look.text}; }}"
        )
    return "\n".join(lines)


def _lightness(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def _own(style: Style | str | Path) -> Style | None:
    """A look that is none of the built-in ones."""
    if not isinstance(style, Style):
        return None if style in style_names() else load_style(style)
    return style if all(style != load_style(name) for name in style_names()) else None


def _named(style: Style | str | Path) -> str:
    if _own(style) is not None:
        return "own"
    if isinstance(style, Style):
        return next(name for name in style_names() if style == load_style(name))
    return str(style)


def _initial_theme(style: Style | str | Path) -> str:
    name = _named(style)
    return "" if name == "light" else f' data-theme="{html.escape(name)}"'


def _theme_options(style: Style | str | Path) -> str:
    chosen = _named(style)
    chosen = "auto" if chosen == "light" else chosen
    names = {"auto": "System theme", **{name: THEME_NAMES.get(name, name) for name in style_names()}}
    if chosen == "own":
        names["own"] = "Own style"
    return "".join(
        f'<option value="{name}"{" selected" if name == chosen else ""}>{html.escape(shown)}</option>'
        for name, shown in names.items()
    )
