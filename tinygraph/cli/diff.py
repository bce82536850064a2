"""`tinygraph diff`: two models compared, with an exit status for scripts. The comparison itself is `tg.diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tinygraph.cli.inputs import random_inputs
from tinygraph.cli.opening import opened_graph, opened_or_made
from tinygraph.cli.terminal import fail
from tinygraph.errors import TinygraphError

SAME, DIFFERENT, TROUBLE = 0, 1, 2  # as `diff` has them


def diff(
    a: str,
    b: str,
    /,
    *,
    run: Annotated[bool, Parameter(negative="")] = False,
    path: Annotated[Path | None, Parameter(name="--draw")] = None,
) -> int:
    """Compare two models: 0 if they are the same, 1 if not, 2 if one cannot be read.

    Parameters
    ----------
    a
        A graph that `graph.save` wrote, an ONNX model, an exported program (.pt2) or a saved drawing.
    b
        Another; or code, as package.module:name of a module or of what makes one, called with inputs like those of a.
    run
        Run both on the same random inputs, and compare values and gradients too.
    path
        Draw both as one picture, with what was removed, added and changed in colours; the suffix chooses the format.
    """
    import tinygraph as tg

    try:
        first = opened_graph(Path(a))
        second = opened_or_made(b, [leaf.types for leaf in first.inputs])
        inputs = random_inputs([leaf.types for leaf in second.inputs]) if run else None
        found = tg.diff(first, second, inputs=inputs)
        print(found)
        if path is not None:
            found.draw(path)
    except (TinygraphError, OSError, ImportError) as error:
        fail(error)
        return TROUBLE
    return DIFFERENT if found else SAME
