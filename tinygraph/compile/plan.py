"""Plans: a graph as a flat schedule of bound kernels over buffers that are planned once.

Every value has its place before the first run: parameters and buffers where they live, inputs in arrays of the plan,
everything between in one arena (`memory.py`), and shape ops that only view their operand cost nothing at run time.
States are written after the last step, so a step that fails leaves them as they were.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compile.kernels import Kernel, choose_kernel
from tinygraph.compile.memory import Lifetime, place
from tinygraph.compile.scalar_runs import ScalarRun
from tinygraph.core.graph import Graph
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.source import here
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.types import ArrayType, WeakType
from tinygraph.errors import OpError
from tinygraph.passes.verify import operand_type

Array = np.ndarray[Any, Any]
# Ops of these kinds are tried as views: run once on their operand's place, to see whether they share its memory.
_VIEWING = ("shape", "indexing")


class Step(NamedTuple):
    """One kernel call of a plan, and the node it computes."""

    node: Node
    kernel: Kernel
    outputs: tuple[Array, ...]


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
        self._lock = threading.Lock()
        self._inputs = [_holder(leaf.types) for leaf in graph.inputs]
        given = {id(leaf): array for leaf, array in zip(graph.inputs, self._inputs, strict=True)}
        # where each leaf lives; NumPy scalars are immutable, so their leaves get a 0-d array, filled before each run
        self._states = [leaf for leaf in graph.leaves if id(leaf) not in given and leaf.kind != "generator"]
        self._homes = [_home(leaf) for leaf in self._states]
        self._leaves = given | {id(leaf): home for leaf, home in zip(self._states, self._homes, strict=True)}
        self._weak: dict[tuple[int, int, np.dtype[Any]], tuple[Array, Array]] = {}
        self.steps: list[Step] = []
        self._plan()
        self._run = [step.kernel.run for step in self.steps]
        self._outputs = [self._value(out) for out in graph.outputs]
        self._writes = [(leaf, self._value(value)) for leaf, value in graph.updates]
        # gradients get tensors of their own, which each run fills again: what `.grad` held is what it holds
        self._gradients = [
            (leaf, None if value is None else _Gradient(self._value(value)))
            for leaf, value in graph.gradients
        ]

    # -- making ----------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        nodes = [node for node in self.graph.nodes if not isinstance(node, Leaf)]
        roots, views = self._find_views(nodes)
        lifetimes, owners = self._lifetimes(nodes, roots)
        offsets, self.arena_bytes = place(lifetimes)
        self._arena = np.empty(self.arena_bytes + 64, np.uint8)
        start = -self._arena.ctypes.data % 64
        self._values: dict[tuple[int, int], Any] = {(key, 0): array for key, array in self._leaves.items()}
        for (key, types), offset in zip(owners, offsets, strict=True):
            chunk = self._arena[start + offset : start + offset + types.nbytes]
            self._values[key] = chunk.view(types.dtype).reshape(types.shape)
        numbers = ScalarRun()
        for node in nodes:
            if id(node) in views:
                self._values[id(node), 0] = node.op.forward(*self._operands(node), **node.settings)
                continue
            outputs = tuple(self._values[id(node), i] for i in range(len(node.output_types)))
            operands = self._operands(node)
            if numbers.takes(node, operands, outputs):
                continue
            self._add(numbers.finish())
            self.steps.append(Step(node, choose_kernel(node, operands, outputs), outputs))
        self._add(numbers.finish())

    def _add(self, joined: tuple[Node, Kernel] | None) -> None:
        if joined is not None:
            self.steps.append(Step(*joined, ()))

    def _find_views(self, nodes: Sequence[Node]) -> tuple[dict[int, int], set[int]]:
        """For each node the node (or leaf) whose memory it uses, and the nodes that are views of another."""
        trial: dict[tuple[int, int], Any] = {(key, 0): array for key, array in self._leaves.items()}
        roots = {id(leaf): id(leaf) for leaf in self.graph.leaves}
        views: set[int] = set()
        for node in nodes:
            roots[id(node)] = id(node)
            source = node.inputs[0] if node.inputs else None
            if is_recorded(source) and _may_view(node, source):
                self._values = trial
                result = node.op.forward(*self._operands(node), **node.settings)
                base = trial[id(edge_node(source)), edge_index(source)]
                if isinstance(result, np.ndarray) and base is not None and np.may_share_memory(result, base):
                    trial[id(node), 0] = result
                    roots[id(node)] = roots[id(edge_node(source))]
                    views.add(id(node))
                    continue
            for i, types in enumerate(node.output_types):
                trial[id(node), i] = np.empty(types.shape, types.dtype)  # never touched: costs no memory
        return roots, views

    def _lifetimes(
        self, nodes: Sequence[Node], roots: dict[int, int]
    ) -> tuple[list[Lifetime], list[tuple[tuple[int, int], ArrayType]]]:
        last = {id(node): position for position, node in enumerate(nodes)}
        for position, node in enumerate(nodes):
            for parent in node.parents():
                last[roots[id(parent)]] = position
        ends = (*self.graph.outputs, *(value for _, value in (*self.graph.updates, *self.graph.gradients)))
        for end in ends:
            if is_recorded(end):
                last[roots[id(edge_node(end))]] = len(nodes)
        lifetimes: list[Lifetime] = []
        owners: list[tuple[tuple[int, int], ArrayType]] = []
        for position, node in enumerate(nodes):
            if roots[id(node)] != id(node):
                continue
            for i, types in enumerate(node.output_types):
                lifetimes.append(Lifetime(types.nbytes, position, last[id(node)]))
                owners.append(((id(node), i), types))
        return lifetimes, owners

    def _operands(self, node: Node) -> list[Any]:
        return [self._operand(entry, node) if is_recorded(entry) else entry for entry in node.inputs]

    def _operand(self, entry: Any, node: Node) -> Any:
        source = edge_node(entry)
        if isinstance(source, Leaf) and source.kind == "generator":
            return source.value
        array = self._values[id(source), edge_index(entry)]
        types = edge_type(entry)
        if not isinstance(types, WeakType) or isinstance(node.types, WeakType) or "program" in node.op.facts:
            return array
        # a Python number takes the dtype of what it meets
        met = [one for one in map(operand_type, node.inputs) if isinstance(one, ArrayType)]
        dtype = np.result_type(types.number, *(one.dtype for one in met))
        if dtype == array.dtype:
            return array
        key = (id(source), edge_index(entry), dtype)
        if key not in self._weak:
            self._weak[key] = (np.empty((), dtype), array)
            if not isinstance(source, Leaf):
                copy = Kernel(lambda: np.copyto(*self._weak[key], casting="unsafe"), "cast")
                self.steps.append(Step(source, copy, (self._weak[key][0],)))
        return self._weak[key][0]

    # -- running ---------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the schedule on the values of the graph's inputs; returns fresh arrays and updates states in place."""
        with self._lock:
            self._fill(inputs)
            self._execute()
            return self._finish()

    def _fill(self, inputs: Sequence[Any]) -> None:
        for array, value in zip(self._inputs, inputs, strict=True):
            np.copyto(array, value)
        for leaf, held in self._gradients_read:
            if leaf.grad is not None:
                np.copyto(held._value, leaf.grad._value)
        for leaf, home in zip(self._states, self._homes, strict=True):
            if leaf.value is not home:
                np.copyto(home, leaf.value)
        for narrow, wide in self._weak.values():
            np.copyto(narrow, wide, casting="unsafe")

    def _execute(self) -> None:
        position = 0
        try:
            for position, run in enumerate(self._run):  # noqa: B007 - read when a step raises
                run()
        except Exception as error:
            node = self.steps[position].node
            raise OpError(
                f"step {position} of the compiled plan failed: {node.describe()}: {type(error).__name__}: {error}. "
                f"No parameter or state was changed"
            ) from error

    def _finish(self) -> list[Any]:
        results = [out.copy()[()] for out in self._outputs]
        for leaf, gradient in self._gradients:
            leaf.grad = None if gradient is None else gradient()
        changed_at = here(3)
        for leaf, value in self._writes:
            _set_value(leaf, value)
            leaf.changed_at = changed_at
        return results

    def _value(self, entry: Any) -> Array:
        if not is_recorded(entry):
            return np.asarray(entry)
        value: Array = self._values[id(edge_node(entry)), edge_index(entry)]
        return value

    def fits(self) -> bool:
        """Whether the states still live where the plan reads them (a changed dtype moves them)."""
        return all(
            leaf.value is home
            or (home.ndim == 0 and np.ndim(leaf.value) == 0 and leaf.types.dtype == home.dtype)
            for leaf, home in zip(self._states, self._homes, strict=True)
        )

    # -- reading ---------------------------------------------------------------------------------------------------

    def profile(self, inputs: Sequence[Any], repeats: int = 10) -> list[float]:
        """Seconds per step, the median of some runs; states stay as they are."""
        times = np.empty((repeats, len(self._run)))
        with self._lock:
            self._fill(inputs)
            for row in times:
                for i, run in enumerate(self._run):
                    begin = time.perf_counter()
                    run()
                    row[i] = time.perf_counter() - begin
        return [float(seconds) for seconds in np.median(times, axis=0)]

    def table(self, seconds: Sequence[float] | None = None) -> str:
        """The schedule as text: step, op, kernel, result, bytes and, when profiled, time."""
        from tinygraph.compile.tables import plan_table

        return plan_table(self, seconds)

    def __repr__(self) -> str:
        return f"<Plan of {len(self.steps)} steps, arena of {self.arena_bytes:,} bytes>"

    def __str__(self) -> str:
        return self.table()


class _Gradient:
    """The tensor that a plan puts in `.grad`, filled from one of its buffers in each run."""

    def __init__(self, source: Array) -> None:
        self._source = source
        self._value = np.empty_like(source)
        self._tensor = Tensor(self._value)

    def __call__(self) -> Tensor:
        np.copyto(self._value, self._source)
        self._tensor._value = self._value  # whoever wrote the tensor gave it an array of its own
        return self._tensor


def _may_view(node: Node, source: Edge) -> bool:
    """Whether to try a node as a view: nothing else that it reads has a value yet, and a view keeps its dtype."""
    if node.op.kind not in _VIEWING or not isinstance(node.types, ArrayType) or len(node.parents()) != 1:
        return False
    return node.types.dtype == edge_type(source).dtype


def _holder(types: ArrayType) -> Array:
    return np.empty(types.shape, types.dtype)


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
    leaf.version += 1
