"""Neuron level: how one element of an op's output comes about, couple by couple, and all that one element reaches.

The first is read from the op's `Expansion`, or where it has none from its derivative at that element; the second from
its forward-mode rule, as in `tg.explain`. Numbers come from values; no op is a special case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.analysis.expansion import Expansion, Read, expansion_of
from tinygraph.analysis.terms import applied, gather, narrowed, positions, reduced, term, widened
from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.types import Array, type_of
from tinygraph.drawing.model.channels import (
    Index,
    Opened,
    labelled,
    operand_name,
    result_name,
    shown_of,
    tensor_name,
)
from tinygraph.drawing.model.labels import number_text
from tinygraph.drawing.model.picture import Arrow, Box, Frame, Identifiers, Picture
from tinygraph.drawing.model.planes import as_plane, limit_of
from tinygraph.errors import DrawingError
from tinygraph.explaining.uses import Use, at_element, uses_of, uses_through
from tinygraph.transforms import vjp

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

MOST_COUPLES = 12  # rows of one table; of more, the first ones are shown and the rest summed
MOST_USES = 3
MOST_PAIRS = 5_000_000  # (output, term) pairs that are searched for padding
NUMBERED_SIDE = 5  # of planes whose cells have their numbers beside a table
JOINS = {"sum": "Σ", "mean": "mean", "product": "Π", "max": "max", "min": "min", "none": ""}


def picture_of_element(graph: Graph, node: Node, index: Index, values: Mapping[int, Any]) -> Picture:
    """How one element of a node's first output comes about.

    Raises:
        DrawingError: there is no such element.
    """
    page = _Page(f"{labelled(result_name(node), index)} of {graph.name or 'the graph'}", Identifiers())
    _draw_element(page, node, operands_of(node, values), _first(values[id(node)]), index)
    return page.picture()


def open_element(
    node: Node, operands: Sequence[Any], out: Numeric, index: Index, identifiers: Identifiers
) -> Opened:
    """The same as the interior of an op among others.

    Raises:
        DrawingError: there is no such element.
    """
    page = _Page(f"{node.op.name}  {labelled(result_name(node), index)}", identifiers)
    _draw_element(page, node, operands, out, index)
    rows = [tuple(box.id for box in row) for row in page.rows if len(row) > 1]
    return Opened(page.name, page.boxes, page.arrows, page.entries, page.exits, rows, page.notes)


def _draw_element(page: _Page, node: Node, operands: Sequence[Any], out: Numeric, index: Index) -> None:
    index = checked(index, np.shape(out), result_name(node))
    expansion = expansion_of(node)
    if expansion is None:
        _by_derivative(page, node, operands, np.asarray(out), index)
    else:
        _Couples(page, node, expansion, operands, np.asarray(out), index).draw()


def picture_of_reach(
    graph: Graph,
    edge: Edge,
    index: Index,
    values: Mapping[int, Any],
    cotangents: Mapping[int, Any] | None,
    output: str,
) -> Picture:
    """Every output element that one element reaches, op by op.

    Ops that only move elements are seen through.

    Args:
        cotangents: the gradient of what is called `output` with respect to every node, by id; None to show local
            derivatives alone.

    Raises:
        DrawingError: there is no such element, or nothing differentiable reads it.
    """
    source = edge_node(edge)
    value = _read(values, edge)
    found = uses_of(edge, graph.nodes)
    name = tensor_name(source) or (operand_name(*found[0]) if found else "the tensor")
    index = checked(index, np.shape(value), name)
    if not found:
        raise DrawingError(f"no op that can have a gradient reads {name}, so its elements reach nothing")
    page = _Page(f"{labelled(name, index)} of {graph.name or 'the graph'}", Identifiers())
    uses = uses_through(
        edge, at_element(value, index), graph.nodes, lambda node: operands_of(node, values), graph.outputs
    )
    reach = _Reach(page, name, index, np.asarray(value), values, cotangents, output)
    reach.draw(_kind(*found[0]), uses)
    return page.picture()


def operands_of(node: Node, values: Mapping[int, Any]) -> list[Any]:
    """The values of a node's operands."""
    return [_read(values, entry) if is_recorded(entry) else entry for entry in node.inputs]


def _read(values: Mapping[int, Any], edge: Edge) -> Any:
    value = values[id(edge_node(edge))]
    return value[edge_index(edge)] if isinstance(value, tuple) else value


def _first(value: object) -> Any:
    return value[0] if isinstance(value, tuple) else value


def checked(index: Index, shape: Index, name: str) -> Index:
    """An index without negative entries.

    Raises:
        DrawingError: there is no such element.
    """
    if len(index) != len(shape) or any(not -n <= i < n for i, n in zip(index, shape, strict=True)):
        raise DrawingError(f"element={tuple(index)} does not exist: {name} has the shape {tuple(shape)}")
    return tuple(int(i) % n for i, n in zip(index, shape, strict=True))


class _Page:
    """A picture, or a part of one, in the making.

    Attributes:
        entries: the boxes that each operand of the op enters by, by its position.
        exits: the boxes that its output leaves by.
    """

    def __init__(self, name: str, identifiers: Identifiers) -> None:
        self.name = name
        self.identifiers = identifiers
        self.entries: dict[int, list[str]] = {}
        self.exits: list[str] = []
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.rows: list[list[Box]] = []
        self.notes: list[str] = []

    def box(self, kind: str, title: str, **more: Any) -> Box:
        made = Box(self.identifiers.make("n", kind, title), kind, title, **more)
        self.boxes.append(made)
        return made

    def enter(self, position: int, box: Box) -> Box:
        """Note that an operand enters by a box."""
        self.entries.setdefault(position, []).append(box.id)
        return box

    def link(self, tail: Box, head: Box, label: str = "", role: str = "data") -> None:
        made = self.identifiers.make("e", tail.id, head.id, label)
        self.arrows.append(Arrow(made, tail.id, head.id, label, role))

    def plane(
        self, kind: str, title: str, array: Array, cells: Array, limit: float, crossed: Any = ()
    ) -> Box:
        """The plane that some cells of an array lie in, with these marked.

        Args:
            cells: their indices, a row each; all in one plane.
        """
        array = np.asarray(array)
        rank = min(2, array.ndim)
        lead = (
            tuple(int(i) for i in cells[0][: array.ndim - rank]) if len(cells) else (0,) * (array.ndim - rank)
        )
        values = array[lead]
        plane = as_plane(
            values,
            limit,
            numbers=max(values.shape, default=1) <= NUMBERED_SIDE,
            marked=frozenset(_at(cell[array.ndim - rank :]) for cell in cells if len(cells) < values.size),
            crossed=frozenset(_at(cell[array.ndim - rank :]) for cell in crossed),
        )
        return self.box(kind, labelled(title, lead), plane=plane)

    def picture(self) -> Picture:
        root = Frame("g0", "", [box.id for box in self.boxes])
        rows = tuple(tuple(box.id for box in row) for row in self.rows if len(row) > 1)
        return Picture(self.name, self.boxes, self.arrows, root, "right", tuple(self.notes), rows)


def _at(cell: Any) -> tuple[int, int]:
    row, column = (*(int(i) for i in cell), 0, 0)[:2]
    return row, column


def _kind(node: Node, position: int) -> str:
    """The kind of the box for a node's operand."""
    entry = node.inputs[position]
    source = edge_node(entry) if is_recorded(entry) else None
    if source is None or (isinstance(source, Leaf) and (position == 0 or not source.requires_grad)):
        return "input"  # an op's first operand is its data, whatever it is differentiated by
    return "parameter" if isinstance(source, Leaf) else "tensor"


class _Couples:
    """One output element of an op with an expansion: the elements it reads, term by term, and their sum."""

    def __init__(
        self, page: _Page, node: Node, expansion: Expansion, operands: Sequence[Any], out: Array, index: Index
    ) -> None:
        self.page, self.node, self.operands = page, node, operands
        self.out, self.index = out, index
        flat = int(np.ravel_multi_index(index, out.shape)) if index else 0
        self.at = [int(i) for i in np.unravel_index(flat, expansion.shape)] if expansion.shape else []
        self.expansion = narrowed(expansion, self.at)
        self.names = {read.operand: operand_name(node, read.operand) for read in self._reads()}
        self.limits = {read.operand: limit_of(operands[read.operand]) for read in self._reads()}
        self.groups = prod(expansion.over[: expansion.partial])

    def _reads(self) -> list[Read]:
        e = self.expansion
        return [read for read in (*e.reads, e.bias, e.share) if read is not None]

    def draw(self) -> None:
        e, page = self.expansion, self.page
        shown = shown_of(self.groups)
        sources: list[Box] = []
        tables: list[Box] = []
        rest: object = 0.0
        for group in range(self.groups):
            if group >= shown:
                rest += self._value(group)
                continue
            inputs, table = self._group(group)
            for box in inputs:
                page.link(box, table)
            sources += inputs
            tables.append(table)
        if self.groups > shown:
            hidden = self.groups - shown
            words = (("together", number_text(rest)),)
            tables.append(page.box("fold", f"… {hidden:,} more tmp", numbers=words))
        out = self._out()
        last = tables
        if self.groups > 1 or e.bias is not None or e.share is not None or e.after != "identity":
            total = self._total()
            if e.bias is not None:
                page.enter(e.bias.operand, total)
            for box in tables:
                page.link(box, total)
            last = [total]
        for box in last:
            page.link(box, out)
        page.exits = [out.id]
        page.rows = [sources, tables]

    def _window(self, group: int) -> list[Any]:
        """The reduced index over one group, to be broadcast."""
        e = self.expansion
        inner = list(np.indices(e.over[e.partial :], sparse=True))
        fixed = np.unravel_index(group, e.over[: e.partial]) if e.partial else ()
        return [*map(int, fixed), *inner]

    def _terms(self, group: int) -> list[tuple[Read, Array, Array]]:
        """(read, its values, their flat positions) of a group, in the order of the reduced index."""
        e = self.expansion
        size = e.over[e.partial :]
        at = [*self.at, *self._window(group)]
        found = []
        for read in e.reads:
            pair = gather(read, self.operands[read.operand], at, e.padding)
            values, flat = (np.broadcast_to(one, size).reshape(-1) for one in pair)
            found.append((read, values, flat))
        if e.padding is not None or not found:
            return found
        counted = np.all([flat >= 0 for _, _, flat in found], axis=0)
        return [(read, values[counted], flat[counted]) for read, values, flat in found]

    def _results(self, terms: Sequence[tuple[Read, Array, Array]]) -> Array:
        e = self.expansion
        if e.join == "op":
            return widened([self.out[self.index]])
        return term(e, [values for _, values, _ in terms])

    def _value(self, group: int) -> Any:
        return self._results(self._terms(group)).sum()

    def _group(self, group: int) -> tuple[list[Box], Box]:
        e = self.expansion
        terms = self._terms(group)
        boxes = []
        for read, _, flat in terms:
            operand = np.asarray(self.operands[read.operand])
            if operand.ndim == 0:
                boxes.append(self.page.enter(read.operand, self._scalar(read, operand)))
                continue
            cells = _cells(flat, operand.shape)
            kind, name = _kind(self.node, read.operand), self.names[read.operand]
            plane = self.page.plane(kind, name, operand, cells, self.limits[read.operand])
            boxes.append(self.page.enter(read.operand, plane))
        results = self._results(terms)
        rows = self._rows(terms, results)
        title = self._title(group)
        total = reduced(e, results)
        rows.append((JOINS[e.reduce] or self.node.op.name, "", number_text(total)))
        return boxes, self.page.box("tmp" if e.partial else "element", title, table=tuple(rows))

    def _scalar(self, read: Read, operand: Array) -> Box:
        title = self.names[read.operand]
        return self.page.box(_kind(self.node, read.operand), title, numbers=(("", number_text(operand[()])),))

    def _title(self, group: int) -> str:
        e = self.expansion
        if not e.partial:
            return self.node.op.name
        count = len(self.at) - e.planes
        channel = int(np.ravel_multi_index(self.at[1:count], e.shape[1:count])) if count > 1 else 0
        sample = self.at[:1] if e.shape[0] > 1 else []
        return labelled("tmp", (*sample, channel, group, *self.at[count:]))

    def _rows(self, terms: Sequence[tuple[Read, Array, Array]], results: Array) -> list[tuple[str, ...]]:
        e = self.expansion
        count = len(terms[0][1]) if terms else 0
        if e.join == "op":
            return [
                (self._label(read, int(flat[0])), "", number_text(values[0])) for read, values, flat in terms
            ]
        around = "{}" if e.each == "identity" else f"{e.each}({{}})"
        rows: list[tuple[str, ...]] = []
        shown = count if count <= MOST_COUPLES else MOST_COUPLES - 1
        for i in range(shown):
            words = " × ".join(self._label(read, int(flat[i])) for read, _, flat in terms)
            numbers = " × ".join(number_text(values[i]) for _, values, _ in terms)
            single = len(terms) == 1 and e.each == "identity"
            rows.append(
                (around.format(words), "" if single else around.format(numbers), number_text(results[i]))
            )
        if count > shown:
            rest = number_text(reduced(e, results[shown:]))
            rows.append((f"… {count - shown:,} more", JOINS[e.reduce], rest))
        return rows

    def _label(self, read: Read, flat: int) -> str:
        if flat < 0:
            return "padding"
        shape = np.shape(self.operands[read.operand])
        index = tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()
        return labelled(self.names[read.operand], index)

    def _total(self) -> Box:
        e = self.expansion
        numbers = []
        title = "Σ" if self.groups > 1 else "result"
        if e.bias is not None:
            values, flat = gather(e.bias, self.operands[e.bias.operand], self.at, None)
            numbers.append((f"+ {self._label(e.bias, int(flat))}", number_text(values[()])))
            title = "Σ + bias"
        if e.share is not None:
            values, flat = gather(e.share, self.operands[e.share.operand], self.at, None)
            top = number_text(applied(e.each, widened(values))[()])
            label, terms = self._label(e.share, int(flat)), self._results(self._terms(0))
            if e.spread is None:
                title = f"{e.each} {label} / Σ"
                numbers.append((f"{top} /", number_text(reduced(e, terms))))
            else:
                title = f"({label} − mean) / √(variance + {number_text(e.spread)})"
                numbers.append((f"{top} −", number_text(terms.mean())))
                numbers.append(("variance", number_text(terms.var())))
        if e.after != "identity":
            title = f"{e.after} of {title}"
        return self.page.box("reduction", title, numbers=tuple(numbers))

    def _out(self) -> Box:
        name = labelled(result_name(self.node), self.index)
        return _result_box(self.page, self.node.kind, name, self.out, self.index)


def _result_box(page: _Page, kind: str, name: str, array: Array, index: Index) -> Box:
    """A box for one element, with its plane around it."""
    title = f"{name} = {number_text(array[index])}"
    if array.ndim == 0 or array.dtype.kind not in "fiubc":
        return page.box(kind, title)
    rank = min(2, array.ndim)
    values = array[index[: array.ndim - rank]]
    marked = frozenset([_at(index[array.ndim - rank :])])
    return page.box(kind, title, plane=as_plane(values, limit_of(array), marked=marked))


def _cells(flat: Array, shape: Index) -> Array:
    """The indices of flat positions that are inside, a row each, of the first plane among them."""
    inside = np.unique(flat[flat >= 0])
    cells = np.stack(np.unravel_index(inside, shape), 1) if len(inside) else np.zeros((0, len(shape)), int)
    lead = max(0, len(shape) - 2)
    return cells[(cells[:, :lead] == cells[:1, :lead]).all(1)] if len(cells) else cells


def _by_derivative(page: _Page, node: Node, operands: Sequence[Any], out: Array, index: Index) -> None:
    """An op without an expansion: the elements with an impact on this one, with their local derivatives."""
    made = labelled(result_name(node), index)
    result = _result_box(page, node.kind, made, out, index)
    page.exits = [result.id]
    moving = [
        i
        for i, value in enumerate(operands)
        if value is not None
        and type_of(value).differentiable
        and node.op.operand_at(i).name not in node.op.nondifferentiable
    ]
    if not moving or not node.output_types[0].differentiable:
        page.notes.append(f"{node.op.name} has no derivative to say which elements make this one.")
        return
    for position, local in zip(moving, _row(node, operands, moving, index), strict=True):
        local = np.asarray(local)
        cells = np.argwhere(local != 0)
        name = operand_name(node, position)
        value = np.asarray(operands[position])
        rows = _impacts(name, value, local, cells, made, number_text(out[index]))
        table = page.box("element", f"∂{made}/∂{name}", table=rows)
        if value.ndim:
            lead = max(0, value.ndim - 2)
            same = cells[(cells[:, :lead] == cells[:1, :lead]).all(1)] if len(cells) else cells
            source = page.plane(_kind(node, position), name, value, same, limit_of(value))
        else:
            source = page.box(_kind(node, position), name, numbers=(("", number_text(value[()])),))
        page.link(page.enter(position, source), table)
        page.link(table, result)
    page.notes.append("Elements with an impact, each with its value and its local derivative.")


def _impacts(
    name: str, value: Array, local: Array, cells: Array, result: str, number: str
) -> tuple[tuple[str, ...], ...]:
    """A table of elements with an impact, and what they make."""
    shown = len(cells) if len(cells) <= MOST_COUPLES else MOST_COUPLES - 1
    rows = [
        (
            labelled(name, tuple(map(int, cell))),
            number_text(value[tuple(cell)]),
            number_text(local[tuple(cell)]),
        )
        for cell in cells[:shown]
    ]
    if len(cells) > shown:
        rows.append((f"… {len(cells) - shown:,} more", "", ""))
    return (("element", "value", "local derivative"), *rows, (result, number, ""))


def _row(node: Node, operands: Sequence[Any], moving: Sequence[int], index: Index) -> tuple[Any, ...]:
    """The derivative of one output element with respect to some operands."""

    def run(*given: object) -> Any:
        filled = list(operands)
        for i, value in zip(moving, given, strict=True):
            filled[i] = value
        return node.op(*filled, **node.settings)

    _, pull = vjp(run, *(operands[i] for i in moving))
    seeds = [np.zeros(types.shape, types.dtype) for types in node.output_types]
    seeds[0][index] = 1
    return tuple(pull(tuple(seeds) if len(seeds) > 1 else seeds[0][()]))


class _Reach:
    """One element, the outputs it reaches through each op that reads it, and its impacts there."""

    def __init__(
        self,
        page: _Page,
        name: str,
        index: Index,
        value: Array,
        values: Mapping[int, Any],
        cotangents: Mapping[int, Any] | None,
        output: str,
    ) -> None:
        self.page, self.name, self.index, self.value = page, name, index, value
        self.values, self.cotangents, self.output = values, cotangents, output
        self.label = labelled(name, index)

    @np.errstate(all="ignore")  # 0 times infinity is NaN, which the picture says
    def draw(self, kind: str, uses: Sequence[Use]) -> None:
        page = self.page
        start = _result_box(page, kind, self.label, self.value, self.index)
        tables: list[Box] = []
        left, middle = [start], []
        total = 0.0
        for number, use in enumerate(uses):
            local = use.local()
            arriving = [self._cotangent(use.node, output) for output in range(len(local))]
            known = [one for one in arriving if one is not None]
            reach = use.reach(local, known or None)
            for output, (derivative, reached, cotangent) in enumerate(
                zip(local, reach, arriving, strict=True)
            ):
                if derivative is None or not reached.any():
                    continue
                mask = np.broadcast_to(reached, np.shape(derivative))
                if cotangent is not None:
                    total += float(np.sum((widened(derivative) * widened(cotangent))[mask]).real)
                if number < MOST_USES:
                    partners, outs = self._use(start, use, output, derivative, mask, cotangent, tables)
                    left += partners
                    middle += outs
        if len(uses) > MOST_USES:
            tables.append(page.box("fold", f"… {len(uses) - MOST_USES:,} more ops read it"))
            page.link(start, tables[-1])
        if self.cotangents is not None:
            end = page.box("gradient", f"∂{self.output}/∂{self.label} = {number_text(total)}")
            for table in tables:
                page.link(table, end, role="impact")
        page.rows = [left, middle, tables]

    def _cotangent(self, node: Node, output: int) -> Array | None:
        if self.cotangents is None:
            return None
        found = self.cotangents.get(id(node))
        found = found[output] if isinstance(found, tuple | list) else found
        types = node.output_types[output]
        return np.zeros(types.shape, types.dtype) if found is None else np.asarray(found)

    def _use(
        self,
        start: Box,
        use: Use,
        output: int,
        local: Array,
        mask: Array,
        cotangent: Array | None,
        tables: list[Box],
    ) -> tuple[list[Box], list[Box]]:
        page, node = self.page, use.node
        value = self.values[id(node)]
        out = np.asarray(value[output] if isinstance(value, tuple) else value)
        cells = np.argwhere(mask) if out.ndim else np.zeros((1, 0), int)
        factors = use.factors(output) if out.ndim else []
        padded = self._padded(use)
        meets = np.argwhere(padded & ~mask) if padded is not None else np.zeros((0, out.ndim), int)
        leads = list(dict.fromkeys(tuple(map(int, cell[: max(0, out.ndim - 2)])) for cell in cells))
        name = result_name(node) + (f".{output}" if len(node.output_types) > 1 else "")
        rows = self._rows(name, use, cells, local, cotangent, factors)
        title = f"{len(cells):,} impact{'' if len(cells) == 1 else 's'} through {name}"
        lines = (f"{len(meets):,} meet the padding",) if len(meets) else ()
        table = page.box("element" if cotangent is None else "gradient", title, table=rows, lines=lines)
        tables.append(table)
        partners: list[Box] = []
        outs: list[Box] = []
        scale = limit_of(out)
        for lead in leads[: shown_of(len(leads))]:
            here = [cell for cell in cells if tuple(cell[: len(lead)]) == lead]
            crossed = [cell for cell in meets if tuple(cell[: len(lead)]) == lead]
            if not out.ndim:
                outs.append(page.box(node.kind, f"{name} = {number_text(out[()])}"))
            else:
                outs.append(page.plane(node.kind, name, out, np.array(here), scale, crossed))
            made = outs[-1]
            page.link(start, made)
            for position, numbers in factors:
                flat = np.array([numbers[tuple(cell)] for cell in here])
                operand = np.asarray(use.operands[position])
                if operand.ndim and (flat >= 0).any():
                    of = _cells(flat, operand.shape)
                    partner = page.plane(
                        _kind(node, position), operand_name(node, position), operand, of, limit_of(operand)
                    )
                    page.link(partner, made)
                    partners.append(partner)
            if cotangent is not None and out.ndim:
                title = f"∂{self.output}/∂{name}"
                flow = page.plane("gradient", title, cotangent, np.array(here), limit_of(cotangent), crossed)
                page.link(flow, table, role="impact")
                page.link(made, flow)
            else:
                page.link(made, table)
        if len(leads) > len(outs):
            outs.append(page.box("fold", f"… {len(leads) - len(outs):,} more planes"))
            page.link(outs[-1], table)
        return partners, outs

    def _rows(
        self, name: str, use: Use, cells: Array, local: Array, cotangent: Array | None, factors: object
    ) -> tuple[tuple[str, ...], ...]:
        shown = len(cells) if len(cells) <= MOST_COUPLES else MOST_COUPLES - 1
        rows: list[tuple[str, ...]] = []
        for cell in cells[:shown]:
            at = tuple(map(int, cell))
            factor = self._factor(use, at, factors)
            if cotangent is None:
                rows.append((labelled(name, at), factor or "local derivative", number_text(local[at])))
                continue
            words = f"∂{labelled(name, at)} × {factor or 'local derivative'}"
            product = widened(cotangent[at][None])[0] * widened(local[at][None])[0]
            rows.append(
                (words, f"{number_text(cotangent[at])} × {number_text(local[at])}", number_text(product))
            )
        if len(cells) > shown:
            mask = np.array(cells[shown:]).T
            rest = (
                ""
                if cotangent is None
                else number_text((widened(local) * widened(cotangent))[tuple(mask)].sum())
            )
            rows.append((f"… {len(cells) - shown:,} more", "" if cotangent is None else "Σ", rest))
        if cotangent is not None and len(cells):
            every = tuple(np.array(cells).T)
            rows.append(("Σ", "", number_text((widened(local) * widened(cotangent))[every].sum())))
        return tuple(rows)

    def _factor(self, use: Use, at: Index, factors: Any) -> str:
        for position, numbers in factors:
            flat = int(numbers[at])
            if flat >= 0:
                shape = np.shape(use.operands[position])
                index = tuple(int(i) for i in np.unravel_index(flat, shape))
                return labelled(operand_name(use.node, position), index)
        return ""

    def _padded(self, use: Use) -> Array | None:
        """Where the element would be used, but meets the padding; None where there is no such thing."""
        e = expansion_of(use.node)
        if e is None or e.padding is None or len(e.reads) < 2 or prod((*e.shape, *e.over)) > MOST_PAIRS:
            return None
        own = next((read for read in e.reads if read.operand == use.position), None)
        if own is None or not self.index or not use.direct:
            return None
        flat = int(np.ravel_multi_index(self.index, self.value.shape))
        used = positions(e, own) == flat
        outside = np.zeros(used.shape, bool)
        for read in e.reads:
            if read is not own:
                outside |= positions(e, read) == -1
        axes = tuple(range(len(e.shape), used.ndim))
        found: Array = (used & outside).any(axes)
        return found.reshape(use.node.output_types[0].shape)
