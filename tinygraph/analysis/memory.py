"""Memory: which values of a graph lie in the same memory, from when until when it is needed, and how much it is.

The one answer that passes (`passes/schedule.py`, `passes/recompute.py`), plans (`compiler/building.py`), drawings and
tables read. A value lives from its node to its last reader, outputs live to the end, and a view lies in its operand's
memory. Leaves and gradients have memory of their own, and an update that can be written where its leaf lives needs
none.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.analysis.arena import SMALL, Arena, Lifetime, place
from tinygraph.analysis.pointwise import is_pointwise, is_reduced
from tinygraph.analysis.views import Views
from tinygraph.core.graph import Graph
from tinygraph.core.node import (
    Edge,
    Key,
    Leaf,
    Node,
    edge_type,
    entry_key,
    entry_type,
    key_of,
)
from tinygraph.core.types import ArrayType, WeakType, is_python_integer

if TYPE_CHECKING:
    from tinygraph.kernels.lowering import Layout


class Memory:
    """What each node of a graph makes and reads in memory. Nodes and buffers go by number.

    Attributes:
        nodes: the graph's nodes without its leaves, in order; node i is `nodes[i]`.
        sizes: bytes of each buffer; 0 where the memory is not among that of intermediate values.
        operands: the keys of what each node reads, in order; None for a constant.
        makes: the buffers that each node makes, one for each output; none if it is a view.
        reads: the buffers that each node reads, itself or through views, each once.
        readers: the nodes that read each buffer, in order.
        maker: the node that makes each buffer, -1 for a leaf's.
        lasting: the buffers that are alive to the end.
        in_place: updates that are written into a leaf's buffer, since no later node reads it, and that buffer.
        states: the same updates, each with its leaf.
        lent: the buffers of gradients that `.grad` will hold, each with the leaf that it is the gradient of.
        objects: the buffers of Python's own objects: fractions, and integers, which may be of any size.

    Args:
        graph: in the order in which its nodes run.
        layouts: of the values that do not lie in rows, if a plan has chosen any.
    """

    def __init__(self, graph: Graph, layouts: Mapping[Key, Layout] | None = None) -> None:
        self.nodes: list[Node] = [node for node in graph.nodes if not isinstance(node, Leaf)]
        self.sizes: list[int] = []
        self.operands: list[list[Key | None]] = []
        self.makes: list[list[int]] = []
        self.reads: list[list[int]] = []
        self.readers: list[list[int]] = []
        self.maker: list[int] = []
        self._layouts = layouts if layouts is not None else {}
        self.objects = set[int]()
        self._buffer: dict[Key, int] = {}
        self._inputs = set(map(id, graph.inputs))
        self._strided = set[Key]()  # states that do not lie in rows
        views = Views(self._inputs, self._layouts)
        for leaf in graph.leaves:
            self._buffer[id(leaf), 0] = self._new(0, -1)
            state = isinstance(leaf.value, np.ndarray) and id(leaf) not in self._inputs
            if state and not leaf.value.flags.c_contiguous:
                self._strided.add((id(leaf), 0))
        for i, node in enumerate(self.nodes):
            keys = list(map(entry_key, node.inputs))
            self.operands.append(keys)
            self.reads.append(list(dict.fromkeys(self._buffer[key] for key in keys if key is not None)))
            for buffer in self.reads[i]:
                self.readers[buffer].append(i)
            if views.take(node):
                assert keys[0] is not None
                self._buffer[id(node), 0] = self._buffer[keys[0]]
                self.makes.append([])
                continue
            self.makes.append([self._make(i, index, types) for index, types in enumerate(node.output_types)])
        self._views_in_rows = views.in_rows
        self.lasting = {self._buffer[key] for key in map(entry_key, graph.ends) if key is not None}
        self.states = dict[int, Leaf]()
        self.in_place = dict[int, int]()
        for leaf, value in graph.updates:
            if self._may_be_written_at(leaf, value):
                self.states[self.buffer(value)] = leaf
                self.in_place[self.buffer(value)] = self._buffer[id(leaf), 0]
        self.lent = dict[int, Leaf]()
        for leaf, value in graph.gradients:
            if value is not None and self._may_be_lent(value):
                self.lent[self.buffer(value)] = leaf
        for elsewhere in (*self.states, *self.lent, *self.objects):
            self.sizes[elsewhere] = 0

    def _new(self, nbytes: int, maker: int) -> int:
        self.sizes.append(nbytes)
        self.maker.append(maker)
        self.readers.append([])
        return len(self.sizes) - 1

    def _make(self, i: int, index: int, types: ArrayType) -> int:
        """The new buffer of a node's output."""
        key = (id(self.nodes[i]), index)
        layout = self._layouts.get(key) if self._layouts else None
        nbytes = types.nbytes if layout is None else layout.size(types.shape) * types.dtype.itemsize
        made = self._buffer[key] = self._new(nbytes, i)
        if types.dtype.hasobject or (types.__class__ is WeakType and is_python_integer(types)):
            self.objects.add(made)
        return made

    # -- values ----------------------------------------------------------------------------------------------------

    def buffer(self, edge: Edge) -> int:
        """The buffer that an edge's value lies in."""
        return self._buffer[key_of(edge)]

    def is_view(self, key: Key) -> bool:
        """Whether a value lies in its operand's memory."""
        return key in self._views_in_rows

    def layout(self, key: Key) -> Layout | None:
        """The layout of a value that a plan chose for it; None if it lies in rows, or is a view."""
        return self._layouts.get(key) if key not in self._views_in_rows else None

    def in_rows(self, key: Key) -> bool:
        """Whether a value lies in rows, its last axis innermost."""
        if key in self._views_in_rows:
            return self._views_in_rows[key]
        return key not in self._strided and key not in self._layouts

    # -- what lies where another value lay -------------------------------------------------------------------------

    def _may_be_written_at(self, leaf: Leaf, value: object) -> bool:
        """Whether an update can be written where its state lives, because nothing reads the old value after that."""
        home = self._buffer.get((id(leaf), 0))
        key = entry_key(value)
        if home is None or key is None or id(leaf) in self._inputs or not _has_place(leaf):
            return False
        written = self._buffer[key]
        i = self.maker[written]
        if i < 0 or key in self._views_in_rows or written in self.states or home in self.lasting:
            return False
        if entry_type(value) != leaf.types or key in self._layouts:
            return False
        if is_reduced(self.nodes[i], key[1]):
            return False
        last = max(self.readers[home], default=-1)
        return last < i or (last == i and is_pointwise(self.nodes[i]) and self._reads_only_whole(i, home))

    def _may_be_lent(self, value: object) -> bool:
        """Whether a gradient can be made in the array that `.grad` will hold."""
        key = entry_key(value)
        if key is None:
            return False
        buffer = self._buffer[key]
        if self.maker[buffer] < 0 or buffer in self.states or buffer in self.lent or not self.in_rows(key):
            return False
        maker = self.nodes[self.maker[buffer]]
        index = self.makes[self.maker[buffer]].index(buffer)
        whole = maker.output_types[index]
        return (id(maker), index) not in self._layouts and entry_type(value).size == whole.size

    def _reads_only_whole(self, i: int, buffer: int) -> bool:
        """Whether a node reads a buffer as the value that it was made for alone, and not through a view besides."""
        views = self._views_in_rows
        return not any(key in views and self._buffer[key] == buffer for key in self.operands[i])

    @functools.cached_property
    def _takes_over(self) -> dict[int, list[tuple[int, list[int]]]]:
        """Nodes whose results may lie where an operand lay: each such result, and the buffers it may take."""
        found: dict[int, list[tuple[int, list[int]]]] = {}
        sizes = self.sizes
        for i, made in enumerate(self.makes):
            if not any(sizes[buffer] > SMALL for buffer in made) or not is_pointwise(self.nodes[i]):
                continue
            several = [
                (buffer, sources)
                for index, buffer in enumerate(made)
                if sizes[buffer] > SMALL
                and not is_reduced(self.nodes[i], index)
                and (sources := list(dict.fromkeys(self._of_the_same_kind(i, index))))
            ]
            if several:
                found[i] = several
        return found

    def _of_the_same_kind(self, i: int, index: int) -> Iterator[int]:
        """The buffers that a node reads element by element, of the type and layout of one of its results."""
        node, layouts = self.nodes[i], self._layouts
        types, layout = node.output_types[index], layouts.get((id(node), index))
        for key, entry in zip(self.operands[i], node.inputs, strict=True):
            if key is None or edge_type(entry) != types or key in self._views_in_rows:
                continue
            source = self._buffer[key]
            alike = self.maker[source] >= 0 and layouts.get(key) == layout
            if alike and self._reads_only_whole(i, source):
                yield source

    @functools.cached_property
    def lifetimes(self) -> list[Lifetime]:
        """The places of all buffers that a plan makes, in order of their makers, those of elsewhere left out."""
        end = len(self.nodes)
        last = [
            readers[-1] if readers else maker for readers, maker in zip(self.readers, self.maker, strict=True)
        ]
        for buffer in self.lasting:
            last[buffer] = end
        after: dict[int, int] = {}
        for i, results in self._takes_over.items():
            for result, sources in results:
                source = next((one for one in sources if last[one] == i and one not in after), None)
                if source is not None:
                    after[source] = result
        later = set(after.values())
        elsewhere = {*self.states, *self.lent, *self.objects}
        found: list[Lifetime] = []
        for i, made in enumerate(self.makes):
            for buffer in made:
                if buffer in later or buffer in elsewhere:
                    continue
                row = [buffer]
                while row[-1] in after:
                    row.append(after[row[-1]])
                found.append(Lifetime(self.sizes[buffer], i, last[row[-1]], tuple(row)))
        return found

    # -- bytes -----------------------------------------------------------------------------------------------------

    def alive(self, order: Iterable[int] | None = None, kept: Iterable[int] = ()) -> list[int]:
        """Bytes of the values that are alive while each node runs, what it makes included.

        Args:
            order: the numbers of all nodes, each after those it reads from; as recorded by default.
            kept: buffers that stay to the end, besides those that leave the graph.
        """
        sizes, left = self.sizes, [len(readers) for readers in self.readers]
        for buffer in self.lasting.union(kept):
            left[buffer] += 1
        now = 0
        found: list[int] = []
        for i in range(len(self.nodes)) if order is None else order:
            for buffer in self.makes[i]:
                now += sizes[buffer]
            found.append(now)
            for buffer in self.reads[i]:
                left[buffer] -= 1
                if not left[buffer]:
                    now -= sizes[buffer]
            for buffer in self.makes[i]:
                if not left[buffer]:
                    now -= sizes[buffer]
        return found

    def held(self) -> list[int]:
        """Bytes of the places that a plan holds while each node runs; results that take over a place count once."""
        changes = [0] * (len(self.nodes) + 2)
        for nbytes, start, end, _ in self.lifetimes:
            changes[start] += nbytes
            changes[end + 1] -= nbytes
        return list(itertools.accumulate(changes))[: len(self.nodes)]

    def arena(self, scratch: Iterable[Lifetime] = ()) -> Arena:
        """Where a plan puts these places: all bytes that it takes for them, halos, rounding and gaps included.

        Args:
            scratch: memory that kernels ask for besides, each for as long as its node runs; it comes after the places
                of `lifetimes` in the answer.
        """
        return place([*self.lifetimes, *scratch])


def alive_bytes(graph: Graph) -> dict[int, int]:
    """Bytes of intermediate values alive while each node runs, by the node's id; leaves are left out.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> graph = tg.capture(lambda x: np.sum(np.exp(np.sin(x))), np.zeros(100))
    >>> list(alive_bytes(graph).values())
    [800, 1600, 808]
    """
    memory = Memory(graph)
    return dict(zip(map(id, memory.nodes), memory.alive(), strict=True))


def peak_bytes(graph: Graph) -> int:
    """The most bytes of intermediate values that are alive at once.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> peak_bytes(tg.capture(lambda x: np.exp(np.sin(x)), np.zeros(100)))
    1600
    """
    return max(Memory(graph).alive(), default=0)


def _has_place(leaf: Leaf) -> bool:
    """Whether a state lives in an array that can be written; numbers are replaced."""
    value = leaf.value
    return (
        isinstance(value, np.ndarray)
        and bool(value.ndim)
        and value.flags.c_contiguous
        and value.flags.writeable
    )
