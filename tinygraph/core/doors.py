"""Doors to rooms above the core: what a tensor or a graph offers as a method and another room does.

The core imports nothing above itself, not even inside a function. Each door is declared here with its type, and
`tinygraph/__init__.py`, which knows every room, hangs the function in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import networkx as nx

    from tinygraph.analysis.coverage import Coverage
    from tinygraph.core.capture import Capture
    from tinygraph.core.graph import Graph
    from tinygraph.core.op import Op, Rule
    from tinygraph.core.process_group import Processes
    from tinygraph.core.subgraphs import Planned
    from tinygraph.drawing import Drawing


class Doors:
    """One attribute a door.

    Attributes:
        call_ufunc, call_function: NumPy's functions called on tensors.
        array_namespace: the array API's functions, for tensors.
        derived_rule: a backward rule for an operand of an op that has none, found by looking through it.
        open_capture: the capture under which a graph that has no values is differentiated.
        run_eagerly: an op on large arrays by generated kernels, or None where its forward is to run.
        at_sizes: a graph for given values of its free sizes.
        free_gradient: the gradient of a graph that has free sizes.
        planned: a plan for the graph of a body.
        optimized: the graph of a body after the passes.
        connect: this process to those that a launcher started with it.
        draw, coverage, summary, save_graph, to_networkx, from_networkx: methods of `Graph`.
    """

    call_ufunc: Callable[[np.ufunc, str, tuple[Any, ...], dict[str, Any]], Any]
    call_function: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
    array_namespace: Callable[[str | None], ModuleType]
    derived_rule: Callable[[Op, str], Rule]
    open_capture: Callable[[], Capture]
    run_eagerly: Callable[[Op, Sequence[Any], dict[str, Any]], Any]
    at_sizes: Callable[[Graph, dict[str, int]], Graph]
    free_gradient: Callable[[Graph, object], Graph]
    planned: Callable[[Graph, bool], Planned]
    optimized: Callable[[Graph], Graph]
    connect: Callable[[], Processes]
    draw: Callable[..., Drawing]
    coverage: Callable[[Graph, int, bool], Coverage]
    summary: Callable[[Graph], str]
    save_graph: Callable[..., None]
    to_networkx: Callable[[Graph], nx.MultiDiGraph[Any]]
    from_networkx: Callable[..., Graph]


doors = Doors()
