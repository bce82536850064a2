"""Compute values again where they are read late instead of keeping them, until a memory budget is met.

A value that nothing reads for a long stretch, as from the forward to the backward pass, is dropped where the stretch
begins; just before it is read again, the same op makes it from values that are kept. Elementwise ops and changes of
shape come first, the most bytes saved for an operation; matrix products and the like only if those do not suffice; then
whole segments, as in "Training Deep Nets with Sublinear Memory Cost" (Chen et al., 2016), and segments of segments.
"""

from __future__ import annotations

import bisect
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tinygraph.analysis.memory import Memory, peak_bytes
from tinygraph.analysis.operation_counts import operations_of
from tinygraph.compiler.passes.rewriting import Rewriting, edges, make_node, with_inputs
from tinygraph.compiler.passes.schedule import schedule, serve_what_was_made_later
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.errors import SettingError, TinygraphWarning

_Bytes = np.ndarray[tuple[int], np.dtype[np.int64]]

CHEAP = ("elementwise", "comparison", "shape")
# Where nothing says how many operations an op makes, so many an output element.
UNKNOWN_OPERATIONS = 100
# The most nodes that are looked at to find out what computing one value again would take.
LONGEST_CHAIN = 64
ROUNDS_WITHOUT_GAIN = 3
# What `recompute_cheap` drops has at least so many bytes.
LARGE = 1 << 18
# Into how many segments the nodes before the peak are cut; their square root is best where all cost the same.
SEGMENTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)


def recompute(budget: int) -> Callable[[Graph], Graph]:
    """A pass that computes values again instead of keeping them while more than `budget` bytes are alive at once.

    Args:
        budget: bytes of intermediate values, counted as in `analysis/memory.py`: no parameters, states and inputs.

    Returns:
        The pass. Results stay equal bit by bit; random ops run once. Passes that merge duplicates undo it: run it last.

    Warns:
        TinygraphWarning: the budget cannot be met; the graph has the lowest peak that was found.

    Raises:
        SettingError: the budget is no positive integer.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> from tinygraph.analysis.memory import peak_bytes
    >>> def loss(x):
    ...     for _ in range(16):
    ...         x = np.tanh(x)
    ...     return np.sum(x)
    >>> graph = tg.capture(loss, np.zeros(1000)).gradient("x")
    >>> peak_bytes(graph), peak_bytes(recompute(80_000)(graph))
    (136008, 72008)
    """
    if type(budget) is not int or budget <= 0:
        raise SettingError(f"a memory budget is a positive number of bytes, an int, not {budget!r}")

    def recompute(graph: Graph) -> Graph:
        peak, lowered = 0, peak_bytes(graph)
        while budget < lowered != peak:
            search = _Search(graph, budget)
            search.drop_single_values(CHEAP)
            search.drop_single_values(())
            search.drop_segments()
            graph = schedule(search.graph)
            peak, lowered = lowered, peak_bytes(graph)
        if lowered > budget:
            _warn(graph, budget)
        return graph

    return recompute


def recompute_cheap(graph: Graph) -> Graph:
    """Compute large values again where that takes less than reading them costs anyway.

    These are values of at least `LARGE` bytes that ops with the fact "cheap" make of values that are there when they
    are needed, such as the scale, shift and rectification behind a normalization. No other value is kept for longer,
    and a graph whose peak does not fall stays as it is. Run it last.
    """
    made = [node for node in graph.nodes if not isinstance(node, Leaf)]
    if not any(types.nbytes >= LARGE for node in made for types in node.output_types):
        return graph
    search = _Search(graph, 0)
    search.drop_free_values()
    return search.graph


class _Drop(NamedTuple):
    """What dropping a buffer between two readers would take and give."""

    start: int  # the last node that reads it before the stretch
    end: int  # the first one after it
    saved: int  # bytes, less those of operands that would have to be kept for longer
    operations: int
    chain: tuple[int, ...]  # buffers to be computed again on the way
    supports: tuple[int, ...]  # buffers that must be there, so that it can be


class _Search:
    """The search for values to compute again. Nodes and buffers go by their numbers in the graph as it was given.

    Attributes:
        graph: the best one found so far.
        peak: the most bytes alive in it at once.
    """

    def __init__(self, graph: Graph, budget: int) -> None:
        self._given = graph
        self._budget = budget
        self._live = live = Memory(graph)
        self._uses = [
            ([maker] if maker >= 0 else []) + readers
            for maker, readers in zip(live.maker, live.readers, strict=True)
        ]
        self._cost = [_operations(node) for node in live.nodes]
        # buffer -> the node up to which it is kept; later readers read it computed again
        self._dropped: dict[int, int] = {}
        self._allowed = [False] * len(live.nodes)
        self._alone = False  # drop only what nothing else must be computed again or kept for longer for
        self._alive = np.array(live.alive(), np.int64)
        self._middle = int(self._alive.argmax())
        self.graph = graph
        self.peak = int(self._alive.max())

    def drop_single_values(self, kinds: tuple[str, ...]) -> None:
        """Drop values, round by round; only ops of some kinds are run again, or of any if none is named."""
        self._allowed = [self._repeatable(node, kinds) for node in self._live.nodes]
        idle = 0
        while self.peak > self._budget and idle < ROUNDS_WITHOUT_GAIN and self._round():
            idle = 0 if self._try() else idle + 1

    def drop_free_values(self) -> None:
        """Drop large values that few operations make of what is there anyway."""
        self._allowed = [
            (node.op.kind == "comparison" or bool(node.op.facts.get("cheap")))
            and sum(types.nbytes for types in node.output_types) >= LARGE
            for node in self._live.nodes
        ]
        self._alone = True
        if self._round():
            self._try()

    def drop_segments(self) -> None:
        """Keep before the peak only what crosses some cuts: few enough bytes between them, few bytes across."""
        spans = list(self._spans())
        made, crossing = np.zeros(self._middle + 1, np.int64), np.zeros(self._middle + 1, np.int64)
        for buffer, maker, last in spans:
            size = self._live.sizes[buffer]
            made[maker] += size if self._uses[buffer][-1] > self._middle else 0
            crossing[maker] += size
            crossing[last] -= size
        for parts in SEGMENTS:
            if self.peak <= self._budget:
                return
            cuts = _cuts(made, np.cumsum(crossing), int(made.sum()) // parts)
            self._dropped = {
                buffer: last
                for buffer, maker, last in spans
                if bisect.bisect_left(cuts, maker) == bisect.bisect_left(cuts, last)
            }
            self._try()

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        """Buffers that can be computed again, with the nodes that make them and that read them last before the peak."""
        live = self._live
        repeatable = [self._repeatable(node, ()) for node in live.nodes]
        for buffer, maker in enumerate(live.maker):
            if not 0 <= maker < self._middle or buffer in live.lasting or not repeatable[maker]:
                continue
            uses = [maker, *live.readers[buffer]]
            last = uses[bisect.bisect_right(uses, self._middle) - 1]
            drawn = [
                one for one in live.reads[maker] if live.maker[one] >= 0 and not repeatable[live.maker[one]]
            ]
            kept_instead = sum(live.sizes[one] for one in drawn if live.readers[one][-1] <= self._middle)
            if last == self._middle or kept_instead >= sum(live.sizes[one] for one in live.makes[maker]) > 0:
                continue
            yield buffer, maker, last

    def _try(self) -> bool:
        """See what dropping comes to; whether that is the best so far."""
        graph, positions = self._rebuilt()
        live = Memory(graph)
        alive = live.alive()
        self._alive[:] = 0
        np.maximum.at(self._alive, [positions[id(node)] for node in live.nodes], alive)
        better = max(alive) < self.peak
        if better:
            self.graph, self.peak = graph, max(alive)
        return better

    def _repeatable(self, node: Node, kinds: tuple[str, ...]) -> bool:
        return node.op.kind in kinds if kinds else node.op.repeatable

    # -- choosing --------------------------------------------------------------------------------------------------

    def _round(self) -> bool:
        """Drop independent values until no node has too much alive, as far as can be said; whether any was dropped."""
        excess = self._alive - self._budget
        needed: set[int] = set()
        now: set[int] = set()
        for buffer in self._candidates(excess):
            drop = self._drop(buffer)
            stretch = slice(drop.start + 1, drop.end) if drop is not None else slice(0)
            if drop is None or buffer in needed or excess[stretch].max(initial=0) <= 0:
                continue
            if now.intersection((*drop.chain, *drop.supports)):
                continue
            for support in drop.supports:
                if support not in self._live.lasting:
                    excess[self._uses[support][-1] + 1 : drop.end + 1] += self._live.sizes[support]
                bisect.insort(self._uses[support], drop.end)
            for one in drop.chain:
                self._dropped.setdefault(one, self._uses[one][-1])
            self._dropped[buffer] = drop.start
            excess[stretch] -= self._live.sizes[buffer]
            needed.update(drop.supports)
            now.add(buffer)
        return bool(now)

    def _candidates(self, excess: _Bytes) -> list[int]:
        """The buffers that can be dropped where too much is alive, the most bytes for an operation first."""
        too_much = np.concatenate([[0], np.cumsum(excess > 0)])
        rated: list[tuple[float, int]] = []
        for buffer, maker in enumerate(self._live.maker):
            if maker < 0 or not self._allowed[maker] or buffer in self._dropped:
                continue
            if buffer in self._live.lasting or not self._live.sizes[buffer]:
                continue
            start, end = self._stretch(buffer)
            if start + 1 >= end or too_much[end] == too_much[start + 1]:
                continue
            drop = self._drop(buffer)
            if drop is not None:
                rated.append((-drop.saved / drop.operations, buffer))
        return [buffer for _, buffer in sorted(rated)]

    def _stretch(self, buffer: int) -> tuple[int, int]:
        """The two nodes between which nothing reads a buffer for longest."""
        pairs = itertools.pairwise(self._uses[buffer])
        return max(pairs, key=lambda pair: pair[1] - pair[0], default=(0, 0))

    def _drop(self, buffer: int) -> _Drop | None:
        """What dropping a buffer means as things stand, or None if it does not save anything."""
        live = self._live
        start, end = self._stretch(buffer)
        saved, cost, chain = live.sizes[buffer], 0, list[int]()
        supports: list[int] = []
        seen, stack = {buffer}, [buffer]
        while stack:
            if len(seen) > LONGEST_CHAIN:
                return None
            current = stack.pop()
            maker = live.maker[current]
            if current == buffer or current not in self._dropped:
                cost += self._cost[maker]
            if current != buffer:
                chain.append(current)
            for operand in live.reads[maker]:
                if operand in seen or live.maker[operand] < 0:
                    continue
                seen.add(operand)
                if self._there(operand, end):
                    supports.append(operand)
                elif operand in self._dropped or self._allowed[live.maker[operand]]:
                    stack.append(operand)
                else:
                    supports.append(operand)
                    saved -= live.sizes[operand]
        if saved <= 0 or (self._alone and (chain or saved < live.sizes[buffer])):
            return None
        return _Drop(start, end, saved, cost, tuple(chain), tuple(supports))

    def _there(self, buffer: int, position: int) -> bool:
        """Whether a buffer is alive when a node runs, computed again or not."""
        if buffer in self._live.lasting:
            return True
        return self._uses[buffer][-1] >= position and position <= self._dropped.get(buffer, position)

    # -- rebuilding ------------------------------------------------------------------------------------------------

    def _rebuilt(self) -> tuple[Graph, dict[int, int]]:
        """The graph with what is dropped computed again, and for each of its nodes the number of the one it is for."""
        rewriting = Rewriting(self._given)
        again: dict[int, Node] = {}
        positions: dict[int, int] = {}
        for i, node in enumerate(self._live.nodes):
            for entry in node.inputs:
                for missing in self._missing(entry, i, again):
                    copy = self._copy(missing, node, rewriting, self._inputs(missing, i, rewriting, again))
                    again[id(missing)] = copy
                    positions[id(copy)] = i
            now = with_inputs(node, self._inputs(node, i, rewriting, again), rewriting.origin(node))
            rewriting.put(node, edges(now))
            if self._gone(edges(node)[0], i):  # a view of what was computed again
                again[id(node)] = now
            positions[id(now)] = i
        graph = rewriting.graph()
        repeated = [node for node in self._live.nodes if id(node) in again]
        pairs = [(edge_node(rewriting.now(edges(node)[0])), again[id(node)]) for node in repeated]
        made = (node for node in graph.nodes if not isinstance(node, Leaf))
        # the originals as well: copies may stand in their places
        serve_what_was_made_later((*made, *(node for node, _ in pairs)), rewriting)
        _take_places(graph, pairs)
        return graph, positions

    def _gone(self, entry: Edge, position: int) -> bool:
        """Whether the value of an edge was dropped before a node."""
        node = edge_node(entry)
        return not isinstance(node, Leaf) and position > self._dropped.get(self._live.buffer(entry), position)

    def _missing(self, entry: object, position: int, again: dict[int, Node]) -> Iterable[Node]:
        """The nodes to be run again before a node can read an entry, in order."""
        if not is_recorded(entry) or not self._gone(entry, position):
            return
        stack = [edge_node(entry)]
        while stack:
            node = stack[-1]
            wanted = [
                edge_node(one)
                for one in node.inputs
                if is_recorded(one) and self._gone(one, position) and id(edge_node(one)) not in again
            ]
            if id(node) in again or not wanted:
                stack.pop()
                if id(node) not in again:
                    yield node
            else:
                stack += wanted

    def _inputs(
        self, node: Node, position: int, rewriting: Rewriting, again: dict[int, Node]
    ) -> tuple[object, ...]:
        return tuple(
            edges(again[id(edge_node(entry))])[edge_index(entry)]
            if is_recorded(entry) and self._gone(entry, position)
            else rewriting.now(entry)
            for entry in node.inputs
        )

    def _copy(self, node: Node, reader: Node, rewriting: Rewriting, inputs: tuple[object, ...]) -> Node:
        """A node run again for a reader: in the reader's phase, and in a backward pass serving the node itself."""
        origin = rewriting.origin(node)
        if origin is None and reader.phase == "backward":
            origin = edge_node(rewriting.now(edges(node)[0]))
        place = Place(node.place.scope, reader.phase, origin)
        return make_node(node.op, inputs, node.settings, node.types, like=node, place=place)


def _take_places(graph: Graph, pairs: Iterable[tuple[Node, Node]]) -> None:
    """Let copies stand in the place of nodes that nothing reads any more: those were not repeated but moved."""
    left = set(map(id, graph.nodes))
    moved = {id(node): copy for node, copy in pairs if id(node) not in left}
    places = {id(copy): node.place for node, copy in pairs if id(node) not in left}
    for node in graph.nodes if moved else ():
        node.place = places.get(id(node), node.place)
        served = node.forward_node
        if served is not None and id(served) in moved:
            node.place = Place(node.place.scope, node.phase, moved[id(served)])


def _cuts(made: _Bytes, crossing: _Bytes, size: int) -> list[int]:
    """Nodes after which to cut so that about `size` bytes are made between two cuts, where few bytes cross."""
    cuts: list[int] = []
    since, best = 0, -1
    for node, (new, across) in enumerate(zip(made.tolist(), crossing.tolist(), strict=True)):
        since += new
        if 2 * since >= size and (best < 0 or across <= crossing[best]):
            best = node
        if since >= size:
            cuts.append(best)
            since, best = int(made[best + 1 : node + 1].sum()), -1
    return cuts


def _operations(node: Node) -> int:
    """Operations of a node, at least one for each output element, which must be written."""
    written = sum(types.size for types in node.output_types)
    counted = operations_of(node)
    return max(written * UNKNOWN_OPERATIONS if counted is None else counted, written, 1)


def _warn(graph: Graph, budget: int) -> None:
    live = Memory(graph)
    alive = live.alive()
    at = int(np.argmax(alive))
    held = [
        (live.sizes[b], live.nodes[maker].describe())
        for b, maker in enumerate(live.maker)
        if 0 <= maker <= at and (b in live.lasting or maker == at or (live.readers[b] or [-1])[-1] >= at)
    ]
    largest = "; ".join(f"{size:,} bytes of {what}" for size, what in sorted(held, reverse=True)[:3])
    warnings.warn(
        f"the memory budget of {budget:,} bytes cannot be met: {alive[at]:,} bytes of intermediate values are alive "
        f"at {live.nodes[at].describe()}, the most of them {largest}. Smaller batches need less",
        TinygraphWarning,
        stacklevel=6,  # the line that called the compiled function
    )
