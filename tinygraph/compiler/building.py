"""Building a plan: layouts, memory, places, then a kernel bound to the places of each node, in the graph's order.

Each decision is made once and read by those after it: how images lie (`layouts.py`), who shares memory with whom
(`analysis/memory.py`), where everything is (`places.py`). What is built does not change any more (`plan.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.analysis.memory import Memory
from tinygraph.compiler.alike_runs import AlikeRun
from tinygraph.compiler.choosing import BoundKernel, choose_kernel, joined_calls, kernel_cpu, lower
from tinygraph.compiler.keeping import keeping
from tinygraph.compiler.layouts import Question, choose_layouts
from tinygraph.compiler.moving import Pointer, movable
from tinygraph.compiler.passes.verify import operand_type
from tinygraph.compiler.places import Places
from tinygraph.compiler.plan import Gradient, Plan, Step, Update
from tinygraph.compiler.plan_memory import PlanMemory
from tinygraph.compiler.python_numbers import python_call, runs_in_python
from tinygraph.compiler.scalar_runs import ScalarRun
from tinygraph.core.graph import Graph
from tinygraph.core.locks import Lock
from tinygraph.core.node import Edge, Key, Leaf, Node, edge_node, edge_type, is_recorded, key_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import Array, ArrayType, WeakType, is_python_integer
from tinygraph.kernels.lowering import Layout, Layouts, Lowering, rows
from tinygraph.kernels.threads import get_threads
from tinygraph.tracing.collector import collection_paused

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu


@collection_paused()
def build_plan(
    graph: Graph,
    gradients_read: Sequence[tuple[Leaf, Tensor]] = (),
    *,
    exact: bool = False,
    measured: bool = False,
    shared: PlanMemory | None = None,
    native: bool = False,
) -> Plan:
    """The plan of a graph.

    Args:
        graph: as the passes left it; its nodes run in this order.
        gradients_read: leaves whose `.grad` the graph reads, each with the tensor whose place that is copied to.
        exact: leave kernels out that round more than sums do.
        measured: measure which kernels are fastest.
        shared: memory that it shares with plans which never run at the same time; by default it has its own.
        native: generate kernels of single numbers, too, where NumPy's call would do: all of a loop's body must be.
    """
    threads, cpu = get_threads(), kernel_cpu(exact, measured)
    layouts, places, bound = _bound(graph, cpu, shared, native)
    calls = tuple(joined_calls([step.kernel.run for step in bound.steps], threads))
    taken, made = _elsewhere(graph, places, bound, calls)
    return Plan(
        graph=graph,
        layouts=layouts,
        steps=bound.steps,
        arrays=places.arrays,
        arena=places.arena,
        arena_bytes=places.arena_bytes,
        scratch=tuple(places.asked),
        elsewhere=tuple(places.elsewhere),
        inputs=tuple(places.inputs),
        states=tuple(places.states),
        gradients_read=tuple(gradients_read),
        numbers_read=bound.numbers_read,
        outputs=bound.outputs,
        written=bound.written,
        updates=bound.updates,
        gradients=bound.gradients,
        threads=threads,
        own_bytes=places.own_bytes,
        lock=shared.lock if shared is not None else Lock(),
        calls=calls,
        inputs_elsewhere=taken,
        outputs_elsewhere=made,
    )


class _Bound(NamedTuple):
    """What runs, in order, and where what leaves the graph lies afterwards; fields as those of `Plan`."""

    steps: tuple[Step, ...]
    outputs: tuple[Array, ...]
    written: tuple[tuple[int, Leaf], ...]
    updates: tuple[Update, ...]
    gradients: tuple[tuple[Leaf, Gradient | None], ...]
    numbers_read: tuple[tuple[Array, Array], ...]


def _bound(
    graph: Graph, cpu: Cpu, shared: PlanMemory | None, native: bool
) -> tuple[Mapping[Key, Layout], Places, _Bound]:
    """The layouts and places of a graph's values, and the kernels bound to them.

    What was known of memory and kernels on the way ends with this call: the tables of the plan are made without it.
    """
    nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
    layouts, asked = choose_layouts(nodes, graph.inputs, cpu)
    memory = Memory(graph, layouts)
    lowerings = deque(_lowering(i, memory, asked.pop(id(node), None), cpu) for i, node in enumerate(nodes))
    places = Places(graph, memory, layouts, lowerings, shared)
    schedule = _Schedule(memory, places, native or any(lowerings))
    for i, node in enumerate(nodes):
        schedule.add(i, node, lowerings.popleft())
    outputs = tuple(map(schedule.value, graph.outputs))
    updates = tuple(_copied(graph, memory, places, schedule))
    gradients = tuple(
        (leaf, None if value is None else Gradient(schedule.value(value), _is_lent(leaf, value, memory)))
        for leaf, value in graph.gradients
    )
    steps = schedule.finished()
    numbers = tuple(schedule.numbers_read)
    return layouts, places, _Bound(steps, outputs, tuple(schedule.written), updates, gradients, numbers)


def _elsewhere(
    graph: Graph,
    places: Places,
    bound: _Bound,
    calls: Sequence[tuple[Sequence[int], Callable[[], Any]]],
) -> tuple[dict[int, list[Pointer]], dict[int, list[Pointer]]]:
    """Inputs and results that may lie in the caller's memory: of plans that change nothing."""
    if graph.updates or graph.gradients or places.elsewhere:
        return {}, {}
    written = [array for step in bound.steps for array in step.outputs]
    homes = [home for _, home in places.states]
    return (
        movable(calls, places.inputs, [*bound.outputs, *written]),
        movable(calls, bound.outputs, [*places.inputs, *homes]),
    )


def _lowering(i: int, memory: Memory, asked: Question | None, cpu: Cpu) -> Lowering | None:
    """The lowering of node i for the layouts of its values; a rule that answered for these is not asked again."""
    node = memory.nodes[i]
    if memory.is_view((id(node), 0)) or (node.op.lowering is None and "program" not in node.op.facts):
        return None
    operands = zip(memory.operands[i], node.inputs, strict=True)
    layouts = Layouts(
        tuple(_layout(memory, key, edge_type(entry)) if key is not None else None for key, entry in operands),
        tuple(_layout(memory, (id(node), k), types) for k, types in enumerate(node.output_types)),
    )
    if asked is not None and asked.layouts == layouts:
        return asked.answer
    return lower(node, *layouts, cpu)


def _layout(memory: Memory, key: Key, types: ArrayType) -> Layout | None:
    """How a value lies; None where it has strides of its own."""
    return memory.layout(key) or (rows(len(types.shape)) if memory.in_rows(key) else None)


def _copied(graph: Graph, memory: Memory, places: Places, schedule: _Schedule) -> list[Update]:
    """The updates that are not written where their states live."""
    written = set(map(id, memory.states.values()))
    found: list[Update] = []
    for leaf, update in graph.updates:
        if id(leaf) not in written:
            value = schedule.value(update)
            among_states = any(np.may_share_memory(value, home) for _, home in places.states)
            found.append(Update(leaf, value, among_states))
    return found


def _is_lent(leaf: Leaf, value: object, memory: Memory) -> bool:
    return is_recorded(value) and memory.lent.get(memory.buffer(value)) is leaf


class _Schedule:
    """The steps of a plan while they are put together.

    Attributes:
        steps: so far; a run of ops on numbers that is still open is not among them.
        written: states that a step writes where they live, each with the number of that step.
        numbers_read: places of Python numbers that leaves hold, each after the array that is filled from it first.
    """

    def __init__(self, memory: Memory, places: Places, native: bool) -> None:
        self._memory, self._places, self._arrays = memory, places, places.arrays
        self.steps: list[Step] = []
        self.written: list[tuple[int, Leaf]] = []
        self.numbers_read: list[tuple[Array, Array]] = []
        self._narrowed: dict[tuple[Key, np.dtype[Any]], Array] = {}
        self._numbers = ScalarRun(native)
        self._loops = AlikeRun()
        self._loop_states: list[Leaf] = []

    def add(self, i: int, node: Node, lowering: Lowering | None) -> None:
        """Add the steps of a node, which is the graph's node i; views need none."""
        if self._memory.is_view((id(node), 0)):
            return
        operands = [
            entry if key is None else self._read(key, entry, node)
            for key, entry in zip(self._memory.operands[i], node.inputs, strict=True)
        ]
        outputs = tuple(self._arrays[id(node), k] for k in range(len(node.output_types)))
        if runs_in_python(node):
            self._end_run()
            kernel = BoundKernel(python_call(node, operands, outputs), f"Python {node.op.name}")
        elif self._numbers.takes(node, operands, outputs, lowering):
            self._end_loops()
            return
        elif self._joins_loops(node, operands, outputs):
            self._loop_states += self._states_made(i)
            return
        else:
            self._end_run()
            self._clear_halos(node, outputs)
            kernel = choose_kernel(node, operands, outputs, lowering, self._places.scratch.get(i, ()))
            if i in self._places.rooms:
                kernel = kernel._replace(run=keeping(kernel.run, self._places.rooms[i]))
        self.written += [(len(self.steps), state) for state in self._states_made(i)]
        self.steps.append(Step(node, kernel, outputs, (node,)))

    def _states_made(self, i: int) -> list[Leaf]:
        """The states that node i writes where they live."""
        states = self._memory.states
        return [states[buffer] for buffer in self._memory.makes[i] if buffer in states]

    def _joins_loops(self, node: Node, operands: Sequence[Any], outputs: tuple[Array, ...]) -> bool:
        """Whether a node's loop is one of a run of loops now, perhaps the first."""
        layouts = (self._memory.layout((id(node), k)) for k in range(len(outputs)))
        if any(layout is not None and layout.has_halo for layout in layouts):
            return False
        if self._loops.nodes and self._loops.takes(node, operands, outputs):
            return True
        self._end_run()
        return self._loops.takes(node, operands, outputs)

    def _end_loops(self) -> None:
        nodes, joined = self._loops.nodes, self._loops.finish()
        if joined is not None:
            kernel, outputs = joined
            self.written += [(len(self.steps), state) for state in self._loop_states]
            self._loop_states = []
            self.steps.append(Step(nodes[-1], kernel, outputs, nodes))

    def finished(self) -> tuple[Step, ...]:
        """All steps."""
        self._end_run()
        return tuple(self.steps)

    def value(self, entry: object) -> Array:
        """The array of what leaves the graph; a Python integer leaves it as an array's element."""
        if not is_recorded(entry):
            return np.asarray(entry)
        if is_python_integer(edge_type(entry)):
            return self._narrow(entry, np.dtype(np.int64))
        return self._arrays[key_of(entry)]

    def _end_run(self) -> None:
        self._end_loops()
        joined = self._numbers.finish()
        if joined is not None:
            nodes, kernel = joined
            self.steps.append(Step(nodes[-1], kernel, (), nodes))

    def _clear_halos(self, node: Node, outputs: Sequence[Array]) -> None:
        """A step for each result with a halo, unless an operand in whose place it stands has cleared it already."""
        for i, array in enumerate(outputs):
            layout = self._memory.layout((id(node), i))
            if layout is None or not layout.has_halo or not array.size:
                continue
            if (id(node), i) not in self._places.cleared:
                from tinygraph.kernels.images.borders import clear_halo

                self.steps.append(Step(node, BoundKernel(clear_halo(array, layout), "clear halo"), ()))

    def _read(self, key: Key, entry: Edge, node: Node) -> Any:
        """What a node reads: an array, or a generator."""
        types = edge_type(entry)
        if isinstance(types, WeakType):
            dtype = _dtype_met(types, node)
            if dtype is not None:
                return self._narrow(entry, dtype)
        if isinstance(entry, Leaf) and entry.kind == "generator":
            return entry.value
        return self._arrays[key]

    def _narrow(self, entry: Edge, dtype: np.dtype[Any]) -> Array:
        """A Python number as an array of a dtype, filled by a step once the number is there."""
        key, source = key_of(entry), edge_node(entry)
        if (key, dtype) not in self._narrowed:
            narrow = self._narrowed[key, dtype] = np.zeros((), dtype)
            pair = narrow, self._arrays[key]
            if isinstance(source, Leaf):
                self.numbers_read.append(pair)
            else:
                self._end_run()  # the number itself comes first
                copy = BoundKernel(lambda: np.copyto(*pair, casting="unsafe"), "cast")
                self.steps.append(Step(source, copy, (narrow,)))
        return self._narrowed[key, dtype]


def _dtype_met(types: WeakType, node: Node) -> np.dtype[Any] | None:
    """The dtype that a Python number takes where a node reads it; None where it is read as it is."""
    if "program" in node.op.facts or runs_in_python(node):
        return None
    if is_python_integer(types):  # an index, for example
        return np.dtype(np.int64)
    if isinstance(node.types, WeakType) or node.op.kind not in ("elementwise", "comparison"):
        return None
    met = [one for one in map(operand_type, node.inputs) if isinstance(one, ArrayType)]
    dtype = np.result_type(types.number, *(one.dtype for one in met))
    return dtype if dtype != types.dtype else None
