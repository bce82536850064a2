"""Places: the array of each value of a plan, made before anything runs.

Parameters and buffers stay where they live, inputs get arrays of the plan, gradients the arrays that `.grad` will hold,
and everything between lies in one arena, the scratch memory of kernels included. Who shares memory with
whom is what `analysis/memory.py` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.analysis.arena import ALIGNMENT, Lifetime
from tinygraph.analysis.memory import Memory
from tinygraph.compiler.keeping import Room, room, room_bytes
from tinygraph.compiler.plan_memory import PlanMemory
from tinygraph.core.graph import Graph
from tinygraph.core.node import Key, Leaf, Node
from tinygraph.core.types import Array, ArrayType, is_python_integer
from tinygraph.kernels.lowering import Layout, Lowering


class Places:
    """The arrays of a plan.

    Attributes:
        arrays: of each value; for a generator's leaf there is none.
        inputs: those of the graph's inputs, in order.
        states: the other leaves, each with the array that it lives in.
        elsewhere: arrays outside the arena that kernels write: states, and gradients that `.grad` will hold.
        arena: the memory of all intermediate values and of scratch, aligned.
        arena_bytes: how much of it is used.
        scratch: of nodes, by their numbers, where kernels asked for any.
        asked: the same as lifetimes, in order.
        own_bytes: of memory that this plan has for itself.
        cleared: keys of values whose place had another value before, in the same layout.
        rooms: for nodes, by their numbers, whose kernels keep what they make of a parameter.
    """

    def __init__(
        self,
        graph: Graph,
        memory: Memory,
        layouts: Mapping[Key, Layout],
        lowerings: Sequence[Lowering | None],
        shared: PlanMemory | None = None,
    ) -> None:
        self._memory, self._layouts, self._shared = memory, layouts, shared
        self.own_bytes = 0
        self.inputs = [self._input(i, (id(leaf), 0), leaf.types) for i, leaf in enumerate(graph.inputs)]
        given = {id(leaf): array for leaf, array in zip(graph.inputs, self.inputs, strict=True)}
        # NumPy scalars are immutable, so their leaves get a 0-d array, filled before each run
        states = (leaf for leaf in graph.leaves if id(leaf) not in given and leaf.kind != "generator")
        self.states = [(leaf, _home(leaf)) for leaf in states]
        leaves = given | {id(leaf): home for leaf, home in self.states}
        self.arrays: dict[Key, Array] = {(key, 0): array for key, array in leaves.items()}
        self._keys = {
            buffer: ((id(node), index), node.output_types[index])
            for node, made in zip(memory.nodes, memory.makes, strict=True)
            for index, buffer in enumerate(made)
        }
        self.elsewhere = [self._elsewhere(buffer, leaf) for buffer, leaf in memory.states.items()]
        self.elsewhere += [self._elsewhere(buffer, lent=leaf) for buffer, leaf in memory.lent.items()]
        for buffer in memory.objects:
            key, types = self._keys[buffer]
            self.arrays[key] = np.zeros(types.shape, object)
        self.cleared: set[Key] = set()
        self.scratch: dict[int, list[Array]] = {}
        self.rooms = self._rooms(graph, lowerings)
        self._fill_arena(lowerings)
        for i, node in enumerate(memory.nodes):
            if memory.is_view((id(node), 0)):
                self.arrays[id(node), 0] = self._view(i, node)
        del self._memory, self._keys  # a plan's tables are made when nobody needs them any more

    def _elsewhere(self, buffer: int, leaf: Leaf | None = None, lent: Leaf | None = None) -> Array:
        """The array of a buffer outside the arena: a state's own, or one that its `.grad` is to hold."""
        key, types = self._keys[buffer]
        if leaf is not None:
            found = self.arrays[id(leaf), 0]
        else:
            found = self._zeros(types.size, types, ("gradient", id(lent), types)).reshape(types.shape)
        self.arrays[key] = found
        return found

    def _fill_arena(self, lowerings: Sequence[Lowering | None]) -> None:
        lifetimes = self._memory.lifetimes
        self.asked = scratch = [
            Lifetime(0 if i in self.rooms and k in self.rooms[i].scratch else nbytes, i, i)
            for i, lowering in enumerate(lowerings)
            for k, nbytes in enumerate(lowering.scratch if lowering is not None else ())
        ]
        offsets, self.arena_bytes = self._memory.arena(scratch)
        # zeros: views are taken of it before anything is written
        self.arena = self._zeros(self.arena_bytes + 2 * ALIGNMENT, ArrayType((), np.dtype(np.uint8)), "arena")
        start = -self.arena.ctypes.data % ALIGNMENT
        for lifetime, offset in zip(lifetimes, offsets, strict=False):
            chunk = self.arena[start + offset : start + offset + lifetime.nbytes]
            key, types = self._keys[lifetime.buffers[0]]
            array = self._shaped(chunk.view(types.dtype), key, types)
            for buffer in lifetime.buffers:
                self.arrays[self._keys[buffer][0]] = array
            self.cleared.update(self._keys[buffer][0] for buffer in lifetime.buffers[1:])
        for one, offset in zip(scratch, offsets[len(lifetimes) :], strict=True):
            chunk = self.arena[start + offset : start + offset + one.nbytes]
            self.scratch.setdefault(one.start, []).append(chunk)
        for i, found in self.rooms.items():
            for k, memory in found.scratch.items():
                self.scratch[i][k] = memory

    def _rooms(self, graph: Graph, lowerings: Sequence[Lowering | None]) -> dict[int, Room]:
        """Rooms for what kernels make of parameters that the plan does not write."""
        homes = {(id(leaf), 0): home for leaf, home in self.states if home.ndim and home.flags.c_contiguous}
        for leaf, _ in graph.updates:
            homes.pop((id(leaf), 0), None)
        rooms: dict[int, Room] = {}
        names: Counter[Hashable] = Counter()  # so that two kernels of a plan do not take turns in one room
        for i, lowering in enumerate(lowerings):
            if lowering is None or lowering.prepared is None:
                continue
            key = self._memory.operands[i][lowering.prepared.operand]
            home = None if key is None else homes.get(key)
            if home is None:
                continue
            sizes = {k: lowering.scratch[k] for k in lowering.prepared.scratch}
            nbytes = room_bytes(home, list(sizes.values()))
            types = ArrayType((), np.dtype(np.uint8))
            name = "made of", key, tuple(sizes.values())
            names[name] += 1
            rooms[i] = room(home, sizes, self._zeros(nbytes, types, (*name, names[name])))
        return rooms

    def _shaped(self, elements: Array, key: Key, types: ArrayType) -> Array:
        layout = self._layouts.get(key)
        return layout.inside(elements, types.shape) if layout else elements.reshape(types.shape)

    def _input(self, i: int, key: Key, types: ArrayType) -> Array:
        """The array of an input; its halo stays zero, since only the inside is ever written.

        So inputs share memory whose images lie alike, how many there may be.
        """
        if is_python_integer(types):
            return np.array(0, object)
        layout = self._layouts.get(key)
        size = layout.size(types.shape) if layout else types.size
        name: Hashable | None = "input", i
        if layout and layout.has_halo:
            of_images = layout.order[0] == 0 and not any(layout.halo[0])
            name = ("input", i, layout, types.shape[1:], types.dtype) if of_images else None
        return self._shaped(self._zeros(size, types, name), key, types)

    def _zeros(self, size: int, types: ArrayType, name: Hashable | None) -> Array:
        """So many elements, in memory shared under a name, or of this plan alone where there is none."""
        nbytes = size * types.dtype.itemsize
        if self._shared is not None and name is not None and types.dtype != object:
            return self._shared.block(name, nbytes).view(types.dtype)
        self.own_bytes += nbytes
        return np.zeros(size, types.dtype)

    def _view(self, i: int, node: Node) -> Array:
        """The array of a value that lies in its operand's, taken by the op itself."""
        operands: list[Any] = [
            entry if key is None else self.arrays[key]
            for key, entry in zip(self._memory.operands[i], node.inputs, strict=True)
        ]
        view: Array = node.op.forward(*operands, **node.settings)
        return view


def _home(leaf: Leaf) -> Array:
    return leaf.value if isinstance(leaf.value, np.ndarray) else np.array(leaf.value)
