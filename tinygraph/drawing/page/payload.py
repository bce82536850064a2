"""What a page carries: the tree of boxes as plain data, and the numbers as one block of float32.

Each distinct interior and each description of an op stands there once. How it looks is the page's business.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.analysis.expansion import Affine, Expansion, Read, expansion_of
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.op import Op
from tinygraph.core.types import type_of
from tinygraph.drawing.model.labels import LONGEST_TOOLTIP, settings_of, shorten
from tinygraph.drawing.page.areas import Area, Flow, Value
from tinygraph.drawing.page.layout import BORDER, Interior
from tinygraph.drawing.page.schema import (
    PageBox,
    PageExpansion,
    PageInterior,
    PageLink,
    PageOp,
    PageRead,
    PageTensor,
)
from tinygraph.packages.card import Card, card_of

BINS = 24
MOST_COMPUTED = 20_000  # nodes whose values and overlays are worth computing
SIGNIFICANT = 6  # digits of statistics
LONGEST_NAME = 200

Statistics = tuple[float | None, float | None, float | None, float | None]


class Tensors:
    """The tensors of a page: types, statistics, and elements as long as the budget lasts, small tensors first.

    Args:
        budget: how many elements the page may carry.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.records: list[PageTensor] = []
        self.arrays: list[Any] = []
        self.known: dict[tuple[Any, ...], int] = {}

    def add(self, key: tuple[Any, ...], array: object, name: str) -> int:
        """The number of a tensor, entered once."""
        if key not in self.known:
            self.known[key] = len(self.records)
            types = type_of(array)
            self.records.append(
                PageTensor(name=shorten(name, 40), shape=types.shape, dtype=types.dtype.name, at=-1)
            )
            self.arrays.append(array)
        return self.known[key]

    def in_rounds(self, number: int, key: tuple[Any, ...], arrays: Sequence[object]) -> None:
        """What a tensor within a loop is in several iterations."""
        name = self.records[number].name
        self.records[number].rounds = [self.add((*key, i), one, name) for i, one in enumerate(arrays)]

    def block(self) -> bytes:
        """All elements that fit, as little-endian float32; the records then say where each tensor begins."""
        parts: list[np.ndarray[Any, Any]] = []
        at = 0
        for i in sorted(range(len(self.arrays)), key=lambda i: (np.size(self.arrays[i]), i)):
            array = real(self.arrays[i])
            if array is None:
                continue
            record = self.records[i]
            record.broken, record.statistics, record.counts = statistics(array)
            if at + array.size <= self.budget:
                record.at = at
                with np.errstate(over="ignore"):
                    parts.append(np.ascontiguousarray(array, "<f4").reshape(-1))
                at += array.size
        return b"".join(part.tobytes() for part in parts)

    @property
    def left_out(self) -> int:
        """How many tensors did not fit; known once the block is made."""
        return sum(
            record.at < 0 and record.broken is not None and math.prod(record.shape) > 0
            for record in self.records
        )


def real(value: object) -> np.ndarray[Any, Any] | None:
    """An array as real numbers, or None where it is something else: complex numbers, text, objects without a number."""
    array = np.asarray(value)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            return None
    return None


def statistics(array: np.ndarray[Any, Any]) -> tuple[int, Statistics | None, list[int] | None]:
    """How many numbers are not finite; least, greatest, mean, deviation of the others; how many lie in each range."""
    finite = np.asarray(array, np.float64)
    finite = finite[np.isfinite(finite)]
    broken = int(array.size - finite.size)
    if not finite.size:
        return broken, None, None
    low, high = float(finite.min()), float(finite.max())
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(finite.mean()), float(finite.std())
    shown = (_significant(low), _significant(high), _significant(mean), _significant(deviation))
    # Numbers that differ in their last digits alone have no room for ranges between them.
    apart = math.isfinite(high - low) and high - low > BINS * np.spacing(max(abs(low), abs(high)))
    return broken, shown, np.histogram(finite, BINS, (low, high))[0].tolist() if apart else None


def _significant(number: float) -> float | None:
    return float(f"{number:.{SIGNIFICANT}g}") if math.isfinite(number) else None


class Payload:
    """A tree of boxes on its way to being the page's data.

    Args:
        order: the number of each node, by id.
        kept: bytes that nodes keep for a backward pass, by id: `Kept.carried`.
    """

    def __init__(
        self,
        values: Mapping[int, Any],
        gradients: Mapping[int, Any],
        numbers: Tensors,
        order: Mapping[int, int],
        kept: Mapping[int, int],
    ) -> None:
        self.kept = kept
        self.order = order
        self.values = values
        self.gradients = gradients
        self.numbers = numbers
        self.interiors: dict[tuple[Any, ...], int] = {}
        self.interior_records: list[PageInterior] = []
        self.ops: dict[str, PageOp] = {}
        self.titles: dict[Op, str] = {}
        self.expansions: dict[str, int] = {}
        self.expansion_records: list[PageExpansion] = []

    def box(self, root: Area) -> PageBox:
        """The record of a box with all in it."""
        records: dict[int, PageBox] = {}
        for box in reversed(list(root.walk())):
            record = PageBox(title=box.title, kind=box.kind, note=box.note, lane=box.lane)
            if isinstance(box.node, Leaf):
                self._leaf(record, box.node)
            elif box.node is not None:
                self._op(record, box.node)
            if box.shows is not None:
                record.ready = self.order[box.shows[0]]  # when it is there, where somebody steps
                if box.kind == "gradient":
                    self._show(record, box.shows)
            if box.inside and len(self.order) <= MOST_COMPUTED:  # there are overlays to add up
                record.inside = [self.order[id(node)] for node in box.inside]
            if box.interior is not None:
                record.interior = self._interior(box)
                record.kids = [records[id(kid)] for kid in box.kids]
                if len(box.results) == 1 and box.results[0][1] >= 0:  # a bundle is several
                    record.ready = self.order[box.results[0][0]]
                    self._show(record, box.results[0])
            records[id(box)] = record
        return records[id(root)]

    def _show(self, record: PageBox, value: Value) -> None:
        """A group with one result shows it."""
        shown = self.numbers.known.get(("value", *value))
        if shown is not None:
            record.values = [shown]

    def _interior(self, box: Area) -> int:
        interior = box.interior
        assert interior is not None
        key = (id(interior), tuple(box.links.values()))
        number = self.interiors.get(key)
        if number is None:
            number = self.interiors[key] = len(self.interior_records)
            self.interior_records.append(_interior_record(interior, box))
        return number

    def _leaf(self, record: PageBox, leaf: Leaf) -> None:
        record.node, record.values, record.leaf = self.order[id(leaf)], self._tensors(leaf), leaf.kind
        record.gradient = self._gradient(leaf)
        if leaf.name:
            record.name = shorten(leaf.name, LONGEST_NAME)

    def _op(self, record: PageBox, node: Node) -> None:
        op = node.op
        record.op, record.node, record.values = self._title(op), self.order[id(node)], self._tensors(node)
        record.operands = [self._operand(node, i) for i in range(len(node.inputs))]
        record.settings = settings_of(node) or None
        record.kept = self.kept.get(id(node), 0) if node.phase == "forward" else 0
        if node.source is not None:
            record.source = shorten(f"{node.source}", LONGEST_TOOLTIP)
            if node.source.text:
                record.line = shorten(node.source.text.strip(), LONGEST_TOOLTIP)
        expansion = expansion_of(node) if node.saved is None or self.values else None
        if expansion is not None and id(node) in self.values:
            record.expansion = self._expansion(expansion)
        record.gradient = self._gradient(node)

    def _title(self, op: Op) -> str:
        """What the page calls an op: its name, with its package or a number where another op has that name."""
        title = self.titles.get(op)
        if title is None:
            title, number = op.name, 1
            while title in self.ops:
                title = f"{op.name} of {op.package}" + (f" ({number})" if number > 1 else "")
                number += 1
            self.titles[op], self.ops[title] = title, op_record(op)
        return title

    def _tensors(self, node: Node) -> list[int]:
        """The numbers of what a node computes."""
        value = self.values.get(id(node))
        if value is None:
            return [-1] * len(node.output_types)
        name = (node.name or "").rpartition(".")[2] or ("out" if not isinstance(node, Leaf) else node.kind)
        several = value if isinstance(value, tuple) else (value,)
        return [self.numbers.add(("value", id(node), i), one, name) for i, one in enumerate(several)]

    def _operand(self, node: Node, position: int) -> int:
        entry = node.inputs[position]
        if entry is None or not self.values:
            return -1
        if is_recorded(entry):
            return self._tensors(edge_node(entry))[edge_index(entry)]
        return self.numbers.add(("constant", id(entry)), entry, node.op.operand_at(position).name)

    def _gradient(self, node: Node) -> int | None:
        gradient = self.gradients.get(id(node))
        if gradient is None or isinstance(gradient, tuple | list):
            return None
        return self.numbers.add(("gradient", id(node)), gradient, "gradient")

    def _expansion(self, expansion: Expansion) -> int:
        key = repr(expansion)
        if key not in self.expansions:
            self.expansions[key] = len(self.expansion_records)
            self.expansion_records.append(expansion_record(expansion))
        return self.expansions[key]


def _interior_record(interior: Interior, box: Area) -> PageInterior:
    sizes = [kid.size for kid in box.kids]
    links = [
        PageLink(tail=tail, head=head, role=flow.role, path=path)
        for ((upper, lower, _), flow), path in zip(box.links.items(), interior.paths, strict=True)
        for tail, head in [_ends(upper, lower, flow)]
    ]
    places = [(x, y, w, h) for (x, y), (w, h) in zip(interior.places, sizes, strict=True)]
    return PageInterior(width=interior.width, height=interior.height, places=places, links=links)


def _ends(upper: Area | None, lower: Area | None, flow: Flow) -> list[int]:
    """The numbers of the kids that a link goes from and to."""
    ends = [_number(upper), _number(lower)]
    return ends[::-1] if flow.up else ends


def _number(kid: Area | None) -> int:
    return BORDER if kid is None else kid.number


def op_record(op: Op) -> PageOp:
    """What a page says of an op: formula, operands, and its derivative rules in words."""
    rules = {}
    for operand, rule in op.rules.items():
        needs = ", ".join(
            ("the cotangent g", *(_in_words(name) for name in rule.asks if name not in op.signature.settings))
        )
        said = inspect.getdoc(inspect.unwrap(rule.function)) or ""
        rules[operand] = " ".join(part for part in (said.partition("\n\n")[0], f"Made from {needs}.") if part)
    card = card_of(op)
    return PageOp(
        formula=" ".join((inspect.getdoc(op.forward) or "").partition("\n\n")[0].split()),
        kind=op.kind,
        operands=[operand.name for operand in op.signature.operands],
        rules=rules,
        fixed=list(op.nondifferentiable),
        card=None if card is None else card_rows(card),
    )


def card_rows(card: Card) -> list[tuple[str, str]]:
    """What a conformance card says, in rows of name and words."""
    rows = {
        "laws": f"{card.laws} hold" if card.laws and not card.broken else card.laws,
        "broken": ", ".join(card.broken),
        "mutation": card.mutation,
        "dtypes": ", ".join(card.dtypes),
        "broadcasting": card.broadcasting,
        "zero size": card.zero_size,
        "memory layout": card.memory_layout,
    }
    for one in card.operands:
        orders = (
            ("first order", one.first_order),
            ("second", one.second_order),
            ("forward", one.forward_mode),
        )
        rows[f"gradient {one.name}"] = "; ".join(f"{name} {said}" for name, said in orders if said)
    rows["checked"] = f"{card.distribution} {card.version}"
    return [(name, said) for name, said in rows.items() if said]


def _in_words(name: str) -> str:
    if name == "out":
        return "the result"
    return f"the shape of {name.removesuffix('_type')}" if name.endswith("_type") else name


def expansion_record(expansion: Expansion) -> PageExpansion:
    """An expansion as the page evaluates it: rows of integers."""
    count = len(expansion.shape) + len(expansion.over)

    def read(one: Read) -> PageRead:
        rows = [
            list(place.coefficients) if isinstance(place, Affine) else [*[0] * count, place]
            for place in one.places
        ]
        return PageRead(operand=one.operand, shape=one.shape, places=[_fitted(row, count) for row in rows])

    return PageExpansion(
        shape=expansion.shape,
        over=expansion.over,
        reads=[read(one) for one in expansion.reads],
        join=expansion.join,
        reduce=expansion.reduce,
        each=expansion.each,
        after=expansion.after,
        padding=expansion.padding,
        partial=expansion.partial,
        planes=expansion.planes,
        bias=None if expansion.bias is None else read(expansion.bias),
        share=None if expansion.share is None else read(expansion.share),
        spread=expansion.spread,
    )


def _fitted(row: Sequence[int], count: int) -> list[int]:
    """A row whose index is shorter than (output, reduction) ends in zeros and its constant."""
    return [*row[:-1], *[0] * (count + 1 - len(row)), row[-1]]
