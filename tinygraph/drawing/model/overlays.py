"""Overlays: one number a node - time, operations, bytes, the size of its gradient - as a tint and a line in its box.

A row of the table is all that an overlay is: pictures read it, and a page carries it as data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinygraph.analysis.units import BYTES, COUNT, NUMBER, OPERATIONS, SECONDS, SHARE, Unit
from tinygraph.core.node import Node
from tinygraph.drawing.model.amounts import (
    Known,
    Mark,
    broken,
    broken_gradients,
    digits_lost,
    first_broken,
    first_broken_gradient,
    kept_bytes,
    missing,
    norms,
    operations,
    peak,
    sizes,
    where_digits_go,
    zeros,
)

Amounts = Mapping[int, float | None]
Need = Literal["values", "gradients", "times", "changes"]
Total = Literal["sum", "largest", "norm"]


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is said of each node under one name.

    Attributes:
        name: what `show=` calls it.
        title: what the page's switch calls it.
        amounts: the amount of each node that there is something to say of, by id.
        unit: how an amount is written.
        total: how amounts of one box are taken together: their "sum", the "largest", or their "norm" as one vector.
        words: what a box says, with {} for the amount, beside the overlay's name.
        alone: the same where the name does not stand beside it.
        nothing: what 0 is called; a picture leaves the line out then.
        needs: what must be known of the graph.
        uses: what it looks at too, where that is to be had.
        marks: the nodes that stand out, by id.
        tint: the colour of the largest amount, as styles call it.
        asked: whether it runs the graph again, and so is there only where somebody asked for it.
        beside: the overlay that a picture shows it together with.
    """

    name: str
    title: str
    amounts: Callable[[Known], Amounts]
    unit: Unit
    total: Total = "sum"
    words: str = "{}"
    alone: str = "{}"
    nothing: str = ""
    needs: tuple[Need, ...] = ()
    uses: tuple[Need, ...] = ()
    marks: Callable[[Known], Mapping[int, Mark]] | None = None
    tint: str = "heat"
    asked: bool = False
    beside: str = ""

    def asks(self, need: Need) -> bool:
        """Whether it looks at something, needed or not."""
        return need in self.needs or need in self.uses

    def text(self, amount: float) -> str:
        """An amount in a box that says the overlay's name."""
        return self.words.format(self.unit.text(amount))

    def together(self, amounts: Collection[float]) -> float | None:
        """What is said of several nodes in one box; None if nothing is."""
        if not amounts:
            return None
        if self.total == "largest":
            return float(max(amounts))
        if self.total == "norm":
            return float(np.sqrt(sum(one**2 for one in amounts)))
        return float(sum(amounts))


TABLE = (
    Overlay("time", "Time", lambda known: known.times, SECONDS, needs=("times",)),
    Overlay(
        "changed", "Changed", lambda known: known.measured["changes"], SHARE, "largest", alone="{} changed",
        nothing="unchanged", needs=("changes",),
    ),
    Overlay("flops", "Operations", operations, OPERATIONS, alone="{}flop"),
    Overlay("bytes", "Bytes", sizes, BYTES),
    Overlay("saved", "Kept for backward", kept_bytes, BYTES, nothing="nothing kept"),
    Overlay("gradient_norm", "Gradient norm", norms, NUMBER, "norm", alone="norm {}", needs=("values", "gradients")),
    Overlay(
        "nan", "Not finite", broken, COUNT, words="{} not finite", alone="{} not finite", nothing="all finite",
        needs=("values",), marks=first_broken,
    ),
    Overlay(
        "gradient_nan", "Gradient not finite", broken_gradients, COUNT, words="{} not finite",
        alone="{} of its gradient not finite", nothing="gradient finite", needs=("values",), uses=("gradients",),
        marks=first_broken_gradient, beside="nan",
    ),
    Overlay(
        "zeros", "Zeros", zeros, SHARE, "largest", alone="{} zeros", nothing="no zeros", needs=("values",)
    ),
    Overlay(
        "coverage", "Missing derivatives", missing, COUNT, words="{} missing", alone="{} missing",
        nothing="none missing",
    ),
    Overlay(
        "digits", "Digits lost", digits_lost, NUMBER, "largest", words="{} lost", alone="{} digits lost",
        nothing="none lost", needs=("values",), marks=where_digits_go, asked=True,
    ),
    Overlay("alive", "Bytes alive", lambda known: known.alive, BYTES, "largest", marks=peak),
)  # fmt: skip
OVERLAYS = {overlay.name: overlay for overlay in TABLE}


def chosen(names: Iterable[str]) -> list[Overlay]:
    """The overlays among what is to be shown, in the order asked for, each with those that stand beside it."""
    return list(dict.fromkeys(one for name in names for one in TABLE if name in (one.name, one.beside)))


class Heat:
    """What some overlays say of a graph's nodes; the first of them makes the tint.

    Attributes:
        tint: the colour of that, as styles call it.
        marks: of each overlay the nodes that stand out, by id.
    """

    def __init__(self, overlays: Collection[Overlay], known: Known) -> None:
        self.rows: list[tuple[Overlay, Amounts]] = [(one, one.amounts(known)) for one in overlays]
        self.marks = [one.marks(known) if one.marks else {} for one in overlays]
        self.tint = next((one.tint for one in overlays), "heat")

    def __bool__(self) -> bool:
        return bool(self.rows)

    def of(self, nodes: Collection[Node]) -> tuple[float | None, tuple[tuple[str, str], ...], bool]:
        """Of the nodes in one box: the amount behind its tint, its lines (label, text), whether it stands out."""
        totals: list[float | None] = []
        lines: list[tuple[str, str]] = []
        below: list[tuple[str, str]] = []
        marked = False
        for (overlay, amounts), marks in zip(self.rows, self.marks, strict=True):
            found = (amounts.get(id(node)) for node in nodes)
            total = overlay.together([one for one in found if one is not None])
            totals.append(total)
            here = [marks[id(node)] for node in nodes if id(node) in marks]
            marked = marked or bool(here)
            below += [(mark.label, mark.words) for mark in here if mark.label]
            if total is not None and not (overlay.nothing and total == 0):
                text = ", ".join((overlay.text(total), *(mark.words for mark in here if not mark.label)))
                lines.append((overlay.name.replace("_", " "), text))
        first = self.rows[0][0].name if self.rows else ""
        behind = [
            one for one, (row, _) in zip(totals, self.rows, strict=True) if first in (row.name, row.beside)
        ]
        known = [one for one in behind if one is not None]
        return (sum(known) if known else None), (*lines, *below), marked

    def notes(self, place: Callable[[Any], str], nodes: Iterable[Node]) -> list[str]:
        """A sentence for each node that stands out.

        Args:
            place: says where a node is.
        """
        by_id = {id(node): node for node in nodes}
        found = [item for marks in self.marks for item in marks.items()]
        return [mark.note.format(place=place(by_id[key])) for key, mark in found]
