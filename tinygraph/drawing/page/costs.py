"""What the overlays of a page say of each node: time, arithmetic, memory, gradients, what is broken or missing.

The overlays are the table's in `overlays.py`, carried as data; how boxes show them is the page's business.
"""

from __future__ import annotations

import math
from typing import Literal

from tinygraph.analysis.units import UNITS
from tinygraph.drawing.model.amounts import Known
from tinygraph.drawing.model.overlays import TABLE
from tinygraph.drawing.page.schema import PageOverlay, PageUnit

DIGITS = 4


def overlay_records(known: Known, asked: str | None = None) -> list[PageOverlay]:
    """Each overlay that there is something to say of, with the amount of every node in the graph's order.

    Args:
        asked: the overlay that somebody asked for, if any.
    """
    nodes = known.graph.nodes
    found = []
    for overlay in TABLE:
        if not all(map(known.has, overlay.needs)) or (overlay.asked and overlay.name != asked):
            continue
        amounts = overlay.amounts(known)
        written = [_written(amounts.get(id(node))) for node in nodes]
        if all(amount is None for amount in written):
            continue
        marks = overlay.marks(known) if overlay.marks else {}
        found.append(
            PageOverlay(
                name=overlay.name,
                title=overlay.title,
                amounts=written,
                unit=overlay.unit.name,
                words=overlay.alone,
                nothing=overlay.nothing,
                total=overlay.total,
                needs=[*overlay.needs, *overlay.uses],
                tint=f"--{overlay.tint}",
                marks={
                    str(i): ": ".join(filter(None, (marks[id(node)].label, marks[id(node)].words)))
                    for i, node in enumerate(nodes)
                    if id(node) in marks
                },
            )
        )
    return found


def unit_records() -> dict[str, PageUnit]:
    """Every unit, by its name."""
    return {name: PageUnit(scales=list(unit.scales), digits=unit.digits) for name, unit in UNITS.items()}


def _written(amount: float | None) -> float | Literal["NaN", "Infinity"] | None:
    """An amount in JSON, which knows no nan and infinity: those as JavaScript reads them."""
    if amount is None or math.isfinite(amount):
        return None if amount is None else _short(amount)
    return "NaN" if math.isnan(amount) else "Infinity"


def _short(amount: float) -> float:
    short = float(f"{amount:.{DIGITS}g}") if amount < 1e15 and amount != int(amount) else amount
    return int(short) if short == int(short) else short
