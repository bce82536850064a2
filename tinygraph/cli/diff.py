"""`tinygraph diff`: two saved graphs compared, with an exit status for scripts. The comparison itself is `tg.diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from tinygraph.cli.terminal import fail
from tinygraph.core.graph import Graph
from tinygraph.core.types import ArrayType
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
        found = tg.diff(first, second, inputs=_random_inputs(second) if run else None)
        print(found)
        if path is not None:
            found.draw(path)
    except (TinygraphError, OSError) as error:
        fail(error)
        return TROUBLE
    return DIFFERENT if found else SAME


def _random_inputs(graph: Graph) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return tuple(_random(rng, leaf.types) for leaf in graph.inputs)


def _random(rng: np.random.Generator, types: ArrayType) -> Any:
    """Normal numbers; of whole numbers 0 and 1, which are labels and indices of anything."""
    if types.dtype.kind in "biu":
        return rng.integers(0, 2, types.shape).astype(types.dtype)
    return rng.normal(size=types.shape).astype(types.dtype)
