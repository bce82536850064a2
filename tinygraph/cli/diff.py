"""`tinygraph diff`: two saved graphs compared, with an exit status for scripts. The comparison itself is `tg.diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tinygraph.cli.inputs import random_inputs
from tinygraph.cli.terminal import fail
from tinygraph.errors import TinygraphError

SAME, DIFFERENT, TROUBLE = 0, 1, 2  # as `diff` has them


def diff(
    a: Path,
    b: Path,
    /,
    *,
    run: Annotated[bool, Parameter(negative="")] = False,
    path: Annotated[Path | None, Parameter(name="--draw")] = None,
) -> int:
    """Compare two saved graphs: 0 if they are the same, 1 if not, 2 if one cannot be read.

    Parameters
    ----------
    a
        A graph that `graph.save` wrote, or a saved drawing (.svg, .html, .dot).
    b
        Another.
    run
        Run both on the same random inputs, and compare values and gradients too.
    path
        Draw both as one picture, with what was removed, added and changed in colours; the suffix chooses the format.
    """
    import tinygraph as tg

    try:
        first, second = tg.load(a), tg.load(b)
        inputs = random_inputs([leaf.types for leaf in second.inputs]) if run else None
        found = tg.diff(first, second, inputs=inputs)
        print(found)
        if path is not None:
            found.draw(path)
    except (TinygraphError, OSError) as error:
        fail(error)
        return TROUBLE
    return DIFFERENT if found else SAME
