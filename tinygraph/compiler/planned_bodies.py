"""Plans for the bodies of loops and branches, which run where the plan around them says.

Ops in plain NumPy stay calls there: nobody asks, before such a plan runs, whether what their forwards read still holds.
"""

from __future__ import annotations

import numpy as np

from tinygraph.compiler.building import build_plan
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import PASSES, run_passes
from tinygraph.compiler.passes.look_through import look_through
from tinygraph.compiler.passes.sum_after_loops import sum_after_loops
from tinygraph.core.graph import Graph
from tinygraph.core.subgraphs import Planned

# what is one kernel adds up where it is
_SMALL_PASSES = tuple(one for one in PASSES if one not in (look_through, sum_after_loops))
_BODY_PASSES = tuple(one for one in COMPILE_PASSES if one is not look_through)


def optimized(graph: Graph) -> Graph:
    """A closed graph after the passes; see `Subgraph.optimized`."""
    return run_passes(graph, _SMALL_PASSES)[-1].graph


def planned(graph: Graph, exact: bool) -> Planned:
    """A plan of a closed graph; see `Subgraph.planned`."""
    plan = build_plan(run_passes(graph, _BODY_PASSES)[-1].graph, exact=exact, native=True)

    def prepare() -> None:
        for narrow, wide in plan.numbers_read:
            np.copyto(narrow, wide, casting="unsafe")

    calls = tuple(call for _, call in plan.calls)
    return Planned(plan.inputs, plan.outputs, prepare, calls, plan.threads, bool(plan.numbers_read))
