"""`draw`: from whatever the user holds to a `Drawing`. It checks what was asked, and leaves each step to its file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.capture import capture
from tinygraph.core.graph import Graph, graph_of
from tinygraph.core.node import edge_type, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.draw.assembly import Numbers, assemble
from tinygraph.draw.levels import MOST_BOXES, Part, find_level, visible
from tinygraph.draw.module_tree import draw_tree, is_module, module_classes
from tinygraph.draw.numbers import gradients_of, own_gradients, values_of, with_backward
from tinygraph.draw.picture import Picture
from tinygraph.draw.styles import DEFAULT, load_style
from tinygraph.errors import DrawingError, TinygraphWarning

if TYPE_CHECKING:
    from tinygraph.draw.drawing import Drawing

SHOWABLE = ("names", "settings", "shapes", "dtypes", "values", "gradients", "source")
USUALLY = ("names", "settings", "shapes", "dtypes")
MOST_NUMBERS = 20_000  # nodes whose values are worth computing for a picture


def draw(
    target: Any,
    path: str | Path | None = None,
    *,
    zoom: str = "op",
    element: tuple[int, ...] | None = None,
    inputs: Any = None,
    backward: bool = False,
    show: Sequence[str] = USUALLY,
    style: str | Path = DEFAULT,
    time_limit: float = 20.0,
) -> Drawing:
    """Draw a computation.

    Args:
        target: a tensor (the graph that made it), a `Graph`, or a module (its tree of submodules, or, with `inputs`,
            the graph of one call).
        path: where to save it; the suffix chooses the format (.svg, .png, .pdf, .html, .dot).
        zoom: "op" (every op, with frames around modules and composites), "composite" (composites are boxes) or
            "module" (each call of an innermost module is a box).
        element: the element to zoom in on, at levels below "op".
        inputs: what to call a module or captured graph with: an array or tensor, or a tuple of them.
        backward: also draw the backward pass, each node opposite the one it serves.
        show: what to write: any of "names", "settings", "shapes", "dtypes", "values", "gradients" (of the first
            output), "source" (the line that made the node).
        style: "light", "dark", "okabe-ito" (for colour blindness), or a TOML file.
        time_limit: seconds that a layout may take before a coarser picture is drawn.

    Raises:
        RecordingError: the tensor was not recorded.
        DrawingError: a level, style or thing to show that does not exist, values asked of a graph that has none.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, requires_grad=True, name="x")
    >>> draw(x * x + 2 * x)
    <Drawing of graph: 5 boxes, 6 arrows>
    """
    from tinygraph.draw.drawing import Drawing  # what starts processes and writes files is not needed before

    find_level(zoom)
    _check_show(show)
    if element is not None:
        raise DrawingError(
            f"element={element!r} belongs to a level below ops; zoom={zoom!r} shows whole tensors"
        )
    look = load_style(style)
    given = () if inputs is None else inputs if isinstance(inputs, tuple | list) else (inputs,)
    if is_module(target) and not given:
        drawing = Drawing(draw_tree(target), look, time_limit=time_limit)
    else:
        sketch = _Sketch(_graph(target, given), given, zoom, backward, show, module_classes(target))
        picture = sketch.picture()
        drawing = Drawing(picture, look, coarser=sketch.coarser, time_limit=time_limit, graph=sketch.drawn)
    if path is not None:
        drawing.save(path)
    return drawing


def _check_show(show: Sequence[str]) -> None:
    names = ", ".join(map(repr, SHOWABLE))
    if isinstance(show, str):
        raise DrawingError(f"show={show!r} must be a tuple of names, such as ({show!r},); there are {names}")
    unknown = [one for one in show if one not in SHOWABLE]
    if unknown:
        raise DrawingError(f"cannot show {', '.join(map(repr, unknown))}: what can be shown is {names}")


def _graph(target: Any, inputs: Sequence[Any]) -> Graph:
    if isinstance(target, Graph):
        return target
    if isinstance(target, Tensor):
        return graph_of(target)
    if is_module(target):
        return capture(target, *inputs)
    raise DrawingError(
        f"cannot draw a {type(target).__name__}: draw a tensor, a Graph or a module. Of a function, draw "
        f"tg.capture(function, *example_args)"
    )


class _Sketch:
    """A graph and what is wanted of it, from which pictures of it are made, each coarser than the one before."""

    def __init__(
        self,
        graph: Graph,
        inputs: Sequence[Any],
        zoom: str,
        backward: bool,
        show: Sequence[str],
        classes: dict[str, str],
    ) -> None:
        self.classes = classes
        self.notes: list[str] = []
        self.zoom = zoom
        self.show = show
        self.drawn = graph
        self.numbers = self._numbers(graph, inputs)
        self.gradient_names: dict[int, str] = {}
        if backward and not any(node.phase == "backward" for node in graph.nodes):
            graph, self.gradient_names = with_backward(graph)
        self.graph = graph
        self.parts: list[Part] = []

    def picture(self, limit: int = MOST_BOXES) -> Picture:
        """The picture with at most about `limit` boxes."""
        self.parts, note = visible(self.graph.nodes, self.zoom, limit)
        if note:
            warnings.warn(f"{self.graph.name or 'the graph'}: {note}", TinygraphWarning, stacklevel=4)
        return assemble(
            self.graph,
            self.parts,
            show=self.show,
            numbers=self.numbers,
            gradient_names=self.gradient_names,
            classes=self.classes,
            direction="down",
            notes=[*self.notes, note] if note else self.notes,
        )

    def coarser(self) -> Picture | None:
        """A picture with half as many boxes as the last, or None if nothing is left to leave out."""
        before = len(self.parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TinygraphWarning)  # the drawing warns of the whole
            picture = self.picture(limit=before // 2)
        return picture if len(self.parts) < before else None

    def _numbers(self, graph: Graph, inputs: Sequence[Any]) -> Numbers:
        wanted = {"values", "gradients"}.intersection(self.show)
        if not wanted:
            return Numbers()
        if len(graph.nodes) > MOST_NUMBERS:
            self.notes.append(
                f"Numbers are left out: {len(graph.nodes):,} nodes are more than {MOST_NUMBERS:,}."
            )
            return Numbers()
        values = values_of(graph, inputs)
        gradients = self._gradients(graph, values) if "gradients" in wanted else {}
        return Numbers(values if "values" in wanted else {}, gradients)

    def _gradients(self, graph: Graph, values: dict[int, Any]) -> dict[int, Any]:
        out = graph.outputs[0] if graph.outputs else None
        if is_recorded(out) and edge_type(out).size == 1 and edge_type(out).differentiable:
            name = "the output" if len(graph.outputs) == 1 else "the first output"
            self.notes.append(f"grad: gradient of {name}, computed for this picture.")
            return gradients_of(graph, values)
        found = own_gradients(graph.nodes)
        if not found:
            raise DrawingError(
                "there are no gradients to show: the output is no scalar, and backward() has not been called. Draw a "
                "scalar such as a loss, or call output.backward(gradient) first"
            )
        self.notes.append("grad: what backward() has accumulated in .grad of each leaf.")
        return found
