"""Plans: a graph as a flat schedule of bound kernels over buffers that are planned once.

Every value has its place before the first run: parameters and buffers where they live, inputs in arrays of the plan,
gradients in the tensors that `.grad` gets, everything between in one arena (`memory.py`). Who shares memory with whom
is decided in `storage.py`, how images lie in `layouts.py`. Shape ops that only view their operand cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.analysis.memory import may_be_view
from tinygraph.compiler.arena import ALIGNMENT, Lifetime, place
from tinygraph.compiler.choosing import Kernel, choose_kernel, lower
from tinygraph.compiler.layouts import Key, choose_layouts, key_of
from tinygraph.compiler.passes.verify import operand_type
from tinygraph.compiler.python_numbers import is_python_integer, python_call, runs_in_python
from tinygraph.compiler.scalar_runs import ScalarRun
from tinygraph.compiler.storage import Storage
from tinygraph.core.graph import Graph
from tinygraph.core.locks import Lock, leaf_lock
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.regions import present
from tinygraph.core.source import here
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.types import ArrayType, WeakType
from tinygraph.errors import OpError
from tinygraph.kernels.lowering import Array, Layout, Lowering, rows
from tinygraph.tracing.collector import collection_paused

# What a step takes besides its arrays, machine code and the objects around it; and a node with its place. Measured.
_STEP_BYTES, _NODE_BYTES = 25_000, 2_000


class Step(NamedTuple):
    """One kernel call of a plan.

    Attributes:
        node: what it is done for.
        kernel: what is called.
        outputs: the arrays that it writes.
        nodes: those that it computes: one, or a run of scalar ones; none where it only prepares memory.
    """

    node: Node
    kernel: Kernel
    outputs: tuple[Array, ...]
    nodes: tuple[Node, ...] = ()


class Plan:
    """An executable schedule of a graph.

    Attributes:
        graph: what it computes.
        steps: the kernel calls, in order.
        arena_bytes: the memory of all intermediate values together.
    """

    def __init__(self, graph: Graph, gradients_read: Sequence[tuple[Leaf, Tensor]] = ()) -> None:
        self.graph = graph
        self._gradients_read = tuple(gradients_read)
        self._lock = Lock()
        self._nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
        self._layouts = choose_layouts(self._nodes, graph.inputs)
        self._inputs = [self._holder((id(leaf), 0), leaf.types) for leaf in graph.inputs]
        given = {id(leaf): array for leaf, array in zip(graph.inputs, self._inputs, strict=True)}
        # where each leaf lives; NumPy scalars are immutable, so their leaves get a 0-d array, filled before each run
        states = (leaf for leaf in graph.leaves if id(leaf) not in given and leaf.kind != "generator")
        self._states = [(leaf, _home(leaf)) for leaf in states]
        self._leaves = given | {id(leaf): home for leaf, home in self._states}
        self._weak: dict[tuple[int, int, np.dtype[Any]], tuple[Array, Array]] = {}
        self._weak_inputs: list[tuple[Array, Array]] = []
        self._placed = False
        self.steps: list[Step] = []
        # states that a step writes where they live, each with the number of that step
        self._written: list[tuple[int, Leaf]] = []
        self._plan()
        self._outputs = [self._value(out) for out in graph.outputs]
        over = {id(leaf) for _, leaf in self._written}
        self._copied: list[tuple[Leaf, Array, bool]] = []
        for leaf, update in graph.updates:
            if id(leaf) not in over:
                value = self._value(update)
                among_states = any(np.may_share_memory(value, home) for _, home in self._states)
                self._copied.append((leaf, value, among_states))
        # gradients get tensors of their own, which each run fills again: what `.grad` held is what it holds
        self._gradients = [
            (leaf, None if value is None else _Gradient(self._value(value), id(leaf) in self._lent))
            for leaf, value in graph.gradients
        ]
        self._run = [step.kernel.run for step in self.steps]

    # -- making ----------------------------------------------------------------------------------------------------

    @collection_paused()
    def _plan(self) -> None:
        nodes = self._nodes
        storage = Storage(self.graph, nodes, self._find_views())
        self._fixed = self._fixed_places(storage)
        storage.share_in_place(self._layouts, self._fixed)
        lowerings = [self._lower(node) for node in nodes]
        self._place(storage, lowerings)
        self._placed = True
        self._numbers = numbers = ScalarRun()
        for position, (node, lowering) in enumerate(zip(nodes, lowerings, strict=True)):
            if (id(node), 0) in self._views:
                self._values[id(node), 0] = node.op.forward(*self._operands(node), **node.settings)
                continue
            outputs = tuple(self._values[id(node), i] for i in range(len(node.output_types)))
            operands = self._operands(node)
            if runs_in_python(node):
                self._add(numbers.finish())
                kernel = Kernel(python_call(node, operands, outputs), f"Python {node.op.name}")
                self.steps.append(Step(node, kernel, outputs, (node,)))
                continue
            if numbers.takes(node, operands, outputs, lowering):
                continue
            self._add(numbers.finish())
            self._clear_halos(node, outputs, storage)
            scratch = self._scratch.get(position, ())
            kernel = choose_kernel(node, operands, outputs, lowering, scratch)
            self.steps.append(Step(node, kernel, outputs, (node,)))
            self._written += [(len(self.steps) - 1, leaf) for leaf in self._over.get(id(node), ())]
        self._add(numbers.finish())

    def _add(self, joined: tuple[tuple[Node, ...], Kernel] | None) -> None:
        if joined is not None:
            nodes, kernel = joined
            self.steps.append(Step(nodes[-1], kernel, (), nodes))

    def _find_views(self) -> dict[Key, Key]:
        """The values that are views, each with the value whose memory it uses."""
        self._values: dict[Key, Any] = {(key, 0): array for key, array in self._leaves.items()}
        views: dict[Key, Key] = {}
        for node in self._nodes:
            if may_be_view(node):
                source = key_of(node.inputs[0])
                with np.errstate(all="ignore"):  # what is not a view computes with whatever the memory held
                    result = node.op.forward(*self._operands(node), **node.settings)
                base = self._values[source]
                if isinstance(result, np.ndarray) and base is not None and np.may_share_memory(result, base):
                    self._values[id(node), 0] = result
                    views[id(node), 0] = views.get(source, source)
                    continue
            for i, types in enumerate(node.output_types):  # never touched: costs no memory
                self._values[id(node), i] = self._empty((id(node), i), types)
        self._views = views
        return views

    def _fixed_places(self, storage: Storage) -> dict[Key, Array]:
        """Values with a place outside the arena, each with its array.

        These are new values of states that can be written where the states live, and gradients, in arrays that `.grad`
        will hold.
        """
        fixed: dict[Key, Array] = {}
        self._over: dict[int, list[Leaf]] = {}
        for leaf, value in self.graph.updates:
            home = self._leaves.get(id(leaf))
            if (
                home is not None
                and home is leaf.value
                and is_recorded(value)
                and home.ndim
                and home.flags.c_contiguous
                and home.flags.writeable
                and key_of(value) not in fixed
                and key_of(value) not in self._layouts
                and storage.can_write_over(leaf, value)
            ):
                fixed[key_of(value)] = home
                self._over.setdefault(id(edge_node(value)), []).append(leaf)
        self._lent: set[int] = set()
        for leaf, value in self.graph.gradients:
            if value is None or not is_recorded(value):
                continue
            owner, array = storage.owner(key_of(value)), self._values[key_of(value)]
            whole = self._values[owner]
            made_here = owner not in fixed and owner not in self._layouts and owner[0] not in self._leaves
            if made_here and array.flags.c_contiguous and array.size == whole.size:
                fixed[owner] = np.empty(whole.shape, whole.dtype)
                self._lent.add(id(leaf))
        return fixed

    def _lower(self, node: Node) -> Lowering | None:
        if (id(node), 0) in self._views or (node.op.lowering is None and "program" not in node.op.facts):
            return None
        inputs = [self._layout_now(key_of(entry)) if is_recorded(entry) else None for entry in node.inputs]
        outputs = [self._layout_now((id(node), i)) for i in range(len(node.output_types))]
        return lower(node, inputs, outputs)

    def _layout_now(self, key: Key) -> Layout | None:
        """The layout of a value, or None where it has strides of its own."""
        array = self._values.get(key)
        if key in self._layouts and key not in self._views:
            return self._layouts[key]
        return rows(array.ndim) if isinstance(array, np.ndarray) and array.flags.c_contiguous else None

    def _place(self, storage: Storage, lowerings: Sequence[Lowering | None]) -> None:
        """Make the arena, and the arrays of all values and of the kernels' scratch memory in it."""
        lifetimes: list[Lifetime] = []
        owners: list[tuple[Key, ArrayType]] = []
        scratch: list[tuple[int, int]] = []
        integers: dict[Key, Array] = {}
        for position, node in enumerate(self._nodes):
            for i, types in enumerate(node.output_types):
                key = (id(node), i)
                if is_python_integer(types):  # objects do not lie in the arena
                    integers[key] = self._empty(key, types)
                elif storage.owns(key) and key not in self._fixed:
                    lifetimes.append(Lifetime(self._nbytes(key, types), position, storage.last[key]))
                    owners.append((key, types))
        for position, lowering in enumerate(lowerings):
            for nbytes in lowering.scratch if lowering is not None else ():
                lifetimes.append(Lifetime(nbytes, position, position))
                scratch.append((position, nbytes))
        offsets, self.arena_bytes = place(lifetimes)
        self._arena = np.empty(self.arena_bytes + 2 * ALIGNMENT, np.uint8)
        start = -self._arena.ctypes.data % ALIGNMENT
        self._values = {(key, 0): array for key, array in self._leaves.items()} | self._fixed | integers
        for (key, types), offset, lifetime in zip(owners, offsets, lifetimes, strict=False):
            chunk = self._arena[start + offset : start + offset + lifetime.nbytes].view(types.dtype)
            layout = self._layouts.get(key)
            self._values[key] = layout.inside(chunk, types.shape) if layout else chunk.reshape(types.shape)
        self._scratch: dict[int, list[Array]] = {}
        for (position, nbytes), offset in zip(scratch, offsets[len(owners) :], strict=True):
            chunk = self._arena[start + offset : start + offset + nbytes]
            self._scratch.setdefault(position, []).append(chunk)
        for node in self._nodes:
            for i in range(len(node.output_types)):
                key = (id(node), i)
                if key not in self._views and not storage.owns(key):
                    self._values[key] = self._values[storage.owner(key)]

    def _nbytes(self, key: Key, types: ArrayType) -> int:
        layout = self._layouts.get(key)
        return layout.size(types.shape) * types.dtype.itemsize if layout else types.nbytes

    def _empty(self, key: Key, types: ArrayType) -> Array:
        """An array in a value's layout that is not in the arena."""
        if is_python_integer(types):
            return np.array(0, object)
        layout = self._layouts.get(key)
        if layout is None:
            return np.empty(types.shape, types.dtype)
        return layout.inside(np.empty(layout.size(types.shape), types.dtype), types.shape)

    def _holder(self, key: Key, types: ArrayType) -> Array:
        """The array of an input; its halo stays zero, since only the inside is ever written."""
        array, layout = self._empty(key, types), self._layouts.get(key)
        if layout is not None:
            layout.around(array).fill(0)
        return array

    def _clear_halos(self, node: Node, outputs: Sequence[Array], storage: Storage) -> None:
        """A step for each result with a halo, unless an operand in whose place it stands has cleared it already."""
        for i, array in enumerate(outputs):
            layout = self._layouts.get((id(node), i))
            if layout is not None and layout.has_halo and storage.owns((id(node), i)) and array.size:
                from tinygraph.kernels.images.lowerings import clear_halo

                self.steps.append(Step(node, Kernel(clear_halo(array, layout), "clear halo"), ()))

    def _operands(self, node: Node) -> list[Any]:
        return [self._operand(entry, node) if is_recorded(entry) else entry for entry in node.inputs]

    def _operand(self, entry: Any, node: Node) -> Any:
        source = edge_node(entry)
        if isinstance(source, Leaf) and source.kind == "generator":
            return source.value
        array = self._values[id(source), edge_index(entry)]
        types = edge_type(entry)
        if not isinstance(types, WeakType) or "program" in node.op.facts or runs_in_python(node):
            return array
        if is_python_integer(types):  # an index, for example
            return self._narrowed(source, edge_index(entry), np.dtype(np.int64))
        if isinstance(node.types, WeakType) or node.op.kind not in ("elementwise", "comparison"):
            return array
        # a Python number takes the dtype of what it meets
        met = [one for one in map(operand_type, node.inputs) if isinstance(one, ArrayType)]
        dtype = np.result_type(types.number, *(one.dtype for one in met))
        return array if dtype == array.dtype else self._narrowed(source, edge_index(entry), dtype)

    def _narrowed(self, source: Node, index: int, dtype: np.dtype[Any]) -> Array:
        """A Python number as an array of a dtype, filled once the number is there."""
        key = (id(source), index, dtype)
        if not self._placed:  # asked for to find views
            return np.zeros((), dtype)
        if key not in self._weak:
            self._weak[key] = (np.zeros((), dtype), self._values[id(source), index])
            if isinstance(source, Leaf):
                self._weak_inputs.append(self._weak[key])
            else:
                self._add(self._numbers.finish())  # the number itself comes first
                pair = self._weak[key]  # not the plan, which would refer to itself
                copy = Kernel(lambda: np.copyto(*pair, casting="unsafe"), "cast")
                self.steps.append(Step(source, copy, (self._weak[key][0],)))
        return self._weak[key][0]

    # -- running ---------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the schedule on the values of the graph's inputs; returns fresh arrays and updates states in place."""
        with self._lock.held:
            if present.region is not None:
                for leaf in (*(leaf for _, leaf in self._written), *(leaf for leaf, _, _ in self._copied)):
                    present.region.note_write(tensor_of(leaf))
            self._fill(inputs)
            self._execute()
            return self._finish()

    def _fill(self, inputs: Sequence[Any]) -> None:
        for array, value in zip(self._inputs, inputs, strict=True):
            np.copyto(array, value)
        for leaf, held in self._gradients_read:
            if leaf.grad is None:
                continue
            if isinstance(held._value, np.ndarray):
                np.copyto(held._value, leaf.grad._value)
            else:  # a number, which its place is filled from below
                held._value = held._own_leaf().value = np.asarray(leaf.grad._value)[()]
        for leaf, home in self._states:
            if leaf.value is not home:
                np.copyto(home, leaf.value)
        for narrow, wide in self._weak_inputs:
            np.copyto(narrow, wide, casting="unsafe")

    def _execute(self) -> None:
        position = 0
        try:
            for position, run in enumerate(self._run):  # noqa: B007 - read when a step raises
                run()
        except BaseException as error:
            written = [(leaf, step == position) for step, leaf in self._written if step <= position]
            self._note_writes([leaf for leaf, _ in written], 4)
            if not isinstance(error, Exception):  # Ctrl-C
                raise
            names = ", ".join(leaf.describe() + " (perhaps in part)" * torn for leaf, torn in written)
            raise self._failure(
                position, error, f"Already updated: {names}; no other" if written else "No"
            ) from error

    def _failure(self, position: int, error: Exception, which: str) -> OpError:
        node = self.steps[position].node
        return OpError(
            f"step {position} of the compiled plan failed: {node.describe()}: {type(error).__name__}: {error}. "
            f"{which} parameter or state was changed"
            + (" (what this function left in .grad before may be)" if self._lent else "")
        )

    def _finish(self) -> list[Any]:
        results = [out.copy("C")[()] for out in self._outputs]
        for leaf, gradient in self._gradients:
            new = None if gradient is None else gradient()
            if leaf._grad is not new:  # from the second call on it mostly is
                leaf.grad = new
        # an update may be another state's old value, or a view of it
        values = [value.copy() if among_states else value for _, value, among_states in self._copied]
        # noted first: a write that Ctrl-C interrupts is noticed as well
        self._note_writes([leaf for leaf, _, _ in self._copied] + [leaf for _, leaf in self._written], 4)
        for (leaf, _, _), value in zip(self._copied, values, strict=True):
            _set_value(leaf, value)
        return results

    def _note_writes(self, leaves: Sequence[Leaf], depth: int) -> None:
        """Count the writes, and remember the line that asked for them."""
        changed_at = here(depth)
        for leaf in leaves:
            with leaf_lock.held:
                leaf.version += 1
            leaf.changed_at = changed_at

    def _value(self, entry: Any) -> Array:
        if not is_recorded(entry):
            return np.asarray(entry)
        if is_python_integer(edge_type(entry)):
            return self._narrowed(edge_node(entry), edge_index(entry), np.dtype(np.int64))
        value: Array = self._values[id(edge_node(entry)), edge_index(entry)]
        return value

    @property
    def nbytes(self) -> int:
        """The memory that it takes, about: arrays of its own, kernels and machine code, and the schedule."""
        arrays = [
            *self._inputs,
            *self._fixed.values(),
            *(home for leaf, home in self._states if home.ndim == 0),
        ]
        own = sum(array.nbytes for array in arrays) + self._arena.nbytes
        return own + _STEP_BYTES * len(self.steps) + _NODE_BYTES * len(self._nodes)

    def fits(self) -> bool:
        """Whether the states still live where the plan reads them (a changed dtype moves them)."""
        for leaf, home in self._states:
            if leaf.value is not home and (
                home.ndim or np.ndim(leaf.value) or leaf.types.dtype != home.dtype
            ):
                return False
        return True

    # -- reading ---------------------------------------------------------------------------------------------------

    def profile(self, inputs: Sequence[Any], repeats: int = 10) -> list[float]:
        """Seconds per step, the median of some runs; states stay as they are, also where a step fails."""
        times = np.empty((repeats, len(self._run)))
        with self._lock.held:
            before = [(array, array.copy()) for array in self._fixed.values()]
            for row in times:
                self._fill(inputs)
                try:
                    self._measure(row)
                finally:
                    for array, value in before:
                        np.copyto(array, value)
        return [float(seconds) for seconds in np.median(times, axis=0)]

    def _measure(self, seconds: Array) -> None:
        for i, run in enumerate(self._run):
            begin = time.perf_counter()
            try:
                run()
            except Exception as error:
                raise self._failure(i, error, "No") from error
            seconds[i] = time.perf_counter() - begin

    def table(self, *, width: int | None = None) -> str:
        """The schedule as text: step, op, phase, kernel, shapes, bytes moved, operations, and where the results are.

        Args:
            width: in characters; by default the terminal's.
        """
        from tinygraph.compiler.tables import text_table

        return text_table(self, width=width)

    def __repr__(self) -> str:
        return f"<Plan of {len(self.steps)} steps, arena of {self.arena_bytes:,} bytes>"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from tinygraph.compiler.tables import html_table

        return html_table(self)


class _Gradient:
    """The tensor that a plan puts in `.grad`: lent the gradient's own place, or filled from it in each run."""

    def __init__(self, source: Array, lent: bool) -> None:
        self._source = None if lent else source
        self._value = source if lent else np.empty(source.shape, source.dtype)
        self._tensor = Tensor(self._value)

    def __call__(self) -> Tensor:
        if self._source is not None:
            np.copyto(self._value, self._source)
        self._tensor._value = self._value  # whoever wrote the tensor gave it an array of its own
        return self._tensor


def _home(leaf: Leaf) -> Array:
    if isinstance(leaf.value, np.ndarray):
        return leaf.value
    return np.array(leaf.value)


def _set_value(leaf: Leaf, value: Array) -> None:
    if isinstance(leaf.value, np.ndarray) and leaf.value.flags.writeable:
        np.copyto(leaf.value, value, casting="same_kind")
    else:
        holder = tensor_of(leaf)
        holder._value = leaf.value = value.astype(leaf.types.dtype)[()]
