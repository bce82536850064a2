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
from tinygraph.drawing.model.module_tree import draw_tree, is_module, module_classes
from tinygraph.drawing.model.overlays import OVERLAYS, chosen
from tinygraph.drawing.styles import DEFAULT, Style, load_style
from tinygraph.errors import DrawingError
from tinygraph.explaining import Contributions
from tinygraph.tracing import capture

if TYPE_CHECKING:
    from tinygraph.drawing.drawing import Drawing
    from tinygraph.drawing.model.sketch import Wishes

SHOWABLE = ("names", "settings", "shapes", "dtypes", "values", "gradients", "source", *OVERLAYS)
USUALLY = ("names", "settings", "shapes", "dtypes")


def draw(
    target: object,
    path: str | Path | None = None,
    *,
    zoom: str | Mapping[Any, str] = "op",
    element: object = None,
    inputs: object = None,
    backward: bool | int = False,
    show: Sequence[str] = USUALLY,
    style: str | Path = DEFAULT,
    focus: object = None,
    between: tuple[Any, Any] | None = None,
    fold: bool = False,
    collapse: Callable[[str], bool] | str | Collection[str] = (),
    times: Mapping[Node, float] | None = None,
    time_limit: float = 20.0,
    steps: int | Sequence[int] | None = None,
) -> Drawing:
    """Draw a computation.

    Args:
        target: a tensor (the graph that made it), a `Graph`, a module (its tree of submodules, or, with `inputs`, the
            graph of one call), or `tg.contributions(loss, wrt)`: its shares as widths of arrows.
        path: where to save it; the suffix chooses the format (.svg, .png, .pdf, .html, .dot).
        zoom: "module" (each call of an innermost module is a box), "composite" (composites are boxes), "op" (every op,
            with frames around modules and composites), "channel" (convolutions, or the op in `focus`, from inside: the
            planes of the inputs, kernels and their sums) or "neuron" (one element, with the couples that are
            multiplied, or with all that it reaches). Or several in one picture, {what: level}: tensors, nodes or names
            of groups as for `focus`, and None for the rest ("module"): {"conv1": "channel", "layer2": "op"}.
        element: at "channel" an (output channel, input channel) pair, or an output channel, to be shown alone. At
            "neuron" an index into what is drawn (or into `focus`): how that element comes about. Or (tensor, index) or
            {tensor: index}, the tensor as itself or by name: what that element reaches, and its impacts on the gradient
            if the output is a scalar or with `backward`. With several levels, {what: pair or index}.
        inputs: what to call a module or captured graph with: an array or tensor, or a tuple of them.
        backward: also draw the backward pass, each node opposite the one it serves; 2 also draws that pass's own.
        show: what to write: any of "names", "settings", "shapes", "dtypes", "values" (with a small image of what is
            larger), "gradients" (of the first output), "source" (the line that made the node), and the overlays, of
            which the first also tints: "time" (of one replay), "flops", "bytes", "saved" (kept for the backward pass,
            each buffer once), "gradient_norm", "nan" (numbers that are not finite), "zeros" (their share), "coverage"
            (operands without a derivative to second order), "alive" (bytes in memory while an op runs).
        style: "light", "dark", "okabe-ito" (for colour blindness), or a TOML file.
        focus: a tensor, node or name (of a tensor or group): what it neither depends on nor feeds stands back. At
            "channel" and "neuron" it is the op to look into.
        between: (a, b), each as `focus`: what lies on no path from a to b stands back.
        fold: whether groups that repeat one after another are drawn once, with their count.
        collapse: groups to draw as boxes, by name (dotted, or its end) or by a predicate of the dotted name.
        times: seconds of nodes that were measured elsewhere, for the overlay "time"; see `Profile.draw`.
        time_limit: seconds that a layout may take before a coarser picture is drawn.
        steps: which iteration of loops to show, or several beside each other, as columns of time; -1 is the last. A
            loop shows its first one, and with `backward` is one box that says how often it runs.

    A picture holds values of parameters and data, as numbers or colours, only where they are asked for: by "values",
    "gradients", "nan", "zeros" or "gradient_norm" in `show`, or by zoom "channel" or "neuron", which show nothing else.
    Otherwise `.source`, `.svg()`, `.png()` and `.pdf()` are structure alone.

    Raises:
        RecordingError: the tensor was not recorded.
        DrawingError: a level, style or thing to show that does not exist, values asked of a graph that has none.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, requires_grad=True, name="x")
    >>> draw(x * x + 2 * x)
    <Drawing of graph: 5 boxes, 6 arrows>
    """
    from tinygraph.drawing.model.sketch import (
        Wishes,  # what lays out, computes and writes is not needed before
    )

    given = () if inputs is None else inputs if isinstance(inputs, tuple | list) else (inputs,)
    zoom, zooms = _levels(zoom)
    _check(zoom, zooms, element, backward, show)
    wishes = Wishes(
        zoom,
        element,
        given,
        int(backward),
        show,
        focus,
        between,
        fold,
        collapse,
        zooms=zooms,
        steps=_steps(steps),
    )
    drawing = _drawn(target, wishes, times, load_style(style), time_limit)
    if path is not None:
        drawing.save(path)
    return drawing


def _drawn(
    target: object, wishes: Wishes, times: Mapping[Node, float] | None, look: Style, time_limit: float
) -> Drawing:
    """The drawing of what the user holds; `times` and `wishes` point at it as the user does."""
    from tinygraph.drawing.drawing import Drawing
    from tinygraph.drawing.model.sketch import Sketch
    from tinygraph.drawing.page import MOST_ELEMENTS, page

    zoom = wishes.zoom
    if is_module(target) and not wishes.inputs:
        if wishes.zooms or zoom in INSIDE:
            asked = wishes.zooms or zoom
            raise DrawingError(f"zoom={asked!r} of a module needs inputs=, what to call it with")
        return Drawing(draw_tree(target), look, time_limit=time_limit)
    whole = _graph(target, wishes.inputs)
    graph, found = open_bodies(whole)
    wishes = replace(
        wishes.found(found),
        flows=target.flows() if isinstance(target, Contributions) else None,
        times=None if times is None else {id(edge_node(found(node))): time for node, time in times.items()},
    )
    sketch = Sketch(graph, wishes, module_classes(target))
    return Drawing(
        sketch.picture(),
        look,
        coarser=sketch.coarser,
        time_limit=time_limit,
        # a rule of Python's is lost in the opened graph: of the whole one a file says why it carries none
        graph=sketch.drawn if ruled_in(whole) is None else whole,
        page=lambda numbers: page(
            sketch.graph,
            inputs=wishes.inputs,
            classes=sketch.classes,
            element=wishes.element if zoom in INSIDE else None,
            style=look,
            time_limit=time_limit,
            most_elements=MOST_ELEMENTS if numbers else 0,
            overlay=next((one.name for one in chosen(wishes.show)), None),
            timing="time" in wishes.show,
            times=wishes.times,
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


def _check(
    zoom: str, zooms: Mapping[Any, str], element: object, backward: object, show: Sequence[str]
) -> None:
    """Refuse what cannot be asked for together, before anything is computed."""
    _check_show(show)
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


def _levels(zoom: Any) -> tuple[str, dict[Any, str]]:
    """The level of a picture, and those of what has another one."""
    if not isinstance(zoom, Mapping):
        find_level(zoom)
        return zoom, {}
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


def _check_show(show: Sequence[str]) -> None:
    names = ", ".join(map(repr, SHOWABLE))
    if isinstance(show, str):
        raise DrawingError(f"show={show!r} must be a tuple of names, such as ({show!r},); there are {names}")
    unknown = [one for one in show if one not in SHOWABLE]
    if unknown:
        raise DrawingError(f"cannot show {', '.join(map(repr, unknown))}: what can be shown is {names}")


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
