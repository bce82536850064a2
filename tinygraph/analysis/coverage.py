"""Derivative coverage: which rules a graph's gradients need, to a chosen order, before anything runs.

A rule of order n + 1 is there if those of order n are, of all ops that the rule itself uses; these are found by
running the rule on types. `Graph.coverage` is the door.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tinygraph.core.engine import ancestors, fetch, part_of, rewrapped
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf, Node, edge_node, edge_type, is_recorded, new_node
from tinygraph.core.op import LiveRule, Op
from tinygraph.core.subgraphs import parts_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType
from tinygraph.errors import SettingError, printable
from tinygraph.tracing.trace import Trace

Status = Literal["present", "derived", "missing", "by nature"]
_WORST_FIRST: tuple[Status, ...] = ("missing", "derived", "present", "by nature")


@dataclass(frozen=True)
class OperandCoverage:
    """The derivatives with respect to one operand of one op.

    Attributes:
        op, operand: names.
        orders: of reverse mode, first order first; "by nature" where no gradient flows at all.
        forward: of forward mode, if that was asked for.
        reason: what is missing, in words.
    """

    op: str
    operand: str
    orders: tuple[Status, ...]
    forward: Status | None = None
    reason: str = ""

    @property
    def status(self) -> Status:
        """The worst of them."""
        found = {*self.orders, self.forward}
        return next(one for one in _WORST_FIRST if one in found)


class Coverage:
    """What `Graph.coverage` found; prints as a table.

    Attributes:
        entries: each kind of entry once, with the number of nodes it stands for.
        ok: whether nothing is missing.
    """

    def __init__(
        self, graph: Graph, order: int, forward: bool, found: Sequence[tuple[Node, OperandCoverage]]
    ) -> None:
        self.graph = graph
        self.order = order
        self.forward = forward
        self.entries: dict[OperandCoverage, int] = {}
        self._by_node: dict[int, list[OperandCoverage]] = {}
        for node, entry in found:
            self.entries[entry] = self.entries.get(entry, 0) + 1
            self._by_node.setdefault(id(node), []).append(entry)

    @property
    def missing(self) -> tuple[OperandCoverage, ...]:
        """What is missing in some order or mode."""
        return tuple(entry for entry in self.entries if entry.status == "missing")

    @property
    def ok(self) -> bool:
        return not self.missing

    def of(self, node: Node) -> Status | None:
        """The worst status of a node's operands, and of what a loop or a choice runs; None for leaves and constants."""
        found = {entry.status for entry in self._by_node.get(id(node), ())}
        found |= {one for part in parts_of(node) for inner in part.graph.nodes if (one := self.of(inner))}
        return next((one for one in _WORST_FIRST if one in found), None)

    def rows(self) -> list[tuple[str, ...]]:
        """Op, operand, nodes, one column per order and mode, and what is missing; what is missing comes first."""
        ordered = sorted(self.entries.items(), key=lambda item: (item[0].status != "missing", item[0].op))
        return [
            (entry.op, entry.operand, str(count), *entry.orders,
             *([entry.forward or ""] if self.forward else []), entry.reason)
            for entry, count in ordered
        ]  # fmt: skip

    @property
    def headings(self) -> tuple[str, ...]:
        """Those of `rows`."""
        orders = [f"order {n + 1}" for n in range(self.order)]
        return ("op", "operand", "nodes", *orders, *["forward"] * self.forward, "")

    @property
    def line(self) -> str:
        """The whole in one line."""
        count = len(self.missing)
        wanted = f"order {self.order}" + (" and forward mode" if self.forward else "")
        missing = f"{count} derivative{'s' * (count != 1)} missing"
        return f"{missing if count else 'all derivatives there'} to {wanted}"

    def __str__(self) -> str:
        table = [self.headings, *self.rows()]
        widths = [max(len(row[k]) for row in table) for k in range(len(self.headings))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table
        ]
        return printable("\n".join([self.line, *(line.rstrip() for line in lines)]))

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        colours = {"missing": "red", "derived": "yellow", "present": "green", "by nature": "dim"}
        table = Table(*self.headings, box=None, title=self.line, title_justify="left", header_style="bold")
        for row in self.rows():
            table.add_row(*(Text(cell, colours.get(cell, "")) for cell in row))
        return table

    def __repr__(self) -> str:
        return f"<Coverage: {self.line}>"


def coverage(graph: Graph, order: int = 2, forward: bool = True) -> Coverage:
    """Which derivative rules the gradients of a graph need; see `Graph.coverage`.

    Raises:
        SettingError: the order is not positive.
    """
    if order < 1:
        raise SettingError(f"coverage(order={order}): the order of derivatives must be at least 1")
    return Coverage(graph, order, forward, list(_entries(graph.nodes, order, forward)))


def missing_of(nodes: Sequence[Node]) -> dict[int, int]:
    """How many operands of each op lack a derivative to second order, or forward mode, by id of the node."""
    counts: dict[int, int] = {}
    for node, entry in _entries(nodes, 2, True):
        counts[id(node)] = counts.get(id(node), 0) + (entry.status == "missing")
    return counts


def _entries(nodes: Sequence[Node], order: int, forward: bool) -> Iterator[tuple[Node, OperandCoverage]]:
    rules = _Rules()
    for node in nodes:
        if not isinstance(node, Leaf):
            for position, entry in enumerate(node.inputs):
                if is_recorded(entry):
                    yield node, _entry(rules, node, position, order, forward)
            for part in parts_of(node):
                yield from _entries(part.graph.nodes, order, forward)


def _entry(rules: _Rules, node: Node, position: int, order: int, forward: bool) -> OperandCoverage:
    name = node.op.operand_at(position).name
    if rules.by_nature(node, position):
        nature: Status = "by nature"
        return OperandCoverage(node.op.name, name, (nature,) * order, nature if forward else None)
    faults = [rules.missing(node, position, n + 1) for n in range(order)]
    orders: tuple[Status, ...] = tuple("missing" if fault else "present" for fault in faults)
    along: Status | None = None
    if forward:
        along = "present" if name in node.op.tangent_rules else "derived"
        if along == "derived":
            faults.append(rules.missing_forward(node, position))
            along = "missing" if faults[-1] else "derived"
    return OperandCoverage(node.op.name, name, orders, along, next(filter(None, faults), ""))


class _Rules:
    """What is missing for an operand of a node, each question answered once."""

    def __init__(self) -> None:
        self._known: dict[Any, str] = {}
        self._ran: dict[Any, _Run | str] = {}

    @staticmethod
    def by_nature(node: Node, position: int) -> bool:
        """Whether no gradient flows through an operand, whatever rules there are."""
        entry = node.inputs[position]
        declared = node.op.operand_at(position).name in node.op.nondifferentiable
        none_out = not any(types.differentiable for types in node.output_types)
        return declared or none_out or not edge_type(entry).differentiable

    def missing(self, node: Node, position: int, order: int) -> str:
        """What the derivative of an order lacks, in words; empty if nothing."""
        key = (_key(node), position, order)
        if key not in self._known:
            self._known[key] = self._missing(node, position, order)
        return self._known[key]

    def _missing(self, node: Node, position: int, order: int) -> str:
        operand = node.op.operand_at(position).name
        advice = getattr(node.op, "advice", "")  # of an op that is not installed
        if advice:
            return f"op {node.op.name!r} is not installed: {advice}"
        if operand not in node.op.rules:
            run = self._run(node, position) if node.op.reverse_rule(operand) is not None else ""
            if not isinstance(run, _Run):
                return run or f"op {node.op.name!r} has no rule for {operand!r}"
        if order == 1:
            return ""
        run = self._run(node, position)
        if isinstance(run, str):
            return run
        return self._first_missing(run.nodes, order - 1)

    def missing_forward(self, node: Node, position: int) -> str:
        """What a tangent derived from the VJP rule lacks: the rule is transposed in g."""
        fault = self.missing(node, position, 1)
        if fault or node.op.kind == "elementwise":
            return fault
        run = self._run(node, position)
        return run if isinstance(run, str) else self._first_missing(run.after_g, 1)

    def _first_missing(self, needed: Sequence[tuple[Node, int]], order: int) -> str:
        faults = (self.missing(node, position, order) for node, position in needed)
        return next(filter(None, faults), "")

    def _run(self, node: Node, position: int) -> _Run | str:
        key = (_key(node), position)
        if key not in self._ran:
            try:
                self._ran[key] = _Run(node, position)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's rule raises
                name = node.op.operand_at(position).name
                self._ran[key] = (
                    f"the rule of op {node.op.name!r} for {name!r} cannot be differentiated: {_first_line(error)}"
                )
        return self._ran[key]


class _Run:
    """A rule run on types.

    Attributes:
        nodes: what it recorded and returned: (node, position) of every operand through which a gradient may flow.
        after_g: those of them that depend on the cotangent.
    """

    def __init__(self, node: Node, position: int) -> None:
        stand_in = _stand_in(node)
        rule = next(rule for rule in stand_in.live_rules.backward if position in dict(rule.serves))
        cotangents = [_leaf_tensor(types) if types.differentiable else None for types in node.output_types]
        g: object = cotangents[0] if isinstance(node.types, ArrayType) else tuple(cotangents)
        with mode(recording=True, capture=Trace(), place=Place()):
            result = _call(rule, g, stand_in, position)
        ends = [one._edge for one in flatten(result)[0] if isinstance(one, Tensor) and one._edge is not None]
        made = [
            one
            for one in ancestors(map(edge_node, ends), floor=stand_in.order + 1)
            if not isinstance(one, Leaf)
        ]
        reached = {id(one._leaf) for one in cotangents if one is not None}
        self.nodes: list[tuple[Node, int]] = []
        self.after_g: list[tuple[Node, int]] = []
        for one in made:
            for place, source in _flowing(one):
                self.nodes.append((one, place))
                if id(source) in reached:
                    reached.add(id(one))
                    self.after_g.append((one, place))


def _call(rule: LiveRule, g: object, node: Node, position: int) -> Any:
    assert rule.function is not None  # asked for only where there is a rule
    result = rule.function(g, *fetch(node, rule, rewrapped(node)))
    return part_of(node, result, dict(rule.serves)[position], rule)


def _flowing(node: Node) -> Iterator[tuple[int, Node]]:
    """The operands of a node through which a gradient may flow, and what they come from."""
    for position, entry in enumerate(node.inputs):
        if is_recorded(entry) and not _Rules.by_nature(node, position):
            yield position, edge_node(entry)


def _stand_in(node: Node) -> Node:
    """The same node on fresh inputs that have types alone."""
    inputs = tuple(_leaf(edge_type(entry)) if is_recorded(entry) else entry for entry in node.inputs)
    mask = sum(is_recorded(entry) << i for i, entry in enumerate(inputs))
    rules = node.op.live_rules(mask, len(inputs), False)
    return new_node(node.op, inputs, node.settings, node.types, rules, Place())


def _leaf(types: ArrayType) -> Leaf:
    return Leaf(None, kind="input", types=types)


def _leaf_tensor(types: ArrayType) -> Tensor:
    leaf = _leaf(types)
    return Tensor(None, leaf, leaf)


def _key(node: Node) -> tuple[Any, ...]:
    """What a node's rules may depend on."""
    entries = tuple(
        str(edge_type(entry)) if is_recorded(entry) else (type(entry).__name__, getattr(entry, "shape", ()))
        for entry in node.inputs
    )
    op: Op = node.op
    return op, entries, repr(sorted(node.settings.items()))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
