"""Passes: each file one function from Graph to Graph, listed here in the order in which they run.

A pass changes what a graph costs, never what it computes. `verify` states what every graph between passes must satisfy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinygraph.compiler.passes.cancel_shapes import cancel_shapes
from tinygraph.compiler.passes.delay_broadcasts import delay_broadcasts
from tinygraph.compiler.passes.fold_constants import fold_constants
from tinygraph.compiler.passes.look_through import look_through
from tinygraph.compiler.passes.merge_duplicates import merge_duplicates
from tinygraph.compiler.passes.push_shapes import push_shapes
from tinygraph.compiler.passes.remove_unused import remove_unused
from tinygraph.compiler.passes.share_loops import share_loops
from tinygraph.compiler.passes.simplify_algebra import simplify_algebra
from tinygraph.compiler.passes.sum_after_loops import sum_after_loops
from tinygraph.compiler.passes.take_parts import take_parts
from tinygraph.compiler.passes.transpose_products import transpose_products
from tinygraph.compiler.passes.verify import verify as verify
from tinygraph.core.graph import Graph
from tinygraph.tracing.collector import collection_paused

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (
    remove_unused,
    look_through,
    fold_constants,
    take_parts,
    cancel_shapes,
    push_shapes,
    delay_broadcasts,
    transpose_products,
    simplify_algebra,
    merge_duplicates,
    share_loops,
    sum_after_loops,
    remove_unused,
)


class Stage(NamedTuple):
    """The graph after one pass."""

    name: str
    graph: Graph


@collection_paused()
def run_passes(graph: Graph, passes: Sequence[Pass] = PASSES, *, check: bool = False) -> list[Stage]:
    """The graph after each pass, the captured one first; `check` verifies each.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> stages = run_passes(tg.capture(lambda x: x * 1.0 + x * 1.0, np.zeros(3)))
    >>> [len(stage.graph.nodes) for stage in stages[:1] + stages[-1:]]
    [4, 2]
    """
    stages = [Stage("captured", graph)]
    for one in passes:
        graph = one(graph)
        if check:
            verify(graph)
        stages.append(Stage(one.__name__, graph))
    return stages
