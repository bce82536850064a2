"""`tinygraph draw`: a saved graph as a picture or page. The drawing itself is `tg.draw`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tinygraph.cli.terminal import open_for_user, say


def draw(
    file: Path,
    path: Path | None = None,
    /,
    *,
    zoom: Literal["module", "composite", "op", "channel", "neuron"] = "op",
    open_it: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:
    """Draw a saved graph as SVG, PNG, PDF, DOT or HTML.

    Parameters
    ----------
    file
        A graph that `graph.save` wrote, such as model.safetensors.
    path
        Where the picture goes; its suffix (.svg, .png, .pdf, .dot, .html) chooses the format. By default the graph's
        file name with .svg.
    zoom
        How much to show: the model's modules, composed functions, ops, and below.
    open_it
        Open the picture in a browser.
    """
    import tinygraph as tg

    target = path if path is not None else file.with_suffix(".svg")
    tg.draw(tg.load(file), target, zoom=zoom)
    say(f"drew {file} as {target}")
    if open_it:
        open_for_user(target)
