"""`draw`: from whatever the user holds to a `Drawing`. It checks what was asked, and leaves each step to its file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.core.bodies import open_bodies, ruled_in
from tinygraph.core.graph import Graph, graph_of
from tinygraph.core.node import Node, edge_node
from tinygraph.core.tensor import Tensor
from tinygraph.drawing.model.levels import INSIDE, find_level
from tinygraph.drawing.model.module_tree import draw_tree, is_module
from tinygraph.drawing.model.naming import named
from tinygraph.drawing.model.overlays import OVERLAYS, chosen
from tinygraph.drawing.sheet import Sheet, make_sheet
from tinygraph.drawing.styles import DEFAULT, load_style
from tinygraph.errors import DrawingError
from tinygraph.explaining import Contributions
from tinygraph.tracing import capture

if TYPE_CHECKING:
    from tinygraph.drawing.drawing import Drawing
    from tinygraph.drawing.model.sketch import Wishes

SHOWABLE = ("names", "settings", "shapes", "dtypes", "values", "gradients", "parameters", "source", *OVERLAYS)
USUALLY = ("names", "settings", "shapes", "dtypes")


def draw(
    target: object, path: str | Path | None = None, *,
    zoom: str | Mapping[Any, str] = "op", element: object = None, inputs: object = None, backward: bool | int = False,
    show: Sequence[str] = USUALLY, style: str | Path = DEFAULT, focus: object = None,
    between: tuple[Any, Any] | None = None, fold: bool = False,
    collapse: Callable[[str], bool] | str | Collection[str] = (), times: Mapping[Node, float] | None = None,
    changes: Mapping[Node, float] | None = None, time_limit: float = 20.0, direction: str | None = None,
    depth: int | None = None, title: str | None = None, legend: bool = True, font_size: float | None = None,
    width: str | None = None, names: Mapping[str, str] | None = None, colors: Mapping[str, str] | None = None,
    steps: int | Sequence[int] | None = None,
) -> Drawing:  # fmt: skip
    """Draw a computation.

    Args:
        target: a tensor (the graph that made it), a `Graph`, a module (its submodules, or, with `inputs`, the graph of
            one call), or `tg.contributions(loss, wrt)`: its shares as widths of arrows.
        path: where to save it, as what its suffix says: .svg .png .pdf .html .tex .gif .mp4 .dot .json .graphml
        zoom: "module" (each call of an innermost module is a box), "composite" (composites are boxes), "op" (every op,
            with frames around modules and composites), "channel" (convolutions, or the op in `focus`, from inside: the
            planes of the inputs, kernels and their sums) or "neuron" (one element, with the couples that are
            multiplied, or with all that it reaches). Or several in one picture, {what: level}: tensors, nodes or names
            of groups as for `focus`, and None for the rest ("module"): {"conv1": "channel", "layer2": "op"}.
        element: at "channel" an (output channel, input channel) pair, or an output channel, to be shown alone. At
            "neuron" an index into what is drawn (or into `focus`): how that element comes about; or (tensor, index),
            the tensor as itself or by name: what that element reaches. With several levels, {what: pair or index}.
        inputs: what to call a module or captured graph with: an array or tensor, or a tuple of them.
        backward: also draw the backward pass, each node opposite the one it serves; 2 also draws that pass's own.
        show: what to write: any of "names", "settings", "shapes", "dtypes", "values" (with a small image of what is
            larger), "gradients" (of the first output), "parameters" (how many a layer has, in place of their shapes),
            "source" (the line that made the node), and the overlays, of which the first also tints: "time" (of one
            replay), "flops", "bytes", "saved" (kept for the backward pass), "gradient_norm", "nan", "zeros" (their
            share), "coverage" (operands without a derivative to second order), "alive" (bytes in memory while an op
            runs), "digits" (decimal digits that rounding has cost).
        style: "light", "dark", "okabe-ito" (for colour blindness), "print" (greys, serif), "slides", a TOML file; or
            "volumes" ("volumes-print" ...), which draws what layers make as boxes of height x width x channels.
        focus: a tensor, node or name (of a tensor or group): what it neither depends on nor feeds stands back. At
            "channel" and "neuron" it is the op to look into.
        between: (a, b), each as `focus`: what lies on no path from a to b stands back.
        fold: whether groups that repeat are drawn once, with their count.
        collapse: groups to draw as boxes, by name (dotted, or its end) or by a predicate of the dotted name.
        times, changes: seconds and shares of nodes, for "time" and "changed"; see `Profile.draw` and `tg.changes`.
        time_limit: seconds that a layout may take before a coarser picture is drawn.
        direction: "down", "right" or "wrap": in columns side by side, or in a U where values skip as in a U-Net.
        depth: groups at that depth are boxes, 1 for the outermost.
        title, legend: what stands above the picture, and whether the kinds of boxes are explained below it.
        font_size: points of the titles in boxes, 11.5 by default.
        width: the room there is: "8cm", "3.5in", "252pt", or the pages "A4" and "slide". The picture is no wider.
        names, colors: what a box or frame is called (its dotted name, the end of that, or its title), or of colours a
            kind such as "convolution" -> another title, "#rrggbb".
        steps: which iteration of loops to show, or several as columns of time; -1 is the last. By default the first.

    A picture holds values of parameters and data only where they are asked for, by `show` or by zoom "channel" or
    "neuron"; else it is structure alone.

    Raises:
        RecordingError: the tensor was not recorded.
        DrawingError: a level, style or thing to show that does not exist, values asked of a graph that has none.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, requires_grad=True, name="x")
    >>> draw(x * x + 2 * x)
    <Drawing of graph: 5 boxes, 6 arrows>
    """
    from tinygraph.drawing.model.sketch import Wishes  # what computes and writes is not needed before

    given = () if inputs is None else inputs if isinstance(inputs, tuple | list) else (inputs,)
    zoom, zooms = _levels(zoom, style)
    _check(zoom, zooms, element, backward, depth)
    _check_show(show, changes)
    wishes = Wishes(
        zoom, element, given, int(backward), show, focus, between, fold, collapse, zooms=zooms, depth=depth,
        names=names or {}, colors=colors or {}, compact=direction == "wrap", steps=_steps(steps),
    )  # fmt: skip
    sheet = make_sheet(direction, title, legend, font_size, width)
    drawing = _drawn(target, wishes, {"times": times, "changes": changes}, time_limit, sheet, style)
    if path is not None:
        drawing.save(path)
    return drawing


def _drawn(
    target: object,
    wishes: Wishes,
    measured: Mapping[str, Mapping[Node, float] | None],
    time_limit: float,
    sheet: Sheet,
    style: str | Path,
) -> Drawing:
    """The drawing of what the user holds; `measured` and `wishes` point at it as the user does."""
    volumes, name = _look(style)
    look = load_style(name)
    from tinygraph.drawing.drawing import Drawing
    from tinygraph.drawing.model.sketch import Sketch
    from tinygraph.drawing.page import MOST_ELEMENTS, page

    zoom = wishes.zoom
    if is_module(target) and not wishes.inputs:
        if wishes.zooms or zoom in INSIDE:
            asked = wishes.zooms or zoom
            raise DrawingError(f"zoom={asked!r} of a module needs inputs=, what to call it with")
        tree = named(draw_tree(target), wishes.names, wishes.colors)
        return Drawing(tree, look, time_limit=time_limit, sheet=sheet)
    whole = _graph(target, wishes.inputs)
    graph, found = open_bodies(whole)
    wishes = replace(
        wishes.found(found),
        flows=target.flows() if isinstance(target, Contributions) else None,
        measured={
            what: {id(edge_node(found(node))): amount for node, amount in amounts.items()}
            for what, amounts in measured.items()
            if amounts is not None
        },
    )
    sketch = Sketch(graph, wishes)
    return Drawing(
        sketch.picture(),
        look,
        coarser=sketch.coarser,
        time_limit=time_limit,
        sheet=sheet,
        volumes=volumes,
        # a rule of Python's is lost in the opened graph: of the whole one a file says why it carries none
        graph=sketch.drawn if ruled_in(whole) is None else whole,
        page=lambda numbers: page(
            sketch.graph,
            inputs=wishes.inputs,
            element=wishes.element if zoom in INSIDE else None,
            title=sheet.title or None,
            style=look,
            time_limit=time_limit,
            most_elements=MOST_ELEMENTS if numbers else 0,
            overlay=next((one.name for one in chosen(wishes.show)), None),
            timing="time" in wishes.show,
            measured=wishes.measured,
            loops=sketch.loops,
        ),
    )


def _steps(given: object) -> tuple[int, ...] | None:
    if given is None:
        return None
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if not several or not all(isinstance(one, int) and not isinstance(one, bool) for one in several):
        raise DrawingError(f"steps={given!r}: the number of an iteration, or several, such as (0, 1, -1)")
    return tuple(several)


def _check(zoom: str, zooms: Mapping[Any, str], element: object, backward: object, depth: object) -> None:
    """Refuse what cannot be asked for together, before anything is computed."""
    _check_depth(depth)
    if backward not in (0, 1, 2):
        raise DrawingError(
            f"backward={backward!r} must be False, True, or 2 for the backward pass of that pass"
        )
    if zooms and element is not None:
        _check_elements(element, zooms)
    elif element is not None and zoom not in INSIDE:
        raise DrawingError(
            f"element={element!r} belongs to a level below ops; zoom={zoom!r} shows whole tensors"
        )


def _look(style: str | Path) -> tuple[bool, str | Path]:
    """Whether volumes are asked for, and the look of the picture."""
    name, dash, look = str(style).partition("-")
    if isinstance(style, Path) or name != "volumes":
        return False, style
    return True, look if dash else DEFAULT


def _check_depth(depth: object) -> None:
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise DrawingError(f"depth={depth!r} must be a number of groups from 1 on")


def _levels(zoom: Any, style: str | Path) -> tuple[str, dict[Any, str]]:
    """The level of a picture, and those of what has another one."""
    if not isinstance(zoom, Mapping):
        find_level(zoom)
        return "module" if zoom == "op" and _look(style)[0] else zoom, {}  # volumes are of layers
    zooms = dict(zoom)
    rest = zooms.pop(None, "module")
    for level in (rest, *zooms.values()):
        find_level(level)
    if rest in INSIDE:
        raise DrawingError(
            f"zoom={{None: {rest!r}}}: the rest is at 'op', 'composite' or 'module'; name what to open"
        )
    return rest, zooms


def _check_elements(element: object, zooms: Mapping[Any, str]) -> None:
    opened = [what for what, level in zooms.items() if level in INSIDE]
    names = ", ".join(repr(what) for what in opened) or "nothing"
    if not isinstance(element, Mapping):
        raise DrawingError(
            f"element={element!r}: several levels need a mapping with elements of what is open: {names}"
        )
    for what in element:
        if not any(what is one or (isinstance(what, str) and what == one) for one in opened):
            raise DrawingError(f"element= names {what!r}, but open at 'channel' or 'neuron' is {names}")


def _check_show(show: Sequence[str], changes: object) -> None:
    names = ", ".join(map(repr, SHOWABLE))
    if isinstance(show, str):
        raise DrawingError(f"show={show!r} must be a tuple of names, such as ({show!r},); there are {names}")
    unknown = [one for one in show if one not in SHOWABLE]
    if unknown:
        raise DrawingError(f"cannot show {', '.join(map(repr, unknown))}: what can be shown is {names}")
    if "changed" in show and changes is None:
        raise DrawingError(
            'show="changed" compares two moments: with tg.changes(loss) as changes: ..., then changes.draw()'
        )


def _graph(target: Any, inputs: Sequence[Any]) -> Graph:
    if isinstance(target, Graph):
        return target.sized_for(inputs)
    if isinstance(target, Contributions):
        return target.graph
    if isinstance(target, Tensor):
        return graph_of(target)
    if is_module(target):
        return capture(target, *inputs)
    raise DrawingError(
        f"cannot draw a {type(target).__name__}: draw a tensor, a Graph or a module. Of a function, draw "
        f"tg.capture(function, *example_args)"
    )
