"""What the overlays of a page say of each node: time, arithmetic, memory, gradients, what is broken or missing.

The amounts are `overlays.py`'s; how boxes show them, and add up what is inside them, is the page's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinygraph.analysis.kept import Kept
from tinygraph.core.graph import Graph
from tinygraph.drawing.model.levels import LARGEST, OVERLAYS
from tinygraph.drawing.model.overlays import alive_of, first_broken, heats_of

STRUCTURAL = ("flops", "bytes", "saved", "alive", "coverage")  # need no numbers
DIGITS = 4


def overlay_records(
    graph: Graph,
    values: Mapping[int, Any],
    gradients: Mapping[int, Any],
    timing: bool,
    kept: Kept,
    times: Mapping[int, float] | None = None,
) -> list[dict[str, Any]]:
    """Each overlay that there is something to say of: its name, and the amount of every node in the graph's order.

    Args:
        values, gradients: of the nodes, by id.
        timing: whether to run each op again, if there are values, to see how long it takes.
        kept: what the graph keeps for its backward passes.
        times: seconds of nodes, by id, where they were measured elsewhere.
    """
    having = {
        "time": times is not None or (timing and bool(values)),
        "nan": bool(values),
        "gradient_norm": bool(gradients),
    }
    wanted = [one for one in (*OVERLAYS, *LARGEST) if one in STRUCTURAL or having[one]]
    heats = heats_of(graph.nodes, wanted, values, gradients, times, alive_of(graph), kept.by_node)
    found = []
    for i, overlay in enumerate(wanted):
        amounts = [_written(heats[id(node)].amounts[i]) for node in graph.nodes]
        if any(amount is not None for amount in amounts):
            found.append({"n": overlay, "a": amounts, "most": overlay in LARGEST})
            if overlay == "nan":
                first = first_broken(graph.nodes, values, gradients)
                found[-1]["first"] = {
                    i: f"{what}: {kinds}"
                    for i, (what, kinds) in enumerate(first.get(id(node), ("", "")) for node in graph.nodes)
                    if what
                }
    return found


def _written(amount: float | None) -> float | str | None:
    """An amount in JSON, which knows no nan and infinity: those as JavaScript reads them."""
    if amount is None or math.isfinite(amount):
        return None if amount is None else _short(amount)
    return "NaN" if math.isnan(amount) else "Infinity"


def _short(amount: float) -> float:
    short = float(f"{amount:.{DIGITS}g}") if amount < 1e15 and amount != int(amount) else amount
    return int(short) if short == int(short) else short
