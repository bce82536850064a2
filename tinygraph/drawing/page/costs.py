"""What the overlays of a page say of each node: time, arithmetic, memory, gradients, what is broken or missing.

The overlays are the table's in `overlays.py`, carried as data; how boxes show them is the page's business.
"""

from __future__ import annotations

import math
from typing import Any

from tinygraph.drawing.model.amounts import Known
from tinygraph.drawing.model.overlays import TABLE

DIGITS = 4


def overlay_records(known: Known) -> list[dict[str, Any]]:
    """Each overlay that there is something to say of, with the amount of every node in the graph's order."""
    nodes = known.graph.nodes
    found = []
    for overlay in TABLE:
        if not all(map(known.has, overlay.needs)):
            continue
        amounts = overlay.amounts(known)
        written = [_written(amounts.get(id(node))) for node in nodes]
        if all(amount is None for amount in written):
            continue
        found.append({"n": overlay.name, "a": written, "most": overlay.total == "largest"})
        marks = overlay.marks(known) if overlay.marks else {}
        if marks:
            found[-1]["first"] = {
                i: ": ".join(filter(None, (marks[id(node)].label, marks[id(node)].words)))
                for i, node in enumerate(nodes)
                if id(node) in marks
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
