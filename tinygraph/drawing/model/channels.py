"""Channel level: what is inside one op - the planes of its operands, the tmp planes it makes of them, and its output.

Read from the op's `Expansion` and from values; no op is a special case. Without an expansion the op itself stands
between the planes. One element of an output is the business of `neurons.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.analysis.expansion import Expansion, Read, expansion_of
from tinygraph.analysis.terms import gather, reduced, term
from tinygraph.core.node import Leaf, Node, edge_node, is_recorded
from tinygraph.core.types import Array
from tinygraph.drawing.model.labels import number_text, shape_text, shorten
from tinygraph.drawing.model.picture import Arrow, Box, Identifiers
from tinygraph.drawing.model.planes import NUMBERED, Plane, as_plane, limit_of
from tinygraph.errors import DrawingError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Index = tuple[int, ...]

MOST_PLANES = 4  # of one tensor that are all shown; of more, one fewer are shown and the rest is counted


@dataclass(slots=True)
class Opened:
    """The boxes inside an op that has been opened.

    Attributes:
        entries: the boxes that each operand enters by, by its position.
        exits: the boxes that its output leaves by.
        rows: boxes that stand side by side, in order.
    """

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    entries: dict[int, list[str]] = field(default_factory=dict)
    exits: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_op(
    node: Node, operands: Sequence[Any], out: Numeric, pair: Index | None, identifiers: Identifiers
) -> Opened:
    """The interior of a node.

    Args:
        operands, out: the values of its operands and of its (first) output.
        pair: the (output channel, input channel) to show alone, or the output channel.

    Raises:
        DrawingError: there is no such pair.
    """
    expansion = expansion_of(node)
    if (
        expansion is not None
        and expansion.partial
        and len(expansion.reads) == 2
        and expansion.planes in (1, 2)
    ):
        return _Pairs(node, expansion, operands, out, pair, identifiers).interior
    if pair is not None:
        raise DrawingError(
            f"element={pair!r}: {node.op.name} has no (output channel, input channel) pairs to choose from; choose a "
            f'convolution with focus=, or take zoom="neuron" for one element'
        )
    return _whole(node, operands, out, identifiers)


def operand_name(node: Node, position: int) -> str:
    """What the tensor that a node reads is called: its own name, else its op's, else the operand's.

    A parameter's dotted path loses what the groups around the node say already.
    """
    entry = node.inputs[position]
    source = edge_node(entry) if is_recorded(entry) else None
    if source is None:
        return node.op.operand_at(position).name
    name = tensor_name(source)
    return name or node.op.operand_at(position).name


def tensor_name(node: Node) -> str:
    """A node's own name without the path to it, else its op's; nothing for a nameless leaf."""
    if node.name:
        return shorten(node.name.rpartition(".")[2] or node.name, 24)
    return "" if isinstance(node, Leaf) else node.op.name


def result_name(node: Node) -> str:
    """What a node's output is called."""
    return shorten(node.name, 24) if node.name else "out" if isinstance(node, Leaf) else node.op.name


def labelled(name: str, index: Sequence[int]) -> str:
    """A tensor's name with an index, as in the contract: ker[1,0,2,2].

    >>> labelled("ker", (1, 0, 2, 2))
    'ker[1,0,2,2]'
    """
    return f"{name}[{','.join(map(str, index))}]" if len(index) else name


def shown_of(count: int) -> int:
    """How many of `count` things are shown one by one."""
    return count if count <= MOST_PLANES else MOST_PLANES - 1


class _Pairs:
    """A convolution-like op: a kernel plane and a tmp plane for each (output channel, input channel) pair."""

    def __init__(
        self,
        node: Node,
        expansion: Expansion,
        operands: Sequence[Any],
        out: Numeric,
        pair: Index | None,
        identifiers: Identifiers,
    ) -> None:
        self.node, self.expansion, self.operands = node, expansion, operands
        self.out = np.asarray(out)
        self.identifiers = identifiers
        self.lead = expansion.shape[: len(expansion.shape) - expansion.planes]
        self.channels = prod(self.lead[1:])
        self.inputs = prod(expansion.over[: expansion.partial])
        self.pair = self._checked(pair)
        self.names = [operand_name(node, i) for i in range(2)]
        self.result = result_name(node)
        self.interior = Opened(f"{node.op.name}  {self._shapes()}")
        self.tmp = {(o, c): self._tmp(o, c) for o in self._outputs() for c in self._partners()}
        grids = [self.out.reshape(*expansion.shape)[self._lead(o)] for o in self._outputs()]
        self.scale = limit_of(*self.tmp.values(), *grids)
        self._build()

    def _checked(self, pair: Index | None) -> Index | None:
        if pair is None:
            return None
        sizes = (self.channels, self.inputs)
        if not 1 <= len(pair) <= 2 or any(not -n <= i < n for i, n in zip(pair, sizes, strict=False)):
            raise DrawingError(
                f"element={pair!r} is no (output channel, input channel) of this {self.node.op.name}: it has "
                f"{sizes[0]} output channels, each made of {sizes[1]} input channels. For a single element take "
                f'zoom="neuron"'
            )
        return tuple(i % n for i, n in zip(pair, sizes, strict=False))

    def _outputs(self) -> list[int]:
        return [self.pair[0]] if self.pair else list(range(shown_of(self.channels)))

    def _partners(self) -> list[int]:
        alone = self.pair is not None and len(self.pair) == 2
        return [self.pair[1]] if alone and self.pair else list(range(shown_of(self.inputs)))

    def _shapes(self) -> str:
        one, other = (np.shape(self.operands[i]) for i in range(2))
        return f"{shape_text(one)} with {shape_text(other)} → {shape_text(self.out.shape)}"

    def _lead(self, channel: int) -> Index:
        """The leading output index of a channel of the first sample."""
        return (0, *(int(i) for i in np.unravel_index(channel, self.lead[1:])))

    def _grid(self, o: int, c: int) -> list[Any]:
        """The output index and the reduced one over one (o, c) pair's plane and window, to be broadcast."""
        spread = (
            *self.expansion.shape[-self.expansion.planes :],
            *self.expansion.over[self.expansion.partial :],
        )
        inner = list(np.indices(spread, sparse=True))
        fixed = np.unravel_index(c, self.expansion.over[: self.expansion.partial])
        return [
            *self._lead(o),
            *inner[: self.expansion.planes],
            *map(int, fixed),
            *inner[self.expansion.planes :],
        ]

    def _tmp(self, o: int, c: int) -> Array:
        e = self.expansion
        at = self._grid(o, c)
        factors = [gather(read, self.operands[read.operand], at, e.padding)[0] for read in e.reads]
        whole = np.broadcast_to(term(e, factors), (*e.shape[-e.planes :], *e.over[e.partial :]))
        return np.asarray(reduced(e, whole, tuple(range(e.planes, whole.ndim))))

    def _plane_of(self, read: Read, o: int, c: int) -> tuple[Index, Array]:
        """The index of the plane of an operand that a pair reads, and the plane."""
        _, flat = gather(read, self.operands[read.operand], self._grid(o, c), self.expansion.padding)
        shape = np.shape(self.operands[read.operand])
        rank = self.expansion.planes
        index = tuple(int(i) for i in np.unravel_index(max(0, int(flat.max())), shape)[:-rank])
        return index, np.asarray(self.operands[read.operand])[index]

    def _box(self, kind: str, title: str, plane: Plane | None = None, **more: Any) -> Box:
        made = self.identifiers.make("n", "inside", kind, title, self.interior.title)
        box = Box(made, kind, title, plane=plane, **more)
        self.interior.boxes.append(box)
        return box

    def _link(self, tail: Box, head: Box, label: str = "") -> None:
        made = self.identifiers.make("e", tail.id, head.id, label)
        self.interior.arrows.append(Arrow(made, tail.id, head.id, label))

    def _build(self) -> None:
        inner = self.interior
        numbers = self.pair is not None
        reads = self.expansion.reads
        limits = [limit_of(self.operands[read.operand]) for read in reads]
        sources: dict[Index, Box] = {}
        kernels: list[Box] = []
        tmps: list[Box] = []
        sums: list[Box] = []
        outs: list[Box] = []
        for o in self._outputs():
            tails = []
            for c in self._partners():
                index, values = self._plane_of(reads[0], o, c)
                if index not in sources:
                    kind = "input" if isinstance(self._source(0), Leaf) else "tensor"
                    plane = as_plane(values, limits[0], numbers=numbers)
                    sources[index] = self._box(kind, labelled(self.names[0], index), plane)
                at, values = self._plane_of(reads[1], o, c)
                kernel = self._box(
                    "parameter", labelled(self.names[1], at), as_plane(values, limits[1], numbers=numbers)
                )
                tmp = self._box(
                    "tmp", labelled("tmp", (o, c)), as_plane(self.tmp[o, c], self.scale, numbers=numbers)
                )
                self._link(sources[index], kernel)
                self._link(kernel, tmp)
                kernels.append(kernel)
                tmps.append(tmp)
                tails.append(tmp)
            hidden = self.inputs - len(self._partners())
            if hidden:
                rest = self._box("fold", f"… {hidden:,} more", lines=(f"tmp[{o},·]",))
                tmps.append(rest)
                tails.append(rest)
            total = self._sum(o)
            out = self._out(o, numbers)
            for tail in tails:
                self._link(tail, total)
            self._link(total, out)
            sums.append(total)
            outs.append(out)
        rows = [[*sources.values()], kernels, tmps, sums, outs]
        if self.pair is None:
            self._count_rest(rows)
        inner.rows = [tuple(box.id for box in row) for row in rows if len(row) > 1]
        inner.entries = {reads[0].operand: [box.id for box in sources.values()]}
        inner.entries[reads[1].operand] = [kernel.id for kernel in kernels]
        if self.expansion.bias is not None:
            inner.entries[self.expansion.bias.operand] = [box.id for box in sums]
        inner.exits = [box.id for box in outs]
        inner.notes.append(
            f"Colours: {self.names[0]} ±{number_text(limits[0])}, {self.names[1]} ±{number_text(limits[1])}, "
            f"tmp and {self.result} ±{number_text(self.scale)}; 0 has no colour."
        )
        if self.lead[0] > 1:
            inner.notes.append(f"The first of {self.lead[0]:,} samples.")

    def _source(self, position: int) -> Node | None:
        entry = self.node.inputs[self.expansion.reads[position].operand]
        return edge_node(entry) if is_recorded(entry) else None

    def _sum(self, o: int) -> Box:
        bias = self.expansion.bias
        if bias is None:
            return self._box("reduction", "Σ")
        values, flat = gather(bias, self.operands[bias.operand], self._lead(o), None)
        name = labelled(operand_name(self.node, bias.operand), (int(flat),))
        return self._box("reduction", "Σ + bias", numbers=((name, number_text(values[()])),))

    def _out(self, o: int, numbers: bool) -> Box:
        at = self._lead(o)
        flat = np.ravel_multi_index((*at, *(0,) * self.expansion.planes), self.expansion.shape)
        rank = self.expansion.planes
        index = tuple(int(i) for i in np.unravel_index(int(flat), self.out.shape)[:-rank])
        plane = as_plane(self.out[index], self.scale, numbers=numbers)
        return self._box("convolution", labelled(self.result, index), plane)

    def _count_rest(self, rows: list[list[Box]]) -> None:
        sources, outs = rows[0], rows[4]
        channels = np.shape(self.operands[self.expansion.reads[0].operand])[1]
        if channels > len(sources):
            sources.append(self._box("fold", f"… {channels - len(sources):,} more", lines=(self.names[0],)))
        if self.channels > len(outs):
            outs.append(self._box("fold", f"… {self.channels - len(outs):,} more", lines=(self.result,)))


def planes_of(array: object) -> list[tuple[Index, Array]]:
    """The planes of an array's first sample, with their indices: two axes each, one where there is only one."""
    array = np.asarray(array)
    if array.ndim <= 2:
        return [((), array)]
    lead = array.shape[:-2]
    first = 0 if len(lead) < 2 else None  # with a batch in front only its first sample
    count = lead[0] if first is not None else prod(lead[1:])
    found = []
    for i in range(count):
        index = (i,) if first is not None else (0, *(int(k) for k in np.unravel_index(i, lead[1:])))
        found.append((index, array[index]))
    return found


def _whole(node: Node, operands: Sequence[Any], out: Numeric, identifiers: Identifiers) -> Opened:
    """Planes of the operands, the op, planes of the output."""
    interior = Opened(f"{node.op.name}  → {shape_text(np.shape(out))}")

    def make(kind: str, title: str, **more: Any) -> Box:
        box = Box(identifiers.make("n", "inside", kind, title, interior.title), kind, title, **more)
        interior.boxes.append(box)
        return box

    def column(kind: str, name: str, array: object) -> list[Box]:
        found = planes_of(array)
        limit = limit_of(array)
        boxes = []
        for index, values in found[: shown_of(len(found))]:
            plane = as_plane(values, limit, numbers=max(np.shape(values), default=1) <= NUMBERED)
            boxes.append(make(kind, labelled(name, index), plane=plane))
        if len(found) > len(boxes):
            boxes.append(make("fold", f"… {len(found) - len(boxes):,} more", lines=(name,)))
        return boxes

    middle = make(node.kind, node.op.name)
    inputs: list[Box] = []
    for position, value in enumerate(operands):
        if value is None or np.ndim(value) == 0 or np.asarray(value).dtype.kind not in "fiubc":
            continue
        entry = node.inputs[position]
        owned = is_recorded(entry) and edge_node(entry).kind == "parameter"
        boxes = column("parameter" if owned else "tensor", operand_name(node, position), value)
        interior.entries[position] = [box.id for box in boxes]
        inputs += boxes
    outs = column(node.kind, result_name(node), out)
    for tail, head in [*((box, middle) for box in inputs), *((middle, box) for box in outs)]:
        interior.arrows.append(Arrow(identifiers.make("e", tail.id, head.id), tail.id, head.id))
    interior.rows = [tuple(box.id for box in row) for row in (inputs, outs) if len(row) > 1]
    interior.exits = [box.id for box in outs]
    return interior
